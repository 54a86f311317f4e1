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
	*common
	hash uint64
	// text has key, values of fields, tags and place, in parts of these sizes, and
	// more: see pack.
	text                       string
	keySize, ownSize, tagsSize uint32

	placed   bool // its place is in text
	declared bool // its body is as long as Content-Length says, in so many digits

	// whole is a body in one piece, as most are.
	whole   [1][]byte
	after   *after   // what came with the body; nil for nothing
	belongs *belongs // to what else; nil for nothing

	received   time.Time     // response_time of RFC 9111, 4.2.3
	took       time.Duration // received less request_time
	initialAge time.Duration // corrected_initial_age

	// began is the generation at which the fetch began.
	began uint64
	size  int64 // accounted bytes

	// next is the shard's: the next older answer whose key has the same hash.
	next *entry

	// uses and lastUsed are the shard's: how often it was found, and when by
	// the shard's count of such events.
	uses, lastUsed uint32

	// stamp is that of the blob that it was read from; zero for another.
	stamp int64

	// judged is the generation at which the fence last found it standing,
	// shifted by one, with the lowest bit for a soft purge.
	judged atomic.Uint64
	// stay is where the entry stands among the residents of its shard.
	stay residency.Mark
	// encodings are replaced under the shard's lock; asked has those that were
	// asked for, and invalidatedBit.
	encodings atomic.Pointer[encodings]
	asked     atomic.Uint32
	// pausedUntil keeps background refreshes apart: see pause.
	pausedUntil atomic.Uint32
}

// invalidatedBit: by an unsafe request. A fetch may still confirm the entry, but a
// failing origin must not bring it back.
const invalidatedBit = 1 << 31

func (e *entry) invalidated() bool { return e.asked.Load()&invalidatedBit != 0 }

// belongs is what few answers have, known with the header.
type belongs struct {
	vary   []varied
	groups *membership // nil for none
}

// after is what few answers have, known with the body.
type after struct {
	body   body    // that is not in one piece
	pieces []piece // of the body, where it is not there as a whole
	// lengthText is the body's length, where the origin did not declare it and
	// it is not among countedTexts.
	lengthText string
	// trailer are the fields after the body.
	trailer fieldLines
}

func (e *entry) vary() []varied {
	if e.belongs == nil {
		return nil
	}
	return e.belongs.vary
}

func (e *entry) groups() *membership {
	if e.belongs == nil {
		return nil
	}
	return e.belongs.groups
}

func (e *entry) pieces() []piece {
	if e.after == nil {
		return nil
	}
	return e.after.pieces
}

func (e *entry) trailer() fieldLines {
	if e.after == nil {
		return fieldLines{}
	}
	return e.after.trailer
}

func (e *entry) body() body {
	switch {
	case e.whole[0] != nil:
		return body{chunks: e.whole[:], size: int64(len(e.whole[0]))}
	case e.after != nil:
		return e.after.body
	}
	return body{}
}

// version is that which purges of versions compare: fingerprinted answers have
// none, since they outlive it.
func (e *entry) version() string {
	if e.versioned {
		return e.madeBy
	}
	return ""
}

func (e *entry) etag() string { return e.fields().first("Etag") }

// modified is Last-Modified, or zero.
func (e *entry) modified() time.Time {
	at, _ := onlyDate(e.fields().values("Last-Modified"))
	return at
}

// date is Date, which dateOf has seen to.
func (e *entry) date() time.Time {
	if at, ok := onlyDate(e.fields().values("Date")); ok {
		return at
	}
	return e.received.Truncate(time.Second)
}

// length is that which the origin declared; -1 if it did not.
func (e *entry) length() int64 {
	if text, ok := e.fields().only("Content-Length"); ok {
		return parseLength(text)
	}
	return -1
}

// requested is request_time of RFC 9111, 4.2.3.
func (e *entry) requested() time.Time { return e.received.Add(-e.took) }

func (e *entry) provenance() provenance {
	p := provenance{key: e.key(), tags: e.tags(), version: e.version(), groups: e.groups()}
	if e.placed {
		p.place = e.place()
	}
	return p
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
	others              *commons  // nil for an answer that is not to be stored
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
		common: &common{commonFacts: commonFacts{
			status: d.status, freshness: d.storability.freshness, encodable: encodable, authorized: d.storability.authorized,
			madeBy: d.source.Version, replica: d.source.Replica, rule: d.verdict.Rule, versioned: !d.verdict.Fingerprinted,
		}},
		hash: d.hash, received: d.received, took: d.received.Sub(d.requested),
		initialAge: initialAge(d.header, d.date, d.requested, d.received), began: d.began,
	}
	e.belong(variedBy(d.storability.names, d.storability.normalize, d.request.Header), d.groups)
	e.describe(d.header)
	var space [textSpace]byte
	e.pack(d.others, d.key, linesOf(appendFields(space[:0], d.header, out, firstTag(d.header))), tagsOf(d, out), d.place)
	return e
}

// belong notes what few answers belong to.
func (e *entry) belong(vary []varied, groups *membership) {
	if len(vary) == 0 && groups == nil {
		return
	}
	e.belongs = &belongs{vary: vary, groups: groups}
}

// firstTag is the entity tag that counts.
func firstTag(h http.Header) string {
	if tags := h["Etag"]; len(tags) > 0 {
		return tags[0]
	}
	return ""
}

// describe fills in what follows from the origin's header.
func (e *entry) describe(origin http.Header) {
	e.validates, e.unstorable = hasValidator(origin), forbidsEveryone(origin)
}

// tagsOf are all tags that a purge may name the answer by.
func tagsOf(d draft, out http.Header) tagList {
	tags := cacherules.ResponseTags(out)
	for _, tag := range d.verdict.Tags {
		tags = append(tags, cacherules.CanonicalTag(tag))
	}
	tags = append(tags, cacherules.ResponseTags(d.header)...)
	if !d.verdict.Fingerprinted && d.source.Version != "" {
		tags = append(tags, cacherules.VersionTag(d.source.Version))
	}
	slices.Sort(tags)
	return tagListOf(slices.Compact(tags)...)
}

// seal gives the entry its body, and counts its bytes.
func (e *entry) seal(b body) {
	switch {
	case len(b.chunks) == 1 && b.file == nil:
		e.whole[0] = b.chunks[0]
	case b.size > 0:
		e.afterwards().body = b
	}
	if e.hasLength() {
		text := strconv.FormatInt(b.size, 10)
		if e.declared = e.fields().first("Content-Length") == text; !e.declared && b.size > counted {
			e.afterwards().lengthText = text
		}
	}
	e.size = e.weigh()
}

// afterwards is after, made where there is none.
func (e *entry) afterwards() *after {
	if e.after == nil {
		e.after = new(after)
	}
	return e.after
}

// hasLength reports an answer that has Content-Length.
func (e *entry) hasLength() bool { return bodyAllowed(e.status) && e.trailer().isEmpty() }

// lengthText is Content-Length; empty for statuses without a body, with a trailer,
// and before the body is there as a whole.
func (e *entry) lengthText() string {
	switch {
	case e.declared:
		return e.fields().first("Content-Length")
	case e.size == 0 || e.isPart() || !e.hasLength():
		return ""
	case e.after != nil && e.after.lengthText != "":
		return e.after.lengthText
	}
	return countedTexts[e.body().size]
}

// countedTexts are the lengths of short bodies.
var countedTexts = func() (texts [counted + 1]string) {
	for i := range texts {
		texts[i] = strconv.Itoa(i)
	}
	return texts
}()

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
	return parseLength(lines[0])
}

func parseLength(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
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
