package main

import (
	"strings"
	"testing"
)

func TestPlan(t *testing.T) {
	whole := options{rounds: 3, seconds: 3, warmup: 1, out: "RESULTS.md", serverCPU: -1, clientCPU: -1}
	cases := map[string]struct {
		change  func(*options)
		args    []string
		allowed []int
		command string   // the whole of it, if the options are good
		errors  []string // parts of the message otherwise
	}{
		"everything, on the first two CPUs that may be used": {
			func(*options) {}, nil, []int{4, 6, 7},
			"go run . -rounds 3 -seconds 3 -warmup 1 -peers barehttp,caddy,edge,haproxy,nginx,souin,varnish -workloads hit-1k,hit-16k,hit-256k,hit-4m,hit-1k-h3x1,hit-1k-h3x16,hit-16k-h3x1,hit-16k-h3x16,hit-256k-h3x1,hit-256k-h3x16,hit-1k-h2x1,hit-1k-h2x16,hit-1k-tls,hit-16k-h2x1,hit-16k-h2x16,hit-16k-tls,hit-256k-h2x1,hit-256k-h2x16,hit-256k-tls,hit-4m-h2x1,hit-4m-tls,mix,pass-1k,post-16k,pass-1m", nil,
		},
		"some, in the order of the tables": {
			func(o *options) { o.peers, o.workloads = "nginx,caddy", "pass-1k,hit-1k" }, nil, []int{0, 1},
			"go run . -rounds 3 -seconds 3 -warmup 1 -peers caddy,nginx -workloads hit-1k,pass-1k", nil,
		},
		"some ways": {
			func(o *options) { o.peers, o.workloads, o.ways = "edge", "hit-1k", "^(hits|cache)$" }, nil, []int{0, 1},
			"go run . -rounds 3 -seconds 3 -warmup 1 -peers edge -ways '^(hits|cache)$' -workloads hit-1k", nil,
		},
		"ways that nobody has": {
			func(o *options) { o.ways = "nowhere" }, nil, []int{0, 1}, "", []string{`-ways "nowhere": no way of these peers`},
		},
		"ways that are no expression": {
			func(o *options) { o.ways = "(" }, nil, []int{0, 1}, "", []string{"-ways: error parsing regexp"},
		},
		"CPUs by number": {
			func(o *options) { o.serverCPU, o.clientCPU, o.peers, o.workloads = 1, 0, "nginx", "hit-1k" }, nil, []int{0, 1},
			"go run . -rounds 3 -seconds 3 -warmup 1 -server-cpu 1 -client-cpu 0 -peers nginx -workloads hit-1k", nil,
		},
		"one CPU is too few": {
			func(*options) {}, nil, []int{0}, "", []string{"-client-cpu -1", "there must be two"},
		},
		"server and client would share": {
			func(o *options) { o.serverCPU, o.clientCPU = 1, 1 }, nil, []int{0, 1}, "", []string{"both 1"},
		},
		"every mistake at once": {
			func(o *options) {
				*o = options{rounds: 0, seconds: 601, warmup: -1, peers: "nginx,apache", workloads: "hit-2k", serverCPU: 9, clientCPU: -1}
			}, []string{"more"}, []int{0, 1}, "",
			[]string{`"more"`, "-rounds 0", "-seconds 601", "-warmup -1", "-out", `-peers "apache": want some of barehttp,caddy,edge,haproxy,nginx,observed,souin,varnish`, `-workloads "hit-2k"`, "-server-cpu 9"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := whole
			c.change(&o)
			p, err := newPlan(o, c.args, c.allowed)
			if len(c.errors) == 0 && (err != nil || p.command != c.command) {
				t.Errorf("got %q, %v; want %q", p.command, err, c.command)
			}
			for _, want := range c.errors {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want it to say %q", err, want)
				}
			}
		})
	}
}

func TestPlanPicksCPUs(t *testing.T) {
	p, err := newPlan(options{rounds: 1, seconds: 1, out: "-", serverCPU: -1, clientCPU: -1}, nil, []int{4, 6, 7})
	if err != nil || p.serverCPU != 4 || p.clientCPU != 6 {
		t.Errorf("got %d and %d, %v; want 4 and 6", p.serverCPU, p.clientCPU, err)
	}
}
