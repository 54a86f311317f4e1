package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// everythingIn tells of each file and folder below one when it was changed, and how
// large it is.
func everythingIn(t *testing.T, root string) (lines []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		lines = append(lines, fmt.Sprintf("%s %s %d %d", path, info.Mode(), info.Size(), info.ModTime().UnixNano()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// writesMuch is a configuration of which each part writes somewhere below the folder
// when it runs, and storage says where Caddy does.
func writesMuch(t *testing.T, root, storage string) string {
	t.Helper()
	text := strings.ReplaceAll(fmt.Sprintf(`{
	admin off
	%s
	pki {
		ca storage {
			name "Of things kept"
		}
	}
	log {
		output file ROOT/log/process.log
	}
	edge {
		state_dir ROOT/state
		cache {
			disk 64MiB ROOT/disk
		}
		pool app {
			discover static 127.0.0.1:1
			policy sticky
		}
		backup {
			to ROOT/backups
		}
		control {
			token v7Qd2mXk9LrTz4WbPf
		}
	}
}
https://127.0.0.1 {
	tls internal
	log {
		output file ROOT/log/access.log
	}
	edge_rules {
		page /*
	}
	edge_cache
	edge_proxy app
}
`, storage), "ROOT", root)
	return written(t, text)
}

// A check by root must leave nothing that the gateway's own user could not write, and
// an authority is made by the gateway, not by who looks at its configuration.
func TestLookingAtAConfigurationChangesNothing(t *testing.T) {
	t.Parallel()
	for name, storage := range map[string]string{"Caddy's default storage": "", "a storage of its own": "storage file_system ROOT/storage"} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			home := filepath.Join(root, "home")
			if err := os.Mkdir(home, 0o700); err != nil {
				t.Fatal(err)
			}
			good := writesMuch(t, root, storage)
			bad := written(t, strings.Replace(read(t, good), "token v7Qd2mXk9LrTz4WbPf", "token short", 1))
			log := filepath.Join(filepath.Dir(good), "access.log")
			if err := os.WriteFile(log, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			before := everythingIn(t, root)
			for _, c := range []struct {
				code int
				args []string
			}{
				{0, []string{"check", "--config", good}},
				{0, []string{"check", "--config", good, "--env", "preview"}},
				{2, []string{"check", "--config", bad}},
				{0, []string{"explain", "--config", good, "https://127.0.0.1/"}},
				{0, []string{"replay", "--config", good, log}},
			} {
				r := command(t, []string{"HOME=" + home}, c.args...)
				if r.code != c.code {
					t.Errorf("edge %q: exit %d: want %d\n%s%s", c.args, r.code, c.code, r.stdout, r.stderr)
				}
				if after := everythingIn(t, root); !slices.Equal(after, before) {
					t.Fatalf("edge %q changed something:\n%s\nwas\n%s", c.args, strings.Join(after, "\n"), strings.Join(before, "\n"))
				}
			}
			// Caddy's own command does write, so there was something to be kept from.
			if r := command(t, []string{"HOME=" + home}, "validate", "--config", good, "--adapter", "caddyfile"); r.code != 0 {
				t.Fatalf("validate: exit %d\n%s", r.code, r.stderr)
			}
			whole := strings.Join(everythingIn(t, root), "\n")
			for _, file := range []string{"pki/authorities/local/root.key", "pki/authorities/storage/root.key", "log/access.log", "log/process.log"} {
				if !strings.Contains(whole, file) {
					t.Errorf("no %s after edge validate:\n%s", file, whole)
				}
			}
			// With an authority, it is read: one that is damaged is a problem.
			folder := filepath.Join(root, map[bool]string{true: "home", false: "storage"}[storage == ""])
			damaged := 0
			err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
				if filepath.Base(path) == "root.key" {
					damaged++
					return os.WriteFile(path, []byte("no key"), 0o600)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if r := command(t, []string{"HOME=" + home}, "check", "--config", good); damaged != 2 || r.code != 2 || !strings.Contains(r.stdout, "root key") {
				t.Errorf("%d keys damaged: exit %d: want 2, and a word about the root key\n%s%s", damaged, r.code, r.stdout, r.stderr)
			}
		})
	}
}

// What is not opened is looked at: it must be possible.
func TestCheckSaysWhatCannotBeWritten(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good := read(t, writesMuch(t, root, ""))
	problems := map[string]struct{ from, to, says string }{
		"a log below a file":      {filepath.Join(root, "log/access.log"), filepath.Join(file, "access.log"), "access.log: want a file that can be written"},
		"a log that is a folder":  {filepath.Join(root, "log/access.log"), root, root + ": want a file that can be written"},
		"a state folder in a way": {filepath.Join(root, "state"), filepath.Join(file, "state"), `state_dir "` + filepath.Join(file, "state") + `": want a folder that can be written`},
		"a disk that is a file":   {filepath.Join(root, "disk"), file, `cache disk "` + file + `": want a folder that can be written`},
	}
	for _, name := range slices.Sorted(maps.Keys(problems)) {
		c := problems[name]
		r := command(t, nil, "check", "--config", written(t, strings.Replace(good, c.from, c.to, 1)))
		if r.code != 2 || strings.Count(r.stdout, c.says) != 1 {
			t.Errorf("%s: exit %d, want 2 and once %q\n%s", name, r.code, c.says, r.stdout)
		}
	}
}
