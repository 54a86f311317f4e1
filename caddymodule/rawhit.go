package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/rawhit"
)

// RawHits is the listener wrapper edge_hits. A request that is the same as one
// that the site's handlers have answered from the cache, but for fields that its
// answer does not depend on, is answered on the connection: as they would, in a
// third of the CPU. Everything else goes the usual way.
//
//	servers {
//	    listener_wrappers {
//	        edge
//	        tls
//	        edge_hits
//	    }
//	}
//
// It stands last. It does nothing, and says so once in the log, where an answer
// may depend on more than the request, or somebody wants to know of each: see
// the documentation. Without the word in the configuration it is off. It goes
// for HTTP/1.1, and for HTTP/2 over TLS unless that is off:
//
//	edge_hits {
//	    http2 off
//	}
type RawHits struct {
	// HTTP2Off leaves HTTP/2 to the standard server alone.
	HTTP2Off bool `json:"http2_off,omitempty"`

	server  *caddyhttp.Server
	table   *rawhit.Table
	ctx     caddy.Context
	access  *zap.Logger // of the access log
	scribes *scribes
	traced  bool // some requests are
	once    sync.Once
}

// CaddyModule returns the Caddy module information.
func (*RawHits) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.edge_hits", New: func() caddy.Module { return new(RawHits) }}
}

// UnmarshalCaddyfile reads the word edge_hits and its block.
func (h *RawHits) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.Errf("edge_hits: spare argument %q: the listener wrapper takes none", d.Val())
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if word := d.Val(); word != "http2" {
			return d.Errf("edge_hits: unknown word %q: want http2 off", word)
		}
		if args := d.RemainingArgs(); len(args) != 1 || args[0] != "off" && args[0] != "on" {
			return d.Errf("edge_hits: http2 %s: want on, which it is without the word, or off", strings.Join(args, " "))
		}
		h.HTTP2Off = d.Val() == "off"
	}
	return nil
}

// tables are those of the servers that have one.
var tables = struct {
	sync.Mutex

	of map[*caddyhttp.Server]*RawHits
}{of: make(map[*caddyhttp.Server]*RawHits)}

func rawHitsOf(ctx caddy.Context) *RawHits {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return nil
	}
	tables.Lock()
	defer tables.Unlock()
	return tables.of[server]
}

// Provision looks at what the server does.
func (h *RawHits) Provision(ctx caddy.Context) error {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return fmt.Errorf("edge_hits: got no HTTP server: want it among the listener_wrappers of one")
	}
	h.ctx = ctx
	kept, why := surveyServer(server)
	if !rawhit.Supported() {
		why = "this build's version of Go has not been checked"
	}
	if why != "" {
		h.off(why)
		return nil
	}
	h.server = server
	choose := h.tracing(ctx)
	if h.traced = choose != nil; h.traced {
		kept = append(kept, traceparentField) // who calls may say that it is traced
	}
	h.table = rawhit.NewTable(rawhit.Config{
		Kept:   kept,
		Choose: choose,
		Idle:   func() time.Duration { return time.Duration(server.IdleTimeout) },
		Write: func() time.Duration {
			if whole := time.Duration(server.WriteTimeout); whole > 0 {
				return min(whole, time.Duration(server.WriteIdleTimeout))
			}
			return time.Duration(server.WriteIdleTimeout)
		},
		Handshake: func() time.Duration { return handshakeTimeout(server) },
		Unwrap:    beneathCaddy,
		HTTP2:     !h.HTTP2Off,
	})
	server.RegisterConnContext(h.table.ConnContext)
	server.RegisterConnState(h.table.ConnState)
	server.RegisterOnShutdown(h.table.Drain)
	server.RegisterOnStop(h.table.Wait)
	h.access, h.scribes = zap.NewNop(), newScribes()
	tables.Lock()
	defer tables.Unlock()
	tables.of[server] = h
	return nil
}

// handshakeTimeout is the one that net/http has for a server.
func handshakeTimeout(s *caddyhttp.Server) (least time.Duration) {
	for _, limit := range []caddy.Duration{s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout} {
		if d := time.Duration(limit); d > 0 && (least == 0 || d < least) {
			least = d
		}
	}
	return least
}

// beneathCaddy takes off what Caddy puts around the connections of listener
// wrappers, which passes everything on as it comes, and nothing of others.
func beneathCaddy(nc net.Conn) net.Conn {
	for {
		v := reflect.ValueOf(nc)
		if v.Kind() != reflect.Struct || v.Type().PkgPath() != caddyhttpPath {
			return nc
		}
		field := v.FieldByName("Conn")
		if !field.IsValid() || !field.CanInterface() {
			return nc
		}
		inner, ok := field.Interface().(net.Conn)
		if !ok {
			return nc
		}
		nc = inner
	}
}

var caddyhttpPath = reflect.TypeFor[caddyhttp.Server]().PkgPath()

// tracing picks the requests that are traced, which the handlers do; it is nil
// when none is.
func (h *RawHits) tracing(ctx caddy.Context) (choose func() bool) {
	app, err := ctx.AppIfConfigured("edge")
	if err != nil {
		return nil // then there is no edge_cache either, of which to answer hits
	}
	if v := app.(*App).visits; v != nil {
		return v.tossed
	}
	return nil
}

func (h *RawHits) off(why string) {
	h.ctx.Logger().Warn("edge_hits does nothing for this server", zap.String("reason", why))
}

// sendRawHitsTheLongWay has every request answered by the handlers, of which
// replies ask the client to take another connection.
func sendRawHitsTheLongWay() {
	tables.Lock()
	defer tables.Unlock()
	for _, h := range tables.of {
		h.table.Drain()
	}
}

// Cleanup forgets the server, which has stopped, and writes the last records.
func (h *RawHits) Cleanup() error {
	if h.table == nil {
		return nil
	}
	tables.Lock()
	delete(tables.of, h.server)
	tables.Unlock()
	h.table.Drain()
	err := h.table.Wait(context.Background()) // what is being written has a deadline
	h.table.Stop()
	return errors.Join(err, syncBatches()) // whose own cleanup may have been before
}

// WrapListener takes the listener of a server that starts.
func (h *RawHits) WrapListener(l net.Listener) net.Listener {
	if h.table == nil {
		return l
	}
	app, err := h.ctx.App("http")
	if err != nil || app.(*caddyhttp.App).Metrics != nil {
		h.table.Drain()
		h.off("Caddy's own metrics count every request")
		return l
	}
	h.once.Do(func() {
		h.access = h.ctx.Logger(app.(*caddyhttp.App)).Named("log.access")
		h.table.Start()
	})
	return h.table.Listener(l)
}

// learn tells the connection of a hit what may be given again.
func (h *RawHits) learn(r *http.Request, offer func() (httpcache.Offer, bool)) {
	rawhit.Learn(r, func() (rawhit.Hit, bool) {
		ex, ok := exchangeOf(r)
		if !ok || ex.spans != nil || h.traced && len(r.Header[traceparentField]) > 0 {
			return rawhit.Hit{}, false // no two requests of a trace are the same
		}
		offered, ok := offer()
		if !ok {
			return rawhit.Hit{}, false
		}
		trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
		rule := ""
		if ex.verdict != nil {
			rule = ex.verdict.Rule
		}
		hit := rawhit.Hit{
			Answer: answer{offered.Repeat}, Age: offered.Age, TTL: offered.TTL, Body: offered.Body, Date: offered.Date,
			Trusted: trusted, Varies: offered.Varies,
			Count: countRepeated(rule),
		}
		if log := rawLogOf(h.server, r.Host, h.access, h.scribes); log != nil {
			log.fields = hitFields(ex, offered)
			hit.Log = log.write
			if a := live.Load(); a != nil && a.bored != nil {
				hit.Keep = a.bored.records
			}
		}
		return hit, true
	})
}

// answer is a stored answer, as rawhit sees it.
type answer struct{ repeat *httpcache.Repeat }

func (a answer) Begin(now time.Time) (rawhit.Reply, bool) {
	use, ok := a.repeat.Begin(now)
	if !ok {
		return rawhit.Reply{}, false
	}
	return rawhit.Reply{Age: use.Age, TTL: use.TTL, Body: use.Body, Exchange: use.Exchange}, true
}

var (
	_ caddy.Provisioner     = (*RawHits)(nil)
	_ caddy.CleanerUpper    = (*RawHits)(nil)
	_ caddy.ListenerWrapper = (*RawHits)(nil)
	_ caddyfile.Unmarshaler = (*RawHits)(nil)
)
