package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	zapobserver "go.uber.org/zap/zaptest/observer"

	"github.com/edgegw/edge/internal/purge"
)

// Each URL is explained by the handlers of its own site, as far as they are on
// its way.
func TestExplainGoesTheWayOfTheRequest(t *testing.T) {
	address, fetches := counting(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	e := newEdge(t)
	_, port, _ := strings.Cut(strings.TrimPrefix(e.URL, "http://"), ":")
	at := func(host string) string { return "http://" + host + ":" + port }
	other := freeAddress(t)
	config := e.caddyfile(staticPool(address), "@asleep path /asleep\nrespond @asleep 204\n"+pagesSite) +
		at("private.test") + " {\n\tedge_rules {\n\t\tprivate /*\n\t}\n\tedge_cache\n\tedge_proxy app\n}\n" +
		at("rewritten.test") + " {\n\trewrite /old/* /new{path}\n\tedge_rules {\n\t\tpage /new/* {\n\t\t\tedge 5s\n\t\t}\n\t}\n\tedge_cache\n\tedge_proxy app\n}\n" +
		at("guarded.test") + " {\n\tedge_rules {\n\t\tsource_map *.map {\n\t\t\ttoken 4c1b0a7e55d24f0c9d3e\n\t\t}\n\t\tpage /*\n\t}\n\tedge_cache\n\tedge_proxy app\n}\n" +
		at("bare.test") + " {\n\tedge_proxy app\n}\n" +
		at("named.test") + " {\n\tinvoke behind\n}\n" +
		"http://platform.test:" + other[strings.LastIndex(other, ":")+1:] + " {\n\tedge_rules {\n\t\tstatic /*\n\t}\n\tedge_cache\n\tedge_proxy app\n}\n"
	config = strings.Replace(config, "\n}\n"+e.URL, "\n}\n&(behind) {\n\troute {\n\t\tedge_cache\n\t\tedge_proxy app\n\t}\n}\n"+e.URL, 1)
	if err := e.loadText(config); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica is up", func() bool {
		replicas := e.poolStatus().Replicas
		return len(replicas) == 1 && replicas[0].State == "up"
	})
	for url, want := range map[string]struct{ rule, mode, decision, answers, note string }{
		e.URL + "/x":                       {"page /*", "cacheable", "fetch", "edge_proxy app", ""},
		e.URL + "/asleep":                  {"page /*", "cacheable", "fetch", "static_response", ""},
		e.URL + "/.edge/status":            {"page /*", "cacheable", "pass", "edge_control", "the control API answers"},
		at("private.test") + "/x":          {"private /*", "private", "pass", "edge_proxy app", ""},
		at("rewritten.test") + "/old/x":    {"page /new/*", "cacheable", "fetch", "edge_proxy app", ""},
		at("rewritten.test") + "/x":        {"", "origin", "fetch", "edge_proxy app", ""},
		at("bare.test") + "/x":             {"", "origin", "pass", "edge_proxy app", "no edge_cache on the way: edge_proxy app is asked each time"},
		at("named.test") + "/x":            {"", "origin", "fetch", "edge_proxy app", ""},
		at("guarded.test") + "/app.js.map": {"source_map *.map", "private", "pass", "edge_rules", "a guarded file, and no token of its rule: 404"},
		at("guarded.test") + "/app.js.map&header=Authorization:4c1b0a7e55d24f0c9d3e": {"source_map *.map", "private", "pass", "edge_proxy app", ""},
		at("nobody.test") + "/x":               {"", "origin", "pass", "", "no site of this gateway answers this URL"},
		"https://platform.test/through-a-port": {"static /*", "cacheable", "fetch", "edge_proxy app", ""},
	} {
		var got struct {
			Answers string
			Notes   []string
			Verdict struct{ Rule, Mode string }
			Cache   struct {
				Decision string
				Key      struct{ Scheme, Host, Target string }
			}
			Pick  *struct{ Address, Why string }
			Pools []struct{ Name string }
		}
		if code := e.control(http.MethodGet, "explain?url="+url, nil, &got); code != http.StatusOK {
			t.Errorf("%s: %d", url, code)
			continue
		}
		if got.Verdict.Rule != want.rule || got.Verdict.Mode != want.mode || got.Cache.Decision != want.decision || got.Answers != want.answers {
			t.Errorf("%s: %+v: want %+v", url, got, want)
		}
		if (want.note == "") != (len(got.Notes) == 0) || !slices.ContainsFunc(append(got.Notes, ""), func(note string) bool { return strings.HasPrefix(note, want.note) }) {
			t.Errorf("%s: notes %q: want %q", url, got.Notes, want.note)
		}
		proxied := strings.HasPrefix(want.answers, "edge_proxy")
		if proxied != (len(got.Pools) == 1) || proxied != (got.Pick != nil && got.Pick.Address == address && got.Pick.Why != "") {
			t.Errorf("%s: pools %+v, pick %+v: want app and its only replica only if one is asked", url, got.Pools, got.Pick)
		}
		if !strings.HasPrefix(url, got.Cache.Key.Scheme+"://"+got.Cache.Key.Host) {
			t.Errorf("%s: key %+v", url, got.Cache.Key)
		}
	}
	if n := fetches.Load(); n != 0 {
		t.Errorf("%d fetches: explaining must not fetch", n)
	}
}

// A record with one name twice is no JSON to many who read logs.
func TestThePurgeLogNamesEachFieldOnce(t *testing.T) {
	core, records := zapobserver.New(zapcore.DebugLevel)
	before := live.Load()
	live.Store(&App{logger: zap.New(core)})
	t.Cleanup(func() { live.Store(before) })
	onPurgeEvent(purge.Event{Kind: purge.OrderFinished, Err: fmt.Errorf("deadline passed"), Record: purge.Record{
		Order: purge.Order{ID: "p1"}, State: purge.Partial, Error: "deadline passed",
	}})
	all := records.AllUntimed()
	if len(all) != 1 {
		t.Fatalf("%d records: want one", len(all))
	}
	encoded, err := zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg"}).EncodeEntry(all[0].Entry, all[0].Context)
	if err != nil || !json.Valid(encoded.Bytes()) || strings.Count(encoded.String(), `"error":`) != 1 {
		t.Errorf("%s, %v: want error once", encoded, err)
	}
}
