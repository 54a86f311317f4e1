package lb

import "time"

// Status is a pool at one moment, for people and dashboards.
type Status struct {
	Name     string          `json:"name"`
	Policy   string          `json:"policy"`
	Panic    bool            `json:"panic"`          // most replicas look sick or are ejected: both are ignored
	InFlight int64           `json:"in_flight"`      // requests at replicas
	Queued   int64           `json:"queued"`         // requests that wait for a replica
	Desired  int             `json:"desired"`        // replicas that there should be; 0 when there is nothing to reckon with
	Retries  int64           `json:"retries"`        // since the pool was made
	Hedges   int64           `json:"hedges"`         // requests sent to a second replica besides, since it was made
	Won      int64           `json:"hedges_won"`     // of those, answered first by the second
	Rescued  int64           `json:"rescued"`        // answered by a replica of another version than the first, which did not have it, since it was made
	Refused  int64           `json:"refused"`        // answered 503 by the pool itself, since it was made
	Received int64           `json:"received_bytes"` // of bodies, from replicas, since it was made
	Sources  []SourceStatus  `json:"sources"`
	Replicas []ReplicaStatus `json:"replicas"`
	Scaling  ScalingStatus   `json:"autoscale"`
}

// SourceStatus is one discovery.
type SourceStatus struct {
	Source  string `json:"source"` // as it stands in the configuration
	Found   int    `json:"found"`
	Problem string `json:"problem,omitempty"` // why its last lookup failed
}

// ReplicaStatus is one replica of a Status.
type ReplicaStatus struct {
	ID           string     `json:"id"`
	Address      string     `json:"address"`
	Source       []string   `json:"source"` // who names it: discoveries by their kind, and registered
	Instance     string     `json:"instance,omitempty"`
	Version      string     `json:"version,omitempty"`
	State        string     `json:"state"` // joining, up, sick, draining, drained
	Why          string     `json:"why,omitempty"`
	Since        time.Time  `json:"since"`
	InFlight     int64      `json:"in_flight"`
	Limit        int64      `json:"limit"` // of in_flight, as it is now; 0: none
	WebSockets   int64      `json:"websockets"`
	Streams      int64      `json:"streams"` // server-sent events
	EWMA         float64    `json:"ewma_ms"`
	Cost         float64    `json:"cost_ms"`                 // what least_time reckons one more request would take
	Failing      float64    `json:"failing"`                 // recent share of failures
	Breaker      string     `json:"breaker"`                 // closed, half-open, open
	Ejections    int64      `json:"ejections"`               // of this process
	EjectedFor   string     `json:"ejected_for,omitempty"`   // why, while it is ejected
	EjectedUntil *time.Time `json:"ejected_until,omitempty"` // while it is ejected
	Requests     int64      `json:"requests"`
	Failures     int64      `json:"failures"`
	LeaseEnds    *time.Time `json:"lease_ends,omitempty"`
	Weight       float64    `json:"weight"`             // 1, less if its source says so, and in slow start
	Priority     uint16     `json:"priority,omitempty"` // those of the lowest that has a healthy replica get requests
}

// Status reports the pool as it is now.
func (p *Pool) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := Status{
		Name: p.name, Panic: p.panicking.Load(), Queued: p.queue.waiting.Load(),
		Retries: p.retries.Load(), Hedges: p.hedges.Load(), Won: p.hedgesWon.Load(), Rescued: p.rescued.Load(), Refused: p.refused.Load(), Received: p.received.Load(),
		Sources: []SourceStatus{}, Replicas: []ReplicaStatus{},
	}
	if p.settings == nil {
		return st
	}
	st.Policy = p.settings.Policy.String()
	for _, f := range p.feeds {
		source := SourceStatus{Source: f.spec.String(), Found: len(f.set)}
		if f.failing != nil {
			source.Problem = f.failing.Error()
		}
		st.Sources = append(st.Sources, source)
	}
	for _, r := range sorted(p.members) {
		rs := p.replicaStatusLocked(r)
		st.InFlight += rs.InFlight
		st.Replicas = append(st.Replicas, rs)
	}
	st.Scaling = p.scalingStatusLocked()
	st.Desired = st.Scaling.Desired
	return st
}

func (p *Pool) replicaStatusLocked(r *replica) ReplicaStatus {
	record, known := r.record.Load(), r.identity.Load()
	rs := ReplicaStatus{
		ID: r.id, Address: string(r.address), Source: r.sources,
		Instance: known.instance, Version: known.version,
		State: r.is().String(), Why: r.why, Since: r.since,
		InFlight: r.inflight.Load(), WebSockets: r.websockets.Load(), Streams: r.streams.Load(),
		EWMA: load(&record.latency), Cost: r.cost(p.now(), load(&p.median), p.settings.SlowStart.D()), Failing: record.failingAround(p.now()),
		Breaker:  record.breaker.Load().String(),
		Requests: record.requests.Load(), Failures: record.failures.Load(),
		Weight: r.weight(p.now(), p.settings.SlowStart.D()), Priority: r.priority,
	}
	x := exchange{pool: p, view: &view{settings: p.settings}, now: p.now()}
	rs.Limit = x.limit(r)
	rs.Ejections = record.ejection.total.Load()
	if until := record.ejection.until.Load(); until != 0 {
		ends := p.born.Add(time.Duration(until))
		rs.EjectedUntil, rs.EjectedFor = &ends, record.ejection.reason()
	}
	if ends, leased := p.leases[r.address]; leased {
		rs.LeaseEnds = &ends
	}
	return rs
}

// ReplicaVersion is which version a replica says it runs.
type ReplicaVersion struct {
	ID      string
	Address string
	Version string // "" when it does not say
	State   string // joining, up, sick, draining
	// Fresh: it has not passed a check yet, and nothing is known of it. One
	// that joins and is not fresh is another process at an address that was
	// known, being checked.
	Fresh bool
	// Requests and Failures of the process at the address.
	Requests, Failures int64
}

// Versions lists the replicas that may still answer, or soon will: healthy ones,
// sick ones (they are asked when most are sick), those that still finish
// requests, and those that join.
func (p *Pool) Versions() []ReplicaVersion {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := []ReplicaVersion{}
	for _, r := range sorted(p.members) {
		state := r.is()
		if state == drained {
			continue
		}
		record := r.record.Load()
		list = append(list, ReplicaVersion{
			ID: r.id, Address: string(r.address), Version: r.identity.Load().version, State: state.String(),
			Fresh: state == joining && !r.replaced, Requests: record.requests.Load(), Failures: record.failures.Load(),
		})
	}
	return list
}
