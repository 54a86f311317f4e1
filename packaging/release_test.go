package packaging

import (
	"archive/tar"
	"compress/gzip"
	"debug/buildinfo"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// released makes a release twice at a time, in two folders, for this system alone.
func released(t *testing.T, version string) (folders [2]string) {
	t.Helper()
	var both sync.WaitGroup
	for i := range folders {
		folders[i] = filepath.Join(t.TempDir(), "dist")
		both.Go(func() {
			c := exec.Command("../scripts/release.sh", version, folders[i], runtime.GOOS+"/"+runtime.GOARCH)
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	both.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return folders
}

// unpack puts the archive's files beside it.
func unpack(t *testing.T, archive string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for in := tar.NewReader(z); ; {
		h, err := in.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(filepath.Dir(archive), filepath.Clean("/"+h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(to, 0o755)
		} else {
			var text []byte
			if text, err = io.ReadAll(in); err == nil {
				err = os.WriteFile(to, text, h.FileInfo().Mode())
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAReleaseIsWhatItSays(t *testing.T) {
	folders := released(t, "v1.2.3-rc.1")
	folder := folders[0]
	if again := read(t, filepath.Join(folders[1], "SHA256SUMS")); again != read(t, filepath.Join(folder, "SHA256SUMS")) {
		t.Errorf("released again, it is\n%swant the same files, byte for byte", again)
	}
	check := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	check.Dir = folder
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	name := "edge_1.2.3-rc.1_" + runtime.GOOS + "_" + runtime.GOARCH
	sums := read(t, filepath.Join(folder, "SHA256SUMS"))
	for _, file := range []string{name + ".tar.gz", "edge_1.2.3-rc.1_" + runtime.GOARCH + ".deb", "edge_1.2.3-rc.1.cdx.json", "THIRD-PARTY.txt"} {
		if !strings.Contains(sums, "  "+file+"\n") {
			t.Errorf("SHA256SUMS has no %s:\n%s", file, sums)
		}
	}
	unpack(t, filepath.Join(folder, name+".tar.gz"))
	binary := filepath.Join(folder, name, "edge")
	if out, err := exec.Command(binary, "version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "edge v1.2.3-rc.1, Caddy v2") {
		t.Errorf("edge version: %q, %v", out, err)
	}
	for _, file := range []string{"LICENSE", "THIRD-PARTY.txt", "Caddyfile.example"} {
		if read(t, filepath.Join(folder, name, file)) == "" {
			t.Errorf("%s is empty", file)
		}
	}
	deb, err := exec.Command("dpkg-deb", "--contents", filepath.Join(folder, "edge_1.2.3-rc.1_"+runtime.GOARCH+".deb")).CombinedOutput()
	if err != nil || !strings.Contains(string(deb), "./usr/share/doc/edge/THIRD-PARTY.txt\n") {
		t.Errorf("want the licences' texts in the package: %v\n%s", err, deb)
	}
	everythingIsNamed(t, binary, filepath.Join(folder, "edge_1.2.3-rc.1.cdx.json"), read(t, filepath.Join(folder, "THIRD-PARTY.txt")))
}

// everythingIsNamed holds the bill of materials and the licences' texts against what
// the linker put into the binary.
func everythingIsNamed(t *testing.T, binary, sbom, texts string) {
	t.Helper()
	var bill struct {
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal([]byte(read(t, sbom)), &bill); err != nil {
		t.Fatal(err)
	}
	named := make(map[string]bool)
	for _, c := range bill.Components {
		named[c.Name+" "+c.Version] = true
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil || len(info.Deps) < 100 {
		t.Fatalf("%v: %d modules", err, len(info.Deps))
	}
	for _, dep := range info.Deps {
		module := dep.Path + " " + dep.Version
		if !named[module] {
			t.Errorf("the bill of materials has no %s", module)
		}
		if !strings.Contains(texts, "\n==== "+module+"\n") && !strings.HasPrefix(texts, "==== "+module+"\n") {
			t.Errorf("no text of the licence of %s", module)
		}
	}
}

func TestAReleaseIsRefusedForBadWords(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "something"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	for want, args := range map[string][]string{
		`version "latest": want one such as 1.2.0`:       {"latest", empty},
		`holds something: want one that is empty`:        {"1.2.3", full},
		`platform "linux": want one such as linux/amd64`: {"1.2.3", empty, "linux"},
		`want a version and a folder`:                    {"1.2.3"},
	} {
		out, err := exec.Command("../scripts/release.sh", args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}
