package caddymodule

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// everyBoring records each boring request of a test, by edge's own log.
const everyBoring = "log_sampling {\n\tfirst 1000000\n}\n"

// logTrial does with a request what handlers may do that the log tells of.
type logTrial struct{}

func init() {
	caddy.RegisterModule(logTrial{})
	httpcaddyfile.RegisterHandlerDirective("test_log_trial", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return new(logTrial), nil
	})
}

func (logTrial) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_log_trial", New: func() caddy.Module { return new(logTrial) }}
}

// ownTrials counts the requests whose record is not Caddy's.
var ownTrials atomic.Int64

func (logTrial) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if reader, _ := caddyhttp.IdleTimeoutsFromContext(r.Context()); recordWriterOf(reader) != nil {
		ownTrials.Add(1)
	}
	switch strings.TrimPrefix(r.URL.Path, "/trial/") {
	case "cut":
		fmt.Fprint(w, "half")
		panic(http.ErrAbortHandler)
	case "hints":
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		fmt.Fprint(w, "then this")
	case "twice":
		w.WriteHeader(http.StatusAccepted)
		w.WriteHeader(http.StatusTeapot)
	case "silence":
		return nil
	case "flush":
		if err := http.NewResponseController(w).Flush(); err != nil {
			return err
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, "flushed")
		return http.NewResponseController(w).Flush()
	case "copy":
		_, err := io.Copy(w, strings.NewReader(strings.Repeat("copy", 50_000)))
		return err
	case "read":
		_, err := io.Copy(io.Discard, r.Body)
		return err
	case "half-read":
		_, err := io.ReadFull(r.Body, make([]byte, 10))
		return err
	case "teapot":
		return caddyhttp.Error(http.StatusTeapot, fmt.Errorf("short and stout"))
	case "broken":
		return fmt.Errorf("no status")
	case "late":
		w.WriteHeader(http.StatusOK)
		return fmt.Errorf("too late")
	}
	leaveNotes(w, r)
	return next.ServeHTTP(w, r)
}

// leaveNotes tells the log something, or changes what it must not see changed.
func leaveNotes(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	switch strings.TrimPrefix(r.URL.Path, "/trial/") {
	case "names":
		caddyhttp.SetVar(ctx, caddyhttp.AccessLoggerNameVarKey, []any{"chosen", ""})
	case "level":
		caddyhttp.SetVar(ctx, caddyhttp.LogLevelVar, "warn")
	case "unhandled":
		caddyhttp.SetVar(ctx, "unhandled", true)
	case "user":
		ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set("http.auth.user.id", "ann")
	case "extra":
		extra := ctx.Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields)
		extra.Add(zap.Strings("one", []string{"a", "b"}))
		extra.Add(zap.Any("two", map[string]int{"three": 3}))
	case "changes":
		r.Method, r.Host, r.RequestURI, r.RemoteAddr = "PUT", "other.test", "/other", "192.0.2.1:1"
		r.Header.Set("User-Agent", "another")
		for i := range r.Header["X-Two"] {
			r.Header["X-Two"][i] = "changed"
		}
		r.Header.Del("X-Gone")
		r.Body = http.MaxBytesReader(w, r.Body, 1000)
	}
}

const ownLogCaddyfile = `{
	admin off
	persist_config off
	auto_https off
	grace_period 2s
	log {
		output file %[1]s/default.log
	}
	log chosen {
		output file %[1]s/chosen.log
		include http.log.access.chosen
	}
	servers {
		trusted_proxies static 127.0.0.1
		listener_wrappers {
			edge
			tls
		}
	}
	edge {
		state_dir %[2]q
		pool app {
			discover static %[3]s
		}
		%[4]s
	}
}
(site) {
	log_append orig {http.request.orig_uri}
	log_skip /skipped
	route {
		test_log_trial
		request_header X-Added yes
		request_header X-Two changed again
		rewrite /rewritten/* /page
		respond /respond "hello"
		respond /nothing 304
		error /error "no" 404
		error /error500 "no" 500
		edge_rules {
			private /account /chat
			page /* {
				edge 1h
			}
		}
		edge_cache
		edge_proxy app
	}
}
http://one.test:%[5]s {
	log {
		output file %[1]s/one.log
	}
	import site
	handle_errors 404 5xx {
		log_append failed yes
		respond "sorry {err.status_code}"
	}
}
http://two.test:%[5]s {
	log two {
		output file %[1]s/two.log
	}
	log second {
		output file %[1]s/second.log
	}
	import site
}
http://unlogged.test:%[5]s {
	import site
}
http://*.wild.test:%[5]s {
	log {
		output file %[1]s/wild.log
	}
	import site
}
http://respond.test:%[5]s {
	log {
		output file %[1]s/respond.log
	}
	respond "no handler of edge's"
}
http://:%[6]s {
	log {
		output file %[1]s/any.log
	}
	import site
}
https://one.test:%[7]s {
	tls %[8]s/cert.pem %[8]s/key.pem
	log {
		output file %[1]s/secure.log
	}
	import site
}
`

// ownLogWorld is a gateway with several sites.
type ownLogWorld struct {
	t                   *testing.T
	plain, any, secure  string // addresses
	origin, certificate string
	state, logs         string
}

func newOwnLogWorld(t *testing.T) *ownLogWorld {
	t.Helper()
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			conn, in, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
			line, _ := in.ReadString('\n') // what came until then
			fmt.Fprint(conn, line)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body) // a client that goes is told of elsewhere
		switch r.URL.Path {
		case "/account":
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
		case "/fails":
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Etag", `"1"`)
		http.ServeContent(w, r, "page.txt", time.Time{}, strings.NewReader("the page"))
	})
	w := &ownLogWorld{t: t, plain: freeAddress(t), any: freeAddress(t), secure: freeAddress(t), origin: origin,
		certificate: writeCertificate(t), state: t.TempDir()}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return w
}

// load has logs written anew, in a folder of their own.
func (w *ownLogWorld) load(block string) {
	w.t.Helper()
	w.logs = w.t.TempDir()
	port := func(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
	text := fmt.Sprintf(ownLogCaddyfile, w.logs, w.state, w.origin, block, port(w.plain), port(w.any), port(w.secure), w.certificate)
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		w.t.Fatal(err)
	}
	// A Caddyfile has no words for these.
	plain := bytes.Replace(adapted, []byte(`"logger_names":{"*.wild.test"`), []byte(`"skip_hosts":["unlogged.test"],"skip_unmapped_hosts":true,"logger_names":{"*.wild.test"`), 1)
	if bytes.Equal(plain, adapted) {
		w.t.Fatalf("no logger for *.wild.test in %s", adapted)
	}
	if err := caddy.Load(plain, true); err != nil {
		w.t.Fatal(err)
	}
}
