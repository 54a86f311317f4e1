package httpcache

import (
	"encoding/binary"
	"time"
)

// appendTexts appends a list of texts.
func appendTexts(b []byte, texts []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(texts)))
	for _, text := range texts {
		b = appendPart(b, text)
	}
	return b
}

// appendTime appends a moment of whatever year.
func appendTime(b []byte, t time.Time) []byte {
	return binary.AppendUvarint(binary.AppendVarint(b, t.Unix()), uint64(t.Nanosecond()))
}

// decoder cuts values off an encoded text, in the order in which they were
// appended. After the first mistake it is bad, and gives zero values. It
// allocates no more than the text is long.
type decoder struct {
	rest []byte
	bad  bool
}

// fail makes the decoder bad.
func (d *decoder) fail() { d.rest, d.bad = nil, true }

// done reports that everything was read, without a mistake.
func (d *decoder) done() bool { return !d.bad && len(d.rest) == 0 }

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail()
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

// flag is a byte that must be 0 or 1.
func (d *decoder) flag() bool {
	b := d.byte()
	if b > 1 {
		d.fail()
	}
	return b == 1
}

func (d *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) varint() int64 {
	n, size := binary.Varint(d.rest)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

// number is a uvarint between 0 and most.
func (d *decoder) number(most int) int {
	n := d.uvarint()
	if n > uint64(most) {
		d.fail()
		return 0
	}
	return int(n)
}

// count is how many items follow, each of which takes at least so many bytes.
func (d *decoder) count(each int) int {
	n := d.uvarint()
	if n > uint64(len(d.rest)/each) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) text() string {
	n := d.count(1)
	text := string(d.rest[:n])
	d.rest = d.rest[n:]
	return text
}

func (d *decoder) texts() []string {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	all := make([]string, n)
	for i := range all {
		all[i] = d.text()
	}
	return all
}

func (d *decoder) time() time.Time {
	seconds := d.varint()
	return time.Unix(seconds, int64(d.number(int(time.Second)-1)))
}

// duration is one that is not negative.
func (d *decoder) duration() time.Duration {
	n := d.varint()
	if n < 0 {
		d.fail()
		return 0
	}
	return time.Duration(n)
}
