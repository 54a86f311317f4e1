package httpcache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

// Handler serves requests from a Store, for one configuration. It is immutable
// and safe for concurrent use.
type Handler struct {
	// Store holds the answers. Required.
	Store *Store
	// Policy holds the options; its zero value is the safe default.
	Policy Policy
	// Seen says how the visitor addressed a request, where that is not what
	// the request itself says: the scheme, behind a proxy that ends TLS, or ""
	// to go by r.TLS; and the request target ("/path?query") where an earlier
	// handler rewrote it, or "" where none did. Purges by URL, prefix and host
	// go by what the visitor sent. Nil says neither. It must be cheap: it is
	// called several times for a request.
	Seen func(r *http.Request) (scheme, target string)
	// Answering is told, on the request's goroutine and before the header is
	// written, which version and replica made the stored or fetched answer, for
	// those who want it in the header; o is the request's. Nil for nobody. It
	// must be cheap.
	Answering func(o Origin, version, replica string)
	// Repeatable is told, likewise, of a hit that may be given again to the same
	// request. offer, which must be called at once if at all, says how; it
	// reports false if the store has changed meanwhile. Nil for nobody.
	Repeatable func(r *http.Request, offer func() (Offer, bool))
	// Event is told what people or metrics may want to know. Nil for nobody.
	// It is called on the goroutines of requests and fills and must not block.
	Event func(Event)
}

// Policy is what operators may choose about the cache itself.
type Policy struct {
	// Name stands in Cache-Status. Default "edge".
	Name string `json:"name,omitempty"`
	// Heuristic lets answers with a Last-Modified but no lifetime be fresh for
	// a tenth of their age, a day at most (RFC 9111, 4.2.2). Default off.
	Heuristic bool `json:"heuristic,omitempty"`
	// StoreSetCookie stores answers that set cookies, for everyone. Default
	// off; unsafe unless cookies are the same for all.
	StoreSetCookie bool `json:"unsafe_store_set_cookie,omitempty"`
	// StaleOnError is how long past its lifetime an answer may be served while
	// the origin fails, where neither origin nor rule say (RFC 9111, 4.2.4).
	// Default 0: not at all.
	StaleOnError unit.Duration `json:"stale_on_error,omitempty"`
	// StaleUnreachable is how long past its lifetime an answer that had one
	// may be served while the origin gives no answer at all, where neither
	// origin nor rule say (RFC 9111, 4.2.4). Default 10m, as for pages.
	StaleUnreachable unit.Duration `json:"stale_unreachable,omitempty"`
	// NormalizeVary names request fields whose values are made equal, as far as
	// their definitions permit, before an answer that varies by them is looked
	// for (RFC 9111, 4.1): Accept, Accept-Charset and Accept-Language by case
	// and weights, others as lists, "*" for all. Default none.
	NormalizeVary []string `json:"normalize_vary,omitempty"`
	// MaxRefreshes is how many background refreshes the store may have at
	// once. Default 64. Past it stale answers are served without a refresh.
	MaxRefreshes int64 `json:"max_refreshes,omitempty"`
	// Abandon is how long a fetch may go on after everybody who waited for it
	// has left. Default 1m.
	Abandon unit.Duration `json:"abandon,omitempty"`
	// Encode is about content codings. Default on.
	Encode Encoding `json:"encode,omitzero"`
}

// Validate reports every mistake.
func (p *Policy) Validate() error {
	var errs []error
	if strings.ContainsFunc(p.Name, func(r rune) bool { return r < ' ' || r > '~' }) {
		errs = append(errs, fmt.Errorf("name %q: want printable ASCII (RFC 9211, 2)", p.Name))
	}
	if _, err := ParseNormalizeVary(p.NormalizeVary); err != nil {
		errs = append(errs, fmt.Errorf("normalize_vary %w", err))
	}
	if p.StaleOnError < 0 {
		errs = append(errs, fmt.Errorf("stale_on_error %s: want 0 or more", p.StaleOnError))
	}
	if p.StaleUnreachable < 0 {
		errs = append(errs, fmt.Errorf("stale_unreachable %s: want more than 0, or 0 for %s", p.StaleUnreachable, defaultStaleUnreachable))
	}
	if p.MaxRefreshes < 0 {
		errs = append(errs, fmt.Errorf("max_refreshes %d: want 1 or more, or 0 for %d", p.MaxRefreshes, defaultMaxRefreshes))
	}
	if p.Abandon < 0 {
		errs = append(errs, fmt.Errorf("abandon %s: want more than 0, or 0 for %s", p.Abandon, defaultAbandon))
	}
	return errors.Join(append(errs, p.Encode.Validate())...)
}

// Conformance is the policy that the public HTTP cache test suite asks for:
// every option on that it tests. Answers go as the origin sent them: it
// compares their fields.
func Conformance() Policy {
	return Policy{
		Heuristic: true, StoreSetCookie: true, StaleOnError: unit.Duration(24 * time.Hour),
		NormalizeVary: []string{allFields}, Encode: Encoding{Off: true},
	}
}

const (
	defaultName         = "edge"
	defaultMaxRefreshes = 64
	defaultAbandon      = time.Minute

	defaultStaleUnreachable = 10 * time.Minute
)

func (p *Policy) withDefaults() Policy {
	q := *p
	if q.Name == "" {
		q.Name = defaultName
	}
	if q.MaxRefreshes <= 0 {
		q.MaxRefreshes = defaultMaxRefreshes
	}
	q.Abandon = unit.Duration(q.Abandon.Or(defaultAbandon))
	return q
}

// Origin answers what the cache cannot. Each request has its own.
type Origin interface {
	// Detach returns a copy of r that may be used on another goroutine, after
	// the client has gone too, and carries ctx. It is called on the client's
	// goroutine. The copy's header is changed by the cache.
	Detach(ctx context.Context, r *http.Request) *http.Request
	// Fetch answers r through w, as an http.Handler does. An error means that
	// nothing was written; a panic cuts the answer off.
	Fetch(w http.ResponseWriter, r *http.Request) error
	// Source says who answered r, the request that Fetch was given. It is
	// asked when the final header is about to be written.
	Source(r *http.Request) Source
}

// Source is who answered a request.
type Source struct {
	// Version and Replica are empty when unknown.
	Version, Replica string
	// Current is false for a version that may not be stored, because another
	// one is the current one: the answer is served, not stored, and the CDN
	// is told not to store it either. Fingerprinted answers are exempt.
	Current bool
}

// Result is what became of a request, for logs and metrics.
type Result struct {
	Status Status
	Reason Reason
	// Stored: the answer went into the cache. Collapsed: it came from a fetch
	// that another request had begun.
	Stored, Collapsed bool
	// Code is the status code sent; zero if none was.
	Code int
	// Age and TTL are those of a stored answer; TTL is negative when stale.
	Age, TTL time.Duration
	// Generation is the one at which the exchange began.
	Generation uint64
	// Version and Replica produced the answer.
	Version, Replica string
	// Length is the Content-Length that was left to the server to write, empty
	// if the header had it.
	Length string
}

// EventKind names an Event.
type EventKind string

const (
	// EventStored: an answer went into the store.
	EventStored EventKind = "stored"
	// EventEvicted: Count answers made room.
	EventEvicted EventKind = "evicted"
	// EventFenced: a purge kept an answer from being stored.
	EventFenced EventKind = "fenced"
	// EventFillFailed: a fetch failed, or its answer was cut off.
	EventFillFailed EventKind = "fill-failed"
	// EventRefreshFailed: likewise, in the background.
	EventRefreshFailed EventKind = "refresh-failed"
	// EventFault: this engine failed; the visitor was served all the same.
	EventFault EventKind = "fault"
)

// Event is something that happened in the cache.
type Event struct {
	Kind EventKind
	// Host and Path of the request; empty for evictions.
	Host, Path string
	Reason     Reason
	Count      int
	Err        error
}

// emit tells the listener. A fault of the listener is counted, and stops here.
func (h *Handler) emit(e Event) {
	if h.Event == nil {
		return
	}
	defer func() {
		if recover() != nil {
			h.Store.counters.faults.Add(1)
		}
	}()
	h.Event(e)
}

// reserve makes room in the store and tells what had to go for it.
func (h *Handler) reserve(hash uint64, n int64) bool {
	evicted, ok := h.Store.reserve(hash, n)
	if evicted > 0 {
		h.emit(Event{Kind: EventEvicted, Count: evicted})
	}
	return ok
}

// fault reports a failure of this engine.
func (h *Handler) fault(host, path string, err error) {
	h.Store.counters.faults.Add(1)
	h.emit(Event{Kind: EventFault, Host: host, Path: path, Reason: ReasonFault, Count: 1, Err: err})
}
