package caddymodule

import (
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"
)

// hop reports whether a field belongs to one connection and is not passed on
// (RFC 9110, 7.6.1), by the list that Caddy's reverse_proxy has.
func hop(name string) bool {
	switch name {
	case "Alt-Svc", "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// outgoing is r as it goes to the pool. The values of header fields are r's
// own: nobody changes them, since a transport only reads.
func (l *lean) outgoing(c *carried, r *http.Request) *http.Request {
	out := &c.request
	*out = *r
	out.Close = false
	if r.ContentLength == 0 {
		out.Body = nil
	} else {
		out.Body = &untouched{ReadCloser: r.Body}
	}
	header := make(http.Header, len(r.Header)+6)
	out.Header = header
	for name, values := range r.Header {
		if !hop(name) || name == "Te" {
			header[name] = values
		}
	}
	if _, said := header["User-Agent"]; !said {
		header["User-Agent"] = noValue // net/http would send its own
	}
	if r.TLS != nil && !r.TLS.HandshakeComplete {
		header["Early-Data"] = []string{"1"} // RFC 8470, 5.2
	}
	for _, line := range r.Header["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); name != "" {
				header.Del(name)
			}
		}
	}
	if te, said := header["Te"]; said {
		delete(header, "Te")
		if httpguts.HeaderValuesContainsToken(te, "trailers") {
			header["Te"] = []string{"trailers"} // net/http passes trailers on
		}
	}
	l.forwarded(c, r)
	c.values[4] = via(r.ProtoMajor, r.ProtoMinor)
	header["Via"] = joined(header["Via"], c.values[4:5:5])
	return out
}

var noValue = []string{""}

// joined never writes into the room behind values, which are others' too.
func joined(values, more []string) []string {
	if len(values) == 0 {
		return more
	}
	return append(values[:len(values):len(values)], more...)
}

// via names the version of what was received (RFC 9110, 7.6.3).
func via(major, minor int) string {
	switch {
	case major == 1 && minor == 1:
		return "1.1 Caddy"
	case major == 2 && minor == 0:
		return "2.0 Caddy"
	}
	return strconv.Itoa(major) + "." + strconv.Itoa(minor) + " Caddy"
}

const (
	forwardedFor   = "X-Forwarded-For"
	forwardedProto = "X-Forwarded-Proto"
	forwardedHost  = "X-Forwarded-Host"
)

// forwarded says to the replica who asked, over what and for which host. What
// the request says of it itself counts only if a trusted proxy sent it.
func (l *lean) forwarded(c *carried, r *http.Request) {
	header := c.request.Header
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	client, peer := "", r.RemoteAddr != "@" // else a Unix socket
	if peer {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			trusted = false
		}
		client, peer = host, err == nil
		client, _, _ = strings.Cut(client, "%")
	}
	if !peer && !trusted {
		delete(header, forwardedFor)
		delete(header, forwardedProto)
		delete(header, forwardedHost)
		return
	}
	trusted = trusted || l.trusts(client)

	if prior, said := header[forwardedFor]; !said || prior != nil { // nil: a handler wants none to be sent
		before := ""
		if trusted {
			before = strings.Join(prior, ", ")
		}
		switch {
		case before != "" && client != "":
			c.values[0] = before + ", " + client
			header[forwardedFor] = c.values[0:1:1]
		case before != "":
			header[forwardedFor] = []string{before}
		case client != "":
			c.values[0] = client
			header[forwardedFor] = c.values[0:1:1]
		}
	}
	proto := "https"
	if r.TLS == nil {
		proto = "http"
	}
	c.say(1, forwardedProto, proto, trusted)
	c.say(2, forwardedHost, r.Host, trusted)
}

// say sets a field that a trusted proxy may have set before.
func (c *carried) say(at int, name, value string, trusted bool) {
	prior, said := c.request.Header[name]
	if said && prior == nil {
		return
	}
	if n := len(prior); trusted && n > 0 && prior[n-1] != "" {
		value = prior[n-1]
	}
	c.values[at] = value
	c.request.Header[name] = c.values[at : at+1 : at+1]
}

func (l *lean) trusts(client string) bool {
	if len(l.trusted) == 0 {
		return false
	}
	ip, err := netip.ParseAddr(client)
	if err != nil {
		return false
	}
	for _, prefix := range l.trusted {
		if prefix.Contains(ip) {
			return true
		}
	}
	return false
}
