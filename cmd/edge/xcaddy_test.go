package main

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// manifest is xcaddy.json: what an edge binary is built of, for people who
// build their own with xcaddy.
type manifest struct {
	Caddy   string            `json:"caddy"`
	Module  string            `json:"module"`
	Modules map[string]string `json:"modules"` // every other module that our code imports, and its version
}

func readManifest(t *testing.T) manifest {
	t.Helper()
	text, err := os.ReadFile("../../xcaddy.json")
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

const caddyModule = "github.com/caddyserver/caddy/v2"

// goMod is what go.mod requires directly, by module.
func goMod(t *testing.T) (module string, direct map[string]string) {
	t.Helper()
	text, err := exec.Command("go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Module  struct{ Path string }
		Require []struct {
			Path, Version string
			Indirect      bool
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	direct = make(map[string]string)
	for _, r := range file.Require {
		if !r.Indirect {
			direct[r.Path] = r.Version
		}
	}
	return file.Module.Path, direct
}

func TestXcaddyJSONTellsTheTruth(t *testing.T) {
	m := readManifest(t)
	module, direct := goMod(t)
	if m.Module != module {
		t.Errorf("xcaddy.json names %s: go.mod %s", m.Module, module)
	}
	if m.Caddy != direct[caddyModule] {
		t.Errorf("xcaddy.json has Caddy %s: go.mod %s", m.Caddy, direct[caddyModule])
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	inBinary := make(map[string]string)
	for _, dep := range info.Deps {
		inBinary[dep.Path] = dep.Version
	}
	if inBinary[caddyModule] != m.Caddy {
		t.Errorf("the binary has Caddy %s: xcaddy.json %s", inBinary[caddyModule], m.Caddy)
	}
	for path, version := range direct {
		if path == caddyModule || inBinary[path] == "" {
			continue // Caddy was checked; a tool or a test's module is not in the binary
		}
		if m.Modules[path] != version {
			t.Errorf("xcaddy.json has %s %q: go.mod %s", path, m.Modules[path], version)
		}
	}
	for path, version := range m.Modules {
		if inBinary[path] != version {
			t.Errorf("xcaddy.json has %s %s: the binary %q", path, version, inBinary[path])
		}
	}
}

// The xcaddy tool, pinned in go.mod, builds a working gateway from the manifest.
func TestXcaddyBuildsAWorkingBinary(t *testing.T) {
	t.Parallel()
	m := readManifest(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	built := filepath.Join(dir, "edge")
	args := []string{"tool", "xcaddy", "build", m.Caddy, "--with", m.Module + "@v0.0.0=" + root, "--output", built}
	build := exec.Command("go", args...)
	// The settings of an ordinary build, so that what is compiled already is used.
	build.Env = append(os.Environ(), "XCADDY_GO_BUILD_FLAGS=-buildvcs=false", "TMPDIR="+dir, "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("xcaddy: %v\n%s", err, out)
	}
	modules, err := exec.Command(built, "list-modules").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"edge\n", "http.handlers.edge_rules", "http.handlers.edge_cache", "http.handlers.edge_proxy", "http.handlers.edge_control", "admin.api.edge"} {
		if !strings.Contains(string(modules), id) {
			t.Errorf("the binary lacks the module %s", id)
		}
	}
	if out, err := exec.Command(built, "adapt", "--config", "testdata/minimal.caddyfile", "--adapter", "caddyfile").CombinedOutput(); err != nil {
		t.Errorf("adapt: %v\n%s", err, out)
	}
}
