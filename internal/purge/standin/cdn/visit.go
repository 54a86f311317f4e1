package cdn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// maxBody bounds the bodies that are carried either way.
const maxBody = 64 << 20

// FromField names, in the answers to visitors, where they came from: a tier, or
// origin. Cloudflare has no such field.
const FromField = "X-Standin-From"

// static are the extensions that Cloudflare caches without a rule, of those
// that web applications have.
var static = map[string]bool{
	".css": true, ".js": true, ".mjs": true, ".svg": true, ".png": true, ".jpg": true, ".jpeg": true, ".gif": true, ".ico": true,
	".webp": true, ".avif": true, ".woff": true, ".woff2": true, ".ttf": true, ".otf": true, ".eot": true, ".pdf": true, ".csv": true,
	".zip": true, ".gz": true, ".mp3": true, ".mp4": true, ".webm": true,
}

// eligible reports whether a request is looked up at all.
func (c *CDN) eligible(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	return !c.options.ByExtension || static[strings.ToLower(path.Ext(r.URL.Path))]
}

// visit answers a visitor.
func (c *CDN) visit(t *tier, w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "" {
		http.Error(w, "the stand-in knows no upgrades", http.StatusNotImplemented)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "request body is cut off or too large", http.StatusBadRequest)
		return
	}
	ask := request{method: r.Method, host: strings.ToLower(r.Host), uri: r.URL.RequestURI(), body: body}
	// What a cache fetches it fetches whole, and for everybody.
	ask.header = endToEnd(r.Header, "Accept-Encoding", "Range", "If-Range", "If-None-Match", "If-Modified-Since")
	ask.header["Cdn-Loop"] = []string{"cloudflare"}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		ask.header["Cf-Connecting-Ip"] = []string{host}
	}
	var got *answer
	if c.eligible(r) {
		ask.method = http.MethodGet
		got, err = t.get(r.Context(), ask)
	} else if got, err = c.origin.fetch(r.Context(), ask); err == nil {
		got.cache = dynamic
	}
	if err != nil {
		got = failed(err)
	}
	write(w, r, t.name, got)
}

func write(w http.ResponseWriter, r *http.Request, site string, got *answer) {
	h := w.Header()
	for name, values := range endToEnd(got.header, "Cache-Tag", "Cloudflare-Cdn-Cache-Control", "Content-Length") {
		h[name] = values
	}
	if got.cache == miss || got.cache == bypass || got.cache == dynamic {
		delete(h, "Age")
	}
	h["Cf-Cache-Status"] = []string{got.cache}
	h["Cf-Ray"] = []string{strconv.FormatInt(time.Now().UnixNano(), 16) + "-" + strings.ToUpper(site)}
	h[FromField] = []string{got.from}
	w.WriteHeader(got.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(got.body) // the visitor has left
	}
}

// failed is what Cloudflare answers where the gateway does not.
func failed(err error) *answer {
	status := 520
	if unreachable(err) {
		status = 521
	}
	return &answer{status: status, header: http.Header{"Content-Type": {"text/plain"}}, body: []byte(err.Error() + "\n"), cache: dynamic, from: "nobody"}
}

func unreachable(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// origin is the site that the upper tier fetches from.
type origin struct {
	bases  []*url.URL
	turn   atomic.Uint64
	client *http.Client
}

func newOrigin(bases []*url.URL) *origin {
	return &origin{bases: bases, client: &http.Client{
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// fetch asks the origins in turn, until one is reached.
func (o *origin) fetch(ctx context.Context, ask request) (*answer, error) {
	turn := o.turn.Add(1)
	var errs []error
	for i := range o.bases {
		got, err := o.ask(ctx, o.bases[(turn+uint64(i))%uint64(len(o.bases))], ask)
		if err == nil || !unreachable(err) {
			return got, err
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (o *origin) ask(ctx context.Context, base *url.URL, ask request) (*answer, error) {
	r, err := http.NewRequestWithContext(ctx, ask.method, base.Scheme+"://"+base.Host+ask.uri, bytes.NewReader(ask.body))
	if err != nil {
		return nil, err
	}
	r.Host, r.Header = ask.host, ask.header.Clone()
	if ask.etag != "" {
		r.Header.Set("If-None-Match", ask.etag)
	}
	res, err := o.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return nil, err
	}
	return &answer{status: res.StatusCode, header: endToEnd(res.Header), body: body, cache: miss, from: "origin", left: time.Now()}, nil
}
