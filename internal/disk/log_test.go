package disk

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func logOf(t *testing.T, dir string, files FS) (*Log, [][]byte, bool) {
	t.Helper()
	l, frames, intact, err := ReadLog(dir, "log", files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l, frames, intact
}

func TestALogGivesBackItsFrames(t *testing.T) {
	dir := t.TempDir()
	l, frames, intact := logOf(t, dir, nil)
	if intact || frames != nil {
		t.Fatal("a log that is not there is intact")
	}
	if l.Append([]byte("too early")) == nil {
		t.Fatal("appended to a log that was not rewritten")
	}
	want := [][]byte{[]byte("one"), {}, bytes.Repeat([]byte("x"), 5000)}
	if err := l.Rewrite(want[0]); err != nil {
		t.Fatal(err)
	}
	for _, frame := range want[1:] {
		if err := l.Append(frame); err != nil {
			t.Fatal(err)
		}
	}
	_, frames, intact = logOf(t, dir, nil)
	if !intact || len(frames) != 3 || !bytes.Equal(frames[0], want[0]) || len(frames[1]) != 0 || !bytes.Equal(frames[2], want[2]) {
		t.Fatalf("intact %v, %d frames", intact, len(frames))
	}
	if l.Due() {
		t.Error("due at 5 KB")
	}
	if err := l.Append(make([]byte, rewriteAt)); err != nil || !l.Due() {
		t.Errorf("%v: want it due", err)
	}
	if err := l.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, _, intact = logOf(t, dir, nil); intact {
		t.Error("a removed log is intact")
	}
}

// A log is whole or nothing: every cut but those between frames, and every
// changed byte, is noticed.
func TestADamagedLogIsNoLog(t *testing.T) {
	dir := t.TempDir()
	l, _, _ := logOf(t, dir, nil)
	if err := l.Rewrite([]byte("first"), []byte("second frame")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "log")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	between := map[int]bool{len(logMagic): true, len(logMagic) + 8 + 5: true}
	for at := range text {
		if err := os.WriteFile(path, text[:at], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, intact := logOf(t, dir, nil); intact != between[at] {
			t.Errorf("cut at %d: intact %v", at, intact)
		}
		damaged := bytes.Clone(text)
		damaged[at] ^= 0x10
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, frames, intact := logOf(t, dir, nil); intact || frames != nil {
			t.Errorf("byte %d changed: still intact", at)
		}
	}
}

func TestALogSurvivesAFailedAppend(t *testing.T) {
	for name, fail := range map[string]func(*faulty){
		"write": func(f *faulty) { f.writing = errIO },
		"sync":  func(f *faulty) { f.syncing = errIO },
	} {
		t.Run(name, func(t *testing.T) {
			dir, files := t.TempDir(), new(faulty)
			l, _, _ := logOf(t, dir, files)
			if err := l.Rewrite([]byte("one")); err != nil {
				t.Fatal(err)
			}
			files.set(fail)
			if l.Append([]byte("two")) == nil {
				t.Fatal("a failed append is none")
			}
			files.set(func(f *faulty) { f.writing, f.syncing = nil, nil })
			if err := l.Append([]byte("three")); err != nil {
				t.Fatal(err)
			}
			_, frames, intact := logOf(t, dir, nil)
			if !intact || len(frames) != 2 || string(frames[1]) != "three" {
				t.Errorf("intact %v, frames %q", intact, frames)
			}
		})
	}
}

// What is written is there for whoever reads next, synced or not; what cannot be
// synced is an error, unless the file has been replaced meanwhile.
func TestALogIsSyncedLater(t *testing.T) {
	dir, files := t.TempDir(), new(faulty)
	l, _, _ := logOf(t, dir, files)
	if err := l.Sync(); err != nil || l.Write([]byte("too early")) == nil {
		t.Fatalf("%v: want nothing to sync, and nothing to write to", err)
	}
	if err := l.Rewrite([]byte("one")); err != nil {
		t.Fatal(err)
	}
	files.set(func(f *faulty) { f.syncing = errIO })
	if err := l.Write([]byte("two")); err != nil {
		t.Fatalf("%v: want no sync", err)
	}
	if _, frames, intact := logOf(t, dir, nil); !intact || len(frames) != 2 || string(frames[1]) != "two" {
		t.Errorf("intact %v, frames %q", intact, frames)
	}
	if err := l.Sync(); !errors.Is(err, errIO) {
		t.Errorf("%v: want %v", err, errIO)
	}
	files.set(func(f *faulty) { f.syncing = nil })
	if err := l.Sync(); err != nil {
		t.Error(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for range 200 {
			if err := l.Sync(); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range 200 {
		err := l.Write([]byte("three"))
		if i%20 == 0 {
			err = errors.Join(err, l.Rewrite([]byte("one")))
		}
		if err != nil {
			t.Error(err)
		}
	}
	all.Wait()
}

func FuzzDecodeFrames(f *testing.F) {
	f.Add([]byte(logMagic))
	f.Add(appendFrame([]byte(logMagic), []byte("frame")))
	f.Fuzz(func(t *testing.T, text []byte) {
		frames, intact := decodeFrames(text)
		if !intact {
			return
		}
		b := []byte(logMagic)
		for _, frame := range frames {
			b = appendFrame(b, frame)
		}
		if !bytes.Equal(b, text) {
			t.Errorf("%q was read as frames that make %q", text, b)
		}
	})
}
