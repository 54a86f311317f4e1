package deploy

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// crowd is a fleet: nodes that see the same replicas at different times, share
// orders by their keys, and apply them from one log.
type crowd struct {
	t          *testing.T
	now        time.Time
	generation uint64
	nodes      []*crowdNode
	keys       map[string]*crowdOrder
	orders     []*crowdOrder
	log        []*crowdOrder
}

type crowdNode struct {
	*crowd
	*stage
	name       string
	sees       []string // versions of the replicas, as last looked up
	generation uint64
	position   int // in the log
	barriers   map[string]uint64
	under      []stored // way
	cache      []stored
	last       map[string]bool // whether a version was the one to come, in the last word that named it
}

// stored is an answer of a version, whose request began at a generation.
type stored struct {
	version string
	began   uint64
}

type crowdOrder struct {
	Order
	id         string
	from       *crowdNode
	generation uint64 // 0 until it is raised
	at         int    // in the log, counted from 1; 0 while it is not there
}

func newCrowd(t *testing.T, nodes int) *crowd {
	c := &crowd{t: t, now: noon, keys: make(map[string]*crowdOrder)}
	for i := range nodes {
		n := &crowdNode{crowd: c, stage: newStage(t), name: fmt.Sprint("n", i), barriers: make(map[string]uint64), last: make(map[string]bool)}
		c.nodes = append(c.nodes, n)
	}
	return c
}

func (c *crowd) acknowledged(o *crowdOrder) bool {
	return o.at > 0 && !slices.ContainsFunc(c.nodes, func(n *crowdNode) bool { return n.position < o.at })
}

// look is what an adapter does: it orders what is found, and follows it.
func (n *crowdNode) look() {
	sight := Sight{Pool: "app"}
	for i, version := range n.sees {
		sight.Replicas = append(sight.Replicas, Replica{ID: fmt.Sprint("r", i), Version: version, State: "up"})
	}
	found := n.book.Look(n.crowd.now, sight)
	for _, o := range found.Orders {
		order := n.order(o.Key, o)
		if n.acknowledged(order) && !n.tracker.Heard(order.id) {
			order = n.order("deploy-"+o.Deploy, o)
		}
		n.book.Ordered(o.Deploy, order.id)
	}
	for deploy, purge := range found.Purges {
		i := slices.IndexFunc(n.orders, func(o *crowdOrder) bool { return o.id == purge })
		if !n.acknowledged(n.orders[i]) {
			continue
		}
		// A node that was away when it was announced has it made again.
		n.book.Purged(n.crowd.now, deploy, Outcome{Lost: !n.tracker.Heard(purge), Final: true, State: "done"})
	}
}

func (n *crowdNode) order(key string, o Order) *crowdOrder {
	if known := n.keys[key]; known != nil {
		return known
	}
	order := &crowdOrder{Order: o, id: fmt.Sprint("p", len(n.orders)), from: n}
	n.keys[key] = order
	n.orders = append(n.orders, order)
	return order
}

// advance takes an order's next step: the generation and its own node, then the log.
func (c *crowd) advance(o *crowdOrder) {
	switch {
	case o.generation == 0:
		c.generation++
		o.generation = c.generation
		o.from.apply(o)
	case o.at == 0:
		c.log = append(c.log, o)
		o.at = len(c.log)
	}
}

func (n *crowdNode) apply(o *crowdOrder) {
	w := Word{ID: o.id, Generation: o.generation, To: o.Version, Retired: o.Versions}
	fresh := !n.tracker.Heard(o.id)
	n.book.Hear(n.crowd.now, "app", w)
	n.generation = max(n.generation+1, o.generation) // as the fence counts
	for _, v := range o.Versions {
		n.barriers[v] = n.generation
		if fresh {
			n.last[v] = false
		}
		n.cache = slices.DeleteFunc(n.cache, func(s stored) bool { return s.version == v && s.began < n.barriers[v] })
	}
	if fresh && n.tracker.word().ID == o.id {
		n.last[o.Version] = true
	}
}

func (n *crowdNode) follow() {
	if n.position < len(n.log) {
		o := n.log[n.position]
		n.position++
		if o.from != n {
			n.apply(o)
		}
	}
}

// ask and answer are a visit, which may be stored.
func (n *crowdNode) ask(dice *rand.Rand) {
	if len(n.sees) > 0 {
		n.under = append(n.under, stored{n.sees[dice.IntN(len(n.sees))], n.generation})
	}
}

func (n *crowdNode) answer(dice *rand.Rand) {
	if len(n.under) == 0 {
		return
	}
	i := dice.IntN(len(n.under))
	s := n.under[i]
	n.under = slices.Delete(n.under, i, i+1)
	if n.tracker.Storable(s.version) && s.began >= n.barriers[s.version] {
		n.cache = append(n.cache, s)
	}
}

// restart loses the cache, and what was announced meanwhile.
func (n *crowdNode) restart() {
	n.stage.open()
	n.cache, n.under, n.last = nil, nil, make(map[string]bool)
	n.generation, n.position = n.crowd.generation, len(n.log)
	clear(n.barriers)
}

// check holds the promise: what a word that was heard has retired is in no cache,
// unless a later one says that it is back.
func (n *crowdNode) check(step int) {
	for _, s := range n.cache {
		if back, named := n.last[s.version]; named && !back {
			n.crowd.t.Fatalf("step %d: %s keeps an answer of %s, which began at %d; words: %+v", step, n.name, s.version, s.began, n.tracker.Snapshot())
		}
	}
}

// Whatever the nodes see and when, and whoever restarts: once a purge of a retired
// version is known, no node stores that version; and in the end all store the one
// that runs.
func TestNoScheduleKeepsWhatANoticedRolloutRetired(t *testing.T) {
	for seed := range uint64(1500) {
		dice := rand.New(rand.NewPCG(seed, 7))
		c := newCrowd(t, 3)
		runs, next, target := []string{"v1", "v1"}, 2, "v1"
		for step := range 120 {
			c.now = c.now.Add(time.Second)
			n := c.nodes[dice.IntN(3)]
			switch dice.IntN(12) {
			case 0:
				runs = slices.Clone(runs)
				runs[dice.IntN(len(runs))] = target
			case 1:
				if target = fmt.Sprint("v", 1+dice.IntN(next)); dice.IntN(2) == 0 {
					next++
				}
			case 2, 3:
				n.sees = runs
			case 4, 5:
				n.look()
			case 6:
				n.ask(dice)
			case 7:
				n.answer(dice)
			case 8:
				if len(c.orders) > 0 {
					c.advance(c.orders[dice.IntN(len(c.orders))])
				}
			case 9, 10:
				n.follow()
			default:
				if dice.IntN(8) == 0 {
					n.restart()
				}
			}
			n.check(step)
		}
		c.comesToRest(seed, target)
	}
}

// comesToRest has all nodes see the same replicas for some minutes.
func (c *crowd) comesToRest(seed uint64, version string) {
	for minute := range 30 {
		c.now = c.now.Add(time.Minute)
		for _, n := range c.nodes {
			n.sees = []string{version}
			n.look()
		}
		for _, o := range c.orders {
			c.advance(o)
			c.advance(o)
		}
		for _, n := range c.nodes {
			for range c.log {
				n.follow()
			}
			n.check(1000 + minute)
		}
	}
	for _, n := range c.nodes {
		if !n.tracker.Storable(version) {
			c.t.Fatalf("seed %d: %s does not store %s, which runs everywhere: %+v", seed, n.name, version, n.tracker.Snapshot())
		}
		for _, r := range n.book.List("app", -1) {
			if !r.Stage.Final() {
				c.t.Fatalf("seed %d: %s: %s of %s is %s still", seed, n.name, r.ID, r.Version, r.Stage)
			}
		}
	}
}

func (c *crowd) carryOut() {
	for _, o := range c.orders {
		c.advance(o)
		c.advance(o)
	}
	for _, n := range c.nodes {
		for range c.log {
			n.follow()
		}
		n.look()
	}
}

func TestAFleetOrdersOnePurgeForARollout(t *testing.T) {
	for name, between := range map[string]func(*crowd){
		"all notice before the purge is announced": func(*crowd) {},
		"the others notice when it is over":        (*crowd).carryOut,
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrowd(t, 3)
			// The same rollout twice, with the way back between.
			for i, versions := range []string{"v1 v1", "v1 v2", "v2 v2", "v1", "v2"} {
				for _, n := range c.nodes {
					c.now = c.now.Add(time.Second)
					n.sees = strings.Fields(versions)
					n.look()
					between(c)
				}
				c.carryOut()
				c.carryOut()
				if want := []int{0, 0, 1, 2, 3}[i]; len(c.orders) != want {
					t.Fatalf("%d orders after the replicas run %s: want %d", len(c.orders), versions, want)
				}
			}
			for _, n := range c.nodes {
				for _, r := range n.book.List("app", -1) {
					if r.Stage != Done || r.Purge == "" {
						t.Errorf("%s: %+v", n.name, r)
					}
				}
			}
		})
	}
}

func TestAVersionIsBackWhenItRunsForLongAgainstTheLastWord(t *testing.T) {
	s := newStage(t)
	s.see("v1 v1")
	s.book.Hear(s.now, "app", Word{ID: "p1", Generation: 5, To: "v2", Retired: []string{"v1"}})
	if s.tracker.Storable("v1") || s.tracker.Storable("v2") {
		t.Error("want v1 retired, and v2 not current before it is seen")
	}
	s.open()
	if s.tracker.Storable("v1") || !s.tracker.Heard("p1") {
		t.Error("a restart forgets what was heard")
	}
	if found := s.see("v1 v1"); len(found.Orders) != 0 || !found.Active {
		t.Errorf("%+v: want nothing yet, and another look", found)
	}
	s.now = s.now.Add(doubtFor)
	found := s.see("v1 v1")
	if len(found.Orders) != 1 || found.Orders[0].Version != "v1" || !slices.Equal(found.Orders[0].Versions, []string{"v2"}) {
		t.Fatalf("%+v: want a purge of v2", found)
	}
	s.book.Hear(s.now, "app", Word{ID: "p2", Generation: 6, To: "v1", Retired: []string{"v2"}})
	if !s.tracker.Storable("v1") {
		t.Error("want v1 stored again")
	}
	// An older word that comes late changes nothing of that.
	s.book.Hear(s.now, "app", Word{ID: "p0", Generation: 4, To: "v2", Retired: []string{"v1"}})
	if !s.tracker.Storable("v1") {
		t.Error("an older word counts")
	}
}

func TestALostPurgeIsOrderedAnew(t *testing.T) {
	s := newStage(t)
	s.see("v1")
	first := s.see("v2").Orders[0]
	s.book.Ordered(first.Deploy, "p1")
	s.book.Purged(s.now, first.Deploy, Outcome{Lost: true})
	found := s.see("v2")
	if len(found.Orders) != 1 || found.Orders[0].Key == first.Key || found.Orders[0].Deploy != first.Deploy {
		t.Errorf("%+v: want the purge under another key than %s", found, first.Key)
	}
}

func FuzzWordsSurviveARestart(f *testing.F) {
	f.Add("p1", uint64(3), "v2", "v1")
	f.Fuzz(func(t *testing.T, id string, generation uint64, to, retired string) {
		var before, after Tracker
		before.Observe(noon, replicas("a"))
		before.Hear(noon, Word{ID: id, Generation: generation, To: to, Retired: []string{retired}})
		text, err := json.Marshal(before.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		var s Snapshot
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		if err := after.Restore(s); err != nil {
			t.Fatal(err)
		}
		if before.Storable("a") != after.Storable("a") {
			t.Errorf("%s: storable %v before, %v after", text, before.Storable("a"), after.Storable("a"))
		}
	})
}
