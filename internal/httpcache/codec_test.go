package httpcache

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
)

// drawn is a random answer, as a fill would store it.
func drawn(random *rand.Rand) (*entry, []byte) {
	text := func(longest int) string {
		b := make([]byte, random.IntN(longest+1))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return string(b)
	}
	header := http.Header{"Date": {"Sun, 06 Nov 1994 08:49:37 GMT"}}
	for _, name := range []string{"Etag", "Last-Modified", "Age", "Cache-Tag", "Cache-Status", "X-A", "X-B", "Content-Length", "Vary"} {
		for range random.IntN(3) {
			header[name] = append(header[name], text(200))
		}
	}
	if random.IntN(4) == 0 {
		header["X-None"] = nil
	}
	request, _ := http.NewRequest("GET", "http://example.com/a?b=c", nil)
	request.Header = http.Header{"Accept": {text(5)}, "Cookie": {text(9), "x"}}
	now := time.Unix(random.Int64N(1<<33), random.Int64N(1e9))
	d := draft{
		key: text(300), place: placeOf("example.com", "/a?b=c"), status: 200 + random.IntN(300), header: header,
		request: request, verdict: &cacherules.Verdict{Rule: "page /*", Tags: []string{"pages"}, Fingerprinted: random.IntN(2) == 0},
		source: Source{Version: text(8), Replica: "10.0.0.1:80"},
		storability: storability{
			names:      []string{"Accept", "Cookie", "X-Absent"}[:random.IntN(4)],
			authorized: random.IntN(2) == 0,
			freshness: freshness{
				source: FromMaxAge, lifetime: time.Duration(random.Int64N(1e15)), mustAsk: random.IntN(2) == 0,
				whileRevalidate: time.Duration(random.Int64N(1e15)), ifError: time.Duration(random.Int64N(1e15)),
				unreachable: time.Duration(random.Int64N(1e15)),
			},
		},
		date: time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC), requested: now, received: now.Add(time.Duration(random.Int64N(1e9))),
		began: random.Uint64(),
	}
	e := newEntry(d)
	e.encodable = len(d.key)%2 == 0
	content := []byte(nil)
	if bodyAllowed(d.status) {
		content = []byte(text(5000))
	}
	if len(content) == 0 {
		e.seal(body{})
		return e, nil
	}
	half := len(content) / 2
	e.seal(body{chunks: [][]byte{content[:half:half], slices.Clip(content[half:])}, size: int64(len(content))}.packed())
	return e, content
}

func TestAnAnswerIsTheSameAfterDecoding(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		e, content := drawn(random)
		meta := e.appendMeta(nil)
		got, err := decodeEntry(meta, bodyOf(slices.Clip(bytes.Clone(content))))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.appendMeta(nil), meta) {
			t.Fatalf("encoded anew it is another:\n%+v\n%+v", e, got)
		}
		var whole bytes.Buffer
		_, _ = got.body().WriteTo(&whole) // a buffer does not fail
		if !bytes.Equal(whole.Bytes(), content) {
			t.Fatal("another body")
		}
		for name, pair := range map[string][2]any{
			"fields": {e.fields(), got.fields()}, "values": {e.valueCount, got.valueCount}, "validates": {e.validates, got.validates},
			"unstorable": {e.unstorable, got.unstorable}, "length": {e.length(), got.length()}, "lengthText": {e.lengthText(), got.lengthText()},
			"etag": {e.etag(), got.etag()}, "modified": {e.modified(), got.modified()}, "freshness": {e.freshness, got.freshness},
			"vary": {e.vary(), got.vary()}, "tags": {e.tags(), got.tags()}, "place": {e.place(), got.place()}, "size": {e.size, got.size},
			"encodable": {e.encodable, got.encodable},
		} {
			if !reflect.DeepEqual(pair[0], pair[1]) {
				t.Errorf("%s: %#v became %#v", name, pair[0], pair[1])
			}
		}
		for name, pair := range map[string][2]time.Time{
			"date": {e.date(), got.date()}, "received": {e.received, got.received}, "requested": {e.requested(), got.requested()},
		} {
			if !pair[0].Equal(pair[1]) {
				t.Errorf("%s: %s became %s", name, pair[0], pair[1])
			}
		}
		if t.Failed() {
			return
		}
	}
}

// Every shorter text, and one with something behind it, is refused.
func TestHalfAnAnswerIsNone(t *testing.T) {
	e, content := drawn(rand.New(rand.NewPCG(3, 4)))
	meta := e.appendMeta(nil)
	for n := range meta {
		if _, err := decodeEntry(meta[:n], bodyOf(content)); err == nil {
			t.Fatalf("%d of %d bytes make an answer", n, len(meta))
		}
	}
	if _, err := decodeEntry(append(meta, 0), bodyOf(content)); err == nil {
		t.Error("what follows is ignored")
	}
	meta[0]++
	if _, err := decodeEntry(meta, bodyOf(content)); err == nil {
		t.Error("another version is read")
	}
}

// A count is no reason to make room for what does not follow.
func TestACountIsNotBelieved(t *testing.T) {
	claim := append([]byte{codecVersion}, strings.Repeat("\xff\xff\xff\xff\x07", 40)...)
	got := testing.AllocsPerRun(10, func() {
		if _, err := decodeEntry(claim, body{}); err == nil {
			t.Error("nonsense is an answer")
		}
	})
	if got > 10 {
		t.Errorf("%v allocations", got)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 10 {
		e, content := drawn(random)
		f.Add(e.appendMeta(nil), content)
	}
	f.Add([]byte{codecVersion}, []byte(nil))
	f.Add([]byte(fmt.Sprintf("%c%s", codecVersion, strings.Repeat("\xff", 40))), []byte(nil))
	f.Fuzz(func(t *testing.T, meta, content []byte) {
		content = slices.Clip(bytes.Clone(content))
		e, err := decodeEntry(meta, bodyOf(content))
		if err != nil {
			return
		}
		// A text in a list takes more than its length.
		if most := int64(1<<12 + 40*len(meta) + 2*len(content)); e.size > most {
			t.Errorf("%d bytes in memory for %d and %d encoded", e.size, len(meta), len(content))
		}
		again, err := decodeEntry(e.appendMeta(nil), bodyOf(content))
		if err != nil || again.size != e.size || again.fields() != e.fields() {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
	})
}
