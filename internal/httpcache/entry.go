package httpcache

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
)

// field is a header field as it goes out, formatted when it is stored.
type field struct {
	name   string
	values []string
	// not304: a 304 leaves it out (RFC 9110, 15.4.5).
	not304 bool
}

// entry is a stored response, or one about to be: until its body is there it
// serves as the head of the answer that a fill streams. What is not atomic is
// fixed once the entry is shared; nobody changes header values.
type entry struct {
	key    string
	hash   uint64
	vary   []varied
	status int
	// origin is what the origin sent, less hop-by-hop fields, for later 304s.
	origin http.Header
	// fields is what goes out: origin as the verdict edited it, without Age,
	// Content-Length and Cache-Status, which are written for each answer.
	fields      []field
	valueCount  int
	cacheStatus []string // of caches before this one (RFC 9211, 2)
	age         []string // Age as received, for answers passed on first-hand
	length      int64    // declared by the origin; -1 if it is not
	body        body
	lengthText  string // Content-Length; empty for statuses without a body

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

	// judged is the generation at which the fence last found it standing,
	// shifted by one, with the lowest bit for a soft purge.
	judged   atomic.Uint64
	rendered atomic.Pointer[rendered]
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
	forbidCDN           bool // whatever else it is told
}

// newEntry makes the head of an answer. The body follows with seal.
func newEntry(d draft) *entry {
	out := maps.Clone(d.header)
	d.verdict.Respond(cacherules.Response{
		Status: d.status, Header: out, Version: d.source.Version, Request: d.request,
	})
	if d.forbidCDN {
		cacherules.ForbidCDN(out)
	}
	e := &entry{
		key: d.key, hash: d.hash, status: d.status, origin: d.header,
		vary:       variedBy(d.storability.names, d.request.Header),
		age:        d.header["Age"],
		length:     declaredLength(d.header),
		freshness:  d.storability.freshness,
		authorized: d.storability.authorized,
		date:       d.date, requested: d.requested, received: d.received,
		initialAge: initialAge(d.header, d.date, d.requested, d.received),
		madeBy:     d.source.Version, replica: d.source.Replica, rule: d.verdict.Rule, began: d.began,
	}
	e.provenance = provenance{place: d.place, tags: tagsOf(d, out)}
	if !d.verdict.Fingerprinted {
		e.version = d.source.Version
	}
	if tags := d.header["Etag"]; len(tags) > 0 {
		e.etag = tags[0]
	}
	e.modified, _ = fieldDate(d.header, "Last-Modified")
	e.setFields(out)
	return e
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

func (e *entry) setFields(out http.Header) {
	e.cacheStatus = out["Cache-Status"]
	for _, name := range slices.Sorted(maps.Keys(out)) {
		switch name {
		case "Age", "Content-Length", "Cache-Status":
			continue
		}
		values := out[name]
		e.valueCount += len(values)
		e.fields = append(e.fields, field{name: name, values: values, not304: describesBody(name, e.etag)})
	}
}

// describesBody lists what a 304 should not carry (RFC 9110, 15.4.5): the
// client has it. Last-Modified helps only where there is no entity tag.
func describesBody(name, etag string) bool {
	switch name {
	case "Content-Type", "Content-Encoding", "Content-Language", "Content-Range", "Trailer":
		return true
	case "Last-Modified":
		return etag != ""
	}
	return false
}

// seal gives the entry its body, and counts its bytes.
func (e *entry) seal(b body) {
	e.body = b
	if bodyAllowed(e.status) {
		e.lengthText = strconv.FormatInt(b.size, 10)
	}
	e.size = e.weigh()
}

// What bookkeeping costs, measured on 64-bit Go 1.26 and rounded up: an entry
// with its list element, index slot and group; a header field in the map and
// in the list; a value.
const (
	entryCost = 1024
	fieldCost = 128
	valueCost = 16
	tagCost   = 16
)

// weigh counts what the entry holds on to. Strings that the received and the
// outgoing header share are counted twice, which errs on the safe side.
func (e *entry) weigh() int64 {
	n := entryCost + len(e.key) + len(e.place.url)
	for name, values := range e.origin {
		n += fieldCost + len(name) + weighValues(values)
	}
	for _, f := range e.fields {
		n += weighValues(f.values)
	}
	for _, v := range e.vary {
		n += fieldCost + len(v.name) + len(v.value)
	}
	for _, tag := range e.tags {
		n += tagCost + len(tag)
	}
	return int64(n) + e.body.held()
}

func weighValues(values []string) int {
	n := 0
	for _, value := range values {
		n += valueCost + len(value)
	}
	return n
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
