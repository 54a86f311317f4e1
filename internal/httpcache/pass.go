package httpcache

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
)

// pass sends the request to the origin as it is, on the client's own goroutine.
// The answer goes straight through; only its header is edited.
func (x *exchange) pass(reason Reason) (res Result, err error) {
	w := &passWriter{ResponseWriter: x.w, x: x, reason: reason}
	w.result = Result{Status: statusFor(reason), Reason: reason}
	if reason == ReasonHead || reason == ReasonRange {
		w.at = x.stamp()
	}
	complete := false
	defer func() { res.Stored = w.capture.end(complete) }()
	err = x.o.Fetch(w, x.plainTags())
	if err != nil {
		w.result.Status = StatusError
	} else if !w.wrote {
		w.WriteHeader(http.StatusOK) // as net/http does for a silent handler
	}
	complete = err == nil
	return w.result, err
}

// passWriter edits the header of an answer that passes through. Everything
// that the client's writer can do, it can.
type passWriter struct {
	http.ResponseWriter
	x      *exchange
	reason Reason
	result Result
	wrote  bool
	at     stamp // of a HEAD or a Range
	// capture copies a part that may be kept; nil for none.
	capture *capture
}

// WriteHeader edits and writes the final header; 1xx responses pass as they are.
func (w *passWriter) WriteHeader(status int) {
	if w.wrote {
		return
	}
	if status == http.StatusSwitchingProtocols {
		w.x.leave()
	}
	if status < 200 {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.wrote = true
	w.edit(status)
	w.ResponseWriter.WriteHeader(status)
}

// edit writes into the header what CDN and browsers shall do with the answer,
// and what this cache did. After a fault of ours the answer goes as it came,
// except that the CDN is told not to keep it.
func (w *passWriter) edit(status int) {
	x, h := w.x, w.Header()
	defer func() {
		if p := recover(); p != nil {
			cacherules.ForbidCDN(h)
			x.h.fault(x.r.Host, x.r.URL.Path, fmt.Errorf("editing panicked: %v", p))
		}
	}()
	source := x.o.Source(x.r)
	w.result.Code, w.result.Version, w.result.Replica = status, source.Version, source.Replica
	if forbidsEveryone(h) {
		x.leave()
	}
	x.watch(status, h, source)
	switch w.reason {
	case ReasonHead:
		x.learnFromHead(status, h, source, w.at)
	case ReasonRange:
		w.capture = x.capture(status, h, source, w.at)
	}
	x.invalidate(status, h)
	x.v.Respond(cacherules.Response{
		Status: status, Header: h, Bypassed: x.v.Bypasses(x.r), Version: source.Version, Request: x.r,
		Path: x.askedPath(),
	})
	// What no key covers must not be stored further out either.
	if unkeyed(w.reason) || x.overridden() || !source.Current && !x.v.Fingerprinted {
		cacherules.ForbidCDN(h)
	}
	line := cacheStatus(x.h.name(), statusLine{forward: forwardFor(w.reason), stored: w.capture != nil, reason: w.reason})
	h[statusField] = append(h[statusField][:len(h[statusField]):len(h[statusField])], line)
}

// unkeyed reports a request with a part that no key covers, of any cache.
func unkeyed(reason Reason) bool {
	return reason == ReasonMethodOverride || reason == ReasonRequestBody || reason == ReasonConnection
}

// watch ends the memory of an uncacheable key when an answer could be stored
// after all, so that the next request fills; else it remembers the newest
// reason.
func (x *exchange) watch(status int, h http.Header, source Source) {
	if x.key == nil || forbidsEveryone(h) || x.r.Method != http.MethodGet || len(x.r.Header["Range"]) > 0 {
		return
	}
	clean := withoutHopByHop(h)
	facts := answerFacts{
		status: status, header: clean, control: controlOf(clean), verdict: x.v, policy: &x.h.Policy,
		path: x.askedPath(),
	}
	facts.date = dateOf(clean, time.Now())
	reason := storable(x.r.Header, facts, source).reason
	if reason == "" && declaredLength(clean) > x.h.Store.largest() {
		reason = ReasonTooLarge
	}
	if reason == "" {
		x.h.Store.accept(x.hash)
		return
	}
	x.h.Store.explain(x.hash, reason, time.Now())
}

// overridden reports a request whose answer a CDN would take for another's.
func (x *exchange) overridden() bool {
	return x.h.overridden(x.r) || shaped(x.r.Header, x.v)
}

// askedPath is the path by which the visitor asked, decoded.
func (x *exchange) askedPath() string {
	if _, target := x.h.seen(x.r); target == "" {
		return x.r.URL.Path
	}
	p := x.h.placeOfRequest(x.r)
	return p.pathName()
}

// Write implements http.ResponseWriter.
func (w *passWriter) Write(p []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	w.capture.write(p)
	return w.ResponseWriter.Write(p)
}

// ReadFrom keeps the client connection's own way of copying.
func (w *passWriter) ReadFrom(r io.Reader) (int64, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	if w.capture != nil {
		return io.Copy(struct{ io.Writer }{w}, r)
	}
	return io.Copy(w.ResponseWriter, r)
}

// Unwrap is for http.ResponseController.
func (w *passWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// FlushError is for http.ResponseController.
func (w *passWriter) FlushError() error {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush is for handlers that ask for an http.Flusher.
func (w *passWriter) Flush() { _ = w.FlushError() } // it has no way to say

// Hijack hands the connection over, as for WebSockets.
func (w *passWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.x.leave()
	w.wrote = true
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// forbidsEveryone reports an answer that no cache may keep, or that never ends:
// nobody has to wait for it before purging further out.
func forbidsEveryone(h http.Header) bool {
	if isEventStream(h) {
		return true
	}
	d := cacherules.ParseDirectives(h["Cache-Control"])
	return (d.NoStore || d.Private) && len(h[cdnField]) == 0 && len(h[cloudflareField]) == 0
}
