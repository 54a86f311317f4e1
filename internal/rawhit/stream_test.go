package rawhit

import (
	"math/rand/v2"
	"regexp"
	"testing"

	"github.com/edgegw/edge/internal/rawhit/streams"
)

var ids = regexp.MustCompile(`(X-Request-Id: )[0-9a-f]{32}`)

// compare plays a stream with a table and without one.
func compare(t *testing.T, raw, plain *world, stream []streams.Piece) {
	t.Helper()
	var answers [2][]byte
	for i, w := range []*world{raw, plain} {
		all, err := streams.Play(w.address, w.secure, get("/hit/a"), stream)
		if err != nil {
			t.Fatal(err)
		}
		answers[i] = ids.ReplaceAll(all, []byte("$1"))
	}
	if how := streams.Differ(stream, answers[0], answers[1]); how != "" {
		t.Error(how)
	}
}

func TestStreamsAreAnsweredAsWithoutATable(t *testing.T) {
	playMany(t, newWorld(t, true), newWorld(t, false), 1500)
}

func TestStreamsAreAnsweredAsWithoutATableOverTLS(t *testing.T) {
	playMany(t, newSecureWorld(t, true), newSecureWorld(t, false), 700)
}

func playMany(t *testing.T, raw, plain *world, seeds uint64) {
	t.Helper()
	for seed := range seeds {
		compare(t, raw, plain, streams.New(rand.New(rand.NewPCG(seed, 7)).IntN, false))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if n := raw.table.Replies(); n < int64(seeds)/2 {
		t.Errorf("%d answers came from the table: that proves little", n)
	}
}

func FuzzStreams(f *testing.F) {
	f.Add([]byte{3, 0, 2, 1, 4, 0})
	f.Add([]byte("a few requests, one after another"))
	f.Fuzz(func(t *testing.T, choices []byte) {
		if len(choices) > 200 {
			return
		}
		raw, plain := newWorld(t, true), newWorld(t, false)
		compare(t, raw, plain, streams.New(func(n int) int {
			if len(choices) == 0 {
				return 0
			}
			choice := int(choices[0])
			choices = choices[1:]
			return choice % n
		}, false))
	})
}
