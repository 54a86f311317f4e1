package httpcache

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// visit is one request, and what its client saw.
type visit struct {
	m      *model
	life   *life
	id     int
	page   resource
	random *rand.Rand
	r      *http.Request
	ctx    context.Context

	began  time.Time
	orders int // how many orders had been acknowledged by then

	// The answer. The header is what it was when the final status was written.
	live    http.Header
	header  http.Header
	status  int
	body    []byte
	early   []string // Link of 1xx answers
	slow    bool
	drained int  // how many orders had been drained at the last write
	cut     bool // or the client left, or there was no answer
}

// newVisit makes a random request for a page.
func (m *model) newVisit(l *life, id int, p resource, lastTag string) (*visit, context.CancelFunc) {
	v := &visit{m: m, life: l, id: id, page: p, random: m.random(uint64(id)), live: make(http.Header)}
	method := http.MethodGet
	switch v.random.IntN(20) {
	case 0:
		method = http.MethodHead
	case 1, 2, 3:
		if m.plan.posts {
			method = http.MethodPost
		}
	}
	ctx, leave := context.WithCancel(l.ctx)
	v.ctx = ctx
	if v.random.IntN(8) == 0 {
		time.AfterFunc(m.moment(v.random, 100*time.Millisecond), leave)
	}
	v.slow = v.random.IntN(6) == 0
	v.r = httptest.NewRequestWithContext(ctx, method, "http://"+p.url(), nil)
	h := v.r.Header
	h.Set("X-Visit", strconv.Itoa(id))
	if n := v.random.IntN(3); n > 0 {
		h.Set("X-Lang", []string{"", "de", "en"}[n])
	}
	if v.random.IntN(3) == 0 {
		h.Set("X-Device", "phone")
	}
	if v.random.IntN(3) == 0 {
		h.Set("Accept-Encoding", "gzip")
	}
	switch v.random.IntN(14) {
	case 0:
		first, length := v.random.IntN(30), 1+v.random.IntN(40)
		if m.plan.strongTags { // parts are combined where records end
			first, length = first/recordSize*recordSize, (1+length/recordSize)*recordSize
		}
		h.Set("Range", fmt.Sprintf("bytes=%d-%d", first, first+length-1))
	case 1:
		h.Set("Authorization", "Bearer "+strconv.Itoa(id))
	case 2, 3:
		if lastTag != "" {
			h.Set("If-None-Match", lastTag)
		}
	case 4:
		h.Set("Cache-Control", []string{"no-store", "only-if-cached"}[v.random.IntN(2)])
	}
	return v, leave
}

func (v *visit) Header() http.Header { return v.live }

func (v *visit) WriteHeader(status int) {
	switch {
	case v.status != 0:
	case status < 200:
		v.early = append(v.early, v.live.Get("Link"))
	default:
		v.status, v.header = status, v.live.Clone()
		v.wrote()
	}
}

func (v *visit) Write(p []byte) (int, error) {
	v.WriteHeader(http.StatusOK)
	if v.slow {
		v.m.nap(v.random, 100*time.Millisecond)
	}
	if v.ctx.Err() != nil {
		return 0, v.ctx.Err()
	}
	if n := declaredLength(v.header); n >= 0 && int64(len(v.body)+len(p)) > n && v.r.Method == http.MethodGet {
		p = p[:max(0, n-int64(len(v.body)))] // as net/http does
		v.body = append(v.body, p...)
		return len(p), http.ErrContentLength
	}
	v.body = append(v.body, p...)
	v.wrote()
	return len(p), nil
}

func (v *visit) FlushError() error {
	v.WriteHeader(http.StatusOK)
	return nil
}

func (v *visit) wrote() {
	v.m.mu.Lock()
	defer v.m.mu.Unlock()
	v.drained = len(v.m.drained)
}

// run sends the request and checks the answer.
func (v *visit) run(h *Handler) {
	m := v.m
	m.mu.Lock()
	v.began, v.orders = time.Now(), len(m.orders)
	number := 0
	m.mu.Unlock()
	post := v.r.Method == http.MethodPost
	if post {
		number = m.issue(v.random, func(p resource) bool { return p == v.page })
	}
	res, err := v.serve(h)
	if post && !v.cut && err == nil && v.status < 400 {
		m.acknowledge(v.life, order{
			name: fmt.Sprintf("POST %s", v.page.url()), number: number, invalidation: true,
			covers: func(p resource) bool { return p == v.page },
		})
		group := strings.Trim(v.header.Get(groupInvalidationField), `"`)
		m.acknowledge(v.life, order{
			name: fmt.Sprintf("POST %s to group %q", v.page.url(), group), number: number,
			covers: func(p resource) bool {
				return m.plan.groups && p.host == v.page.host && (group == "pages" || group == p.path)
			},
		})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if v.life.dead {
		return
	}
	what := fmt.Sprintf("%s %s", res.Status, res.Reason)
	if res.Collapsed {
		what += " collapsed"
	}
	m.seen[what]++
	v.check(res, err)
}

// serve runs the handler as net/http would.
func (v *visit) serve(h *Handler) (res Result, err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		v.cut = true
		if p != any(errOfOrigin) && p != any(http.ErrAbortHandler) {
			v.m.fault("visit %d: panic: %v", v.id, p)
		}
	}()
	res, err = h.Serve(v, v.r, v.page.verdict(), &modelOrigin{m: v.m, v: v, serials: make(map[*http.Request]int)})
	if n := declaredLength(v.header); n >= 0 && n != int64(len(v.body)) && v.r.Method == http.MethodGet && bodyAllowed(v.status) {
		v.cut = true // net/http breaks the connection
	}
	v.cut = v.cut || err != nil || v.ctx.Err() != nil
	return res, err
}

var serialOf = regexp.MustCompile(`(\d{8})\n`)

// check holds what came against the model, whose lock is held.
func (v *visit) check(res Result, err error) {
	m := v.m
	wrong := func(format string, args ...any) {
		m.faultLocked("visit %d, %s %s %v, %s (%s), %s: %s", v.id, v.r.Method, v.page.url(), v.r.Header,
			res.Status, res.Reason, v.header["Cache-Status"], fmt.Sprintf(format, args...))
	}
	if err != nil {
		known := errors.Is(err, errDown) || errors.Is(err, context.Canceled) || errors.Is(err, ErrOriginPanic) || errors.Is(err, errClosed)
		if !known || v.status != 0 {
			wrong("error %v, after status %d", err, v.status)
		}
		return
	}
	for _, link := range v.early {
		if link != strconv.Itoa(v.id) {
			wrong("an early answer for visit %s", link)
		}
	}
	if v.header == nil || v.header.Get("X-Confirmed") == "" {
		if len(v.body) > 0 && serialOf.Match(v.body) {
			wrong("a body without its header: %v", v.header)
		}
		return
	}
	v.decode()
	confirmed := v.made(v.header.Get("X-Confirmed"))
	serials := v.serials()
	for _, serial := range serials {
		v.checkAnswer(&m.made[serial], confirmed, wrong)
	}
	v.checkConfirmed(confirmed, wrong)
	v.checkWhole(serials, wrong)
}

// decode undoes what was encoded for the client, as far as it has come. Of a
// part of it nothing can be said.
func (v *visit) decode() {
	if v.header.Get("Content-Encoding") != "gzip" || len(v.body) == 0 {
		return
	}
	v.m.seen["encoded"]++
	in, err := gzip.NewReader(bytes.NewReader(v.body))
	if v.body = nil; err != nil || v.status == http.StatusPartialContent {
		return
	}
	v.body, err = io.ReadAll(in)
	if err != nil && !v.cut {
		v.m.faultLocked("visit %d: an encoded body: %v", v.id, err)
	}
}

func (v *visit) made(serial string) *made {
	n, err := strconv.Atoi(serial)
	if err != nil || n >= len(v.m.made) {
		v.m.faultLocked("visit %d: serial %q", v.id, serial)
		return &made{}
	}
	return &v.m.made[n]
}

// serials are those of the answers that the client has bytes of, or was told.
func (v *visit) serials() (all []int) {
	body := v.body
	if v.status == http.StatusPartialContent {
		first := 0
		_, _ = fmt.Sscanf(v.header.Get("Content-Range"), "bytes %d-", &first) // several parts begin anywhere
		skip := (recordSize - first%recordSize) % recordSize
		body = body[min(skip, len(body)):]
	}
	for _, found := range serialOf.FindAllSubmatch(body, -1) {
		serial, _ := strconv.Atoi(string(found[1])) // eight digits
		all = append(all, serial)
	}
	// Under shared tags a part may bring its header to the bytes of others.
	if text := v.header.Get("X-Made"); text != "" && v.status != http.StatusPartialContent && !v.m.plan.strongTags {
		serial, _ := strconv.Atoi(text) // ours
		all = append(all, serial)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(serial int) bool { return serial >= len(v.m.made) })
}

// checkAnswer is about an answer that the client has got a part of.
func (v *visit) checkAnswer(a, confirmed *made, wrong func(string, ...any)) {
	m := v.m
	if a.page != v.page {
		wrong("an answer for %s", a.page.url())
	}
	if a.own != "" && a.visit != v.id {
		wrong("an answer for visit %d alone: %s", a.visit, a.own)
	}
	if !matches(a.vary, v.r.Header) {
		wrong("an answer for %v", a.vary)
	}
	byError := v.hasDetail(ReasonStaleIfError) || v.hasDetail(ReasonStaleUnreachable)
	for i := range m.orders[:v.orders] {
		o := &m.orders[i]
		if o.forbids(a, confirmed, m.plan.sharedTags) && !(o.soft && byError) {
			wrong("an answer of %d, confirmed at %d, after %s at %d", a.number, confirmed.number, o.name, o.number)
			return
		}
	}
	for i := range m.drained[:v.drained] {
		o := &m.drained[i]
		if !a.forbidden && !confirmed.forbidden && o.forbids(a, confirmed, m.plan.sharedTags) {
			wrong("an answer of %d was still being sent when all before %s at %d was drained", a.number, o.name, o.number)
			return
		}
	}
}

func (v *visit) hasDetail(reason Reason) bool {
	return strings.Contains(v.header.Get("Cache-Status"), "detail="+string(reason))
}

// checkConfirmed is about the answer by which the origin last vouched for what
// the client got.
func (v *visit) checkConfirmed(c *made, wrong func(string, ...any)) {
	for _, cookie := range v.header["Set-Cookie"] {
		if cookie != "visit="+strconv.Itoa(v.id) {
			wrong("another's cookie %q", cookie)
		}
	}
	if c.visit == v.id {
		return
	}
	switch {
	case c.page != v.page:
		wrong("confirmed for %s", c.page.url())
	case c.own != "":
		wrong("confirmed for visit %d alone: %s", c.visit, c.own)
	case c.confirmEach:
		wrong("to be confirmed for each request, and was for visit %d", c.visit)
	case len(v.r.Header["Authorization"]) > 0 && !c.public:
		wrong("an answer that does not say it is for authorized requests")
	}
	allowed := c.fresh
	switch {
	case c.page.fingerprinted():
		return // its rule says how long
	case v.hasDetail(ReasonStaleWhileRevalidate):
		allowed += c.while
	case v.hasDetail(ReasonStaleIfError):
		allowed += c.onError
	case v.hasDetail(ReasonStaleUnreachable) && c.silent:
		allowed += defaultStaleUnreachable
	}
	if age := v.began.Sub(c.at); age > 0 && age >= allowed {
		wrong("%v old, may be %v", age, allowed)
	}
}

// checkWhole is about bodies: complete, of one answer, with their trailer.
func (v *visit) checkWhole(serials []int, wrong func(string, ...any)) {
	m := v.m
	get := v.r.Method == http.MethodGet && (v.status == http.StatusOK || v.status == http.StatusNotFound)
	if get && len(serials) > 1 && !m.plan.strongTags {
		wrong("a mixture of the answers %v", serials)
	}
	if len(serials) > 1 {
		m.seen["combined"]++
	}
	if v.cut || !get || len(serials) == 0 {
		return
	}
	a := &m.made[serials[0]]
	for at := 0; at*recordSize < len(v.body); at++ {
		if v.body[at*recordSize] != record(0, at)[0] {
			wrong("piece %d is not where it belongs", at)
			break
		}
	}
	for _, serial := range serials {
		if one := &m.made[serial]; one.content != a.content || one.version != a.version && !m.plan.sharedTags {
			wrong("a mixture of contents %d and %d, versions %q and %q", a.content, one.content, a.version, one.version)
		}
	}
	if len(v.body) != len(a.body) || len(serials) == 1 && string(v.body) != a.body {
		wrong("%d bytes of an answer of %d", len(v.body), len(a.body))
	}
	if a.trailer {
		m.seen["trailer"]++
	}
	if a.trailer && v.live.Get("X-Sum") != strconv.Itoa(serials[0]) {
		wrong("trailer %q of answer %d", v.live.Get("X-Sum"), serials[0])
	}
}
