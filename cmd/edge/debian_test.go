package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// packaged builds the Debian package of a version.
func packaged(t *testing.T, version string) string {
	t.Helper()
	deb := filepath.Join(t.TempDir(), "edge.deb")
	c := exec.Command("../../packaging/debian/build.sh", version, binary, deb)
	c.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1790000000")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return deb
}

// dpkg runs one of dpkg's programs, in a root of its own.
func dpkg(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestTheDebianPackage builds it twice, and has the real dpkg install, upgrade, remove
// and purge it in a folder.
func TestTheDebianPackage(t *testing.T) {
	t.Parallel()
	deb := packaged(t, "v1.2.0")
	first, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	again, err := os.ReadFile(packaged(t, "1.2.0"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, again) {
		t.Error("built twice, the package differs: want it reproducible")
	}
	if got := strings.TrimSpace(dpkg(t, "dpkg-deb", "--field", deb, "Version")); got != "1.2.0" {
		t.Errorf("version %q: want 1.2.0", got)
	}
	contents := dpkg(t, "dpkg-deb", "--contents", deb)
	for _, want := range []string{
		"-rwxr-xr-x root/root", "./usr/bin/edge", "-rw------- root/root", "./etc/edge/edge.env", "./usr/lib/systemd/system/edge.service", "./usr/lib/systemd/system/edge.socket", "./usr/share/doc/edge/Caddyfile.example",
	} {
		if !strings.Contains(contents, want) {
			t.Errorf("%s\nwant %q", contents, want)
		}
	}
	root := t.TempDir()
	for _, folder := range []string{"var/lib/dpkg/updates", "var/lib/dpkg/info", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	in := func(args ...string) {
		t.Helper()
		dpkg(t, "fakeroot", append([]string{"dpkg", "--root=" + root, "--force-script-chrootless", "--force-depends", "--force-not-root", "--log=/dev/null"}, args...)...)
	}
	in("--install", deb)
	installed := filepath.Join(root, "usr/bin/edge")
	if out := dpkg(t, installed, "list-modules"); !strings.Contains(out, "http.handlers.edge_cache") {
		t.Errorf("the installed binary has no edge_cache:\n%s", out)
	}
	env := filepath.Join(root, "etc/edge/edge.env")
	state := filepath.Join(root, "var/lib/edge/purge.journal")
	if err := os.MkdirAll(filepath.Dir(state), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{env: "EDGE_TOKEN=mine\n", state: "state"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in("--install", packaged(t, "1.3.0"))
	if got := read(t, env); got != "EDGE_TOKEN=mine\n" {
		t.Errorf("an upgrade has changed edge.env to %q", got)
	}
	in("--remove", "edge")
	if _, err := os.Stat(installed); !os.IsNotExist(err) {
		t.Errorf("removed, the binary is there: %v", err)
	}
	if got := read(t, env); got != "EDGE_TOKEN=mine\n" {
		t.Errorf("a removal has changed edge.env to %q", got)
	}
	in("--purge", "edge")
	if _, err := os.Stat(env); !os.IsNotExist(err) {
		t.Errorf("purged, edge.env is there: %v", err)
	}
	if got := read(t, state); got != "state" {
		t.Errorf("purged, the state is %q: want it left", got)
	}
}

func TestAPackageWithoutAVersionIsNone(t *testing.T) {
	for _, args := range [][]string{{}, {"devel", binary, filepath.Join(t.TempDir(), "x.deb")}} {
		out, err := exec.Command("../../packaging/debian/build.sh", args...).CombinedOutput()
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 2 {
			t.Errorf("%v: %v, want exit 2\n%s", args, err, out)
		}
	}
}
