package httpcache

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestContentRange(t *testing.T) {
	for name, c := range map[string]struct {
		lines []string
		want  byteRange
		size  int64
		ok    bool
	}{
		"the first bytes":                {[]string{"bytes 0-4/10"}, byteRange{0, 5}, 10, true},
		"all bytes":                      {[]string{"bytes 0-9/10"}, byteRange{0, 10}, 10, true},
		"the last byte":                  {[]string{"bytes 9-9/10"}, byteRange{9, 1}, 10, true},
		"the unit in capitals":           {[]string{"Bytes 0-4/10"}, byteRange{0, 5}, 10, true},
		"of unknown length":              {[]string{"bytes 0-4/*"}, byteRange{}, 0, false},
		"unsatisfied":                    {[]string{"bytes */10"}, byteRange{}, 0, false},
		"an end past the whole":          {[]string{"bytes 4-10/10"}, byteRange{}, 0, false},
		"an end before the start":        {[]string{"bytes 4-3/10"}, byteRange{}, 0, false},
		"an equals sign, as in requests": {[]string{"bytes=0-4/10"}, byteRange{}, 0, false},
		"another unit":                   {[]string{"lines 0-4/10"}, byteRange{}, 0, false},
		"no unit":                        {[]string{"0-4/10"}, byteRange{}, 0, false},
		"a sign":                         {[]string{"bytes +0-4/10"}, byteRange{}, 0, false},
		"no whole":                       {[]string{"bytes 0-4"}, byteRange{}, 0, false},
		"a whole too long to count":      {[]string{"bytes 0-4/99999999999999999999"}, byteRange{}, 0, false},
		"twice":                          {[]string{"bytes 0-4/10", "bytes 0-4/10"}, byteRange{}, 0, false},
		"none":                           {nil, byteRange{}, 0, false},
	} {
		got, size, ok := parseContentRange(http.Header{"Content-Range": c.lines})
		if ok != c.ok || ok && (got != c.want || size != c.size) {
			t.Errorf("%s: %v of %d %v: want %v of %d %v", name, got, size, ok, c.want, c.size, c.ok)
		}
	}
}

// FuzzContentRange: whatever is read lies within the whole, and is written back.
func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-4/10")
	f.Add("bytes 4611686018427387903-4611686018427387904/4611686018427387905")
	f.Fuzz(func(t *testing.T, field string) {
		b, size, ok := parseContentRange(http.Header{"Content-Range": {field}})
		if !ok {
			return
		}
		if b.start < 0 || b.length <= 0 || b.start > size-b.length {
			t.Fatalf("%q: %+v of %d", field, b, size)
		}
		again, same, ok := parseContentRange(http.Header{"Content-Range": {b.contentRange(size)}})
		if !ok || again != b || same != size {
			t.Fatalf("%q: %+v of %d, written back %+v of %d", field, b, size, again, same)
		}
	})
}

// at is the piece of a text from one offset to another, in two chunks.
func at(text string, from, to int64) piece {
	middle := (from + to) / 2
	return piece{start: from, body: body{chunks: [][]byte{[]byte(text[from:middle]), []byte(text[middle:to])}, size: to - from}}
}

func TestPiecesComeTogether(t *testing.T) {
	const text = "0123456789"
	for name, c := range map[string]struct {
		adds [][2]int64
		want []byteRange
	}{
		"one":                      {[][2]int64{{2, 4}}, []byteRange{{2, 2}}},
		"apart":                    {[][2]int64{{6, 8}, {2, 4}}, []byteRange{{2, 2}, {6, 2}}},
		"side by side":             {[][2]int64{{2, 4}, {4, 6}}, []byteRange{{2, 4}}},
		"side by side, backwards":  {[][2]int64{{4, 6}, {2, 4}}, []byteRange{{2, 4}}},
		"overlapping":              {[][2]int64{{2, 5}, {4, 7}}, []byteRange{{2, 5}}},
		"one within another":       {[][2]int64{{2, 8}, {4, 6}}, []byteRange{{2, 6}}},
		"one around another":       {[][2]int64{{4, 6}, {2, 8}}, []byteRange{{2, 6}}},
		"the same twice":           {[][2]int64{{2, 4}, {2, 4}}, []byteRange{{2, 2}}},
		"one that fills two gaps":  {[][2]int64{{0, 2}, {4, 6}, {8, 10}, {1, 9}}, []byteRange{{0, 10}}},
		"one that reaches beyond":  {[][2]int64{{4, 6}, {5, 10}}, []byteRange{{4, 6}}},
		"one that joins two":       {[][2]int64{{0, 4}, {6, 10}, {4, 6}}, []byteRange{{0, 10}}},
		"everything, byte by byte": {[][2]int64{{9, 10}, {0, 1}, {5, 6}, {1, 5}, {6, 9}}, []byteRange{{0, 10}}},
	} {
		var pieces []piece
		for _, add := range c.adds {
			pieces = withPiece(pieces, at(text, add[0], add[1]))
		}
		var got []byteRange
		for _, p := range pieces {
			got = append(got, byteRange{p.start, p.body.size})
			var b bytes.Buffer
			if _, err := p.body.WriteTo(&b); err != nil || b.String() != text[p.start:p.end()] {
				t.Errorf("%s: from %d %q %v: want %q", name, p.start, b.String(), err, text[p.start:p.end()])
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v: want %v", name, got, c.want)
		}
	}
}

// Whatever order pieces come in, what is kept is right, and nothing is lost
// while there are few.
func TestPiecesComeTogetherInAnyOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := strings.Repeat("abcdefghijklmnopqrstuvwxyz0123456789", 30)
	for range 300 {
		var pieces []piece
		have := make([]bool, len(text))
		few := true
		for range 1 + random.IntN(150) {
			from := random.Int64N(int64(len(text)))
			to := min(int64(len(text)), from+1+random.Int64N(20))
			before := slices.Clone(pieces)
			grown := withPiece(pieces, at(text, from, to))
			if !slices.EqualFunc(before, pieces, func(a, b piece) bool { return a.start == b.start && a.body.size == b.body.size }) {
				t.Fatal("the pieces before were changed")
			}
			pieces = grown
			for i := from; i < to; i++ {
				have[i] = true
			}
			few = few && len(pieces) < maxPieces
		}
		last := int64(-1)
		found := make([]bool, len(text))
		for _, p := range pieces {
			if p.start <= last {
				t.Fatalf("a piece at %d after one up to %d: want them apart", p.start, last)
			}
			last = p.end()
			var b bytes.Buffer
			_, _ = p.body.WriteTo(&b)
			if b.String() != text[p.start:p.end()] {
				t.Fatalf("from %d %q: want %q", p.start, b.String(), text[p.start:p.end()])
			}
			for i := p.start; i < p.end(); i++ {
				found[i] = true
			}
		}
		if few && !slices.Equal(found, have) {
			t.Fatal("bytes were lost")
		}
		if len(pieces) > maxPieces {
			t.Fatalf("%d pieces: want at most %d", len(pieces), maxPieces)
		}
	}
}

func TestTheGapToAskFor(t *testing.T) {
	const text = "0123456789"
	for name, c := range map[string]struct {
		pieces []piece
		want   byteRange
	}{
		"the beginning is there":         {[]piece{at(text, 0, 4)}, byteRange{4, 6}},
		"the end is there":               {[]piece{at(text, 7, 10)}, byteRange{0, 7}},
		"both are":                       {[]piece{at(text, 0, 4), at(text, 7, 10)}, byteRange{4, 3}},
		"both, and something between":    {[]piece{at(text, 0, 2), at(text, 4, 5), at(text, 7, 10)}, byteRange{2, 5}},
		"only something from the middle": {[]piece{at(text, 4, 5)}, byteRange{0, 10}},
	} {
		if got := gap(c.pieces, 10); got != c.want {
			t.Errorf("%s: %v: want %v", name, got, c.want)
		}
	}
}
