package caddymodule

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/rawhit/streams"
)

// unkept leaves out all boring requests, for as many as a test makes.
const unkept = "log_sampling {\n\tfirst none\n\tshare 0.0001%\n}\n"

func TestBoringRequestsAreLeftOutOfTheLogAndOthersNever(t *testing.T) {
	took := startCollector(t)
	address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/fails":
			http.Error(w, "no", http.StatusInternalServerError)
		case "/api/cut":
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "half")
			panic(http.ErrAbortHandler)
		default:
			fmt.Fprint(w, "page")
		}
	})
	e := startEdge(t, unkept+hardlyAny+staticPool(address), pagesSite)
	var boring []string
	for _, path := range []string{"/page", "/page", "/api/data", "/account", "/page"} {
		boring = append(boring, e.get(path).Header.Get("X-Request-Id"))
	}
	boring = append(boring, e.do(http.MethodPost, "/form", nil).Header.Get("X-Request-Id"))
	kept := map[string]string{
		"a 5xx":          e.get("/api/fails").Header.Get("X-Request-Id"),
		"a control call": e.get("/.edge/healthz").Header.Get("X-Request-Id"),
	}
	field, trace, _ := parentOf(1, "01")
	kept["one that is traced"] = e.get("/page", "Traceparent", field).Header.Get("X-Request-Id")
	for name, id := range kept {
		t.Run(name, func(t *testing.T) {
			if record := e.logged(id); name == "one that is traced" && record["traceID"] != trace {
				t.Errorf("traceID %v: want %s", record["traceID"], trace)
			}
		})
	}
	traceOf(t, took, trace, "edge visit")
	t.Run("one that is cut off", func(t *testing.T) {
		cut := "a-request-that-is-cut-off"
		r, err := http.NewRequest(http.MethodGet, e.URL+"/api/cut", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Request-Id", cut)
		if resp, err := http.DefaultClient.Do(r); err == nil {
			_ = resp.Body.Close() // what became of it is in the log
		}
		e.logged(cut)
	})
	t.Run("and no other", func(t *testing.T) {
		for _, record := range e.records() {
			for _, id := range boring {
				if record["request_id"] == id {
					t.Errorf("a boring request has a record: %v", record)
				}
			}
		}
	})
}

func TestBoringRepliesOnTheConnectionAreLeftOut(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) })
	e := startRawEdge(t, address, taggedSite+"\nhandle /fails {\n\terror 500\n}\n", unkept)
	c := e.rawClient()
	c.learned(streams.Get("/a"))
	var ids []string
	before := replies()
	for range 20 {
		ids = append(ids, c.ask(streams.Get("/a")).Header.Get("X-Request-Id"))
	}
	if replies() != before+20 {
		t.Fatalf("%d replies on the connection after %d: want all 20", replies(), before)
	}
	last := e.get("/fails").Header.Get("X-Request-Id")
	eventually(t, "the record of an error", func() bool { return e.record(last) != nil })
	for _, id := range ids {
		if record := e.record(id); record != nil {
			t.Errorf("a boring reply has a record: %v", record)
		}
	}
}

func TestTheFirstOfEachSecondAndAShareAreRecorded(t *testing.T) {
	b := (&LogSampling{First: 2, Share: 0.5}).boredom()
	now := time.Unix(1000, 0)
	for i, want := range []bool{true, true, false, true, false, true} {
		if got := b.records(now, time.Millisecond); got != want {
			t.Errorf("request %d of a second is recorded: %v: want %v", i+1, got, want)
		}
	}
	for range 10 {
		if !b.records(now, time.Second) {
			t.Error("a slow one is not recorded")
		}
	}
	if b = (&LogSampling{}).boredom(); b.slow != time.Second {
		t.Errorf("slow is %s without a word: want a second", b.slow)
	}
	kept := 0
	for range 300 {
		if b.records(now, 0) {
			kept++
		}
	}
	if kept != 102 {
		t.Errorf("%d of 300 are recorded without a word: want 100 and 1 %% of the others", kept)
	}
	if (*LogSampling)(nil).boredom() != nil {
		t.Error("without log_sampling something is left out")
	}
}
