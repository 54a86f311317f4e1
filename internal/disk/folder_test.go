package disk

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestOneFolderForOneProcess(t *testing.T) {
	dir := t.TempDir()
	lock, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); err == nil {
		t.Error("locked twice")
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreNobodyElsesBusiness(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	s := open(t, small(dir))
	s.Put(putOf("a", 0, 9))
	s.Flush()
	for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, onlySegment(t, dir): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v: want %v", path, info.Mode(), err, want)
		}
	}
}

func TestRemoveAll(t *testing.T) {
	dir := t.TempDir()
	s := open(t, small(dir))
	s.Put(putOf("a", 0, 9))
	s.Close()
	other := filepath.Join(dir, "not-ours.txt")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(RemoveAll(dir, nil), RemoveAll(filepath.Join(dir, "none"), nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error("a file that is not ours was removed")
	}
	if open(t, small(dir)).Stats().Blobs != 0 {
		t.Error("something is left")
	}
}
