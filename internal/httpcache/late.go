package httpcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/edgegw/edge/internal/disk"
)

// A body that is too large for memory loses its beginning there as soon as the
// first readers have it. Who comes later reads what a spill has written so far,
// and then what it writes:
//
//	spill: writes bytes to the file      latecomer: waits for news
//	spill: says so to growth             latecomer: reads them, sends them
//
// When the disk gives up meanwhile, or hangs, the origin is asked for the rest. So that
// this can be done, an answer needs a strong entity tag and a declared length.

// growth is how far a file has grown. Its lock is held for moments only.
type growth struct {
	mu      sync.Mutex
	writing *disk.Writing // nil until the file is there
	written int64
	ended   bool // nothing more is written
	whole   bool // since all is
	readers int
	news    chan struct{} // closed when something has changed; nil if nobody waits
}

// change changes something, and tells who waits.
func (g *growth) change(do func(g *growth)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	do(g)
	wake(&g.news)
}

// errUnwritten: the file will not become whole.
var errUnwritten = errors.New("body is not written to the end")

// begun gives the file, or a channel that closes when there is news.
func (g *growth) begun() (*disk.Writing, <-chan struct{}, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.writing != nil {
		return g.writing, nil, nil
	}
	news, err := g.newsLocked()
	return nil, news, err
}

// beyond tells how far the file goes beyond an offset, or gives a channel that
// closes when there is news.
func (g *growth) beyond(offset int64) (end int64, news <-chan struct{}, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.written > offset {
		return g.written, nil, nil
	}
	news, err = g.newsLocked()
	return offset, news, err
}

func (g *growth) newsLocked() (<-chan struct{}, error) {
	if g.ended && !g.whole {
		return nil, errUnwritten
	}
	if g.news == nil {
		g.news = make(chan struct{})
	}
	return g.news, nil
}

func (g *growth) followed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.readers > 0
}

// latecomer is a place among those who read the file.
type latecomer struct {
	f *fill
	g *growth
}

// attachLate takes a place among those who read the body from the file that it
// is written to; nil when there is none, or reading it might come to nothing.
func (f *fill) attachLate() *latecomer {
	sp := f.spill.Load()
	if sp == nil || f.head.length() < 0 || !isStrong(f.head.etag()) || sp.lost.Load() {
		return nil
	}
	sp.growth.mu.Lock()
	defer sp.growth.mu.Unlock()
	if sp.growth.ended && !sp.growth.whole {
		return nil
	}
	sp.growth.readers++
	return &latecomer{f: f, g: &sp.growth}
}

func (l *latecomer) detach() {
	l.g.mu.Lock()
	l.g.readers--
	l.g.mu.Unlock()
	if l.f.abandoned() {
		l.f.unread()
	}
}

// open opens the file, once that is there. An error means that the body has just
// been stored, or given up; here too, when the disk takes too long to begin.
func (l *latecomer) open(ctx context.Context) (*disk.Growing, error) {
	for {
		writing, news, err := l.g.begun()
		switch {
		case err != nil:
			return nil, err
		case writing != nil:
			return writing.Follow(ctx)
		}
		select {
		case <-news:
		case <-time.After(latePatience):
			l.f.spill.Load().lose()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// replyLate answers from the file. done is false, with nothing written, when
// that cannot be opened.
func (x *exchange) replyLate(t *ticket) (res Result, done bool, err error) {
	file, err := t.late.open(x.r.Context())
	if x.r.Context().Err() != nil {
		return Result{Status: StatusError, Reason: ReasonClientLeft}, true, x.gone()
	}
	if err != nil {
		return Result{}, false, nil
	}
	defer file.Close()
	t.file = file
	res, err = x.stream(t)
	return res, true, err
}

// copyLate writes the body as the file has it, and flushes whenever it has caught
// up. Where the file ends too early the origin gives the rest.
func (x *exchange) copyLate(t *ticket) {
	sent, left := int64(0), false
	send := func(p []byte) error {
		n, err := x.w.Write(p)
		sent, left = sent+int64(n), err != nil
		return err
	}
	flusher := http.NewResponseController(x.w)
	for length := t.f.head.length(); sent < length; {
		end, news, err := t.late.g.beyond(sent)
		if end > sent {
			err = t.file.Chunk(x.r.Context(), sent, end, send)
		}
		switch {
		case left || x.r.Context().Err() != nil:
			return // nobody is there to read
		case err != nil:
			x.sendRest(t.f, sent)
			return
		case news == nil:
			continue
		}
		_ = flusher.Flush() // a writer that cannot flush sends it later
		select {
		case <-news:
		case <-time.After(latePatience):
			if t.f.buffer.written() > sent { // the origin is not who keeps us waiting
				x.sendRest(t.f, sent)
				return
			}
		case <-x.r.Context().Done():
			return
		}
	}
	select {
	case <-t.f.done:
		x.sendTrailer(t.f)
	case <-x.r.Context().Done():
	}
}

// sendTrailer sends the fields after the body.
func (x *exchange) sendTrailer(f *fill) {
	if len(f.trailer) > 0 {
		// A short body that was never flushed gets a Content-Length, which leaves
		// no room for trailing fields.
		_ = http.NewResponseController(x.w).Flush() // a writer that cannot flush has no trailers
		maps.Copy(x.w.Header(), f.trailer)
	}
}

// sendRest asks the origin for what is missing of an answer whose beginning has
// been sent. An answer that is cut off must not look complete.
func (x *exchange) sendRest(f *fill, sent int64) {
	r := x.request(x.r.Context(), nil)
	r.Header["Range"] = []string{"bytes=" + strconv.FormatInt(sent, 10) + "-"}
	r.Header["If-Range"] = []string{f.head.etag()}
	w := &restWriter{to: x.w, header: make(http.Header), of: f.head, length: f.head.length(), at: sent, source: func() Source { return x.o.Source(r) }}
	if err := x.o.Fetch(w, r); err != nil || w.at != w.length {
		panic(http.ErrAbortHandler)
	}
}

// restWriter is the http.ResponseWriter through which the origin gives the rest
// of a body, or all of it, of which the rest is taken.
type restWriter struct {
	to     io.Writer
	header http.Header
	of     *entry
	length int64 // its
	source func() Source
	at     int64 // what comes next of the body to those who wait
	skip   int64 // what they have already
	err    error
	wrote  bool
}

func (w *restWriter) Header() http.Header { return w.header }

func (w *restWriter) WriteHeader(status int) {
	if w.wrote || status < http.StatusOK {
		return
	}
	w.wrote = true
	clean := withoutHopByHop(w.header)
	_, part, size, isPart := partOf(clean)
	tags, rest := clean["Etag"], byteRange{start: w.at, length: w.length - w.at}
	switch {
	case len(tags) != 1 || tags[0] != w.of.etag() || w.source().Version != w.of.madeBy,
		joined(clean["Content-Encoding"]) != joined(w.of.fields().values("Content-Encoding")):
		w.err = fmt.Errorf("status %d of another answer", status)
	case isPart && status == http.StatusPartialContent && part == rest && size == w.length:
	case status == http.StatusOK:
		w.skip = w.at
	default:
		w.err = fmt.Errorf("status %d: want the rest", status)
	}
}

func (w *restWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK) // as net/http does
	n := len(p)
	skipped := min(w.skip, int64(n))
	if w.skip, p = w.skip-skipped, p[skipped:]; w.err == nil && w.at+int64(len(p)) > w.length {
		w.err = errors.New("more than was declared")
	}
	if w.err == nil && len(p) > 0 {
		var sent int
		sent, w.err = w.to.Write(p)
		w.at += int64(sent)
	}
	if w.err != nil {
		return 0, w.err
	}
	return n, nil
}
