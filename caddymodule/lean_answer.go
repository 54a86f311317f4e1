package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"
)

// answer passes a replica's answer on to the client.
func (l *lean) answer(w http.ResponseWriter, r *http.Request, c *carried) error {
	resp := c.response
	header := w.Header()
	delete(header, "Server") // the replica's stands, if it gives one
	passHeader(header, resp.Header)
	announced := len(resp.Trailer)
	if announced > 0 {
		names := make([]string, 0, announced)
		for name := range resp.Trailer {
			names = append(names, name)
		}
		header.Add("Trailer", strings.Join(names, ", "))
	}
	w.WriteHeader(resp.StatusCode)

	err := copyBody(w, resp.Body, l.atOnce || streaming(resp))
	_ = resp.Body.Close() // now: trailers are known then
	if err != nil {
		l.cutOff(w, r, c, err)
	}
	if len(resp.Trailer) > 0 {
		flush(w) // so that even a short body goes out in chunks, which trailers want
	}
	c.passing = time.Since(c.began)
	prefix := ""
	if len(resp.Trailer) != announced {
		prefix = http.TrailerPrefix
	}
	for name, values := range resp.Trailer {
		for _, value := range values {
			header.Add(prefix+name, value)
		}
	}
	return nil
}

// cutOff ends the client's connection, so that it does not take the part that
// it has for the whole.
func (l *lean) cutOff(w http.ResponseWriter, r *http.Request, c *carried, err error) {
	gone := r.ProtoMajor == 3 && errors.Is(err, errWriting) && r.Context().Err() != nil
	if !gone { // a client that ends an HTTP/3 stream is nothing to act on
		l.warn(r, c, err)
	}
	flush(w)
	panic(http.ErrAbortHandler)
}

func flush(w http.ResponseWriter) {
	_ = http.NewResponseController(w).Flush() // A client that is gone shows at the next write.
}

// passHeader adds to what handlers in front have set. Those slices may be in
// use elsewhere, so that they grow by copying.
func passHeader(to, from http.Header) {
	connection := from["Connection"]
	for name, values := range from {
		if hop(name) || (connection != nil && nominates(connection, name)) {
			continue
		}
		to[name] = joined(to[name], values)
	}
}

// nominates reports whether a Connection field declares name to be for this
// connection only.
func nominates(connection []string, name string) bool {
	for _, line := range connection {
		for token := range strings.SplitSeq(line, ",") {
			if textproto.CanonicalMIMEHeaderKey(textproto.TrimString(token)) == name {
				return true
			}
		}
	}
	return false
}

// streaming reports whether every piece of the answer is to go out at once.
func streaming(resp *http.Response) bool {
	if resp.ContentLength < 0 || caddyhttp.IsIncremental(resp.Header) {
		return true
	}
	kind := resp.Header["Content-Type"]
	if len(kind) == 0 || !strings.Contains(strings.ToLower(kind[0]), "text/event-stream") {
		return false
	}
	media, _, err := mime.ParseMediaType(kind[0])
	return err == nil && media == "text/event-stream"
}

// errWriting marks that the client's side failed, not the replica's.
var errWriting = errors.New("writing")

const copySize = 32 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// copyBody passes a body on. At once: every piece is flushed, and so is the
// header if the first piece lets itself be waited for.
func copyBody(w http.ResponseWriter, body io.Reader, atOnce bool) error {
	if !atOnce {
		return copyPieces(w, body, false)
	}
	if w.Header()["Content-Type"] != nil {
		flush(w)
		return copyPieces(w, body, true)
	}
	p := &prompt{w: w}
	timer := time.AfterFunc(headerHeld, p.flushHeader)
	defer p.begin()
	defer timer.Stop()
	return copyPieces(p, body, true)
}

// headerHeld is how long a header without Content-Type waits for the first
// piece, from which net/http tells the type. Caddy lets chance decide.
const headerHeld = 5 * time.Millisecond

// prompt is a response whose header is flushed when the body is late.
type prompt struct {
	w http.ResponseWriter

	mu    sync.Mutex
	begun bool // the body has, or the header is out
}

func (p *prompt) flushHeader() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.begun {
		p.begun = true
		flush(p.w)
	}
}

// begin ends the wait. From then on only the caller touches the response.
func (p *prompt) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun = true
}

func (p *prompt) Header() http.Header { return p.w.Header() }

func (p *prompt) WriteHeader(status int) { p.w.WriteHeader(status) }

func (p *prompt) Write(piece []byte) (int, error) {
	p.begin()
	return p.w.Write(piece)
}

// Unwrap lets a flush through.
func (p *prompt) Unwrap() http.ResponseWriter { return p.w }

func copyPieces(w http.ResponseWriter, body io.Reader, atOnce bool) error {
	if body == http.NoBody {
		return nil
	}
	buffer := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buffer)
	for {
		n, err := body.Read(buffer[:])
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return fmt.Errorf("%w: %w", errWriting, err)
			}
			if atOnce {
				flush(w)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading: %w", err)
		}
	}
}

// early passes interim answers on (1xx), as long as the final one has not come.
// A transport may call it from a goroutine of its own.
type early struct {
	mu sync.Mutex

	w http.ResponseWriter // nil once the final answer is there
	// continues: net/http tells the client to go on when its body is first read, which
	// is when the replica has said so, or a second later. A second time is too many.
	continues bool
}

// continues reports whether net/http says 100 Continue for a request.
func continues(r *http.Request) bool {
	return r.ProtoMajor == 1 && r.ProtoAtLeast(1, 1) && r.ContentLength != 0 && httpguts.HeaderValuesContainsToken(r.Header["Expect"], "100-continue")
}

func (e *early) inform(status int, header textproto.MIMEHeader) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.w == nil || status == http.StatusContinue && e.continues {
		return nil
	}
	to := e.w.Header()
	own := to.Clone()
	passHeader(to, http.Header(header).Clone())
	e.w.WriteHeader(status)
	clear(to)
	maps.Copy(to, own)
	return nil
}

func (e *early) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.w = nil
}

// untouched is the body of a request. As long as nothing was read of it, it
// stays open, whatever a transport does: handle_errors may read it still.
type untouched struct {
	io.ReadCloser
	read bool
}

func (b *untouched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read = b.read || n > 0 || err == io.EOF
	return n, err
}

func (b *untouched) Close() error {
	if !b.read {
		return nil
	}
	return b.ReadCloser.Close()
}
