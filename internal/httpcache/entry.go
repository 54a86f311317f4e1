package httpcache

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/httpcache/residency"
)

// entry is a stored response, or one about to be: until its body is there it
// serves as the head of the answer that a fill streams. What is not atomic is
// fixed once the entry is shared; nobody changes header values.
type entry struct {
	key    string
	hash   uint64
	vary   []varied
	status int
	// fields are what the origin sent, less hop-by-hop fields, and what goes
	// out: that as the verdict edited it. Age, Content-Length and Cache-Status
	// are written for each answer.
	fields     fieldLines
	valueCount int
	validates  bool  // the origin can be asked for the news since
	unstorable bool  // by any cache: see forbidsEveryone
	length     int64 // declared by the origin; -1 if it is not
	body       body
	pieces     []piece // of the body, where it is not there as a whole
	lengthText string  // Content-Length; empty for statuses without a body, and with a trailer
	// trailer are the fields after the body. As the body, they are there when the
	// fill has ended.
	trailer   fieldLines
	encodable bool // its body may go out in another coding

	etag     string
	modified time.Time // Last-Modified, or zero

	freshness
	date       time.Time
	received   time.Time     // response_time of RFC 9111, 4.2.3
	requested  time.Time     // request_time
	initialAge time.Duration // corrected_initial_age
	authorized bool          // may be given to requests with Authorization

	provenance
	// madeBy is the version that produced it, for people; provenance.version
	// is what version purges compare.
	madeBy  string
	replica string
	rule    string
	// began is the generation at which the fetch began.
	began uint64
	size  int64 // accounted bytes
	// packed is the length of the string that all of the above are cut from.
	packed int

	// next is the shard's: the next older answer whose key has the same hash.
	next *entry

	// uses and lastUsed are the shard's: how often it was found, and when by
	// the shard's count of such events.
	uses, lastUsed uint64

	// stamp is that of the blob that it was read from; zero for another.
	stamp int64

	// judged is the generation at which the fence last found it standing,
	// shifted by one, with the lowest bit for a soft purge.
	judged atomic.Uint64
	// invalidated by an unsafe request: a fetch may still confirm it, but a
	// failing origin must not bring it back.
	invalidated atomic.Bool
	// stay is where the entry stands among the residents of its shard.
	stay residency.Mark
	// encodings are replaced under the shard's lock; asked has those that were
	// asked for.
	encodings atomic.Pointer[encodings]
	asked     atomic.Uint32
	// pausedUntil, in Unix nanoseconds, keeps background refreshes apart.
	pausedUntil atomic.Int64
}

// currentAge is RFC 9111, 4.2.3.
func (e *entry) currentAge(now time.Time) time.Duration {
	return e.initialAge + max(0, now.Sub(e.received))
}

// ttl is the freshness left; negative when stale. Ages count in whole seconds
// (RFC 9111, 1.2.2): an answer that is as old as its lifetime is stale.
func (e *entry) ttl(now time.Time) time.Duration { return e.lifetime - e.currentAge(now) }

// draft is what a fill knows when the final header arrives.
type draft struct {
	key                 string
	hash                uint64
	place               place
	status              int
	header              http.Header // the origin's, already without hop-by-hop fields
	request             *http.Request
	verdict             *cacherules.Verdict
	source              Source
	storability         storability
	date                time.Time
	requested, received time.Time
	began               uint64
	groups              *membership
	encoding            *Encoding // nil for an answer that is not to be stored
	forbidCDN           bool      // whatever else it is told
}

// newEntry makes the head of an answer. The body follows with seal.
func newEntry(d draft) *entry {
	out := maps.Clone(d.header)
	d.verdict.Respond(cacherules.Response{
		Status: d.status, Header: out, Version: d.source.Version, Request: d.request, Path: d.place.pathName(),
	})
	if d.forbidCDN {
		cacherules.ForbidCDN(out)
	}
	encodable := d.encoding != nil && d.encoding.covers(&d, out)
	if encodable || d.encoding != nil && !d.encoding.Off && isEncoded(d.header) {
		addVary(out)
	}
	e := &entry{
		key: d.key, hash: d.hash, status: d.status,
		vary:       variedBy(d.storability.names, d.storability.normalize, d.request.Header),
		encodable:  encodable,
		freshness:  d.storability.freshness,
		authorized: d.storability.authorized,
		date:       d.date, requested: d.requested, received: d.received,
		initialAge: initialAge(d.header, d.date, d.requested, d.received),
		madeBy:     d.source.Version, replica: d.source.Replica, rule: d.verdict.Rule, began: d.began,
	}
	e.provenance = provenance{place: d.place, tags: tagsOf(d, out), groups: d.groups}
	if !d.verdict.Fingerprinted {
		e.version = d.source.Version
	}
	e.describe(d.header)
	e.pack(d.header, out)
	return e
}

// describe fills in what follows from the origin's header.
func (e *entry) describe(origin http.Header) {
	e.validates, e.unstorable = hasValidator(origin), forbidsEveryone(origin)
	e.length = declaredLength(origin)
	if tags := origin["Etag"]; len(tags) > 0 {
		e.etag = tags[0]
	}
	e.modified, _ = fieldDate(origin, "Last-Modified")
}

// packSpace is how much of an entry's strings is gathered on the stack.
const packSpace = 2 << 10

// pack puts both headers and all strings of the entry's own into one piece of
// memory. Values of a header as net/http reads it hold on to more than
// themselves. The rule and the replica have one string for all their answers.
func (e *entry) pack(origin, out http.Header) {
	var space [packSpace]byte
	e.packLines(appendFields(space[:0], origin, out, e.etag))
}

// packLines is pack for headers that are lines already.
func (e *entry) packLines(b []byte) {
	own := []*string{&e.key, &e.place.url, &e.etag, &e.version, &e.madeBy}
	for i := range e.vary {
		own = append(own, &e.vary[i].name, &e.vary[i].value)
	}
	for i := range e.tags {
		own = append(own, &e.tags[i])
	}
	lines := len(b)
	for _, s := range own {
		b = append(b, *s...)
	}
	text := string(b)
	e.fields, e.packed = fieldLines(text[:lines]), len(text)
	e.valueCount = e.fields.count()
	for _, s := range own {
		*s, lines = text[lines:lines+len(*s)], lines+len(*s)
	}
	e.tags = slices.Clip(slices.Clone(e.tags))
}

// tagsOf are all tags that a purge may name the answer by.
func tagsOf(d draft, out http.Header) []string {
	tags := cacherules.ResponseTags(out)
	for _, tag := range d.verdict.Tags {
		tags = append(tags, cacherules.CanonicalTag(tag))
	}
	tags = append(tags, cacherules.ResponseTags(d.header)...)
	if !d.verdict.Fingerprinted && d.source.Version != "" {
		tags = append(tags, cacherules.VersionTag(d.source.Version))
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

// seal gives the entry its body, and counts its bytes.
func (e *entry) seal(b body) {
	e.body = b
	if bodyAllowed(e.status) && e.trailer == "" {
		e.lengthText = strconv.FormatInt(b.size, 10)
	}
	if declared := e.fields.first("Content-Length"); declared == e.lengthText {
		e.lengthText = declared // one string less
	}
	e.size = e.weigh()
}

// bodyAllowed: RFC 9110, 6.4.1.
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// declaredLength is Content-Length, or -1 without a valid one.
func declaredLength(h http.Header) int64 {
	lines := h["Content-Length"]
	if len(lines) != 1 {
		return -1
	}
	n, err := strconv.ParseInt(lines[0], 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// dateOf is the Date of an answer, or the time of receipt, which is then
// written into the header (RFC 9110, 6.6.1).
func dateOf(h http.Header, received time.Time) time.Time {
	if date, ok := fieldDate(h, "Date"); ok {
		return date
	}
	h["Date"] = []string{received.UTC().Format(http.TimeFormat)}
	return received.Truncate(time.Second)
}
