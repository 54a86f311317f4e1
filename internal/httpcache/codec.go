package httpcache

import (
	"encoding/binary"
	"errors"
	"slices"
)

// codecVersion is the first byte of an encoded answer. It changes with the
// format; answers of another one are not read.
const codecVersion = 3

// errCodec is for an encoded answer that this version did not write.
var errCodec = errors.New("stored answer is not of this format")

// chunks is all that there is of the body.
func (e *entry) chunks() (all [][]byte) {
	if !e.isPart() {
		return e.body().chunks
	}
	for _, p := range e.pieces() {
		all = append(all, p.body.chunks...)
	}
	return all
}

// appendMeta encodes an answer without its body. What follows from the rest is
// left out: hash, entity tag, declared length, sizes.
func (e *entry) appendMeta(b []byte) []byte {
	b = append(b, codecVersion)
	b = appendPart(b, e.key())
	b = binary.AppendUvarint(b, uint64(e.status))
	at := e.place()
	b = appendPart(b, at.url)
	b = binary.AppendUvarint(b, uint64(at.host))
	b = binary.AppendUvarint(b, uint64(at.path))
	b = binary.AppendUvarint(b, uint64(len(e.vary())))
	for _, v := range e.vary() {
		b = append(appendPart(b, v.name), byte(v.form), flagByte(v.present))
		b = appendPart(b, v.value)
	}
	b = appendPart(b, string(e.fields().inOne()))
	b = appendPart(b, string(e.trailer().inOne()))

	b = appendPart(b, string(e.source))
	b = append(b, flagByte(e.mustAsk), flagByte(e.authorized), flagByte(e.encodable))
	b = binary.AppendVarint(b, int64(e.lifetime))
	b = binary.AppendVarint(b, int64(e.whileRevalidate))
	b = binary.AppendVarint(b, int64(e.ifError))
	b = binary.AppendVarint(b, int64(e.unreachable))
	b = appendTime(b, e.date())
	b = appendTime(b, e.received)
	b = appendTime(b, e.requested())
	b = binary.AppendVarint(b, int64(e.initialAge))

	b = appendTexts(b, slices.Collect(e.tags().all()))
	b = appendTexts(b, []string{e.version(), e.madeBy, e.replica, e.rule})
	b = binary.AppendUvarint(b, e.began)

	origin, began := "", uint64(0)
	if groups := e.groups(); groups != nil {
		origin, began = groups.origin(), groups.began
	}
	b = binary.AppendUvarint(appendPart(b, origin), began)
	b = binary.AppendUvarint(b, uint64(len(e.pieces())))
	for _, p := range e.pieces() {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(p.start)), uint64(p.body.size))
	}
	return b
}

func flagByte(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// decodeEntry makes an answer of what appendMeta appended and its body. The
// caller gives it its hash.
func decodeEntry(meta []byte, stored body) (*entry, error) {
	d := &decoder{rest: meta}
	if d.byte() != codecVersion {
		return nil, errCodec
	}
	key, e := d.text(), &entry{common: new(common)}
	e.status = d.number(999)
	at := place{url: d.text()}
	at.host, at.path = d.number(len(at.url)), d.number(len(at.url))
	vary := d.vary()
	fields, trailer := d.fields(), d.fields()

	e.source = LifetimeSource(d.text())
	e.mustAsk, e.authorized, e.encodable = d.flag(), d.flag(), d.flag()
	e.lifetime, e.whileRevalidate = d.duration(), d.duration()
	e.ifError, e.unreachable = d.duration(), d.duration()
	d.time() // the date, which is in the header
	e.received = d.time()
	e.took = e.received.Sub(d.time())
	e.initialAge = d.duration()

	tags := d.texts()
	facts := d.texts()
	e.began = d.uvarint()
	origin, groupsBegan := d.text(), d.uvarint()
	pieces := d.pieces(stored)
	if !d.done() || len(facts) != 4 || e.status < 200 || at.host > at.path ||
		stored.size > 0 && !bodyAllowed(e.status) {
		return nil, errCodec
	}
	e.madeBy, e.replica, e.rule, e.versioned = facts[1], facts[2], facts[3], facts[0] != ""
	e.describe(fields.origin())
	length := declaredLength(fields.origin())
	groups := membershipOf(origin, fields.origin(), groupsBegan)
	if (groups == nil) != (origin == "") || e.versioned && facts[0] != e.madeBy {
		return nil, errCodec
	}
	e.belong(vary, groups)
	whole := len(pieces) == 0 || len(pieces) == 1 && pieces[0].body.size >= length
	switch {
	case len(pieces) > 0 && (whole || stored.file != nil || pieces[len(pieces)-1].end() > length):
		return nil, errCodec // a part that is none
	case whole && bodyAllowed(e.status) && length >= 0 && length != stored.size:
		return nil, errCodec
	}
	e.encodable = e.encodable && stored.file == nil
	e.pack(nil, key, fields, tagListOf(tags...), at)
	e.keepTrailer(trailer)
	if len(pieces) > 0 {
		e.sealParts(pieces)
		return e, nil
	}
	e.seal(stored)
	return e, nil
}

// pieces cuts the body of a part into its pieces, which do not touch.
func (d *decoder) pieces(stored body) (all []piece) {
	used, last := int64(0), int64(-1)
	for range d.number(maxPieces) {
		start, size := int64(d.number(hugeOffset)), int64(d.number(hugeOffset))
		if d.bad || start <= last || size == 0 || size > stored.size-used || len(stored.chunks) != 1 {
			d.fail()
			return nil
		}
		all = append(all, piece{start: start, body: bodyOf(stored.chunks[0][used : used+size : used+size])})
		used, last = used+size, start+size
	}
	if len(all) > 0 && used != stored.size {
		d.fail()
	}
	return all
}

func (d *decoder) vary() []varied {
	n := d.number(maxVaryFields)
	if n == 0 {
		return nil
	}
	fields := make([]varied, n)
	for i := range fields {
		fields[i] = varied{name: d.text(), form: form(d.number(int(asCodings))), present: d.flag(), value: d.text()}
	}
	return fields
}

// fields reads the lines of a header.
func (d *decoder) fields() fieldLines {
	text := d.text()
	lines, last := &decoder{rest: []byte(text)}, ""
	for len(lines.rest) > 0 {
		flags, name := lines.byte(), lines.text()
		lines.text()
		if lines.bad || flags >= byte(noValue)<<1 || name < last {
			d.fail()
			return fieldLines{}
		}
		last = name
	}
	return fieldLines{lines: text}
}
