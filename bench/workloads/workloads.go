// Package workloads says what is asked of the peers, and how it is measured.
// Each workload is a file that registers itself in init.
package workloads

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/edgegw/edge/bench/measure"
)

// Kind is what a peer has to be configured for.
type Kind string

const (
	// Hit: the answer comes from the peer's memory or cache.
	Hit Kind = "hit"
	// SecureHit: the same over TLS.
	SecureHit Kind = "hit TLS"
	// QuicHit: the same over TLS and QUIC.
	QuicHit Kind = "hit QUIC"
	// Pass: every request goes to the origin.
	Pass Kind = "pass"
	// Mixed: most answers come from the cache.
	Mixed Kind = "mix"
)

// Secure reports whether peers are asked over TLS.
func (k Kind) Secure() bool { return k == SecureHit || k == QuicHit }

// ReachesOrigin reports whether each request of this kind is to be one fetch
// from the origin, rather than none.
func (k Kind) ReachesOrigin() bool { return k == Pass }

// Workload is one thing that peers are compared at: one table.
type Workload struct {
	// Name is what -workloads takes.
	Name string
	// About heads the table.
	About string
	// Kind picks the peers' configurations that take part.
	Kind Kind
	// Sizes of the objects that are asked for, in bytes.
	Sizes []int
	// Metrics of its samples, in the order of the columns.
	Metrics []*measure.Metric
	// Measure takes one sample. It fails if an answer was wrong.
	Measure func(context.Context, Stand) (measure.Sample, error)
}

// Stand is where a sample is taken: a peer that runs, and what is around it.
type Stand struct {
	// URL of the peer, without a path.
	URL string
	// Warmup and Seconds of the measured part, in whole seconds.
	Warmup, Seconds int
	// H3load is the program that asks over HTTP/3.
	H3load string
	// ClientCPU is what the load generator is pinned to.
	ClientCPU int
	// Meter of the peer's and the origin's CPU time.
	Meter measure.Meter
	// Fetches reads how many objects the origin has served.
	Fetches func(context.Context) (int64, error)
}

var registered = make(map[string]Workload)

// register is for init functions. A name registered twice is a programming
// mistake and panics.
func register(w Workload) {
	if _, taken := registered[w.Name]; taken {
		panic("workloads: " + w.Name + " registered twice")
	}
	registered[w.Name] = w
}

// All lists the workloads: by kind, then from small objects to large ones.
func All() []Workload {
	return slices.SortedFunc(maps.Values(registered), func(a, b Workload) int {
		return cmp.Or(
			cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(slices.Max(a.Sizes), slices.Max(b.Sizes)),
			cmp.Compare(a.Name, b.Name),
		)
	})
}
