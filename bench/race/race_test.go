package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edgegw/edge/bench/peers"
)

func TestTheLedgerJudges(t *testing.T) {
	l := newLedger()
	const page = "/page/a"
	if !l.judge(l.least(page), l.current(page), false) {
		t.Error("what is current is refused before any purge")
	}
	before := l.least(page)
	first, second := l.publish(page), l.publish(page)
	if l.least(page) != 0 {
		t.Error("a purge counts before it is acknowledged")
	}
	l.acknowledge(page, second)
	l.acknowledge(page, first) // late, and no step back
	after := l.least(page)
	for name, c := range map[string]struct {
		least, got int
		want       bool
	}{
		"asked before, got what was there then": {before, 0, true},
		"asked before, got the news":            {before, second, true},
		"asked after, got what was there":       {after, 0, false},
		"asked after, got the first of two":     {after, first, false},
		"asked after, got the second":           {after, second, true},
		"asked after, got a later one":          {after, second + 1, true},
	} {
		if got := l.judge(c.least, c.got, true); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
	if l.least("/page/b") != 0 {
		t.Error("another page is purged too")
	}
	if got, want := l.total(), (tally{answers: 7, hits: 6, stale: 2}); got != want {
		t.Errorf("counted %+v: want %+v", got, want)
	}
}

// memory is a contestant of a few lines, with and without what edge has: it
// remembers pages by the number they have when their answer arrives.
type memory struct {
	origin http.Handler
	pages  map[string]*httptest.ResponseRecorder
	purged map[string]int
	fence  bool
}

func (m *memory) get(path string, during func()) string {
	began := m.purged[path]
	rec := m.pages[path]
	if rec == nil {
		rec = httptest.NewRecorder()
		m.origin.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		during()
		if !m.fence || began == m.purged[path] {
			m.pages[path] = rec
		}
	}
	return rec.Body.String()
}

// The judgement of a whole race is right for a cache that loses it, and for one
// that does not.
func TestACacheWithoutAFenceLoses(t *testing.T) {
	for _, fence := range []bool{false, true} {
		o, l := &origin{}, newLedger()
		o.reset(l, "max-age=60", false)
		m := &memory{origin: o, pages: make(map[string]*httptest.ResponseRecorder), purged: make(map[string]int), fence: fence}
		ask := func(during func()) bool {
			least := l.least("/page/x")
			got, err := numberIn(m.get("/page/x", during))
			if err != nil {
				t.Fatal(err)
			}
			return l.judge(least, got, false)
		}
		if !ask(func() {
			number := l.publish("/page/x")
			delete(m.pages, "/page/x")
			m.purged["/page/x"]++
			l.acknowledge("/page/x", number)
		}) {
			t.Error("who asked before the purge may have the old page")
		}
		if held := ask(func() {}); held != fence {
			t.Errorf("fence %t: held %t", fence, held)
		}
	}
}

func TestTheOriginHolds(t *testing.T) {
	o, l := &origin{}, newLedger()
	o.reset(l, "max-age=60", false)
	server := httptest.NewServer(o)
	defer server.Close()
	c := newClient(strings.TrimPrefix(server.URL, "http://"), "")
	defer c.close()
	for _, at := range []point{beforeHeader, inBody} {
		h := o.holdNext("/page/x", at)
		got := make(chan int, 1)
		go func() {
			n, _ := c.get(context.Background(), "/page/x") // zero is not what is wanted
			got <- n
		}()
		<-h.arrived
		want := l.current("/page/x")
		l.publish("/page/x")
		if other, err := c.get(t.Context(), "/page/x"); err != nil || other != want+1 {
			t.Errorf("another fetch meanwhile: %d, %v: want the news, at once", other, err)
		}
		h.release()
		if n := <-got; n != want {
			t.Errorf("the held fetch brought %d: want %d, as of its begin", n, want)
		}
	}
	if n := o.fetched("/page/x"); n != 4 {
		t.Errorf("%d fetches: want 4", n)
	}
	for _, body := range []string{"", "0000000100000002", "00000001", "0000000x0000000x"} {
		if _, err := numberIn(body); err == nil {
			t.Errorf("%q passes for a page", body)
		}
	}
}

func TestEdgeMayNotLose(t *testing.T) {
	fine := row{name: "edge, by URL", cells: make([]cell, len(scenarios))}
	other := row{name: "Varnish, PURGE", cells: []cell{{tries: 5, lost: 5}}, tally: tally{stale: 9}}
	if err := edgeLost([]row{fine, other}); err != nil {
		t.Errorf("a peer's loss is no error: %v", err)
	}
	for name, spoil := range map[string]func(*row){
		"lost a scenario":  func(r *row) { r.cells[1].add(lost) },
		"missed one":       func(r *row) { r.cells[1].add(absent) },
		"lost at random":   func(r *row) { r.tally.stale = 1 },
		"lost on the last": func(r *row) { r.cells[len(r.cells)-1].add(lost) },
	} {
		bad := row{name: "edge, by tag", cells: make([]cell, len(scenarios))}
		spoil(&bad)
		if edgeLost([]row{fine, bad, other}) == nil {
			t.Errorf("edge %s: want an error", name)
		}
	}
}

// Every configuration names where it listens, whom it asks, and nothing outside
// its folder.
func TestConfigurations(t *testing.T) {
	s := peers.Setup{Listen: "127.0.0.1:8080", Origin: "127.0.0.1:9090", Dir: "/scratch"}
	for _, c := range contestants {
		config := c.configure(s)
		text := config.Text + strings.Join(config.Args, " ")
		for _, want := range []string{"127.0.0.1:8080", "9090", "/scratch"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %s in\n%s", c.name, want, text)
			}
		}
	}
}

func TestPage(t *testing.T) {
	r := row{name: "Varnish, PURGE", schedules: 200, lost: 150, tally: tally{answers: 1000, hits: 870, stale: 99}}
	for range scenarios {
		r.cells = append(r.cells, cell{tries: 5})
	}
	r.cells[1].lost = 4
	r.cells[2].absent = 5
	text := page(options{tries: 5, schedules: 200, seed: 1}, map[string]string{"varnish": "7.1.1"}, []row{r})
	for _, want := range []string{
		"| Varnish, PURGE | 0 of 5 | 4 of 5 | – | 0 of 5 | 0 of 5 | 0 of 5 | 150 of 200 | 99 | 1000 | 87 % |",
		"- varnish 7.1.1\n", "go run ./race -tries 5 -schedules 200 -seed 1", "seeds 1 to 200",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
