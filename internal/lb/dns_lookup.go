package lb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	resolvConf = "/etc/resolv.conf"
	hostsFile  = "/etc/hosts"

	// dnsTimeout is for one question to one server.
	dnsTimeout = 2 * time.Second

	// dnsBuffer is the size of UDP answers we take, safe from fragmentation on
	// common paths; larger answers come by TCP.
	dnsBuffer = 1232
)

// systemLookup asks as the system would: the hosts file first, then the
// servers of resolv.conf with its search list. It reads both each time, since
// both may change under a process that runs for months.
func systemLookup(ctx context.Context, host string) (answer, error) {
	if isLocalhost(host) || inHostsFile(host) {
		return hostsLookup(ctx, host)
	}
	list, err := systemServers()
	if err != nil {
		return answer{}, fmt.Errorf("dns %s: %w", host, err)
	}
	return list.lookup(ctx, host)
}

// systemServers are those of resolv.conf, with its search list.
func systemServers() (serverList, error) {
	conf, err := dns.ClientConfigFromFile(resolvConf)
	if err != nil {
		return serverList{}, err
	}
	list := serverList{names: conf.NameList}
	for _, server := range conf.Servers {
		list.servers = append(list.servers, net.JoinHostPort(server, conf.Port))
	}
	return list, nil
}

// isLocalhost: such names never go to a server (RFC 6761, 6.3).
func isLocalhost(host string) bool {
	host = strings.TrimSuffix(host, ".")
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

func inHostsFile(host string) bool {
	text, err := os.ReadFile(hostsFile)
	if err != nil {
		return false // A system without one has no names in it.
	}
	host = strings.TrimSuffix(host, ".")
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(strings.ToLower(line))
		if len(fields) > 1 && slices.Contains(fields[1:], host) {
			return true
		}
	}
	return false
}

func hostsLookup(ctx context.Context, host string) (answer, error) {
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	var notFound *net.DNSError
	if errors.As(err, &notFound) && notFound.IsNotFound {
		return answer{}, nil
	}
	if err != nil {
		return answer{}, err
	}
	return answer{addresses: ips, ttl: systemTTL}, nil
}

// serverList asks name servers, each in turn until one answers.
type serverList struct {
	servers []string
	names   func(string) []string // the search list; nil asks for the name as it is
}

// lookup asks for A and AAAA records of host. The answer is empty only when a
// server said of every form of the name that it has none.
func (l serverList) lookup(ctx context.Context, host string) (answer, error) {
	var errs []error
	for _, name := range l.forms(host) {
		a, err := l.both(ctx, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if len(a.addresses) > 0 {
			return a, nil
		}
	}
	return answer{}, errors.Join(errs...)
}

// forms are the names to ask for, one after the other.
func (l serverList) forms(name string) []string {
	if l.names == nil {
		return []string{dns.Fqdn(name)}
	}
	return l.names(name)
}

// both asks for the two kinds of addresses at the same time. When one kind
// fails and the other has addresses, the answer names the failed kind, so that
// the caller keeps what it knew of it: a server that is bad at one kind of
// question neither hides nor removes replicas.
func (l serverList) both(ctx context.Context, name string) (answer, error) {
	type result struct {
		answer
		err error
	}
	six := make(chan result, 1)
	go func() {
		a, err := l.ask(ctx, name, dns.TypeAAAA)
		six <- result{a, err}
	}()
	four, err := l.ask(ctx, name, dns.TypeA)
	other := <-six

	all := answer{addresses: append(four.addresses, other.addresses...), ttl: four.ttl}
	if len(other.addresses) > 0 && (len(four.addresses) == 0 || other.ttl < four.ttl) {
		all.ttl = other.ttl
	}
	all.no4, all.no6 = err != nil, other.err != nil
	if len(all.addresses) == 0 {
		return answer{}, errors.Join(err, other.err)
	}
	return all, nil
}

// ask asks for addresses of one kind.
func (l serverList) ask(ctx context.Context, name string, kind uint16) (answer, error) {
	reply, err := l.reply(ctx, name, kind)
	if err != nil {
		return answer{}, err
	}
	return readAnswer(reply), nil
}

// reply puts one question to the servers, in order, until one answers it.
func (l serverList) reply(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	var errs []error
	for _, server := range l.servers {
		reply, err := query(ctx, server, name, kind)
		if err != nil {
			errs = append(errs, fmt.Errorf("dns %s %s at %s: %w", dns.TypeToString[kind], name, server, err))
			continue
		}
		switch reply.Rcode {
		case dns.RcodeSuccess, dns.RcodeNameError:
			return reply, nil
		}
		errs = append(errs, fmt.Errorf("dns %s %s at %s: %s", dns.TypeToString[kind], name, server, dns.RcodeToString[reply.Rcode]))
	}
	if len(l.servers) == 0 {
		return nil, fmt.Errorf("dns %s: %s names no server", name, resolvConf)
	}
	return nil, errors.Join(errs...)
}

// query asks one server: by UDP with EDNS0 (RFC 6891), without it for a
// server that does not know it, by TCP when the answer was cut (RFC 7766, 5).
func query(ctx context.Context, server, name string, kind uint16) (*dns.Msg, error) {
	question := new(dns.Msg).SetQuestion(name, kind)
	question.SetEdns0(dnsBuffer, false)
	udp := dns.Client{Net: "udp", Timeout: dnsTimeout, UDPSize: dnsBuffer}
	reply, _, err := udp.ExchangeContext(ctx, question, server)
	if err == nil && (reply.Rcode == dns.RcodeFormatError || reply.Rcode == dns.RcodeNotImplemented) {
		question.Extra = nil
		reply, _, err = udp.ExchangeContext(ctx, question, server)
	}
	if err == nil && reply.Truncated {
		tcp := dns.Client{Net: "tcp", Timeout: dnsTimeout}
		reply, _, err = tcp.ExchangeContext(ctx, question, server)
	}
	return reply, err
}

// readAnswer takes the addresses, and the shortest TTL of the records on the
// way to them: an alias may change before its target does.
func readAnswer(reply *dns.Msg) answer {
	var a answer
	shortest := ^uint32(0)
	for _, record := range reply.Answer {
		var raw net.IP
		switch r := record.(type) {
		case *dns.A:
			raw = r.A
		case *dns.AAAA:
			raw = r.AAAA
		case *dns.CNAME:
		default:
			continue
		}
		shortest = min(shortest, record.Header().Ttl)
		if ip, ok := netip.AddrFromSlice(raw); ok {
			a.addresses = append(a.addresses, ip.Unmap())
		}
	}
	if len(a.addresses) > 0 {
		a.ttl = time.Duration(shortest) * time.Second
	}
	return a
}
