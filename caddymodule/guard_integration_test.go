package caddymodule

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/deploy"
)

// brokenEnv makes a replica one whose build went wrong: its pages are there, and
// for assets it has nothing (missing), or the application's page (html), as a
// server has that sends every unknown path to the front page.
const brokenEnv = "EDGE_TEST_REPLICA_BROKEN"

func runBroken(ctx context.Context, version, how string, out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-App-Version", version)
		switch asset := strings.HasPrefix(r.URL.Path, "/assets/"); {
		case asset && how == "missing":
			http.NotFound(w, r)
		case r.URL.Path == "/healthz":
			fmt.Fprintln(w, "ok")
		default:
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprintf(w, `<!doctype html><script src="/assets/app.%s.js"></script>`, version)
		}
	})}
	fmt.Fprintf(out, "broken %s on %s\n", version, l.Addr())
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}

// broken runs such a replica, if that is what this process is to be.
func broken(version string) (is bool, err error) {
	how := os.Getenv(brokenEnv)
	if how == "" {
		return false, nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return true, runBroken(ctx, version, how, os.Stdout)
}

// namedScript finds the script that a page needs.
var namedScript = regexp.MustCompile(`src="(/assets/[^"]+)"`)

// visitors ask for a page and the script that it names, each once, from many
// addresses, for as long as it takes until the condition holds.
func (e *edge) visitors(what string, first int, holds func() bool) {
	e.t.Helper()
	n := first
	eventually(e.t, what, func() bool {
		for range 10 {
			n++
			client := fmt.Sprintf("203.0.%d.%d", n/250, n%250)
			page := e.get("/contacts", "X-Forwarded-For", client)
			if found := namedScript.FindStringSubmatch(page.Text); found != nil {
				e.get(found[1], "X-Forwarded-For", client)
			}
		}
		return holds()
	})
}

// A version whose pages name scripts that it does not have is not let in, though
// its checks pass and it fails no request for a page. Scripts that are there are
// hits, after the first time.
func TestTheGuardSeesAssetsThatAreNotThere(t *testing.T) {
	for how, want := range map[string]string{"missing": "missing assets", "html": "html for assets", "": ""} {
		t.Run(how, func(t *testing.T) {
			list := filepath.Join(t.TempDir(), "replicas")
			names := func(replicas ...replica) {
				var text strings.Builder
				for _, r := range replicas {
					text.WriteString(r.address + "\n")
				}
				if err := os.WriteFile(list, []byte(text.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			old := startReplica(t, "v1")
			names(old)
			e := newEdge(t)
			text := e.caddyfile(fmt.Sprintf(`pool app {
	discover file %q
	policy random
	health /healthz {
		interval 100ms
		version_header X-App-Version
	}
	slow_start 1ms
	drain 200ms
	guard {
		warmup 1h
	}
}`, list), `edge_rules {
	fingerprinted /assets/*
	private /*
}
edge_cache
edge_proxy app`)
			text = strings.Replace(text, "servers {\n\t\tlistener_wrappers", "servers {\n\t\ttrusted_proxies static 127.0.0.0/8\n\t\tlistener_wrappers", 1)
			if err := e.loadText(text); err != nil {
				t.Fatal(err)
			}
			eventually(t, "v1 is current", func() bool { return (controlled{}).Versions()["app"].Current == "v1" })
			asked := 0
			e.visitors("v1 was asked for its script", 0, func() bool { asked += 10; return asked >= 60 })

			fresh := startReplicaWith(t, "v2", brokenEnv+"="+how)
			names(old, fresh)
			newest := func() deploy.Record {
				if found := (controlled{}).Deploys("app", 1); len(found) > 0 {
					return found[0]
				}
				return deploy.Record{}
			}
			eventually(t, "both versions are there", func() bool { return newest().Stage == deploy.Rolling })
			if want == "" {
				e.visitors("v2 was asked for its script", 1000, func() bool { return newest().Traffic["v2"].Requests > 100 })
				if got := newest(); got.Stage != deploy.Rolling || len(got.Guard) > 0 {
					t.Fatalf("%+v: a false alarm", got)
				}
				names(fresh)
				eventually(t, "v2 is current", func() bool { return newest().Stage == deploy.Done && newest().Version == "v2" })
				return
			}
			e.visitors("v2 is held back", 1000, func() bool { return newest().Stage == deploy.Held })
			if got := newest(); len(got.Guard) != 1 || got.Guard[0].What != want || !strings.Contains(got.Error, want) {
				t.Errorf("%+v: want it held for %s", got, want)
			}
			var refused deploy.Record
			if code := e.control(http.MethodPost, "deploy", map[string]string{"version": "v2"}, &refused); code != http.StatusAccepted || refused.Stage != deploy.Refused || refused.Exit != 7 {
				t.Errorf("%d, %+v: want it refused with exit code 7", code, refused)
			}
			// Only it is left, and still it is not let in.
			names(fresh)
			eventually(t, "v1 is gone", func() bool { return len(e.poolStatus().Replicas) == 1 })
			if got := (controlled{}).Versions()["app"].Current; got != "v1" || len((controlled{}).Purges(t.Context(), 5)) != 0 {
				t.Errorf("current %s: want v1, and nothing purged", got)
			}
		})
	}
}
