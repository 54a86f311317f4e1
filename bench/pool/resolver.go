package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// hanging is how long the resolver says nothing.
const hanging = 30 * time.Second

// resolver has the gateways' resolver hang for half a minute. All of them are
// asked at the same time.
func resolver(ctx context.Context, s *stand) (rows []row, err error) {
	r := row{
		Criterion: "a resolver that hangs for 30 s",
		Does:      "three replicas found by a name whose records live for a second, 50 requests a second to each gateway, all at once; p99 and the longest before, and while the resolver hangs; errors",
		Bound:     "adds nothing: p99 ≤ 1.2 ×, the longest below half a second, no error", Virtual: "TestDNSTimeline", Numbers: make(map[string]string),
	}
	replicas, err := s.sharePort(ctx, 3)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, r := range replicas {
			err = errors.Join(err, r.process.Stop())
		}
	}()
	if err := s.tell(ctx, manners{Mean: 2 * time.Millisecond, Workers: 64}, replicas...); err != nil {
		return nil, err
	}
	server, err := newNames(replicas)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.close()) }()
	w := wish{replicas: addresses(replicas), resolver: server.address}
	const before = 8 * time.Second
	err = s.serveAll(ctx, contestants, w, func(urls []string) error {
		loading := make([]func() (answers, error), len(urls))
		for i, url := range urls {
			loading[i] = s.background(ctx, load{url: url, rate: 50, duration: before + hanging})
		}
		gatewayBegan := time.Now()
		pauseUntil(ctx, gatewayBegan.Add(before))
		server.hangs.Store(true)
		for i, wait := range loading {
			all, err := wait()
			if err != nil {
				return err
			}
			well, hung := all.until(before), all.from(before)
			times := float64(hung.quantile(0.99)) / float64(well.quantile(0.99))
			c := contestants[i]
			r.Numbers[c.name] = fmt.Sprintf("p99 %.2f × (%d ms), longest %d ms before, %d ms then, %d errors", times,
				hung.quantile(0.99).Milliseconds(), well.quantile(1).Milliseconds(), hung.quantile(1).Milliseconds(), hung.bad())
			if c.name == edge.name {
				r.Held = times <= 1.2 && hung.quantile(1) < 500*time.Millisecond && hung.bad() == 0
			}
		}
		return nil
	})
	return []row{r}, err
}

// serveAll runs several gateways at once.
func (s *stand) serveAll(ctx context.Context, all []contestant, w wish, work func(urls []string) error) error {
	if len(all) == 0 {
		return work(nil)
	}
	return s.serve(ctx, all[0], w, func(url string) error {
		return s.serveAll(ctx, all[1:], w, func(urls []string) error { return work(append([]string{url}, urls...)) })
	})
}

// sharePort starts replicas at one port of different addresses.
func (s *stand) sharePort(ctx context.Context, n int) ([]*replica, error) {
	first, err := s.start(ctx, "n1", "-listen", "127.0.0.2:0")
	if err != nil {
		return nil, err
	}
	all := []*replica{first}
	_, port, err := net.SplitHostPort(first.address)
	for i := 2; i <= n && err == nil; i++ {
		var next *replica
		next, err = s.start(ctx, fmt.Sprint("n", i), "-listen", fmt.Sprintf("127.0.0.%d:%s", i+1, port))
		if err == nil {
			all = append(all, next)
		}
	}
	if err != nil {
		for _, r := range all {
			err = errors.Join(err, r.process.Stop())
		}
	}
	return all, err
}

// names is a resolver that knows one name.
type names struct {
	address string
	hangs   atomic.Bool
	server  *dns.Server
	ended   chan error
}

func newNames(replicas []*replica) (*names, error) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n := &names{address: conn.LocalAddr().String(), ended: make(chan error, 1)}
	var ips []net.IP
	for _, r := range replicas {
		host, _, err := net.SplitHostPort(r.address)
		if err != nil {
			return nil, err
		}
		ips = append(ips, net.ParseIP(host))
	}
	n.server = &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if n.hangs.Load() {
			return
		}
		reply := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA && q.Question[0].Name == name+"." {
			for _, ip := range ips {
				reply.Answer = append(reply.Answer, &dns.A{Hdr: dns.RR_Header{Name: name + ".", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: ip})
			}
		}
		_ = w.WriteMsg(reply) // Who asked asks again.
	})}
	go func() { n.ended <- n.server.ActivateAndServe() }()
	return n, nil
}

func (n *names) close() error { return errors.Join(n.server.Shutdown(), <-n.ended) }
