package httpcache

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
)

// model knows what no schedule may show a visitor: an answer, or a part of one,
// that began before an order which covers it and was acknowledged before the
// visitor asked; what was meant for somebody else; another variant, page or
// version than was asked for; what is stale, cut off, or mixed.
//
// Time is a number that rises before each order. Every answer of the origin has
// a serial, under which the model notes when it began, for whom, and what it
// was. Bodies are made of the serial of the answer that brought them; the field
// X-Made carries it too, and X-Confirmed that of the 304 or 200 by which the
// origin last vouched for them.
type model struct {
	plan plan

	mu sync.Mutex
	// life is the process that runs; nil until born is closed.
	life    *life
	born    chan struct{}
	number  int
	content map[resource]int
	down    bool     // an outage of the origin
	live    []string // versions that replicas run
	current string
	made    []made
	// orders are those acknowledged, oldest first; drained those of which the
	// store has said that nothing older is under way.
	orders, drained []order
	sent            []Purge // orders of the fleet, which may come again
	wrong           []string
	seen            map[string]int // what visits came to: status and reason
}

// resource is a page: what a URL names.
type resource struct{ host, path, query string }

func (p resource) url() string {
	if p.query != "" {
		return p.host + p.path + "?" + p.query
	}
	return p.host + p.path
}

// tags are the page's for good.
func (p resource) tags() []string { return []string{"pages", "at-" + strings.ToLower(p.path[1:])} }

func (p resource) fingerprinted() bool { return strings.HasSuffix(p.path, ".js") }

// pages of every schedule: one is the beginning of another, one differs in its
// query, one in its host, and one outlives its version.
var pages = []resource{
	{"example.com", "/a", ""}, {"example.com", "/ab", ""}, {"example.com", "/a", "x=1"},
	{"other.example", "/a", ""}, {"example.com", "/a.js", ""},
}

// made is one answer of the origin.
type made struct {
	visit   int // the request that it answers
	number  int // when the fetch began
	at      time.Time
	page    resource
	version string
	content int
	// own: why only that request may have it.
	own string
	// forbidden to every cache, so that nobody waits for its end.
	forbidden bool
	// confirmEach: no other request may have it unconfirmed.
	confirmEach bool
	// public: requests with Authorization may have it too.
	public  bool
	vary    []varied
	body    string
	trailer bool
	// fresh, while, onError are max-age, stale-while-revalidate, stale-if-error.
	fresh, while, onError time.Duration
	// silent: it says nothing of errors.
	silent bool
}

// order is a purge, or what an unsafe request does to a URL.
type order struct {
	name   string
	number int
	soft   bool
	// invalidation: what is older must be confirmed, whatever fails.
	invalidation bool
	covers       func(resource) bool
	versions     []string
}

// forbids reports that an answer, last confirmed by another or itself, must not
// be served to requests that began after the order.
func (o *order) forbids(answer, confirmed *made, sharedTags bool) bool {
	if slices.Contains(o.versions, confirmed.version) && !answer.page.fingerprinted() {
		// Where versions share entity tags a copy is that of the last one to
		// vouch for it.
		if confirmed.number < o.number && (o.soft || sharedTags) || answer.number < o.number && !o.soft && !sharedTags {
			return true
		}
	}
	if !o.covers(answer.page) {
		return false
	}
	if o.soft || o.invalidation {
		return confirmed.number < o.number
	}
	return answer.number < o.number
}

// random is a source of its own for each actor, so that a seed gives the same
// schedule again however goroutines are run.
func (m *model) random(actor ...uint64) *rand.Rand {
	mixed := uint64(0x9e3779b97f4a7c15)
	for _, part := range actor {
		mixed = (mixed ^ part) * 0xbf58476d1ce4e5b9
		mixed ^= mixed >> 29
	}
	return rand.New(rand.NewPCG(m.plan.seed, mixed))
}

// nap sleeps for a random time; on a grid, if the plan has one.
func (m *model) nap(random *rand.Rand, longest time.Duration) {
	wait(m.moment(random, longest))
}

func (m *model) moment(random *rand.Rand, longest time.Duration) time.Duration {
	d := time.Duration(random.Int64N(int64(longest)))
	if grid := m.plan.grid; grid > 0 {
		return (d + grid/2) / grid * grid
	}
	return d
}

func (m *model) fault(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faultLocked(format, args...)
}

func (m *model) faultLocked(format string, args ...any) {
	m.wrong = append(m.wrong, fmt.Sprintf("seed %d: ", m.plan.seed)+fmt.Sprintf(format, args...))
}

func (m *model) count(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen[what]++
}

// issue raises the number, and the content of some of the pages: the rest is
// purged though the origin would say that it is still the same.
func (m *model) issue(random *rand.Rand, covers func(resource) bool) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.number++
	if random.IntN(2) == 0 {
		for _, p := range pages {
			if covers(p) {
				m.content[p]++
			}
		}
	}
	return m.number
}

// acknowledge notes an order, if the process lives to say that it is done.
func (m *model) acknowledge(l *life, o order) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !l.dead {
		m.orders = append(m.orders, o)
	}
}

// purge gives one order, and may wait until all is over that began before it.
func (m *model) purge(random *rand.Rand) {
	p, o := m.choose(random)
	o.number = m.issue(random, o.covers)
	if random.IntN(3) == 0 {
		m.mu.Lock()
		p.Generation = uint64(len(m.sent))*3 + 1
		m.sent = append(m.sent, p)
		m.mu.Unlock()
		m.nap(random, 50*time.Millisecond) // so orders overtake each other
	}
	m.apply(random, p, o)
}

func (m *model) apply(random *rand.Rand, p Purge, o order) {
	l := m.join()
	defer l.busy.Done()
	generation := uint64(0)
	if !m.plan.deaf {
		generation = l.store.Purge(p)
	}
	m.count("purge")
	m.acknowledge(l, o)
	if p.Generation > 0 && random.IntN(2) == 0 {
		generation = p.Generation
	}
	if o.soft || m.plan.deaf || random.IntN(3) > 0 {
		return
	}
	for range 2000 {
		if l.store.Draining(generation) == 0 {
			m.mu.Lock()
			defer m.mu.Unlock()
			if !l.dead {
				m.drained = append(m.drained, o)
			}
			return
		}
		wait(50 * time.Millisecond)
	}
	m.fault("%s: %d exchanges do not end", o.name, l.store.Draining(generation))
}

// again delivers an order of the fleet once more.
func (m *model) again(random *rand.Rand) {
	l := m.join()
	defer l.busy.Done()
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.sent); n > 0 && !m.plan.deaf {
		l.store.Purge(m.sent[random.IntN(n)])
	}
}

// choose makes an order of one selector, or two.
func (m *model) choose(random *rand.Rand) (Purge, order) {
	p := Purge{Soft: random.IntN(3) == 0}
	o := order{soft: p.Soft}
	var all []func(resource) bool
	for range 1 + random.IntN(4)/3 {
		all = append(all, m.selector(random, &p, &o))
	}
	o.covers = func(at resource) bool {
		return slices.ContainsFunc(all, func(covers func(resource) bool) bool { return covers(at) })
	}
	o.name = fmt.Sprintf("purge %+v", p)
	return p, o
}

func nothing(resource) bool { return false }

// selector adds one to the order and says which pages it is for.
func (m *model) selector(random *rand.Rand, p *Purge, o *order) func(resource) bool {
	target := pages[random.IntN(len(pages))]
	switch random.IntN(8) {
	case 0:
		spelled := []string{"https://%s", "http://%s", "%s", "https://%s#top"}[random.IntN(4)]
		p.URLs = append(p.URLs, strings.Replace(fmt.Sprintf(spelled, target.url()), "/a", "/%61", random.IntN(2)))
		return func(at resource) bool { return at == target }
	case 1:
		tag := target.tags()[random.IntN(2)]
		p.Tags = append(p.Tags, strings.ToUpper(tag))
		return func(at resource) bool { return slices.Contains(at.tags(), tag) }
	case 2:
		prefix := []string{"example.com/", "example.com/a", "example.com/ab", "other.example"}[random.IntN(4)]
		p.Prefixes = append(p.Prefixes, prefix)
		return func(at resource) bool { return strings.HasPrefix(at.host+at.path, prefix) }
	case 3:
		p.Hosts = append(p.Hosts, strings.ToUpper(target.host))
		return func(at resource) bool { return at.host == target.host }
	case 4:
		p.Everything = true
		return func(resource) bool { return true }
	case 5, 6:
		if version := m.anyVersion(random); version != "" {
			if o.versions = append(o.versions, version); random.IntN(2) == 0 {
				p.Versions = append(p.Versions, version)
			} else {
				p.Tags = append(p.Tags, cacherules.VersionTag(version))
			}
			return nothing
		}
	}
	p.URLs = append(p.URLs, "https://"+target.url())
	return func(at resource) bool { return at == target }
}

func (m *model) anyVersion(random *rand.Rand) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.live) == 0 {
		return ""
	}
	return m.live[random.IntN(len(m.live))]
}

// deploy rolls a version out: both run for a while, then the new one alone is
// current, and what the retired one made is purged.
func (m *model) deploy(random *rand.Rand, from, to string) {
	run := func(current string, live ...string) {
		m.mu.Lock()
		m.live, m.current = live, current
		m.mu.Unlock()
		m.nap(random, 700*time.Millisecond)
	}
	run(from, from, to)
	run(from, to)
	run(to, to)
	o := order{name: "retire " + from, covers: nothing, versions: []string{from}}
	o.number = m.issue(random, func(resource) bool { return true })
	m.apply(random, Purge{Versions: []string{from}}, o)
	if random.IntN(2) == 0 {
		run(to, to, from) // a straggler, or one that came back
	}
}

// verdict is that of the page's rule.
func (p resource) verdict() *cacherules.Verdict {
	return &cacherules.Verdict{Fingerprinted: p.fingerprinted()}
}
