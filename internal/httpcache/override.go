package httpcache

import (
	"net"
	"net/http"
	"strings"
)

// overrides are request fields by which frameworks let a proxy say that the
// request is really for another URL. A visitor can send them too, and proxies
// in front let most of them through; so what they change must not be stored as
// the answer for everyone. They are part of the key, unless they say what the
// request itself says: load balancers send some of them with each request.
//
// X-Forwarded-For is not among them: it is different for each visitor, and an
// answer that depends on it is the visitor's own.
var overrides = [...]override{
	{"X-Forwarded-Host", saysHost},
	{forwardedProto, saysScheme},
	{"X-Forwarded-Port", saysPort},
	{"X-Forwarded-Scheme", saysScheme},
	{"X-Forwarded-Protocol", saysScheme},
	{"X-Forwarded-Ssl", saysTLS},
	{"X-Forwarded-Prefix", nil},
	{"Forwarded", func(value, _, _ string) bool { return forwardedURL(value) == "" }},
	{"X-Host", saysHost},
	{"X-Original-Host", saysHost},
	{"X-Http-Host-Override", saysHost},
	{"X-Original-Url", nil},
	{"X-Rewrite-Url", nil},
	{"Front-End-Https", saysTLS},
}

const forwardedProto = "X-Forwarded-Proto"

type override struct {
	name string
	says func(value, scheme, host string) bool // what the request says; nil: nothing does
}

// of is the field's value where it makes the request be for another URL.
func (o *override) of(request http.Header, scheme, host string) (value string, ok bool) {
	lines := request[o.name]
	if len(lines) == 0 {
		return "", false
	}
	value = joined(lines)
	return value, o.says == nil || !o.says(value, scheme, host)
}

// appendOverrides appends the fields that make a request be for another URL,
// each part preceded by its length. It appends nothing to the key of others.
func appendOverrides(key []byte, request http.Header, scheme, host string) []byte {
	if !hasOverride(request) {
		return key
	}
	for i := range overrides {
		value, ok := overrides[i].of(request, scheme, host)
		if !ok {
			continue
		}
		if overrides[i].name == "Forwarded" {
			value = forwardedURL(value)
		}
		key = appendPart(appendPart(key, overrides[i].name), value)
	}
	return key
}

// hasOverride reports that one of the fields is there. To go through a header
// once costs less than to look for each of them.
func hasOverride(request http.Header) bool {
	for name := range request {
		if name == "" || name[0] != 'X' && name[0] != 'F' {
			continue
		}
		for i := range overrides {
			if overrides[i].name == name {
				return true
			}
		}
	}
	return false
}

// overridden reports a request that is for another URL than it says, by more
// than the scheme, which is part of every key. A CDN in front may not have the
// fields in its key, and where it has, a purge by URL does not find what it
// stored.
func (h *Handler) overridden(r *http.Request) bool {
	scheme, _ := h.seen(r)
	for i := range overrides {
		if overrides[i].name == forwardedProto {
			continue
		}
		if _, ok := overrides[i].of(r.Header, scheme, r.Host); ok {
			return true
		}
	}
	return false
}

func saysHost(value, scheme, host string) bool {
	return value == canonicalHost(host, scheme)
}

func saysPort(value, scheme, host string) bool {
	if _, port, err := net.SplitHostPort(host); err == nil {
		return value == port
	}
	return scheme == "https" && value == "443" || scheme == "http" && value == "80"
}

func saysScheme(value, scheme, _ string) bool { return value == scheme }

func saysTLS(value, scheme, _ string) bool {
	return scheme == "https" && value == "on" || scheme == "http" && value == "off"
}

// forwardedURL is a Forwarded field (RFC 7239, 4) without the parameters that
// say who asked and through whom: those differ for each visitor. What it
// cannot read it keeps.
func forwardedURL(value string) string {
	var kept []string
	for part := range strings.FieldsFuncSeq(value, func(c rune) bool { return c == ';' || c == ',' }) {
		part = strings.ToLower(strings.Trim(part, " \t"))
		name, rest, _ := strings.Cut(part, "=")
		if (name == "for" || name == "by") && !strings.ContainsAny(rest, "= \t") || part == "" {
			continue
		}
		kept = append(kept, part)
	}
	return strings.Join(kept, ";")
}

// canonicalHost is the host as it stands in the key: an origin that writes its
// own address into pages must not be told a spelling that the key leaves out.
func canonicalHost(host, scheme string) string {
	return strings.ToLower(stripDefaultPort(host, scheme))
}
