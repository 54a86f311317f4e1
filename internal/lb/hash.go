package lb

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/edgegw/edge/internal/named"
)

func init() {
	Policies.Register("hash", newHash, named.Spec{Args: []string{"header", "X-Tenant"}})
}

const hashUsage = "client_ip, uri, header NAME or cookie NAME"

// hash sends equal keys to the same replica, as far as its load allows. The
// same on every gateway: it depends on the key and the replicas' addresses only.
type hash struct {
	// key hashes what the request is told apart by. False when it has none.
	key func(Candidates) (uint64, bool)
}

func newHash(s named.Spec) (Policy, error) {
	errs := s.Want(1, 2, hashUsage)
	var p hash
	switch by, name := argument(s, 0), argument(s, 1); {
	case by == "client_ip" && name == "":
		p.key = clientKey
	case by == "uri" && name == "":
		p.key = uriKey
	case by == "header" && fieldName(name):
		p.key = headerKey(http.CanonicalHeaderKey(name))
	case by == "cookie" && fieldName(name):
		p.key = cookieKey(name)
	case len(errs) == 0:
		errs = append(errs, fmt.Errorf("%s: want %s", s, hashUsage))
	}
	return p, errors.Join(errs...)
}

// Pick sends who has no key where the answer should come first: bound to
// nobody, rather than all to one.
func (p hash) Pick(c Candidates) int {
	key, ok := p.key(c)
	if !ok {
		return lowest(c, Candidates.Cost)
	}
	return rendezvous(c, key)
}

func clientKey(c Candidates) (uint64, bool) {
	client := c.Client()
	return hashed(fnvStart, client), client != ""
}

func uriKey(c Candidates) (uint64, bool) {
	u := c.Request().URL
	return hashed(hashed(fnvStart, u.Path), u.RawQuery), true
}

func headerKey(name string) func(Candidates) (uint64, bool) {
	return func(c Candidates) (uint64, bool) {
		r := c.Request()
		if name == "Host" { // net/http keeps it apart.
			return hashed(fnvStart, strings.ToLower(r.Host)), r.Host != ""
		}
		value := r.Header.Get(name)
		return hashed(fnvStart, value), value != ""
	}
}

func cookieKey(name string) func(Candidates) (uint64, bool) {
	return func(c Candidates) (uint64, bool) {
		cookie, err := c.Request().Cookie(name)
		if err != nil || cookie.Value == "" {
			return 0, false
		}
		return hashed(fnvStart, cookie.Value), true
	}
}

// argument is the spec's argument at i, or "".
func argument(s named.Spec, i int) string {
	if i >= len(s.Args) {
		return ""
	}
	return s.Args[i]
}

// fieldName reports whether name may name a header field or a cookie: a token
// (RFC 9110, 5.6.2).
func fieldName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c-'a' >= 26 && c-'A' >= 26 && c-'0' >= 10 && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return name != ""
}
