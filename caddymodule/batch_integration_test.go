package caddymodule

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

func TestALogInBatchesHasAllRecordsInTheEnd(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	e := newEdge(t)
	batched := func(text string) string { return strings.Replace(text, "output file", "output edge_batch file", 1) }
	if err := e.loadText(batched(e.caddyfile(staticPool(address), pagesSite))); err != nil {
		t.Fatal(err)
	}
	e.logged(e.get("/first").Header.Get("X-Request-Id")) // within a tenth of a second, while all goes on

	var ids []string
	ask := func() {
		for n := range 20 {
			ids = append(ids, e.get(fmt.Sprintf("/page/%d", n%3)).Header.Get("X-Request-Id"))
		}
	}
	ask()
	if err := e.loadText(batched(e.caddyfile(staticPool(address), pagesSite+"\n# changed"))); err != nil {
		t.Fatal(err)
	}
	ask()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	there := make(map[any]int)
	for _, record := range e.records() {
		there[record["request_id"]]++
	}
	for _, id := range ids {
		if there[id] != 1 {
			t.Errorf("%d records of %s when all has ended: want one", there[id], id)
		}
	}
}

func TestADiskThatIsFullDropsRecordsAndNoRequest(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Fatalf("no /dev/full to stand for a disk that is full: %v", err)
	}
	address, _ := counting(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	e := newEdge(t)
	e.accessLog = "/dev/full"
	text := strings.Replace(e.caddyfile(staticPool(address), pagesSite), "output file \"/dev/full\"", "output edge_batch file /dev/full {\n\t\t\troll_disabled\n\t\t}", 1)
	if err := e.loadText(text); err != nil {
		t.Fatal(err)
	}
	before := scrape(t, e.metricsURL())["edge_log_dropped_total"]
	for range 5 {
		if got := e.get("/page"); got.StatusCode != http.StatusOK || got.Text != "page" {
			t.Errorf("%d %q: want the page", got.StatusCode, got.Text)
		}
	}
	eventually(t, "the records that were dropped are counted", func() bool {
		return scrape(t, e.metricsURL())["edge_log_dropped_total"] >= before+5
	})
}

func TestWhatCannotStandBehindABatch(t *testing.T) {
	e := newEdge(t)
	for name, c := range map[string]struct{ output, says string }{
		"nothing":       {"edge_batch", `edge_batch "edge_batch": want the writer behind it, file, stdout or stderr`},
		"a connection":  {"edge_batch net localhost:514", `edge_batch "net": want the writer behind it, file, stdout or stderr`},
		"a batch again": {"edge_batch edge_batch file /dev/null", `edge_batch "edge_batch": want`},
	} {
		t.Run(name, func(t *testing.T) {
			text := e.caddyfile("", pagesSite)
			at := strings.Index(text, "output file")
			line := text[at : at+strings.IndexByte(text[at:], '\n')]
			err := e.loadText(strings.Replace(text, line, "output "+c.output, 1))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v: want %q", err, c.says)
			}
		})
	}
}
