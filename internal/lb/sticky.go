package lb

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	dice "math/rand/v2"
	"net/http"
	"strings"

	"github.com/edgegw/edge/internal/named"
)

func init() {
	Policies.Register("sticky", newSticky, named.Spec{Options: map[string][]string{
		"cookie": {"edge_replica"}, "same_site": {"lax"},
	}})
}

// The bounds of a signing key, in characters.
const (
	minStickyKey = 32
	maxStickyKey = 512
)

// sticky keeps a visitor at the process that answered first, by a cookie that
// names it and is signed. It changes the process only when the pinned one takes
// no more requests for good or for now: drained, gone, replaced, sick, ejected,
// breaker open. All requests of a visitor then go to the same other one, and
// the new cookie keeps them there.
type sticky struct {
	cookie   string
	sameSite http.SameSite
	keys     [][]byte // the first signs, all are believed
}

// newSticky reads
//
//	sticky {
//	    cookie NAME
//	    same_site lax|strict|none
//	    key KEY [OLD]
//	}
func newSticky(s named.Spec) (Policy, error) {
	errs := s.Want(0, 0, "a block", "cookie", "key", "same_site")
	p := &sticky{cookie: "edge_replica", sameSite: http.SameSiteLaxMode}
	if words, given := s.Options["cookie"]; given {
		if len(words) != 1 || !fieldName(words[0]) {
			errs = append(errs, fmt.Errorf("sticky cookie %q: want a name such as edge_replica", strings.Join(words, " ")))
		} else {
			p.cookie = words[0]
		}
	}
	if words, given := s.Options["same_site"]; given {
		modes := map[string]http.SameSite{"lax": http.SameSiteLaxMode, "strict": http.SameSiteStrictMode, "none": http.SameSiteNoneMode}
		mode, known := modes[strings.Join(words, " ")]
		if !known {
			errs = append(errs, fmt.Errorf("sticky same_site %q: want lax, strict or none", strings.Join(words, " ")))
		}
		p.sameSite = mode
	}
	words, given := s.Options["key"]
	switch {
	case !given:
		key := make([]byte, 32) // for this value only: who wants more gives one, see Config.WithStickyKey
		_, _ = rand.Read(key)   // never fails
		p.keys = [][]byte{key}
	case len(words) < 1 || len(words) > 2:
		errs = append(errs, fmt.Errorf("sticky key: got %d: want one, or two while the first replaces the second", len(words)))
	}
	for i, word := range words {
		if len(word) < minStickyKey || len(word) > maxStickyKey {
			errs = append(errs, fmt.Errorf("sticky key %d: has %d characters: want %d to %d", i+1, len(word), minStickyKey, maxStickyKey))
		}
		p.keys = append(p.keys, []byte(word))
	}
	return p, errors.Join(errs...)
}

// WithStickyKey is c with a key for its policy, if that is sticky and has none.
// Pins survive a restart if the same key is given again.
func (c Config) WithStickyKey(key func() (string, error)) (Config, error) {
	if c.Policy.Name != "sticky" || c.Policy.Options["key"] != nil {
		return c, nil
	}
	value, err := key()
	if err != nil {
		return c, err
	}
	c.Policy.Options = maps.Clone(c.Policy.Options)
	if c.Policy.Options == nil {
		c.Policy.Options = make(map[string][]string)
	}
	c.Policy.Options["key"] = []string{value}
	return c, nil
}

// pin is what a cookie says.
type pin struct {
	visitor uint64 // tells visitors apart, for the choice of another process
	process uint64
}

const (
	pinSize = 16 // bytes of a pin
	macSize = 16 // bytes of HMAC-SHA256 that are kept: a forgery has one chance in 2^128
)

// Pick returns the visitor's process.
func (p *sticky) Pick(c Candidates) int {
	known, _, ok := p.read(c.Request())
	if !ok {
		return inverse(c)
	}
	for i := range c.Len() {
		if c.Process(i) == known.process && c.Up(i) {
			return i
		}
	}
	return rendezvous(c, known.visitor)
}

// inverse draws a candidate, one that would take half the time twice as often.
// The fastest alone would get all visitors of a moment, and keep them.
func inverse(c Candidates) int {
	chosen, total := -1, 0.0
	for i := range c.Len() {
		if !c.Up(i) {
			continue
		}
		share := 1 / c.Cost(i)
		total += share
		if chosen < 0 || dice.Float64()*total < share {
			chosen = i
		}
	}
	return chosen
}

// Mark pins the visitor to the process that answered, unless it is pinned there
// already, or to one that is only busy or failed this one request.
func (p *sticky) Mark(c Candidates, i int, answer http.Header) {
	r := c.Request()
	known, key, ok := p.read(r)
	process := c.Process(i)
	switch {
	case ok && known.process == process && key == 0:
		return
	case ok && known.process != process && standing(c, known.process):
		return
	case !ok:
		var visitor [8]byte
		_, _ = rand.Read(visitor[:]) // never fails
		known.visitor = binary.BigEndian.Uint64(visitor[:])
	}
	if !markable(answer, c.Shared()) {
		return
	}
	known.process = process
	cookie := http.Cookie{
		Name: p.cookie, Value: p.write(known), Path: "/",
		HttpOnly: true, SameSite: p.sameSite,
		// A browser drops SameSite=None without Secure.
		Secure: overTLS(r) || p.sameSite == http.SameSiteNoneMode,
	}
	answer.Add("Set-Cookie", cookie.String())
}

// standing reports whether a process takes requests in general.
func standing(c Candidates, process uint64) bool {
	for i := range c.Len() {
		if c.Process(i) == process && c.Standing(i) {
			return true
		}
	}
	return false
}

// overTLS reports whether the visitor's browser speaks HTTPS, as far as the
// gateway in front of the pool says.
func overTLS(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// read finds a pin that was signed with one of the keys, and which.
func (p *sticky) read(r *http.Request) (found pin, key int, ok bool) {
	for _, cookie := range r.CookiesNamed(p.cookie) {
		raw, err := base64.RawURLEncoding.DecodeString(cookie.Value)
		if err != nil || len(raw) != pinSize+macSize {
			continue
		}
		for i := range p.keys {
			if hmac.Equal(p.mac(i, raw[:pinSize]), raw[pinSize:]) {
				return pin{binary.BigEndian.Uint64(raw), binary.BigEndian.Uint64(raw[8:])}, i, true
			}
		}
	}
	return pin{}, 0, false
}

func (p *sticky) write(to pin) string {
	raw := binary.BigEndian.AppendUint64(make([]byte, 0, pinSize+macSize), to.visitor)
	raw = binary.BigEndian.AppendUint64(raw, to.process)
	return base64.RawURLEncoding.EncodeToString(append(raw, p.mac(0, raw)...))
}

// mac signs a pin, for this cookie's name only.
func (p *sticky) mac(key int, of []byte) []byte {
	h := hmac.New(sha256.New, p.keys[key])
	h.Write([]byte("edge sticky " + p.cookie + "\x00"))
	h.Write(of)
	return h.Sum(nil)[:macSize]
}
