package lb

import (
	"context"
	"reflect"
	"slices"

	"github.com/edgegw/edge/internal/named"
)

// registered is the source of replicas that registered themselves.
const registered = "registered"

// feed is one running discovery and what it found last.
type feed struct {
	spec     named.Spec
	source   Discovery
	set      []Address
	ranks    map[Address]rank // of those in set that are not like the others
	reported bool             // it has found something since it started
	failing  error
	stop     context.CancelFunc
	orphaned bool // no longer configured: its set stays until the others have reported
}

// feedLocked starts and stops discoveries as the settings say.
func (p *Pool) feedLocked() {
	var keep []*feed
	for i, spec := range p.settings.Discover {
		at := slices.IndexFunc(p.feeds, func(f *feed) bool {
			return !f.orphaned && reflect.DeepEqual(f.spec, spec)
		})
		if at >= 0 {
			keep = append(keep, p.feeds[at])
			p.feeds = slices.Delete(p.feeds, at, at+1)
			continue
		}
		if f := p.succeedLocked(spec, p.settings.discoveries[i]); f != nil {
			keep = append(keep, f)
			continue
		}
		keep = append(keep, p.startFeedLocked(spec, p.settings.discoveries[i]))
	}
	for _, f := range p.feeds {
		f.retire()
	}
	p.feeds = append(keep, p.feeds...)
	p.buryOrphansLocked()
}

// succeedLocked finds a running discovery that goes on with other words.
func (p *Pool) succeedLocked(spec named.Spec, next Discovery) *feed {
	at := slices.IndexFunc(p.feeds, func(f *feed) bool {
		lasting, ok := f.source.(Lasting)
		return ok && !f.orphaned && f.spec.Name == spec.Name && lasting.Succeed(next)
	})
	if at < 0 {
		return nil
	}
	f := p.feeds[at]
	f.spec = spec
	p.feeds = slices.Delete(p.feeds, at, at+1)
	return f
}

func (p *Pool) startFeedLocked(spec named.Spec, d Discovery) *feed {
	ctx, stop := context.WithCancel(p.ctx)
	f := &feed{spec: spec, source: d, stop: stop}
	p.work.Go(func() {
		d.Run(ctx, Feed{
			Found:  func(set []Address) { p.found(f, set, nil) },
			Failed: func(err error) { p.lookupFailed(f, err) },
			found:  func(set []Address, problem error) { p.found(f, set, problem) },
			ranks:  func(of map[Address]rank) { p.rank(f, of) },
			look:   p.sight,
			wanted: p.driven,
			say:    p.say,
			output: p.output,
		})
	})
	return f
}

// retire ends a discovery that is no longer configured.
func (f *feed) retire() {
	if f.orphaned {
		return
	}
	f.orphaned = true
	if lasting, ok := f.source.(Lasting); ok {
		lasting.Retire()
		return
	}
	f.stop()
}

// buryOrphansLocked drops the sets of former discoveries once all present ones
// have reported.
func (p *Pool) buryOrphansLocked() {
	for _, f := range p.feeds {
		if !f.orphaned && !f.reported {
			return
		}
	}
	p.feeds = slices.DeleteFunc(p.feeds, func(f *feed) bool { return f.orphaned })
}

// found takes a set in, though there is a problem with it if one is given.
func (p *Pool) found(f *feed, set []Address, problem error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.orphaned || p.closed {
		return
	}
	if f.failing != nil && problem == nil {
		f.failing = nil
		p.news.add(Event{Kind: DiscoveryRecovered, Pool: p.name, Why: f.spec.String()})
	}
	if f.reported && slices.Equal(f.set, set) {
		return
	}
	f.set, f.reported = slices.Clone(set), true
	p.buryOrphansLocked()
	p.mergeLocked()
}

// lookupFailed reports the first of several equal failures.
func (p *Pool) lookupFailed(f *feed, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.orphaned || (f.failing != nil && f.failing.Error() == err.Error()) {
		return
	}
	f.failing = err
	p.news.add(Event{Kind: DiscoveryFailed, Pool: p.name, Why: f.spec.String(), Err: err})
}

// wantedLocked is every address that a source names, with its sources.
func (p *Pool) wantedLocked() map[Address][]string {
	wanted := make(map[Address][]string)
	for _, f := range p.feeds {
		for _, address := range f.set {
			if !slices.Contains(wanted[address], f.spec.Name) {
				wanted[address] = append(wanted[address], f.spec.Name)
			}
		}
	}
	for address := range p.leases {
		wanted[address] = append(wanted[address], registered)
	}
	return wanted
}

// sight is what the pool makes of an address.
func (p *Pool) sight(address Address) sight {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.members[address]
	if r == nil {
		return sight{}
	}
	return sight{
		listed: true, state: r.is(), held: r.held,
		busy: r.inflight.Load() + r.websockets.Load() + r.streams.Load(),
	}
}

// say passes on what a discovery has to say of its replicas.
func (p *Pool) say(e Event) {
	e.Pool = p.name
	p.news.add(e)
}

// output passes on what a replica writes, if there is room.
func (p *Pool) output(e Event) {
	e.Pool = p.name
	p.news.mention(e)
}
