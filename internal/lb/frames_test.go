package lb

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// frame writes one frame as RFC 6455, 5.2 draws it.
func frame(first byte, masked bool, payload []byte) []byte {
	out := []byte{first}
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		out = append(out, mask|byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, mask|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, mask|127), uint64(n))
	}
	if masked {
		key := []byte{1, 2, 3, 4}
		out = append(out, key...)
		for i, b := range payload {
			out = append(out, b^key[i%4])
		}
		return out
	}
	return append(out, payload...)
}

// fin marks the last fragment of a message.
const fin = 0x80

func TestFramesEndWhereRFC6455SaysTheyDo(t *testing.T) {
	long := bytes.Repeat([]byte{0x88}, 1<<16) // looks like Close frames
	for name, c := range map[string][][]byte{
		"nothing yet":                     {},
		"a text":                          {frame(fin|1, false, []byte("Hello"))},
		"an empty one":                    {frame(fin|1, false, nil)},
		"masked":                          {frame(fin|2, true, []byte("Hello"))},
		"masked and empty":                {frame(fin|2, true, nil)},
		"a length of two bytes":           {frame(fin|2, false, long[:126]), frame(fin|2, true, long[:1<<16-1])},
		"a length of eight bytes":         {frame(fin|2, false, long), frame(fin|2, true, long)},
		"compressed (RFC 7692)":           {frame(fin|0x40|1, false, []byte{0xf2, 0x48})},
		"a ping between two fragments":    {frame(1, false, []byte("Hel")), frame(fin|9, false, []byte("?")), frame(fin, false, []byte("lo"))},
		"a pong of the longest payload":   {frame(fin|10, false, long[:125])},
		"two messages, the second masked": {frame(fin|1, false, []byte("a")), frame(fin|1, true, []byte("b"))},
	} {
		for _, size := range []int{1, 2, 3, 7, 1 << 20} {
			var f frames
			if !f.between() {
				t.Errorf("%s: want a place before the first frame", name)
			}
			for i, one := range c {
				for rest := one; len(rest) > 0; {
					n := min(size, len(rest))
					f.pass(rest[:n])
					if rest = rest[n:]; f.between() != (len(rest) == 0) {
						t.Fatalf("%s, pieces of %d: frame %d, %d bytes before its end: between %v", name, size, i, len(rest), f.between())
					}
				}
			}
		}
	}
}

func TestNothingFollowsAClose(t *testing.T) {
	for _, payload := range [][]byte{nil, {0x03, 0xe8}, []byte("\x03\xe9going away")} {
		var f frames
		f.pass(frame(fin|opClose, true, payload))
		if !f.closed || f.between() {
			t.Errorf("Close with %q: closed %v, between %v: want true, false", payload, f.closed, f.between())
		}
	}
	var f frames
	f.pass(frame(fin|opClose, false, []byte{0x03, 0xe8})[:3])
	if f.closed {
		t.Error("half a Close counts as one")
	}
}

func TestWhatIsNoWebSocketHasNoPlace(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"a reserved opcode":         {fin | 3, 0},
		"a reserved control opcode": {fin | 11, 0},
		"a long control frame":      {fin | 9, 126, 0, 200},
		"a fragment of a Close":     {opClose, 0},
		"a length of 2^63":          {fin | 2, 127, 0x80, 0, 0, 0, 0, 0, 0, 0},
		"lines of text":             []byte("echo one\n"),
	} {
		var f frames
		f.pass(bytes)
		if f.between() || !f.broken {
			t.Errorf("%s: between %v, broken %v: want false, true", name, f.between(), f.broken)
		}
	}
}

func TestTheCloseFrameSaysServiceRestart(t *testing.T) {
	if want := frame(fin|opClose, false, []byte{0x03, 0xf4}); !bytes.Equal(serviceRestart, want) {
		t.Errorf("% x: want % x", serviceRestart, want)
	}
}

// FuzzFrames: however a stream of frames is cut, the places between them are
// found, and no others; anything else neither hangs nor panics.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0x81, 5, 'H', 'e', 'l', 'l', 'o'}, uint64(1))
	f.Add([]byte{0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3}, uint64(2))
	f.Add([]byte{0x88, 0x82, 1, 2, 3, 4, 2, 0xea}, uint64(3))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		whole, cut := new(frames), new(frames)
		random := rand.New(rand.NewPCG(seed, 1))
		whole.pass(stream)
		for rest := stream; len(rest) > 0; {
			n := 1 + random.IntN(len(rest))
			cut.pass(rest[:n])
			rest = rest[n:]
		}
		if whole.between() != cut.between() || whole.closed != cut.closed || whole.broken != cut.broken || whole.left != cut.left {
			t.Fatalf("whole %+v\ncut   %+v", whole, cut)
		}
		// The same bytes as payloads: every end of a frame is a place.
		var g frames
		for rest := stream; len(rest) > 0; {
			n := 1 + random.IntN(len(rest))
			one := frame(fin|opBinary, random.IntN(2) == 0, rest[:n])
			at := random.IntN(len(one))
			g.pass(one[:at])
			if at > 0 && g.between() {
				t.Fatalf("a place %d bytes into a frame of %d", at, len(one))
			}
			g.pass(one[at:])
			if !g.between() {
				t.Fatalf("no place after a whole frame: %+v", g)
			}
			rest = rest[n:]
		}
	})
}
