package caddymodule

import (
	"net"
	"strings"
)

const proxyPlaceholder = "http.reverse_proxy."

// placeholder answers the placeholders of Caddy's reverse_proxy for a request
// that it did not see. The upstream is the pool: {edge.replica} names the
// replica.
func (c *carried) placeholder(name string) (any, bool) {
	host, port, _ := net.SplitHostPort(virtual(c.pool))
	switch name {
	case "upstream.address", "upstream.hostport":
		return virtual(c.pool), true
	case "upstream.host":
		return host, true
	case "upstream.port":
		return port, true
	case "upstream.requests", "upstream.max_requests", "upstream.fails":
		return 0, true // the pool counts, not its virtual upstream
	case "upstream.latency":
		return c.latency, c.response != nil
	case "upstream.latency_ms":
		return c.latency.Seconds() * 1e3, c.response != nil
	case "upstream.duration":
		return c.passing, c.passing > 0
	case "upstream.duration_ms":
		return c.passing.Seconds() * 1e3, c.passing > 0
	case "duration":
		return c.total, c.total > 0
	case "duration_ms":
		return c.total.Seconds() * 1e3, c.total > 0
	case "retries":
		return 0, c.total > 0 // the pool's are in {edge.attempts}
	}
	if c.response == nil {
		return nil, false
	}
	switch name {
	case "status_code":
		return c.response.StatusCode, true
	case "status_text":
		return c.response.Status, true
	}
	if field, ok := strings.CutPrefix(name, "header."); ok {
		values, known := c.response.Header[field]
		return strings.Join(values, ","), known
	}
	return nil, false
}
