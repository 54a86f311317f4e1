package peers

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/edgegw/edge/bench/workloads"
)

func init() {
	cache := Way{Name: "cache", About: "its cache of small objects, in memory", Kind: workloads.Hit, Configure: haproxyCache}
	register(Peer{
		Name:    "haproxy",
		Build:   func(context.Context, string) (string, error) { return Find("haproxy", "haproxy") },
		Version: haproxyVersion,
		Ways: []Way{
			cache, secure(cache), mixed(cache),
			{Name: "proxy", About: "one backend over kept-alive connections", Kind: workloads.Pass, Configure: haproxyProxy},
		},
	})
}

// haproxyVersion reads "HAProxy version 2.6.12-1 2023/…".
func haproxyVersion(ctx context.Context, binary string) (string, error) {
	return versionAfter(ctx, "HAProxy version ", binary, "-v")
}

// haproxyCache stores for a year what it would store for a minute.
func haproxyCache(s Setup) Config {
	return haproxyConfig(s, `cache objects
	total-max-size 64
	max-object-size 8388608
	max-age 31536000
`, "\thttp-request cache-use objects\n\thttp-response cache-store objects\n")
}

func haproxyProxy(s Setup) Config { return haproxyConfig(s, "", "") }

// haproxyConfig has one thread, as nginx has one worker. Each client takes two
// connections.
func haproxyConfig(s Setup, sections, inBackend string) Config {
	return Config{
		File: "haproxy.cfg",
		Text: fmt.Sprintf(`global
	nbthread 1
	maxconn 2048
defaults
	mode http
	timeout connect 5s
	timeout client 1m
	timeout server 1m
	http-reuse always
%sfrontend site
	bind %s%s
	default_backend app
backend app
%s	server origin %s
`, sections, s.Listen, haproxyTLS(s), inBackend, s.Origin),
		Args: []string{"-db", "-f", filepath.Join(s.Dir, "haproxy.cfg")},
	}
}

// haproxyTLS goes on after the address that it listens on.
func haproxyTLS(s Setup) string {
	if !s.Secure {
		return ""
	}
	return fmt.Sprintf(" ssl crt %s/both.pem alpn h2,http/1.1 ssl-min-ver TLSv1.3 ciphersuites TLS_AES_128_GCM_SHA256", s.Dir)
}
