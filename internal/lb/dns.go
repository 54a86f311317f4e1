package lb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/edgegw/edge/internal/named"
)

func init() {
	Discoveries.Register("dns", newDNS, named.Spec{Args: []string{"app.internal:3000"}})
}

// systemTTL is how long an answer of the system resolver (hosts file, localhost)
// is believed: it comes without a TTL.
const systemTTL = 10 * time.Second

// dnsName finds replicas as the A and AAAA records of a name: every address is
// a replica.
type dnsName struct {
	host string
	port string
	// interval is the longest that an answer is believed, whatever its TTL: a
	// platform's resolver may give minutes for a name that changes in seconds. 0:
	// no bound.
	interval time.Duration
	lookup   func(ctx context.Context, host string) (answer, error)
}

// newDNS reads `dns HOST:PORT { resolver IP:PORT …; interval 2s }`. Without
// resolver the servers of /etc/resolv.conf are asked, the hosts file first;
// without interval an answer is believed for its TTL.
func newDNS(s named.Spec) (Discovery, error) {
	errs := s.Want(1, 1, "host:port", "resolver", "interval")
	d := dnsName{}
	if len(s.Args) == 1 {
		address, err := ParseAddress(s.Args[0])
		if err != nil {
			errs = append(errs, fmt.Errorf("dns: %w", err))
		} else {
			d.host, d.port = address.split()
		}
	}
	if words, given := s.Options["interval"]; given {
		interval, err := oneDuration("dns interval", words)
		if err != nil {
			errs = append(errs, err)
		}
		d.interval = interval
	}
	servers, wrong := resolvers(s)
	errs = append(errs, wrong...)
	d.lookup = systemLookup
	if servers != nil {
		d.lookup = serverList{servers: servers}.lookup
	}
	return d, errors.Join(errs...)
}

// resolvers reads `resolver IP:PORT …`; nil when the option is not given.
func resolvers(s named.Spec) (servers []string, errs []error) {
	servers, given := s.Options["resolver"]
	if given && len(servers) == 0 {
		errs = append(errs, fmt.Errorf("%s resolver: got no words: want ip:port such as 10.0.0.2:53", s.Name))
	}
	for _, server := range servers {
		if _, err := netip.ParseAddrPort(server); err != nil {
			errs = append(errs, fmt.Errorf("%s resolver %q: want ip:port such as 10.0.0.2:53", s.Name, server))
		}
	}
	return servers, errs
}

// answer is what is known of a name. No addresses: the name has none.
type answer struct {
	addresses []netip.Addr
	ttl       time.Duration
	no4, no6  bool // the question for this kind of address failed
}

// keeping adds the last known addresses of the kind whose question failed.
func (a answer) keeping(last []netip.Addr) []netip.Addr {
	all := a.addresses
	for _, ip := range last {
		if (ip.Is4() && a.no4) || (ip.Is6() && a.no6) {
			all = append(all, ip)
		}
	}
	return all
}

func (d dnsName) Run(ctx context.Context, feed Feed) {
	if ip, err := netip.ParseAddr(d.host); err == nil {
		feed.Found(d.set([]netip.Addr{ip}))
		<-ctx.Done()
		return
	}
	var last []netip.Addr
	lookups{
		what: fmt.Sprintf("dns %s: the name", d.host),
		look: func(ctx context.Context) (looked, error) {
			a, err := d.lookup(ctx, d.host)
			if err != nil || len(a.addresses) == 0 {
				return looked{}, err
			}
			last = a.keeping(last)
			list := make([]announced, 0, len(last))
			for _, address := range d.set(last) {
				list = append(list, announced{address: address})
			}
			return looked{list: list, ttl: d.believed(a.ttl)}, nil
		},
		forget: func() { last = nil },
	}.follow(ctx, feed)
}

// believed is how long an answer with a TTL is.
func (d dnsName) believed(ttl time.Duration) time.Duration {
	if d.interval == 0 {
		return ttl
	}
	return min(ttl, d.interval)
}

func (d dnsName) set(ips []netip.Addr) []Address {
	set := make([]Address, 0, len(ips))
	for _, ip := range ips {
		set = append(set, Address(net.JoinHostPort(ip.Unmap().String(), d.port)))
	}
	return set
}
