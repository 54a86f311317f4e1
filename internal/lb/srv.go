package lb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/edgegw/edge/internal/named"
)

func init() {
	Discoveries.Register("srv", newSRV, named.Spec{Args: []string{"_http._tcp.app.internal"}})
}

// srvAtATime is how many targets of a service are resolved at the same time: a
// hundred of them shall not flood a small resolver.
const srvAtATime = 8

// srvName finds replicas as the SRV records of a name (RFC 2782): every address
// of every target, at the record's port, with its weight and priority. What is
// said of failing resolvers at follow holds for the service and for each of its
// targets.
type srvName struct {
	name    string
	servers func() (serverList, error)
	lookup  func(ctx context.Context, host string) (answer, error)
}

// newSRV reads `srv NAME { resolver IP:PORT … }`.
func newSRV(s named.Spec) (Discovery, error) {
	errs := s.Want(1, 1, "a name such as _http._tcp.app.internal", "resolver")
	d := srvName{servers: systemServers, lookup: systemLookup}
	if len(s.Args) == 1 {
		d.name = strings.ToLower(s.Args[0])
		if !isHostName(d.name) {
			errs = append(errs, fmt.Errorf("srv %q: want the name of SRV records such as _http._tcp.app.internal; they say the port", s.Args[0]))
		}
	}
	servers, wrong := resolvers(s)
	errs = append(errs, wrong...)
	if servers != nil {
		list := serverList{servers: servers}
		d.servers = func() (serverList, error) { return list, nil }
		d.lookup = list.lookup
	}
	return d, errors.Join(errs...)
}

// service is what is known of a name with SRV records.
type service struct {
	records []*dns.SRV
	ttl     time.Duration
}

func (d srvName) Run(ctx context.Context, feed Feed) {
	last := make(map[string][]netip.Addr) // of each target, when last it had some
	lookups{
		what: fmt.Sprintf("srv %s: the service", d.name),
		look: func(ctx context.Context) (looked, error) {
			found, err := d.ask(ctx)
			if err != nil {
				return looked{}, err
			}
			list, kept := d.resolve(ctx, &found, last)
			return looked{list: list, ttl: found.ttl, kept: kept}, nil
		},
		forget: func() { clear(last) },
	}.follow(ctx, feed)
}

// ask asks for the SRV records, through the search list.
func (d srvName) ask(ctx context.Context) (service, error) {
	servers, err := d.servers()
	if err != nil {
		return service{}, fmt.Errorf("srv %s: %w", d.name, err)
	}
	var errs []error
	for _, name := range servers.forms(d.name) {
		reply, err := servers.reply(ctx, name, dns.TypeSRV)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if s := readService(reply); len(s.records) > 0 {
			return s, nil
		}
	}
	return service{}, errors.Join(errs...)
}

// readService takes the records and the shortest TTL on the way to them. A
// target of "." says that there is no such service (RFC 2782).
func readService(reply *dns.Msg) service {
	var s service
	shortest := ^uint32(0)
	for _, record := range reply.Answer {
		switch r := record.(type) {
		case *dns.SRV:
			if r.Target != "." && r.Port != 0 {
				s.records = append(s.records, r)
			}
		case *dns.CNAME:
		default:
			continue
		}
		shortest = min(shortest, record.Header().Ttl)
	}
	if len(s.records) > 0 {
		s.ttl = time.Duration(shortest) * time.Second
	}
	return s
}

// resolve finds the addresses of all targets, each of which takes an equal part
// of its record's weight. A target whose lookup fails, or that has no address
// all of a sudden, keeps those it had, and is named in the error.
//
// The additional section of the answer is not used: a server may cut it without
// saying so, and then replicas would be missing.
func (d srvName) resolve(ctx context.Context, s *service, known map[string][]netip.Addr) ([]announced, error) {
	answers, errs := make([]answer, len(s.records)), make([]error, len(s.records))
	slots := make(chan struct{}, srvAtATime)
	var all sync.WaitGroup
	for i, record := range s.records {
		slots <- struct{}{}
		all.Go(func() {
			answers[i], errs[i] = d.lookup(ctx, record.Target)
			<-slots
		})
	}
	all.Wait()

	var list []announced
	next := make(map[string][]netip.Addr)
	for i, record := range s.records {
		last := known[record.Target]
		switch {
		case errs[i] != nil:
			next[record.Target] = last
		case len(answers[i].addresses) == 0:
			if next[record.Target] = last; len(last) > 0 {
				errs[i] = fmt.Errorf("srv %s: target %s has no address", d.name, record.Target)
			}
		default:
			next[record.Target] = answers[i].keeping(last)
			s.ttl = min(s.ttl, answers[i].ttl)
		}
		list = append(list, announce(record, next[record.Target])...)
	}
	if len(list) > 0 {
		clear(known)
		maps.Copy(known, next)
	}
	return list, errors.Join(errs...)
}

func announce(record *dns.SRV, ips []netip.Addr) []announced {
	var list []announced
	for _, ip := range ips {
		list = append(list, announced{
			address:  Address(net.JoinHostPort(ip.Unmap().String(), strconv.Itoa(int(record.Port)))),
			weight:   float64(record.Weight) / float64(len(ips)),
			priority: record.Priority,
		})
	}
	return list
}
