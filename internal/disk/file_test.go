package disk

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// random is content that no two files share.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b) // it never fails
	return b
}

// begun writes a file in pieces of an odd size.
func begun(t *testing.T, s *Store, body []byte) *Writing {
	t.Helper()
	w, err := s.Begin()
	if err != nil {
		t.Fatal(err)
	}
	for rest := body; len(rest) > 0; rest = rest[min(len(rest), 99_991):] {
		if _, err := w.Write(rest[:min(len(rest), 99_991)]); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// putFile writes a blob with its second part in a file.
func putFile(t *testing.T, s *Store, name string, stamp int64, body []byte) {
	t.Helper()
	w := begun(t, s, body)
	c, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	p := Put{Key: keyOf(name), Stamp: stamp, Meta: func(b []byte) []byte { return append(b, name...) }, File: c, Written: w}
	if !s.Put(p) {
		t.Fatalf("%s was not taken", name)
	}
	s.Flush()
}

// fileOf reads a blob with its file; nil for none.
func fileOf(t *testing.T, s *Store, name string) ([]byte, error) {
	t.Helper()
	found := s.Find(keyOf(name))
	if len(found) == 0 {
		return nil, nil
	}
	r := found[0]
	meta, part, err := s.Read(context.Background(), r)
	if err != nil {
		return nil, err
	}
	c, ok := ReadContents(part)
	if !ok || !r.Filed || !strings.HasPrefix(string(meta), name) {
		t.Fatalf("%s: meta %q, contents %v: not what was put", name, meta, c)
	}
	o, err := s.Open(context.Background(), r, c)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	var body []byte
	for at := int64(0); at < c.Size; at = int64(len(body)) {
		if err := o.Chunk(context.Background(), at, func(p []byte) error {
			body = append(body, p...)
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return body, nil
}

// files are the names of a folder with an ending.
func files(t *testing.T, dir, suffix string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func wantFile(t *testing.T, s *Store, name string, want []byte) {
	t.Helper()
	if got, err := fileOf(t, s, name); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes, %v: want the %d that were written", name, len(got), err, len(want))
	}
}

func TestFilesAreThereAfterARestart(t *testing.T) {
	sizes := map[string]int{"tiny": 1, "a chunk": ChunkSize, "more": ChunkSize + 1, "several": 5*ChunkSize + 77}
	for _, end := range []string{"closed", "crashed"} {
		dir := t.TempDir()
		s := open(t, small(dir))
		i := uint64(0)
		for name, size := range sizes {
			putFile(t, s, name, 5, random(i, size))
			i++
			got, err := fileOf(t, s, name)
			if err != nil || len(got) != size {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
		unfinished := begun(t, s, random(9, 3*ChunkSize))
		want := make(map[string][]byte)
		for name := range sizes {
			want[name], _ = fileOf(t, s, name)
		}
		before := s.Stats().Bytes - int64(3*ChunkSize)
		if end == "closed" {
			unfinished.Abandon()
			s.Close()
		} else {
			dir = crashed(t, dir)
		}
		s = open(t, small(dir))
		for name := range sizes {
			wantFile(t, s, name, want[name])
		}
		if got := s.Stats().Bytes; end == "crashed" && got != before {
			t.Errorf("%d bytes after a crash, %d before", got, before)
		}
		if left := files(t, dir, partSuffix); len(left) != 0 {
			t.Errorf("%s: %v are left", end, left)
		}
	}
}

// Nothing stays on disk of a file whose blob is gone, and its bytes count no more.
func TestFilesGoWithTheirBlobs(t *testing.T) {
	for how, lose := range map[string]func(*testing.T, *Store){
		"deleted":                   func(_ *testing.T, s *Store) { s.Delete(keyOf("a"), 0) },
		"deleted with all variants": func(_ *testing.T, s *Store) { s.DeleteAll(keyOf("a")) },
		"replaced":                  func(_ *testing.T, s *Store) { s.Put(putOf("a", 0, 9)) },
		"outdone while it was written": func(t *testing.T, s *Store) {
			s.Put(putOf("a", 0, 99))
			w := begun(t, s, random(2, ChunkSize))
			c, _ := w.Finish()
			if s.Put(Put{Key: keyOf("a"), Stamp: 50, Meta: func(b []byte) []byte { return b }, File: c, Written: w}) {
				t.Error("an older blob was taken")
			}
			w.Abandon()
		},
	} {
		dir := t.TempDir()
		s := open(t, small(dir))
		putFile(t, s, "a", 5, random(1, 2*ChunkSize))
		if s.Stats().Bytes < 2*ChunkSize {
			t.Errorf("%d bytes with a file of more", s.Stats().Bytes)
		}
		lose(t, s)
		s.Flush()
		s.Flush() // after which the first one's files are gone
		if left := append(files(t, dir, fileSuffix), files(t, dir, partSuffix)...); len(left) != 0 || s.Stats().Bytes > 10<<10 {
			t.Errorf("%s: %v are left, %d bytes", how, left, s.Stats().Bytes)
		}
	}
}

// A file may get another record, and another file may take its place.
func TestAFileIsReplaced(t *testing.T) {
	dir := t.TempDir()
	s := open(t, small(dir))
	first, second := random(1, 2*ChunkSize), random(2, 2*ChunkSize)
	putFile(t, s, "a", 5, first)
	ref := s.Find(keyOf("a"))[0]
	_, part, err := s.Read(context.Background(), ref)
	c, ok := ReadContents(part)
	if err != nil || !ok {
		t.Fatal(err)
	}
	s.Put(Put{Key: keyOf("a"), Stamp: 6, Meta: func(b []byte) []byte { return append(b, "a, confirmed"...) }, File: c})
	s.Flush()
	if s.Find(keyOf("a"))[0].Stamp != 6 {
		t.Fatal("the record was not replaced")
	}
	wantFile(t, s, "a", first)
	o, err := s.Open(context.Background(), s.Find(keyOf("a"))[0], c)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	putFile(t, s, "a", 7, second)
	wantFile(t, s, "a", second)
	if err := o.Chunk(context.Background(), 5, func(p []byte) error {
		if !bytes.Equal(p, first[5:ChunkSize]) {
			t.Error("whoever reads the old one gets bytes of the new one")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if _, err := s.Open(context.Background(), ref, c); !errors.Is(err, ErrGone) {
		t.Errorf("the old record opens the new file: %v", err)
	}
	s = open(t, small(crashed(t, dir)))
	wantFile(t, s, "a", second)
}

func TestADamagedFileIsNoticed(t *testing.T) {
	for where, offset := range map[string]int64{"first chunk": 3, "last chunk": 2*ChunkSize + 5, "table": 2*ChunkSize + 100 + 6} {
		dir, events := t.TempDir(), new(told)
		o := small(dir)
		o.Event = events.event
		s := open(t, o)
		putFile(t, s, "a", 5, random(1, 2*ChunkSize+100))
		name := files(t, dir, fileSuffix)[0]
		file, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		_, err = file.ReadAt(b, offset)
		if err == nil {
			_, err = file.WriteAt([]byte{b[0] ^ 1}, offset)
		}
		if err := errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
		if got, err := fileOf(t, s, "a"); err == nil {
			t.Errorf("%s: %d bytes, and nobody noticed", where, len(got))
		}
		if where != "table" && (events.count(EventCorrupt) != 1 || len(s.Find(keyOf("a"))) != 0) {
			t.Errorf("%s: reported %d times, and still there: %v", where, events.count(EventCorrupt), s.Find(keyOf("a")))
		}
	}
}

// A record without its file, and a file without its record, are given up.
func TestFilesAndRecordsBelongTogether(t *testing.T) {
	dir := t.TempDir()
	s := open(t, small(dir))
	putFile(t, s, "a", 5, random(1, 100))
	putFile(t, s, "b", 5, random(2, 100))
	s.Close()
	if err := os.Remove(filepath.Join(dir, fileName{key: keyOf("a")}.String())); err != nil {
		t.Fatal(err)
	}
	stray := filepath.Join(dir, fileName{key: keyOf("c")}.String())
	if err := os.WriteFile(stray, []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, small(dir))
	if found := s.Find(keyOf("a")); len(found) != 0 {
		t.Errorf("a record without its file: %v", found)
	}
	wantFile(t, s, "b", random(2, 100))
	if left := files(t, dir, fileSuffix); len(left) != 1 {
		t.Errorf("files %v: want that of b", left)
	}
	s.Close()
	if err := RemoveAll(dir, nil); err != nil || len(files(t, dir, fileSuffix)) != 0 {
		t.Errorf("%v after all was removed, %v", files(t, dir, fileSuffix), err)
	}
}

// The bound counts files; the oldest go, those that were read since last.
func TestFilesKeepToTheBound(t *testing.T) {
	dir := t.TempDir()
	s := open(t, small(dir))
	for i := range 40 {
		putFile(t, s, numbered(i), 5, random(uint64(i), 1<<20))
		if _, err := fileOf(t, s, numbered(0)); err != nil {
			t.Fatal(err)
		}
	}
	s.Flush()
	stats := s.Stats()
	if stats.Bytes > 16<<20 || stats.Bytes < 12<<20 {
		t.Errorf("%d bytes: want nearly 16 MiB", stats.Bytes)
	}
	wantFile(t, s, numbered(0), random(0, 1<<20))
	wantFile(t, s, numbered(39), random(39, 1<<20))
	if found := s.Find(keyOf(numbered(1))); len(found) != 0 {
		t.Errorf("the oldest that nobody read is still there: %v", found)
	}
	s = open(t, small(crashed(t, dir)))
	wantFile(t, s, numbered(0), random(0, 1<<20))
	if got := s.Stats(); got.Bytes != stats.Bytes || got.Blobs != stats.Blobs {
		t.Errorf("%d bytes of %d blobs after a restart: want %d of %d", got.Bytes, got.Blobs, stats.Bytes, stats.Blobs)
	}
}

func TestAFileThatCannotBeWritten(t *testing.T) {
	fs, events := new(faulty), new(told)
	o := small(t.TempDir())
	o.FS, o.Event = fs, events.event
	s := open(t, o)
	w, err := s.Begin()
	if err != nil {
		t.Fatal(err)
	}
	fs.set(func(f *faulty) { f.writing = syscall.ENOSPC })
	if _, err := w.Write(random(1, 1000)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v: want the disk to be full", err)
	}
	w.Abandon()
	if _, err := s.Begin(); err == nil {
		t.Error("a file is begun just after the disk was full")
	}
	if events.count(EventWriteFailed) != 1 || s.Stats().Bytes != 0 || s.Stats().Dropped != 1 {
		t.Errorf("told %d times, %d bytes, %d dropped", events.count(EventWriteFailed), s.Stats().Bytes, s.Stats().Dropped)
	}
	too, err := open(t, small(t.TempDir())).Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer too.Abandon()
	if _, err := too.Write(make([]byte, 2<<20+1)); err == nil {
		t.Error("a file of more than an eighth of the disk")
	}
}
