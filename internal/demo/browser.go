package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/reason"
)

const (
	// patience is how long a visitor waits for an answer.
	patience = 10 * time.Second
	// maxAnswer bounds what a visitor reads of one.
	maxAnswer = 8 << 20
)

// browser fetches as a browser does: over kept connections, with cookies, and
// with conditions for what it has. One goroutine uses it.
type browser struct {
	base   string // scheme://host:port
	client *http.Client
	tally  *tally
	seen   map[string]view // by path: what a revalidation may refer to
}

// view is a page as a visitor sees it.
type view struct {
	tag     string // ETag
	version string
	assets  []string
}

// answer is a whole response.
type answer struct {
	status int
	header http.Header
	body   []byte
	began  time.Time // when the request was sent
}

func newBrowser(base string, t *tally) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic("demo: " + err.Error()) // no options, no error
	}
	return &browser{
		base: base,
		client: &http.Client{
			Transport:     newTransport(),
			Jar:           jar,
			Timeout:       patience,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		tally: t,
		seen:  make(map[string]view),
	}
}

// newTransport keeps connections, and goes to the gateway whatever proxy the
// environment names.
func newTransport() *http.Transport {
	return &http.Transport{MaxIdleConnsPerHost: 6, IdleConnTimeout: time.Minute}
}

func (b *browser) close() { b.client.CloseIdleConnections() }

// fetch sends one request and reads the answer whole. An answer that is
// missing, cut, or other than the wanted status is a failure, and gives false.
// What ends because ctx is done is no failure.
func (b *browser) fetch(ctx context.Context, r *http.Request, want ...int) (answer, bool) {
	a := answer{began: time.Now()}
	err := b.exchange(r.WithContext(ctx), &a)
	if ctx.Err() != nil {
		return answer{}, false
	}
	what := r.Method + " " + r.URL.Path
	if err != nil {
		b.tally.asked()
		b.tally.fail("%s: %v", what, reason.Of(err))
		return answer{}, false
	}
	b.tally.answered(time.Since(a.began), a.header.Get("Cache-Status"))
	for _, status := range want {
		if a.status == status {
			return a, true
		}
	}
	b.tally.fail("%s: status %d: want %d (replica %s, version %s)", what, a.status, want[0], a.header.Get("X-App-Instance"), a.header.Get("X-App-Version"))
	return answer{}, false
}

func (b *browser) exchange(r *http.Request, a *answer) error {
	response, err := b.client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	a.status, a.header = response.StatusCode, response.Header
	a.body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return err
}

func (b *browser) get(path string) *http.Request {
	return b.request(http.MethodGet, path, "", "")
}

func (b *browser) post(path, contentType, body string) *http.Request {
	return b.request(http.MethodPost, path, contentType, body)
}

func (b *browser) request(method, path, contentType, body string) *http.Request {
	r, err := http.NewRequest(method, b.base+path, strings.NewReader(body))
	if err != nil {
		panic("demo: " + err.Error()) // paths come from our own pages
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

var (
	versionInPage = regexp.MustCompile(`<meta name="app-version" content="([^"]*)">`)
	assetsInPage  = regexp.MustCompile(`(?:src|href)="(/assets/[^"]+)"`)
	printInName   = regexp.MustCompile(`\.([0-9a-f]{16})\.[a-z]+$`)
)

// open fetches a page and everything that it names. A page that the browser
// has is asked for with its ETag, and used again on 304.
func (b *browser) open(ctx context.Context, path string) {
	r := b.get(path)
	had, again := b.seen[path]
	if again {
		r.Header.Set("If-None-Match", had.tag)
	}
	wanted := []int{http.StatusOK}
	if again {
		wanted = append(wanted, http.StatusNotModified)
	}
	a, ok := b.fetch(ctx, r, wanted...)
	if !ok {
		return
	}
	page := had
	if a.status == http.StatusOK {
		var err error
		if page, err = readPage(a); err != nil {
			b.tally.fail("GET %s: %v", path, err)
			return
		}
		b.seen[path] = page
	}
	b.tally.page(page.version, a.began)
	for _, asset := range page.assets {
		b.load(ctx, asset)
	}
	b.fetch(ctx, b.get("/images/logo.svg"), http.StatusOK)
}

// readPage finds what a page says of itself, and holds it to what its header
// says: a page of one version under another's header is a mixed-up copy.
func readPage(a answer) (view, error) {
	match := versionInPage.FindSubmatch(a.body)
	if match == nil {
		return view{}, fmt.Errorf("no version in a page of %d bytes", len(a.body))
	}
	page := view{tag: a.header.Get("ETag"), version: string(match[1])}
	if said := a.header.Get("X-App-Version"); said != "" && said != page.version {
		return view{}, fmt.Errorf("a page of %s came with the header of %s", page.version, said)
	}
	for _, asset := range assetsInPage.FindAllSubmatch(a.body, -1) {
		page.assets = append(page.assets, string(asset[1]))
	}
	if len(page.assets) == 0 {
		return view{}, fmt.Errorf("a page of %d bytes names no assets", len(a.body))
	}
	return page, nil
}

// load fetches an asset and holds its content to the fingerprint in its name.
func (b *browser) load(ctx context.Context, asset string) {
	a, ok := b.fetch(ctx, b.get(asset), http.StatusOK)
	if !ok {
		return
	}
	sum := sha256.Sum256(a.body)
	match := printInName.FindStringSubmatch(asset)
	if match == nil || match[1] != hex.EncodeToString(sum[:8]) {
		b.tally.fail("GET %s: content of another version (%d bytes, header of %s)", asset, len(a.body), a.header.Get("X-App-Version"))
	}
}

// signIn logs in, and out first if need be.
func (b *browser) signIn(ctx context.Context, user string) bool {
	form := url.Values{"user": {user}}.Encode()
	_, ok := b.fetch(ctx, b.post("/login", "application/x-www-form-urlencoded", form), http.StatusSeeOther)
	return ok
}

// account opens the private page of a user, and fails if it is another's.
func (b *browser) account(ctx context.Context, user string) {
	a, ok := b.fetch(ctx, b.get("/account"), http.StatusOK)
	if ok && !bytes.Contains(a.body, []byte(`<strong id="user">`+user+`</strong>`)) {
		b.tally.fail("GET /account: not the account of %s", user)
	}
}
