package httpcache

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// modelOrigin answers one visit's fetches: slowly, in every way that there is,
// and noting each answer in the model.
type modelOrigin struct {
	m *model
	v *visit

	mu      sync.Mutex
	fetches int
	serials map[*http.Request]int
}

type detached struct{}

func (o *modelOrigin) Detach(ctx context.Context, r *http.Request) *http.Request {
	o.m.nap(o.m.random(uint64(o.v.id), 1), 20*time.Millisecond) // between look-up and fetch
	return r.Clone(context.WithValue(ctx, detached{}, true))
}

// Source is asked when the header is about to be decided on. What a version
// that is not current says is for whoever asked.
func (o *modelOrigin) Source(r *http.Request) Source {
	o.mu.Lock()
	serial := o.serials[r]
	o.mu.Unlock()
	m := o.m
	m.mu.Lock()
	a := &m.made[serial]
	current := a.version == m.current
	if !current && !a.page.fingerprinted() {
		a.own = "of a version that is not current"
	}
	version := a.version
	m.mu.Unlock()
	m.nap(m.random(uint64(serial), 2), 5*time.Millisecond)
	return Source{Version: version, Replica: "r" + version, Current: current}
}

// begin notes that a fetch has begun.
func (o *modelOrigin) begin(r *http.Request) (serial int, a made, random *rand.Rand) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fetches++
	random = o.m.random(uint64(o.v.id), 3, uint64(o.fetches))
	m := o.m
	m.mu.Lock()
	defer m.mu.Unlock()
	a = made{visit: o.v.id, number: m.number, at: time.Now(), page: o.v.page, content: m.content[o.v.page]}
	if len(m.live) > 0 {
		a.version = m.live[random.IntN(len(m.live))]
	}
	serial = len(m.made)
	m.made = append(m.made, a)
	o.serials[r] = serial
	return serial, a, random
}

// note writes down what the answer is, before anybody can see it.
func (o *modelOrigin) note(serial int, a made) {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	o.m.made[serial] = a
}

func (o *modelOrigin) Fetch(w http.ResponseWriter, r *http.Request) error {
	serial, a, random := o.begin(r)
	f := &fetching{o: o, w: w, r: r, a: a, serial: serial, random: random}
	if err := f.work(40 * time.Millisecond); err != nil {
		return err
	}
	if o.m.isDown() && random.IntN(8) > 0 {
		return errDown
	}
	switch random.IntN(40 * o.m.plan.calm) {
	case 0, 1:
		return errDown
	case 2:
		panic(errOfOrigin)
	case 3:
		panic(http.ErrAbortHandler)
	case 4:
		if r.Context().Value(detached{}) != nil && r.Header.Get("If-Range") == "" { // or it may be a visitor's own
			runtime.Goexit()
		}
	case 5, 6, 7:
		w.Header().Set("Link", strconv.Itoa(o.v.id))
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
	}
	return f.answer()
}

func (m *model) isDown() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.down
}

var errOfOrigin = fmt.Errorf("the origin's own fault")

// fetching is one answer in the making.
type fetching struct {
	o      *modelOrigin
	w      http.ResponseWriter
	r      *http.Request
	a      made
	serial int
	random *rand.Rand
}

// work takes a while, and ends early when nobody wants the answer, unless the
// origin does not notice.
func (f *fetching) work(longest time.Duration) error {
	d := f.o.m.moment(f.random, longest)
	if f.random.IntN(4) == 0 {
		wait(d)
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-f.r.Context().Done():
		return f.r.Context().Err()
	}
}

// answer chooses what to say.
func (f *fetching) answer() error {
	h := f.w.Header()
	h.Set("X-Confirmed", strconv.Itoa(f.serial))
	h.Set("Cache-Tag", strings.Join(f.a.page.tags(), ","))
	if f.o.m.plan.groups {
		h.Set(groupsField, fmt.Sprintf(`"pages", "%s"`, f.a.page.path))
	}
	control := f.lifetimes()
	h.Set("Cache-Control", control)
	status := f.kind(h)
	asked := f.r.Header.Get("If-None-Match")
	confirms := asked != "" && status == http.StatusOK && f.same(asked) && f.random.IntN(3) > 0
	if confirms || f.r.Method == http.MethodHead || f.r.Header.Get("Range") != "" {
		f.freshening(h, control)
	}
	f.a.public = strings.Contains(h.Get("Cache-Control"), "public")
	if len(f.r.Header["Authorization"]) > 0 && !f.a.public {
		f.a.own = "for an authorized request"
	}
	switch {
	case f.r.Method == http.MethodPost:
		return f.posted(h)
	case confirms:
		if f.random.IntN(2) == 0 {
			h.Set("ETag", asked)
		}
		if f.random.IntN(3) == 0 {
			h.Set("Set-Cookie", "visit="+strconv.Itoa(f.o.v.id))
		}
		f.o.note(f.serial, f.a)
		f.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("ETag", f.entityTag())
	f.chosenBy(h)
	return f.send(h, status)
}

// freshening is for an answer that may freshen a stored one. What it leaves
// unsaid that one has said; a cookie that comes with it is for one visitor, what
// it confirms is for all.
func (f *fetching) freshening(h http.Header, control string) {
	if h.Get("Trailer") != "" || h.Get("Cache-Control") == "" || h.Get("Set-Cookie") != "" {
		f.a.own, f.a.trailer = "", false
		h.Del("Trailer")
		h.Set("Cache-Control", control)
	}
	if f.r.Header.Get("Range") != "" {
		h.Del("Set-Cookie") // or it would be for one visitor, and freshen all the same
	}
}

func (f *fetching) lifetimes() (control string) {
	age, while, onError := f.random.IntN(4), f.random.IntN(3), f.random.IntN(4)
	if f.o.m.plan.lives {
		age *= 5 // or little outlives a process
	}
	f.a.fresh, f.a.while, f.a.onError = time.Duration(age)*time.Second, time.Duration(while)*time.Second, time.Duration(onError)*time.Second
	control = fmt.Sprintf("public, max-age=%d, stale-while-revalidate=%d", age, while)
	if f.a.silent = f.random.IntN(4) == 0; f.a.silent {
		f.a.onError = 0
		return control
	}
	return fmt.Sprintf("%s, stale-if-error=%d", control, onError)
}

// kind is what sort of answer it is, one in three an odd one.
func (f *fetching) kind(h http.Header) (status int) {
	only := func(control string) {
		f.a.own, f.a.forbidden = control, true
		h.Set("Cache-Control", control)
	}
	switch f.random.IntN(27 * f.o.m.plan.calm) {
	case 0:
		only("private, max-age=60")
	case 1:
		only("no-store, max-age=60")
	case 2:
		f.a.own = "sets a cookie"
		h.Set("Set-Cookie", "visit="+strconv.Itoa(f.o.v.id))
	case 3:
		f.a.own = "varies on everything"
		h.Set("Vary", "Accept, *")
	case 4:
		if f.r.Method == http.MethodGet && f.r.Header.Get("Range") == "" {
			f.a.trailer = true
			h.Set("Trailer", "X-Sum")
		}
	case 5:
		f.a.confirmEach = true
		h.Set("Cache-Control", "no-cache, max-age=60")
	case 6:
		f.a.own = "says nothing of its lifetime"
		h.Del("Cache-Control")
	case 7:
		h.Set("Cache-Control", strings.TrimPrefix(h.Get("Cache-Control"), "public, "))
	case 8:
		only("no-store")
		return http.StatusServiceUnavailable
	case 9:
		if f.a.page.fingerprinted() {
			f.a.own = "an error under a name that never changes"
		}
		return http.StatusNotFound
	}
	return http.StatusOK
}

// entityTag names the answer alone; or all answers with the same content, which
// is a lie, as their bodies differ, but one under which they may be mixed.
func (f *fetching) entityTag() string {
	version, serial, weak := f.a.version, strconv.Itoa(f.serial), "W/"
	if f.o.m.plan.sharedTags {
		version = ""
	}
	if f.o.m.plan.strongTags {
		serial, weak = "", ""
	}
	return fmt.Sprintf(`%s"%d.%s.%s"`, weak, f.a.content, version, serial)
}

// same reports that the content is still what the tag says.
func (f *fetching) same(tag string) bool {
	now := strings.Split(strings.Trim(strings.TrimPrefix(f.entityTag(), "W/"), `"`), ".")
	then := strings.Split(strings.Trim(strings.TrimPrefix(tag, "W/"), `"`), ".")
	return len(then) == 3 && now[0] == then[0] && now[1] == then[1]
}

// chosenBy adds Vary, to half of the answers of half of the pages.
func (f *fetching) chosenBy(h http.Header) {
	names := []string{"X-Lang", "X-Device"}[:f.random.IntN(3)]
	if f.a.page.query != "" || len(names) == 0 || h.Get("Vary") != "" {
		return
	}
	h.Set("Vary", strings.Join(names, ", "))
	f.a.vary = variedBy(names, nil, f.r.Header)
}

// posted is the answer to an unsafe request.
func (f *fetching) posted(h http.Header) error {
	f.a.own = "answers an unsafe request"
	f.o.note(f.serial, f.a)
	h.Del("Trailer")
	status := []int{http.StatusNoContent, http.StatusSeeOther, http.StatusInternalServerError}[f.random.IntN(3)]
	if f.random.IntN(2) == 0 {
		h.Set("Location", pages[f.random.IntN(len(pages))].path)
	}
	if f.random.IntN(2) == 0 {
		h.Set(groupInvalidationField, strconv.Quote([]string{"pages", "/a", "/ab"}[f.random.IntN(3)]))
	}
	f.w.WriteHeader(status)
	return nil
}

// record is a piece of a body; every piece says which answer it is of, and, in
// turns, where it is.
func record(serial, at int) string { return fmt.Sprintf("%c%08d\n", 'a'+at%26, serial) }

var recordSize = len(record(0, 0))

// bodyOfRecords is a body in so many pieces.
func bodyOfRecords(serial, n int) string {
	var b strings.Builder
	for at := range n {
		b.WriteString(record(serial, at))
	}
	return b.String()
}

// send writes header and body; some of them are cut off.
func (f *fetching) send(h http.Header, status int) error {
	n := 1 + f.random.IntN(6)
	if f.random.IntN(8) == 0 {
		n = 700 // more than one piece of memory, and than some plans store
	}
	if f.o.m.plan.strongTags {
		n = 2 + f.a.content%6 // parts of one content make a whole
	}
	if f.o.m.plan.films {
		n += 700
	}
	f.a.body = bodyOfRecords(f.serial, n)
	h.Set("Content-Type", "text/plain") // which is sent encoded, if it is long enough
	h.Set("X-Made", strconv.Itoa(f.serial))
	body := f.a.body
	if f.r.Method == http.MethodHead {
		h.Del("X-Made") // should it freshen a stored answer
		body = ""
	} else if rng := f.r.Header.Get("Range"); rng != "" && status == http.StatusOK && f.random.IntN(3) > 0 {
		first, last := 0, len(body)
		if n, _ := fmt.Sscanf(rng, "bytes=%d-%d", &first, &last); n > 0 && first < len(body) { // or to the end
			last = min(last, len(body)-1)
			if f.o.m.plan.films && first > 100*recordSize {
				f.o.m.count("rest of a film")
			}
			h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(body)))
			body, status = body[first:last+1], http.StatusPartialContent
		}
	}
	if f.random.IntN(2) == 0 && f.r.Method == http.MethodGet && !f.a.trailer {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	f.o.note(f.serial, f.a)
	f.w.WriteHeader(status)
	if err := f.write(h, body); err != nil {
		return err
	}
	if f.a.trailer {
		h.Set("X-Sum", strconv.Itoa(f.serial))
	}
	return nil
}

func (f *fetching) write(h http.Header, body string) error {
	cut := body != "" && f.random.IntN(12*f.o.m.plan.calm) == 0
	halvings := 1 + f.random.IntN(2)
	if f.o.m.plan.films {
		halvings += 3
	}
	for range halvings {
		piece := body[:len(body)/2]
		if f.o.m.plan.films { // the rest may be of another answer
			piece = piece[:len(piece)/recordSize*recordSize]
		}
		if _, err := io.WriteString(f.w, piece); err != nil {
			panic(http.ErrAbortHandler)
		}
		body = body[len(piece):]
		if f.random.IntN(2) == 0 {
			_ = http.NewResponseController(f.w).Flush() // none of the writers here refuses
		}
		if f.work(40*time.Millisecond) != nil {
			panic(http.ErrAbortHandler)
		}
	}
	if cut {
		if h.Get("Content-Length") != "" && f.random.IntN(2) == 0 {
			return nil // shorter than declared
		}
		panic(http.ErrAbortHandler)
	}
	if _, err := io.WriteString(f.w, body); err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}
