package caddymodule

import (
	"crypto/x509"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
)

// siteHosts are the hosts that routes of this configuration are about.
func (a *App) siteHosts() []string {
	app, err := a.ctx.AppIfConfigured("http")
	if err != nil {
		return nil // a configuration without sites
	}
	var hosts []string
	for _, server := range app.(*caddyhttp.App).Servers {
		hosts = append(hosts, serverHosts(server)...)
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// serverHosts are the hosts that a server's routes ask for.
func serverHosts(server *caddyhttp.Server) (hosts []string) {
	for _, route := range server.Routes {
		for _, set := range route.MatcherSets {
			for _, matcher := range set {
				switch m := matcher.(type) {
				case caddyhttp.MatchHost:
					hosts = append(hosts, m...)
				case *caddyhttp.MatchHost:
					hosts = append(hosts, *m...)
				}
			}
		}
	}
	return hosts
}

// certificatesOf gives the certificates of hosts: of several for a host the one
// that ends last, which is served once it is there.
func certificatesOf(hosts []string) map[string]*x509.Certificate {
	last := make(map[string]*x509.Certificate)
	for _, host := range hosts {
		addCertificates(last, host)
	}
	return last
}

// addCertificates adds a host's. Caddy has no list of them, and panics, once its
// last configuration has stopped, which a question in the background may outlive.
func addCertificates(last map[string]*x509.Certificate, host string) {
	defer func() { _ = recover() }()
	for _, certificate := range caddytls.AllMatchingCertificates(host) {
		leaf := certificate.Leaf
		if leaf != nil && (last[host] == nil || leaf.NotAfter.After(last[host].NotAfter)) {
			last[host] = leaf
		}
	}
}

// remaining is the share of its lifetime that a certificate has left; below 0
// when it has ended.
func remaining(c *x509.Certificate, now time.Time) float64 {
	return c.NotAfter.Sub(now).Seconds() / max(c.NotAfter.Sub(c.NotBefore).Seconds(), 1)
}
