package disk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func keyOf(name string) Key {
	sum := sha256.Sum256([]byte(name))
	return Key(sum[:16])
}

// content is what the tests store: it says whose it is, and its length depends
// on the stamp.
func content(name string, variant uint64, stamp int64) (meta, body []byte) {
	meta = fmt.Appendf(nil, "%s %d %d", name, variant, stamp)
	return meta, bytes.Repeat(meta, int(stamp%50))
}

func putOf(name string, variant uint64, stamp int64) Put {
	meta, body := content(name, variant, stamp)
	half := len(body) / 2
	return Put{
		Key: keyOf(name), Variant: variant, Stamp: stamp, Label: "label of " + name, Flags: uint8(variant),
		Meta: func(b []byte) []byte { return append(b, meta...) },
		Body: [][]byte{body[:half], body[half:]}, Size: int64(len(meta) + len(body)),
	}
}

// open opens a folder and closes it with the test, unless the test does.
func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.mu.Lock()
		closed := s.closed
		s.mu.Unlock()
		if !closed {
			s.Close()
		}
	})
	return s
}

func small(dir string) Options { return Options{Dir: dir, MaxBytes: 16 << 20} }

// held opens a folder in memory that holds one segment.
func held(t testing.TB, files *memory) *Store {
	t.Helper()
	return open(t, Options{Dir: "d", MaxBytes: 16 << 20, FS: files})
}

// stampOf reads a blob, checks that it is whole, and gives its stamp; 0 for none.
func stampOf(t testing.TB, s *Store, name string, variant uint64) int64 {
	t.Helper()
	for _, r := range s.Find(keyOf(name)) {
		if r.Variant != variant {
			continue
		}
		meta, body, err := s.Read(context.Background(), r)
		if errors.Is(err, ErrGone) {
			return 0
		}
		if err != nil {
			t.Fatalf("%s %d: %v", name, variant, err)
		}
		wantMeta, wantBody := content(name, variant, r.Stamp)
		if !bytes.Equal(meta, wantMeta) || !bytes.Equal(body, wantBody) || r.Label != "label of "+name || r.Flags != uint8(variant) {
			t.Fatalf("%s %d %d: read %q and %d bytes, label %q: not what was written", name, variant, r.Stamp, meta, len(body), r.Label)
		}
		return r.Stamp
	}
	return 0
}

// crashed copies a folder as a crash of the process would leave it.
func crashed(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func onlySegment(t testing.TB, dir string) string {
	t.Helper()
	names, err := segmentNames(systemFS{}, dir)
	if err != nil || len(names) != 1 {
		t.Fatalf("segments %v, %v: want one", names, err)
	}
	return filepath.Join(dir, names[0])
}

// faulty is a file system that fails when told to.
type faulty struct {
	systemFS
	mu      sync.Mutex
	opening error // of files
	writing error
	reading error
	syncing error
	hang    chan struct{} // reads wait for it
}

func (f *faulty) set(change func(*faulty)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *faulty) OpenFile(name string, flag int, mode fs.FileMode) (File, error) {
	f.mu.Lock()
	err := f.opening
	f.mu.Unlock()
	if err != nil && flag&os.O_CREATE != 0 {
		return nil, err
	}
	file, err := f.systemFS.OpenFile(name, flag, mode)
	return faultyFile{file, f}, err
}

type faultyFile struct {
	File
	fs *faulty
}

func (f faultyFile) WriteAt(p []byte, offset int64) (int, error) {
	f.fs.mu.Lock()
	err := f.fs.writing
	f.fs.mu.Unlock()
	if err != nil {
		n, _ := f.File.WriteAt(p[:len(p)/2], offset) // as a full disk does
		return n, err
	}
	return f.File.WriteAt(p, offset)
}

func (f faultyFile) ReadAt(p []byte, offset int64) (int, error) {
	f.fs.mu.Lock()
	err, hang := f.fs.reading, f.fs.hang
	f.fs.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, offset)
}

func (f faultyFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.fs.syncing
}

// numbered are names that differ.
func numbered(i int) string { return string(binary.AppendUvarint([]byte("blob "), uint64(i))) }
