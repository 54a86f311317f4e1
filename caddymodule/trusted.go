package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/cloudflareips"
	"github.com/edgegw/edge/internal/unit"
)

// CloudflareProxies is the IP source edge_cloudflare for trusted_proxies: the
// addresses that Cloudflare connects from, built in, refreshed each day, and
// kept in the state folder. Whatever fails, the last good list stays.
type CloudflareProxies struct {
	// Also are ranges that are trusted beside Cloudflare's: those of a
	// platform's own proxy between Cloudflare and edge.
	Also []string `json:"also,omitempty"`
	// Interval is how often Cloudflare is asked. Default: 24h. At least 1h.
	Interval unit.Duration `json:"interval,omitempty"`
	// Off leaves it at the list that is built in, or was kept.
	Off bool `json:"off,omitempty"`
	// APIURL is where Cloudflare is asked.
	// Default: https://api.cloudflare.com/client/v4.
	APIURL string `json:"api_url,omitempty"`

	source *cloudflareips.Source
	also   []netip.Prefix
	joined atomic.Pointer[joinedRanges]
}

// joinedRanges are Cloudflare's of one list, and the others.
type joinedRanges struct {
	of  *cloudflareips.List
	all []netip.Prefix
}

type cloudflareRangesKey struct{}

// CaddyModule returns the Caddy module information.
func (*CloudflareProxies) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.ip_sources.edge_cloudflare", New: func() caddy.Module { return new(CloudflareProxies) }}
}

// Provision checks what is written, and finds or makes the list, which outlives
// configurations.
func (c *CloudflareProxies) Provision(ctx caddy.Context) error {
	var errs []error
	for _, text := range c.Also {
		prefix, err := caddyhttp.CIDRExpressionToPrefix(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("also %q: want an address, or a range such as 10.0.0.0/8: %w", text, err))
			continue
		}
		if prefix.Bits() == 0 {
			errs = append(errs, fmt.Errorf("also %q: want a range that not everybody is in", text))
		}
		c.also = append(c.also, prefix.Masked())
	}
	if c.Interval != 0 && c.Interval.D() < time.Hour {
		errs = append(errs, fmt.Errorf("interval %s: want 1h or more", c.Interval))
	}
	if c.APIURL != "" {
		if u, err := url.Parse(c.APIURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			errs = append(errs, fmt.Errorf("api_url %q: want an http or https URL", c.APIURL))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("trusted_proxies edge_cloudflare: %w", err)
	}
	app, err := edgeApp(ctx)
	if err != nil {
		return err
	}
	source, _, err := shared.LoadOrNew(cloudflareRangesKey{}, func() (caddy.Destructor, error) {
		return rangesDestructor{cloudflareips.NewSource(onRangesEvent)}, nil
	})
	if err != nil {
		return err
	}
	c.source = source.(rangesDestructor).Source
	app.trust(c)
	return nil
}

// follow begins to ask, once the configuration is the live one.
func (c *CloudflareProxies) follow(folder string) {
	config := cloudflareips.Config{Interval: c.Interval.D(), Folder: folder}
	if c.Off {
		config.Interval = -1
	}
	base := c.APIURL
	if base == "" {
		base = cloudflareips.DefaultURL
	}
	config.Ask = cloudflareips.Asker(base, http.DefaultTransport)
	c.source.Configure(config)
}

// Cleanup lets go of the list.
func (c *CloudflareProxies) Cleanup() error {
	if c.source == nil {
		return nil
	}
	_, err := shared.Delete(cloudflareRangesKey{})
	return err
}

type rangesDestructor struct{ *cloudflareips.Source }

// Destruct implements caddy.Destructor.
func (d rangesDestructor) Destruct() error { return d.Close() }

// GetIPRanges are all ranges that are trusted. It takes no lock.
func (c *CloudflareProxies) GetIPRanges(*http.Request) []netip.Prefix {
	list := c.source.List()
	if joined := c.joined.Load(); joined != nil && joined.of == list {
		return joined.all
	}
	joined := &joinedRanges{of: list, all: slices.Concat(list.Prefixes, c.also)}
	c.joined.Store(joined)
	return joined.all
}

func onRangesEvent(e cloudflareips.Event) {
	fields := []zap.Field{zap.Int("ranges", e.Ranges)}
	if !e.Fetched.IsZero() { // or they are those that are built in
		fields = append(fields, zap.Time("fetched", e.Fetched))
	}
	switch {
	case errors.Is(e.Err, context.Canceled):
	case e.Err != nil:
		cloudflareRangesFailed.Inc()
		logger().Warn("Cloudflare's addresses not learned; the last good list stays", append(fields, zap.Error(e.Err))...)
	case e.Changed:
		logger().Warn("Cloudflare's addresses have changed", fields...)
	}
}

// UnmarshalCaddyfile reads
//
//	edge_cloudflare [<also>...] {
//		also     <range>... | private_ranges
//		interval <duration> | off
//		api_url  <url>
//	}
func (c *CloudflareProxies) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // edge_cloudflare
	c.addRanges(d.RemainingArgs())
	return readBlock(d, words{
		"also": func(d *caddyfile.Dispenser) error {
			var ranges []string
			err := texts(&ranges)(d)
			c.addRanges(ranges)
			return err
		},
		"interval": func(d *caddyfile.Dispenser) error {
			if off := *d; off.NextArg() && off.Val() == "off" && !off.NextArg() {
				c.Off = d.NextArg()
				return noBlock(d, "interval")
			}
			return duration(&c.Interval)(d)
		},
		"api_url": text(&c.APIURL),
	})
}

func (c *CloudflareProxies) addRanges(ranges []string) {
	for _, text := range ranges {
		if text == "private_ranges" {
			c.Also = append(c.Also, caddyhttp.PrivateRangesCIDR()...)
			continue
		}
		c.Also = append(c.Also, text)
	}
}

var (
	_ caddy.Provisioner       = (*CloudflareProxies)(nil)
	_ caddy.CleanerUpper      = (*CloudflareProxies)(nil)
	_ caddyfile.Unmarshaler   = (*CloudflareProxies)(nil)
	_ caddyhttp.IPRangeSource = (*CloudflareProxies)(nil)
)
