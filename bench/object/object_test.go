package object

import (
	"bytes"
	"strings"
	"testing"
)

func TestBody(t *testing.T) {
	for _, size := range []int{0, 1, 1 << 10, 16 << 10, 256 << 10} {
		body := Body(size)
		if len(body) != size {
			t.Errorf("size %d: got %d bytes", size, len(body))
		}
		if !bytes.Equal(body, Body(size)) {
			t.Errorf("size %d: two calls differ", size)
		}
		if i := strings.IndexAny(string(body), "{}$\"'` \n\\"); i >= 0 {
			t.Errorf("size %d: byte %d is %q, which a configuration may read as syntax", size, i, body[i])
		}
	}
	if bytes.HasPrefix(Body(16<<10), Body(1 << 10)[:16]) {
		t.Error("two sizes begin alike: a cut body could pass for a smaller one")
	}
}

func TestHashIsSHA256(t *testing.T) {
	// FIPS 180-4, the example of the one-block message "abc".
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got := Hash([]byte("abc")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSizeOf(t *testing.T) {
	cases := map[string]struct {
		path string
		size int
		ok   bool
	}{
		"a path that Path made":      {Path(4096), 4096, true},
		"an empty body":              {Path(0), 0, true},
		"another place":              {"/healthz", 0, false},
		"no number":                  {Prefix, 0, false},
		"a word":                     {Prefix + "big", 0, false},
		"a negative number":          {Prefix + "-1", 0, false},
		"two spellings of one size":  {Prefix + "007", 0, false},
		"something after the number": {Prefix + "1/2", 0, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			size, err := SizeOf(c.path)
			if (err == nil) != c.ok || size != c.size {
				t.Errorf("got %d, %v; want %d, ok %v", size, err, c.size, c.ok)
			}
		})
	}
}
