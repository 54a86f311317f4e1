// Package cloudflareips knows which addresses Cloudflare's proxies connect from,
// so that what they say of a visitor's address can be believed, and what
// strangers say cannot. The list is built in, asked for anew from Cloudflare, and
// kept for the next start. Whatever fails, the last good list stays.
package cloudflareips

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// builtin is Cloudflare's list as of November 2026 (cloudflare.com/ips). It has
// changed twice since 2020.
var builtin = mustCheck(strings.Fields(`
	173.245.48.0/20 103.21.244.0/22 103.22.200.0/22 103.31.4.0/22 141.101.64.0/18
	108.162.192.0/18 190.93.240.0/20 188.114.96.0/20 197.234.240.0/22 198.41.128.0/17
	162.158.0.0/15 104.16.0.0/13 104.24.0.0/14 172.64.0.0/13 131.0.72.0/22
	2400:cb00::/32 2606:4700::/32 2803:f800::/32 2405:b500::/32 2405:8100::/32
	2a06:98c0::/29 2c0f:f248::/32
`))

const (
	fewest  = 5
	most    = 500
	widest4 = 10 // Cloudflare's widest is a /13,
	widest6 = 24 // and a /29
)

// Check makes prefixes of what Cloudflare calls its list, and refuses a list
// that would make the gateway trust strangers, however it came to be: fewer
// than 5 or more than 500 ranges, ranges wider than /10 (IPv6: /24), and
// addresses that are not public ones. The error names every range that is wrong.
func Check(ranges []string) ([]netip.Prefix, error) {
	var errs []error
	if n := len(ranges); n < fewest || n > most {
		errs = append(errs, fmt.Errorf("%d ranges: want %d to %d", n, fewest, most))
	}
	list := make([]netip.Prefix, 0, len(ranges))
	for _, text := range ranges[:min(len(ranges), most)] {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("range %q: want an address, a slash and a length", text))
			continue
		}
		prefix = prefix.Masked()
		address := prefix.Addr()
		widest := widest6
		if address.Is4() {
			widest = widest4
		}
		switch {
		case prefix.Bits() < widest:
			errs = append(errs, fmt.Errorf("range %q: want /%d or narrower", text, widest))
		case !address.IsGlobalUnicast(), address.IsPrivate(), address.Is4In6():
			errs = append(errs, fmt.Errorf("range %q: want public addresses", text))
		}
		list = append(list, prefix)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return list, nil
}

func mustCheck(ranges []string) []netip.Prefix {
	list, err := Check(ranges)
	if err != nil {
		panic(err) // A test would have seen it.
	}
	return list
}

// Builtin is the list that edge was built with.
func Builtin() []netip.Prefix { return slices.Clone(builtin) }
