package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func sample() Content {
	return Content{
		Manifest: Manifest{Lineage: "abcd2345", Created: noon, Node: "here"},
		Files: []File{
			{Name: "state/purge.journal", Data: []byte("line\n"), From: "/var/lib/edge/purge.journal"},
			{Name: "state/empty", Data: []byte{}},
			{Name: "storage/certificates/a/a.key", Data: bytes.Repeat([]byte{0, 255}, 300)},
		},
	}
}

func newKey(t *testing.T) *Key {
	t.Helper()
	text, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseKey("# made for a test\n" + text + "\n")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func packed(t *testing.T, c Content, k *Key) []byte {
	t.Helper()
	data, err := Pack(c, k)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func sameFiles(a, b []File) bool {
	return slices.EqualFunc(a, b, func(x, y File) bool { return x.Name == y.Name && x.From == y.From && bytes.Equal(x.Data, y.Data) })
}

func TestWhatIsPackedIsUnpacked(t *testing.T) {
	for name, k := range map[string]*Key{"in the open": nil, "encrypted": newKey(t)} {
		t.Run(name, func(t *testing.T) {
			got, err := Unpack(packed(t, sample(), k), k)
			if err != nil {
				t.Fatal(err)
			}
			if !sameFiles(got.Files, sample().Files) || got.Manifest.Lineage != "abcd2345" || !got.Manifest.Created.Equal(noon) {
				t.Errorf("got %+v: want what was packed", got)
			}
		})
	}
}

func TestAnArchiveOpensWithoutEdge(t *testing.T) {
	text, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := age.ParseX25519Identity(text)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := age.Decrypt(bytes.NewReader(packed(t, sample(), k)), identity)
	if err != nil {
		t.Fatal(err)
	}
	zipped, err := gzip.NewReader(opened)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for archive := tar.NewReader(zipped); ; {
		head, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, head.Name)
	}
	if want := []string{"manifest.json", "state/purge.journal", "state/empty", "storage/certificates/a/a.key"}; !slices.Equal(names, want) {
		t.Errorf("got %q: want %q", names, want)
	}
}

func TestEveryFlippedByteIsNoticed(t *testing.T) {
	for name, k := range map[string]*Key{"in the open": nil, "encrypted": newKey(t)} {
		whole := packed(t, sample(), k)
		for i := range whole {
			bad := bytes.Clone(whole)
			bad[i] ^= 1
			if got, err := Unpack(bad, k); err == nil && !sameFiles(got.Files, sample().Files) {
				t.Fatalf("%s: byte %d flipped: unpacked as something else", name, i)
			} else if err == nil && k != nil {
				t.Errorf("%s: byte %d flipped: want an error", name, i)
			} // else: padding, which means nothing
		}
		for _, size := range []int{0, 1, len(whole) / 2, len(whole) - 1} {
			if _, err := Unpack(whole[:size], k); err == nil {
				t.Errorf("%s: cut at %d: want an error", name, size)
			}
		}
	}
}

func TestKeys(t *testing.T) {
	old, now := newKey(t), newKey(t)
	both := &Key{to: now.to, from: append(slices.Clone(now.from), old.from...)}
	if _, err := Unpack(packed(t, sample(), old), both); err != nil {
		t.Errorf("a second key opens what was encrypted before: got %v", err)
	}
	for _, c := range []struct {
		name   string
		packed []byte
		key    *Key
		want   string
	}{
		{"another key", packed(t, sample(), old), now, "another key"},
		{"no key", packed(t, sample(), old), nil, "want its key"},
		{"a key, and not encrypted: anybody could have written it", packed(t, sample(), nil), now, "not encrypted"},
	} {
		if _, err := Unpack(c.packed, c.key); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v: want %q in it", c.name, err, c.want)
		}
	}
	for _, text := range []string{"", "# only a comment", "AGE-SECRET-KEY-1SECRETBUTWRONG", "hunter2hunter2hunter2"} {
		_, err := ParseKey(text)
		if err == nil || text != "" && strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "SECRETBUTWRONG") {
			t.Errorf("key %q: got %v: want an error that does not show it", text, err)
		}
	}
}

// crafted is an archive with a manifest that says whatever it is told.
func crafted(t *testing.T, m Manifest, files ...File) []byte {
	t.Helper()
	head, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipped)
	for _, f := range append([]File{{Name: manifestName, Data: head}}, files...) {
		if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Size: int64(len(f.Data)), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write(f.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestCraftedArchivesAreRefused(t *testing.T) {
	good := File{Name: "state/a", Data: []byte("a")}
	item := Item{Name: "state/a", Size: 1, SHA256: sum([]byte("a"))}
	for _, c := range []struct {
		name  string
		m     Manifest
		files []File
	}{
		{"a file that is not listed", Manifest{Format: 1, Files: []Item{item}}, []File{good, {Name: "state/b"}}},
		{"a file that is missing", Manifest{Format: 1, Files: []Item{item}}, nil},
		{"a file twice", Manifest{Format: 1, Files: []Item{item}}, []File{good, good}},
		{"listed twice", Manifest{Format: 1, Files: []Item{item, item}}, []File{good}},
		{"another content", Manifest{Format: 1, Files: []Item{item}}, []File{{Name: "state/a", Data: []byte("b")}}},
		{"a way out of the folder", Manifest{Format: 1, Files: []Item{{"state/../../etc/passwd", 1, sum([]byte("a")), ""}}}, []File{{Name: "state/../../etc/passwd", Data: []byte("a")}}},
		{"a path from the root on", Manifest{Format: 1, Files: []Item{{"/etc/passwd", 1, sum([]byte("a")), ""}}}, []File{{Name: "/etc/passwd", Data: []byte("a")}}},
		{"another format", Manifest{Format: 2, Files: []Item{item}}, []File{good}},
	} {
		if _, err := Unpack(crafted(t, c.m, c.files...), nil); err == nil {
			t.Errorf("%s: want an error", c.name)
		}
	}
	if _, err := Unpack(crafted(t, Manifest{Format: 1, Files: []Item{item}}, good), nil); err != nil {
		t.Errorf("the same without a mistake: got %v", err)
	}
}

func TestNamesThatLeadNowhereAreNotPacked(t *testing.T) {
	for _, name := range []string{"", "a", "../a", "/a/b", "a/../b", "a//b", "a/", `a/b\c`, "a/\x00"} {
		if _, err := Pack(Content{Files: []File{{Name: name}}}, nil); err == nil {
			t.Errorf("%q: want an error", name)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	data, err := Pack(sample(), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(ageIntro))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Unpack(data, nil)
		if err != nil {
			return
		}
		for _, file := range c.Files {
			if !goodName(file.Name) {
				t.Errorf("%q was unpacked", file.Name)
			}
		}
		again, err := Pack(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Unpack(again, nil)
		if err != nil || !sameFiles(back.Files, c.Files) {
			t.Errorf("packed again: %v", err)
		}
	})
}
