package httpcache

import (
	"encoding/binary"
	"net/http"
	"net/url"
	"strings"
)

// keySpace is how much key a lookup builds without touching the heap.
const keySpace = 512

// appendKey appends the canonical key of a request: method class, scheme, host,
// path and query as the origin gets them, and the request target as the visitor
// sent it where that differs. Each part is preceded by its length, so that no
// two requests share a key. GET and HEAD are of one class. Fields that override
// the URL follow, see overrides.
//
// The scheme is part of the key: an origin that redirects http to https would
// otherwise send https visitors in circles.
func appendKey(key []byte, scheme, host string, path, query, seen string) []byte {
	host = stripDefaultPort(host, scheme)
	key = append(key, 'G')
	key = appendPart(key, scheme)
	key = binary.AppendUvarint(key, uint64(len(host)))
	for i := range len(host) {
		key = append(key, lower(host[i]))
	}
	key = appendPart(key, path)
	key = appendPart(key, query)
	return appendPart(key, seen)
}

func appendPart(key []byte, part string) []byte {
	key = binary.AppendUvarint(key, uint64(len(part)))
	return append(key, part...)
}

// requestKey is the key of a request.
func (h *Handler) requestKey(key []byte, r *http.Request) []byte {
	scheme, seen := h.seen(r)
	return appendOverrides(urlKey(key, scheme, r.Host, r.URL, seen), r.Header, scheme, r.Host)
}

func urlKey(key []byte, scheme, host string, u *url.URL, seen string) []byte {
	query := u.RawQuery
	if u.ForceQuery && query == "" {
		query = "?" // "/path?" is not "/path"; a query of "?" is written "??"
	} else if strings.HasPrefix(query, "?") {
		query = "?" + query
	}
	return appendKey(key, scheme, host, u.EscapedPath(), query, seen)
}

// seen is how the visitor addressed the request; target is empty when the
// origin gets the same one.
func (h *Handler) seen(r *http.Request) (scheme, target string) {
	if h.Seen != nil {
		scheme, target = h.Seen(r)
	}
	if scheme != "" {
		return scheme, target
	}
	if r.TLS != nil {
		return "https", target
	}
	return "http", target
}

func stripDefaultPort(host, scheme string) string {
	if scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// place is where an answer lives, in the loose form in which purges match it:
// without scheme and port, host in lower case, percent-encoding undone. Two
// places that differ only in such spelling are purged together; purging too
// much is safe, too little is not.
type place struct {
	// url is host, path and "?query"; url[:host] is the host, url[:path] the
	// host with its path.
	url        string
	host, path int
}

// placeOf is the place of a request target ("/path?query") on a host.
func placeOf(host, target string) place {
	host = strings.ToLower(withoutPort(host))
	target, _, _ = strings.Cut(target, "#")
	path, query, _ := strings.Cut(target, "?")
	if path == "" {
		path = "/"
	}
	p := place{host: len(host)}
	p.url = host + loosen(path)
	p.path = len(p.url)
	if query != "" {
		p.url += "?" + loosen(query)
	}
	return p
}

// pathName is the path, decoded.
func (p *place) pathName() string { return p.url[p.host:p.path] }

// placeOfRequest is the place of a request as the visitor sent it.
func (h *Handler) placeOfRequest(r *http.Request) place {
	_, target := h.seen(r)
	if target == "" {
		target = r.URL.RequestURI()
	}
	return placeOf(r.Host, target)
}

// placeOfURL reads an absolute URL; a missing scheme is tolerated.
func placeOfURL(text string) place {
	if _, rest, found := strings.Cut(text, "://"); found {
		text = rest
	}
	host, target := splitAuthority(text)
	return placeOf(host, target)
}

// splitAuthority cuts "host:port/path?query" before its path or query.
func splitAuthority(s string) (authority, target string) {
	cut := strings.IndexAny(s, "/?#")
	if cut < 0 {
		return s, ""
	}
	return s[:cut], s[cut:]
}

func withoutPort(host string) string {
	colon := strings.LastIndexByte(host, ':')
	if colon < 0 || strings.IndexByte(host[colon:], ']') >= 0 {
		return host
	}
	return host[:colon]
}

// loosen undoes percent-encoding wherever it is valid.
func loosen(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			high, low := unhex(s[i+1]), unhex(s[i+2])
			if high < 16 && low < 16 {
				out = append(out, high<<4|low)
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 16
}
