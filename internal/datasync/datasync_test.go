package datasync

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAFileIsSynced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("text"); err != nil {
		t.Fatal(err)
	}
	if err := File(f); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(path); string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if File(f) == nil {
		t.Error("a closed file was synced")
	}
}

// What cannot be synced is an error, not silence.
func TestAPipeIsNotSynced(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if File(w) == nil {
		t.Error("a pipe was synced")
	}
}
