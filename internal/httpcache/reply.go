package httpcache

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	statusField     = "Cache-Status"
	cloudflareField = "Cloudflare-Cdn-Cache-Control"
)

// reply is what to answer a request with, and how it came to be.
type reply struct {
	o      Origin // the request's own
	e      *entry
	now    time.Time
	status Status
	reason Reason
	// firstHand: it has just come from the origin, with the Age that it had.
	firstHand bool
	// forward and forwardStatus say why the origin was asked, and its answer.
	forward       forward
	forwardStatus int
	stored        bool
	collapsed     bool
	// noCDN: the CDN shall not keep it.
	noCDN bool
	// cookies are for this client alone.
	cookies []string
	// unmodified: the client has it. encoded is the body in the coding that it
	// is to get, nil for the body as it is; tag an entity tag instead of the
	// entry's. among is what there was to choose from. represent decides on these.
	unmodified bool
	among      *encodings
	encoded    *encoded
	tag        string
	// open reads the body, if that is on disk.
	open *openBody
	// serverCounts: Content-Length is left to the server, which writes the same.
	// With it a plain answer has nine fields, and a map of nine takes twice the
	// time and room of one of eight, here and again where the server copies it: a
	// tenth of what a short hit costs in all.
	serverCounts bool
}

// reply answers with a stored answer.
func (h *Handler) reply(w http.ResponseWriter, r *http.Request, rp reply) (Result, error) {
	// DESIGN §6.9: the CDN must not take back what a soft purge marked, nor
	// keep cookies.
	rp.noCDN = rp.noCDN || rp.status == StatusStale && h.Store.standing(rp.e) != standsFirm || len(rp.cookies) > 0
	if rp.status == StatusHit {
		h.Store.counters.hits.Add(1)
	}
	h.represent(r, &rp)
	if rng := r.Header["Range"]; len(rng) > 0 && rp.e.status == http.StatusOK {
		if res, done := h.replyRange(w, r, rp); done {
			return res, nil
		}
	}
	if h.Repeatable != nil && rp.repeatable() {
		again := rp // a copy, for rp to stay on the stack where nobody asks
		h.Repeatable(r, func() (Offer, bool) { return h.Store.repeat(r, again) })
	}
	res, bodyless := h.replyHead(w, r, rp)
	if !bodyless {
		// A client that leaves meanwhile has nothing to be told.
		sent, _ := rp.body().WriteTo(w)
		h.Store.counters.sentBytes.Add(sent)
		if rp.trails() {
			rp.e.trail(w.Header())
		}
	}
	return res, nil
}

// trails reports that the trailing fields of a stored answer go with it.
func (rp *reply) trails() bool { return !rp.firstHand && !rp.e.trailer().isEmpty() }

// replyHead writes the header. bodyless reports that no body must follow.
func (h *Handler) replyHead(w http.ResponseWriter, r *http.Request, rp reply) (res Result, bodyless bool) {
	e := rp.e
	code := e.status
	if rp.unmodified {
		code = http.StatusNotModified
	}
	rp.serverCounts = r.Method != http.MethodHead && rp.isShort()
	h.writeFields(w.Header(), rp, code)
	h.answering(rp.o, e)
	w.WriteHeader(code)
	return resultOf(rp, code), code != e.status || !bodyAllowed(code) || r.Method == http.MethodHead
}

// answering tells who made the answer whose header is about to be written.
func (h *Handler) answering(o Origin, e *entry) {
	if h.Answering != nil {
		h.Answering(o, e.madeBy, e.replica)
	}
}

// counted is the longest body whose Content-Length is left to the server: what
// net/http's server holds back of a body until it sends the header, and so counts
// itself (bufferBeforeChunkingSize there; 4096 for HTTP/2 and HTTP/3).
const counted = 2048

// isShort reports that the server counts the body as it is going to be written.
func (rp *reply) isShort() bool {
	if rp.firstHand || rp.trails() { // the fill may just be giving the entry its body
		return false
	}
	b := rp.body()
	return b.file == nil && b.size <= counted
}

func resultOf(rp reply, code int) Result {
	res := Result{
		Status: rp.status, Reason: rp.reason, Stored: rp.stored, Collapsed: rp.collapsed, Code: code,
		Version: rp.e.madeBy, Replica: rp.e.replica,
	}
	if rp.serverCounts && code == rp.e.status {
		res.Length = rp.length()
	}
	if !rp.firstHand || rp.stored {
		res.Age, res.TTL = rp.e.currentAge(rp.now), rp.e.ttl(rp.now)
	}
	return res
}

// writeFields writes the fields of the answer, its Age and Cache-Status. The
// values are copied, in one allocation, because handlers around this one may
// edit header values in place.
func (h *Handler) writeFields(dst http.Header, rp reply, code int) {
	e := rp.e
	values := make([]string, 0, e.valueCount+7)
	var chain []string // Cache-Status of caches before this one
	name, start := "", 0
	rest := e.fields()
	for one, ok := rest.next(); ok; one, ok = rest.next() {
		switch {
		case one.flags&(goesOut|ofCaches) == 0, code == http.StatusNotModified && one.flags&not304 != 0,
			rp.encoded != nil && one.flags&plainOnly != 0,
			one.flags&not304 != 0 && !rp.firstHand && one.name == "Trailer": // what came is announced
			continue
		case one.flags&noValue != 0:
			dst[one.name] = nil
			continue
		case one.name != name:
			name, start = one.name, len(values)
		}
		values = append(values, one.value)
		if one.flags&ofCaches != 0 {
			chain = values[start:]
			continue
		}
		dst[name] = values[start:len(values):len(values)]
	}
	line, age := h.statusLine(rp)
	start = len(values)
	values = append(append(values, chain...), line)
	dst[statusField] = values[start:len(values):len(values)]

	put := func(name, value string) {
		if value != "" {
			values = append(values, value)
			dst[name] = values[len(values)-1 : len(values) : len(values)]
		}
	}
	if rp.firstHand {
		age = e.fields().first("Age")
	}
	rest = rp.lines()
	for one, ok := rest.next(); ok; one, ok = rest.next() {
		if code != http.StatusNotModified || one.flags&not304 == 0 {
			put(one.name, one.value)
		}
	}
	if code == e.status && rp.trails() {
		put("Trailer", e.trailer().names())
	}
	put("Etag", rp.tag)
	put("Age", age)
	if code == e.status && !rp.serverCounts {
		put("Content-Length", rp.length())
	}
	if rp.noCDN {
		put(cloudflareField, "no-store")
	}
	if len(rp.cookies) > 0 {
		dst["Set-Cookie"] = append(dst["Set-Cookie"], rp.cookies...)
	}
}

// shown remembers texts of plain hits by their number: the Cache-Status line of
// a TTL, the text of an Age. All entries share them, so none pays for its own.
type shown struct {
	slots [1 << 10]atomic.Pointer[shownText]
}

type shownText struct {
	n    int64
	name string
	text string
}

// of is the text for a number and a cache's name.
func (s *shown) of(n int64, name string, write func(n int64, name string) string) string {
	slot := &s.slots[uint64(n)%uint64(len(s.slots))]
	if last := slot.Load(); last != nil && last.n == n && last.name == name {
		return last.text
	}
	fresh := &shownText{n: n, name: name, text: write(n, name)}
	slot.Store(fresh)
	return fresh.text
}

func writeAge(n int64, _ string) string { return strconv.FormatInt(n, 10) }

func writeHit(ttl int64, name string) string {
	return cacheStatus(name, statusLine{hit: true, hasTTL: true, ttl: ttl})
}

// statusLine is the Cache-Status line and the Age of an answer.
func (h *Handler) statusLine(rp reply) (line, age string) {
	seconds := int64(rp.e.currentAge(rp.now) / time.Second)
	s := lineOf(rp)
	if s == (statusLine{hit: true, hasTTL: true, ttl: s.ttl}) {
		return h.Store.hitLines.of(s.ttl, h.name(), writeHit), h.Store.ages.of(seconds, "", writeAge)
	}
	return cacheStatus(h.name(), s), strconv.FormatInt(seconds, 10)
}

func lineOf(rp reply) statusLine {
	line := statusLine{
		hit: rp.forward == "", forward: rp.forward, forwardStatus: rp.forwardStatus,
		stored: rp.stored, collapsed: rp.collapsed, reason: rp.reason,
	}
	if !rp.firstHand || rp.stored {
		line.hasTTL = true
		_, line.ttl = rp.e.shownAge(rp.now)
	}
	return line
}

// statusLine is a member of Cache-Status (RFC 9211, 2).
type statusLine struct {
	hit               bool
	forward           forward
	forwardStatus     int
	stored, collapsed bool
	hasTTL            bool
	ttl               int64
	reason            Reason
}

// cacheStatus formats a member, as in "edge; fwd=stale; fwd-status=304; ttl=60".
func cacheStatus(name string, s statusLine) string {
	var space [128]byte
	b := appendName(space[:0], name)
	if s.hit {
		b = append(b, "; hit"...)
	} else {
		b = append(append(b, "; fwd="...), s.forward...)
	}
	if s.forwardStatus != 0 {
		b = strconv.AppendInt(append(b, "; fwd-status="...), int64(s.forwardStatus), 10)
	}
	if s.hasTTL {
		b = strconv.AppendInt(append(b, "; ttl="...), s.ttl, 10)
	}
	if s.stored {
		b = append(b, "; stored"...)
	}
	if s.collapsed {
		b = append(b, "; collapsed"...)
	}
	if s.reason != "" {
		b = append(append(b, "; detail="...), s.reason...)
	}
	return string(b)
}

// appendName writes the name as a token where it is one, and as a string
// otherwise (RFC 9211, 2: both are allowed; RFC 9651, 3.3.3 and 3.3.4).
func appendName(b []byte, name string) []byte {
	p := structuredParser{rest: name}
	if one, ok := p.bareItem(); ok && one.kind == 't' && p.rest == "" {
		return append(b, name...)
	}
	b = append(b, '"')
	for i := range len(name) {
		switch c := name[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ' && c < 0x7f:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

func (h *Handler) name() string {
	if h.Policy.Name == "" {
		return defaultName
	}
	return h.Policy.Name
}

func (h *Handler) policy() Policy { return h.Policy.withDefaults() }
