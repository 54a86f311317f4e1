package httpcache

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// safe lists the registered methods that change nothing (RFC 9110, 9.2.1, and
// the registry of its section 16.1). Whether others do is unknown, so they
// count as unsafe (RFC 9111, 4.4).
var safe = map[string]bool{
	http.MethodGet: true, http.MethodHead: true, http.MethodOptions: true, http.MethodTrace: true,
	"PROPFIND": true, "REPORT": true, "SEARCH": true, "QUERY": true,
	// Words by which other caches are told to forget. They are in no registry,
	// and change nothing at an origin, which may well answer them with 200.
	"PURGE": true, "BAN": true,
}

// invalidate drops what an unsafe request has changed (RFC 9111, 4.4): its
// target, and what Location and Content-Location name on the same host, stored
// or being fetched. It runs before the answer reaches the client, who may look
// at once. Nothing else is touched, and the generation stays: otherwise anyone
// who may POST could make the fence forget.
//
// Groups that the origin names are dropped too (RFC 9875, 3).
func (x *exchange) invalidate(status int, h http.Header) {
	if safe[x.r.Method] || status < 200 || status > 399 || x.r.Method == http.MethodConnect {
		return
	}
	scheme, seen := x.h.seen(x.r)
	x.h.Store.invalidate(x.r.Host, x.r.URL, seen, nil)
	if len(appendOverrides(nil, x.r.Header, scheme, x.r.Host)) > 0 {
		x.h.Store.invalidate(x.r.Host, x.r.URL, seen, x.r.Header)
	}
	x.invalidateGroups(h)
	if seen != "" {
		// The named locations are the visitor's, who does not know how the
		// target is rewritten; neither do we, for another one.
		return
	}
	for _, name := range []string{"Location", "Content-Location"} {
		if lines := h[name]; len(lines) == 1 {
			x.invalidateNamed(scheme, lines[0])
		}
	}
}

func (x *exchange) invalidateNamed(scheme, location string) {
	base := *x.r.URL
	base.Scheme, base.Host = scheme, x.r.Host
	target, err := base.Parse(location)
	if err != nil || !strings.EqualFold(stripDefaultPort(target.Host, target.Scheme), stripDefaultPort(x.r.Host, scheme)) {
		return
	}
	x.h.Store.invalidate(x.r.Host, target, "", nil)
}

// invalidate drops the answers for a URL, for https and http: they are views of
// one resource. The header, which may be nil, is that of requests whose fields
// override the URL.
func (s *Store) invalidate(host string, u *url.URL, seen string, header http.Header) {
	for _, scheme := range []string{"https", "http"} {
		var space [keySpace]byte
		key := appendOverrides(urlKey(space[:0], scheme, host, u, seen), header, scheme, host)
		hash := s.hash(key)
		found, deleted := s.invalidateKey(s.shard(hash), hash, key)
		if found {
			s.counters.invalidations.Add(1)
		}
		awaitDeleted(deleted)
	}
}

// invalidateKey drops what is stored under a key, and dooms what is being
// fetched for it. It reports whether there was anything, and gives what
// unpersistKey does.
func (s *Store) invalidateKey(sh *shard, hash uint64, key []byte) (found bool, deleted <-chan struct{}) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.invalidations++
	for _, f := range sh.fills[hash] {
		if f.key == string(key) {
			f.doomed.Store(true)
			found = true
		}
	}
	if g := sh.group(hash, key); g != nil {
		for _, e := range g.variants {
			e.invalidated.Store(true)
			s.removeLocked(sh, e)
		}
		found = true
	}
	found = s.vault.forgetKey(s, key) || found
	deleted = s.unpersistKey(key)
	if n := s.sharing.Load(); n != nil {
		n.invalidated(string(key), time.Now())
	}
	return found || deleted != nil, deleted
}
