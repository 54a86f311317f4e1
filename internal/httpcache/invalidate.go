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

// Change is what an unsafe request has changed, as far as a cache is told
// (RFC 9111, 4.4; RFC 9875, 3). It can be told to another store.
type Change struct {
	Host, Scheme string
	URL          *url.URL
	// Seen is the target before it was rewritten, if it was.
	Seen string `json:",omitempty"`
	// Overriding is the request's header, if fields of it override the URL.
	Overriding http.Header `json:",omitempty"`
	// Origin is that of the Groups.
	Origin string   `json:",omitempty"`
	Groups []string `json:",omitempty"`
	// Locations are what the answer names, relative to the URL.
	Locations []string `json:",omitempty"`
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
	c := Change{Host: x.r.Host, URL: x.r.URL}
	c.Scheme, c.Seen = x.h.seen(x.r)
	if len(appendOverrides(nil, x.r.Header, c.Scheme, x.r.Host)) > 0 {
		c.Overriding = x.r.Header
	}
	c.Origin, c.Groups = x.invalidatedGroups(h)
	for _, name := range []string{"Location", "Content-Location"} {
		if lines := h[name]; len(lines) == 1 {
			c.Locations = append(c.Locations, lines[0])
		}
	}
	x.h.Store.Invalidate(c)
	if tell := x.h.Store.changed.Load(); tell != nil {
		(*tell)(c)
	}
}

// OnChange has each change told that a request has made, before its answer goes
// out. It replaces what was to be told before; nil is nobody.
func (s *Store) OnChange(tell func(Change)) {
	if tell == nil {
		s.changed.Store(nil)
		return
	}
	s.changed.Store(&tell)
}

// Invalidate drops what was changed.
func (s *Store) Invalidate(c Change) {
	s.invalidate(c.Host, c.URL, c.Seen, nil)
	if c.Overriding != nil {
		s.invalidate(c.Host, c.URL, c.Seen, c.Overriding)
	}
	s.invalidateGroups(c.Origin, c.Groups)
	if c.Seen != "" {
		// The named locations are the visitor's, who does not know how the
		// target is rewritten; neither do we, for another one.
		return
	}
	for _, location := range c.Locations {
		s.invalidateNamed(c, location)
	}
}

func (s *Store) invalidateNamed(c Change, location string) {
	base := *c.URL
	base.Scheme, base.Host = c.Scheme, c.Host
	target, err := base.Parse(location)
	if err != nil || !strings.EqualFold(stripDefaultPort(target.Host, target.Scheme), stripDefaultPort(c.Host, c.Scheme)) {
		return
	}
	s.invalidate(c.Host, target, "", nil)
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
	for e := range sh.stored(hash, key) {
		e.asked.Or(invalidatedBit)
		s.removeLocked(sh, e)
		found = true
	}
	found = s.vault.forgetKey(s, key) || found
	deleted = s.unpersistKey(key)
	if n := s.sharing.Load(); n != nil {
		n.invalidated(string(key), time.Now())
	}
	return found || deleted != nil, deleted
}
