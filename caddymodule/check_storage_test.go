package caddymodule

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"testing"

	"github.com/caddyserver/certmagic"
)

// The same is done to a storage of files and to one over it that changes nothing: what
// can be read is the same at each step, and the files are as they were.
func TestAStorageOverAnotherReadsLikeOneThatIsWritten(t *testing.T) {
	below, real := &certmagic.FileStorage{Path: t.TempDir()}, &certmagic.FileStorage{Path: t.TempDir()}
	ctx := t.Context()
	for _, key := range []string{"pki/local/root.crt", "pki/local/root.key", "ech/configs/1/key", "ech/configs/2/key", "plain"} {
		for _, s := range []certmagic.Storage{below, real} {
			if err := s.Store(ctx, key, []byte("old "+key)); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := os.DirFS(below.Path)
	files, err := fs.Glob(before, "*/*/*")
	if err != nil {
		t.Fatal(err)
	}
	over := &unchanged{of: below}
	keys := []string{"", "pki", "pki/local", "pki/local/root.crt", "pki/local/root.key", "pki/other/root.crt", "ech/configs", "ech/configs/1", "ech/configs/1/key", "ech/configs/2/key", "ech/configs/3/key", "plain", "nothing"}
	same := func(step string) {
		t.Helper()
		for _, key := range keys {
			if got, want := looked(t, over, key), looked(t, real, key); got != want {
				t.Errorf("%s: %q reads as\n%s\nwant\n%s", step, key, got, want)
			}
		}
	}
	same("nothing written")
	for _, step := range []struct{ do, key, value string }{
		{"store", "pki/local/root.crt", "new"},
		{"store", "pki/other/root.crt", ""},
		{"store", "ech/configs/3/key", "three"},
		{"delete", "ech/configs/1/key", ""},
		{"delete", "ech/configs/2", ""},
		{"delete", "nothing", ""},
		{"store", "ech/configs/2/key", "again"},
		{"delete", "pki", ""},
		{"store", "pki/local/root.key", "after"},
		{"delete", "plain", ""},
		{"delete", "ech", ""},
	} {
		for _, s := range []certmagic.Storage{over, real} {
			var err error
			if step.do == "store" {
				err = s.Store(ctx, step.key, []byte(step.value))
			} else {
				err = s.Delete(ctx, step.key)
			}
			if err != nil {
				t.Fatalf("%v: %v", step, err)
			}
		}
		same(fmt.Sprint(step))
	}
	after, err := fs.Glob(before, "*/*/*")
	if err != nil || !slices.Equal(after, files) {
		t.Errorf("below are %q, %v: want %q", after, err, files)
	}
	for _, key := range []string{"pki/local/root.crt", "ech/configs/2/key", "plain"} {
		if value, err := below.Load(ctx, key); err != nil || string(value) != "old "+key {
			t.Errorf("%s below is %q, %v: want it as it was", key, value, err)
		}
	}
}

// looked is all that a storage says of a key.
func looked(t *testing.T, s certmagic.Storage, key string) string {
	t.Helper()
	info, statErr := s.Stat(t.Context(), key)
	text := fmt.Sprintf("exists %t, terminal %t, none %t", s.Exists(t.Context(), key), info.IsTerminal, errors.Is(statErr, fs.ErrNotExist))
	if info.IsTerminal {
		value, err := s.Load(t.Context(), key)
		text += fmt.Sprintf(", %d bytes %q %v", info.Size, value, err)
	}
	for _, recursive := range []bool{false, true} {
		below, err := s.List(t.Context(), key, recursive)
		slices.Sort(below)
		text += fmt.Sprintf("\nlist %q, none %t", below, errors.Is(err, fs.ErrNotExist))
	}
	return text
}
