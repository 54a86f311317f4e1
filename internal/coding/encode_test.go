package coding

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestEncodedBodiesDecode(t *testing.T) {
	text := []byte(strings.Repeat("<p>some text, and some more of it</p>\n", 5000))
	var e Encoder
	for round, parts := range [][][]byte{
		{text}, {text[:1], text[1:70000], nil, text[70000:]}, {[]byte(strings.Repeat("x", 1024))}, {text},
	} {
		whole := bytes.Join(parts, nil)
		for _, c := range order {
			got, err := e.Encode(c, parts, len(whole))
			if err != nil {
				t.Fatalf("round %d, %s: %v", round, c, err)
			}
			if len(got) >= len(whole)/5 || cap(got) != len(got) {
				t.Errorf("round %d, %s: %d of %d bytes, capacity %d", round, c, len(got), len(whole), cap(got))
			}
			d, err := Decode(c, bytes.NewReader(got))
			if err != nil {
				t.Fatal(err)
			}
			if back, err := io.ReadAll(d); err != nil || !bytes.Equal(back, whole) {
				t.Errorf("round %d, %s: %v, the same: %v", round, c, err, bytes.Equal(back, whole))
			}
		}
	}
}

func TestNoiseIsNotWorthIt(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	text := bytes.Repeat([]byte("text "), 2000)
	var e Encoder
	for _, c := range order {
		if got, err := e.Encode(c, [][]byte{noise}, len(noise)*95/100); !errors.Is(err, ErrNoGain) {
			t.Errorf("%s: %d bytes, %v: want ErrNoGain", c, len(got), err)
		}
		if got, err := e.Encode(c, [][]byte{text}, len(text)); err != nil || len(got) == 0 { // the next body is not its victim
			t.Errorf("%s after noise: %v", c, err)
		}
	}
}

func TestADifferenceIsNoticed(t *testing.T) {
	text := bytes.Repeat([]byte("text "), 2000)
	changed := bytes.Clone(text)
	changed[7000] ^= 1
	var e Encoder
	for _, c := range order {
		encoded, err := e.Encode(c, [][]byte{text}, len(text))
		if err != nil {
			t.Fatal(err)
		}
		for name, parts := range map[string][][]byte{
			"another byte": {changed}, "shorter": {text[:9999]}, "longer": {text, {'x'}}, "empty": nil,
		} {
			if verify(c, encoded, parts) == nil {
				t.Errorf("%s, %s: verified", c, name)
			}
		}
		if verify(c, encoded[:len(encoded)-1], [][]byte{text}) == nil {
			t.Errorf("%s, cut off: verified", c)
		}
		if err := verify(c, encoded, [][]byte{text}); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
}
