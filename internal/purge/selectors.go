package purge

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Bounds of an order.
const (
	// MaxItems is how many selectors one order may hold.
	MaxItems = 10_000
	// maxTag is the longest tag of a purge call, maxSeparators the deepest
	// prefix: Cloudflare's limits, which fit any other CDN too.
	maxTag        = 1024
	maxSeparators = 31
	// maxURL: RFC 9110, 4.1 asks for 8000 octets at least.
	maxURL = 8192
	// maxMistakes bounds a report about ten thousand bad lines.
	maxMistakes = 20
	// versionTag starts the tag of what a version produced.
	versionTag = "v-"
)

// Selectors name what to purge. Kinds may be mixed, except that Everything
// stands alone.
type Selectors struct {
	// URLs are absolute, without fragment, as the visitor sees them.
	URLs []string `json:"urls,omitempty"`
	// Tags are cache tags: printable ASCII without spaces and commas, in any
	// case.
	Tags []string `json:"tags,omitempty"`
	// Prefixes are host/path, without scheme, port, query and fragment.
	Prefixes []string `json:"prefixes,omitempty"`
	// Hosts are names without port.
	Hosts []string `json:"hosts,omitempty"`
	// Versions of the application; everything that they produced.
	Versions []string `json:"versions,omitempty"`
	// Everything has to be said.
	Everything bool `json:"everything,omitempty"`
}

// Mistake is one thing wrong with an order.
type Mistake struct {
	Field string // as in JSON, such as "urls"
	Value string
	Want  string
}

// Error names the field, the value and what would be right.
func (m *Mistake) Error() string {
	value := m.Value
	if len(value) > 80 {
		value = strings.ToValidUTF8(value[:80], "") + "…"
	}
	return fmt.Sprintf("%s %q: want %s", m.Field, value, m.Want)
}

// Len counts the items; Everything counts as one.
func (s Selectors) Len() int {
	n := len(s.URLs) + len(s.Tags) + len(s.Prefixes) + len(s.Hosts) + len(s.Versions)
	if s.Everything {
		n++
	}
	return n
}

// Normalize gives the selectors in the one form in which they are journaled,
// compared and sent: hosts in lower case and ASCII, tags in lower case,
// default ports dropped, each kind sorted and without duplicates. The error joins every mistake, each a
// *Mistake, or is ErrNoSelector. Normalizing twice changes nothing.
func (s Selectors) Normalize() (Selectors, error) {
	switch n := s.Len(); {
	case n == 0:
		return Selectors{}, ErrNoSelector
	case n > MaxItems:
		return Selectors{}, &Mistake{"selectors", fmt.Sprint(n), fmt.Sprintf("at most %d in one order", MaxItems)}
	case s.Everything && n > 1:
		return Selectors{}, &Mistake{"everything", "true", "everything alone, or the other selectors without it"}
	}
	var m mistakes
	out := Selectors{
		URLs:       m.clean("urls", s.URLs, cleanURL),
		Tags:       m.clean("tags", s.Tags, cleanTag),
		Prefixes:   m.clean("prefixes", s.Prefixes, cleanPrefix),
		Hosts:      m.clean("hosts", s.Hosts, cleanHost),
		Versions:   m.clean("versions", s.Versions, cleanVersion),
		Everything: s.Everything,
	}
	if err := m.join(); err != nil {
		return Selectors{}, err
	}
	return out, nil
}

// cleaner gives an item's normal form, or what it should have been.
type cleaner func(string) (clean, want string)

// mistakes collects what is wrong with an order.
type mistakes struct {
	errs []error
	more int
}

func (m *mistakes) add(err error) {
	if len(m.errs) == maxMistakes {
		m.more++
		return
	}
	m.errs = append(m.errs, err)
}

func (m *mistakes) clean(field string, items []string, clean cleaner) []string {
	out := m.cleanEach(field, items, clean)
	slices.Sort(out)
	return slices.Compact(out)
}

// cleanEach is clean, and keeps the order.
func (m *mistakes) cleanEach(field string, items []string, clean cleaner) []string {
	if len(items) == 0 {
		return nil
	}
	out := make([]string, 0, len(items))
	for _, item := range items {
		text, want := clean(item)
		if want != "" {
			m.add(&Mistake{field, item, want})
			continue
		}
		out = append(out, text)
	}
	return out
}

func (m *mistakes) join() error {
	if m.more > 0 {
		return errors.Join(append(m.errs, fmt.Errorf("and %d more mistakes", m.more))...)
	}
	return errors.Join(m.errs...)
}

func cleanURL(text string) (string, string) {
	const want = "an absolute URL such as https://www.example.com/path?query"
	if len(text) > maxURL {
		return "", fmt.Sprintf("at most %d bytes", maxURL)
	}
	if strings.Contains(text, "#") {
		return "", "a URL without fragment: no cache sees it"
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, blank) {
		return "", want + ", percent-encoded"
	}
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", want
	}
	if u.User != nil {
		return "", "a URL without user and password"
	}
	if strings.HasSuffix(u.Path, "*") && u.RawQuery == "" {
		return "", "one exact URL: for all that begin alike use a prefix"
	}
	authority, hostWant := cleanAuthority(u)
	if hostWant != "" {
		return "", hostWant
	}
	_, rest, _ := strings.Cut(text, "://")
	if cut := strings.IndexAny(rest, "/?"); cut >= 0 {
		rest = rest[cut:]
	} else {
		rest = ""
	}
	if !strings.HasPrefix(rest, "/") {
		rest = "/" + rest
	}
	return u.Scheme + "://" + authority + escapeNonASCII(rest), ""
}

func cleanAuthority(u *url.URL) (string, string) {
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") {
		ip, err := netip.ParseAddr(host)
		if err != nil || ip.Zone() != "" {
			return "", "an IPv6 address in brackets, without zone"
		}
		host = "[" + ip.String() + "]"
	} else {
		clean, want := cleanHost(host)
		if want != "" {
			return "", want
		}
		host = clean
	}
	port := u.Port()
	if port == "" || (u.Scheme == "http" && port == "80") || (u.Scheme == "https" && port == "443") {
		return host, ""
	}
	return host + ":" + port, ""
}

func cleanHost(text string) (string, string) {
	const want = "a host name such as www.example.com, without scheme, port and path"
	host := strings.ToLower(strings.TrimSuffix(text, "."))
	if strings.ContainsFunc(host, func(r rune) bool { return r >= utf8.RuneSelf }) {
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return "", want
		}
		host = ascii
	}
	// RFC 1035, 2.3.4: names of 253 characters, labels of 63.
	if host == "" || len(host) > 253 {
		return "", want
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, notHostRune) {
			return "", want
		}
	}
	return host, ""
}

func cleanPrefix(text string) (string, string) {
	const want = "a prefix such as www.example.com/path, without scheme, port, query and fragment"
	if len(text) > maxURL || !utf8.ValidString(text) || strings.ContainsFunc(text, blank) || strings.ContainsAny(text, "?#") {
		return "", want
	}
	host, path, _ := strings.Cut(text, "/")
	host, hostWant := cleanHost(host)
	if hostWant != "" {
		return "", want
	}
	if strings.HasSuffix(path, "*") {
		return "", "a prefix without *: it matches all that begin with it"
	}
	prefix := host + "/" + escapeNonASCII(path)
	if strings.Count(prefix, "/") > maxSeparators {
		return "", fmt.Sprintf("at most %d slashes", maxSeparators)
	}
	return prefix, ""
}

func cleanTag(text string) (string, string) {
	if !tagText(text) || len(text) > maxTag {
		return "", fmt.Sprintf("1 to %d characters of printable ASCII without spaces and commas", maxTag)
	}
	return strings.ToLower(text), ""
}

// cleanVersion takes what a replica may report. It must fit into a tag.
func cleanVersion(text string) (string, string) {
	version := strings.TrimSpace(text)
	if version == "" || !utf8.ValidString(version) || len(tagOf(version)) > maxTag {
		return "", fmt.Sprintf("a version whose tag, %s and the version, has at most %d bytes", versionTag, maxTag)
	}
	return version, ""
}

// tagOf is the tag of everything that a version produced, as it stands in
// Cache-Tag: what a tag may not hold is percent-escaped, and tags know no case.
func tagOf(version string) string {
	return strings.ToLower(escape(versionTag+version, func(c byte) bool { return c <= ' ' || c > '~' || c == ',' }))
}

func tagText(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' })
}

func blank(r rune) bool { return r <= ' ' || r == 0x7f }

func notHostRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// escapeNonASCII writes what a browser sends: RFC 3987, 3.1.
func escapeNonASCII(text string) string {
	return escape(text, func(c byte) bool { return c >= utf8.RuneSelf })
}

func escape(text string, forbidden func(byte) bool) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; forbidden(c) {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
