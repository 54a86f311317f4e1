package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What edge check takes for a Caddyfile, and finds good, starts and is reloaded.
func TestAConfigurationRunsAsItWasChecked(t *testing.T) {
	t.Parallel()
	g := configure(t, "127.0.0.1:1")
	named := filepath.Join(filepath.Dir(g.config), "site.caddy")
	if err := os.Rename(g.config, named); err != nil {
		t.Fatal(err)
	}
	g.config = named
	g.within = []string{"sh", "-c", `exec "$0" "$1" "$2" "$3"`} // without the adapter that it is run with elsewhere
	g.launch()
	g.answers("/.edge/healthz")
	token := []string{"EDGE_TOKEN=" + controlToken}
	for _, args := range [][]string{{"check", "--config", named}, {"validate", "--config", named}, {"reload", "--force", "-c", named}} {
		if r := command(t, token, args...); r.code != 0 {
			t.Errorf("edge %q: exit %d\n%s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	if r := command(t, token, "reload", "--config", named, "--adapter", "json5"); r.code == 0 || !strings.Contains(r.stderr, "json5") {
		t.Errorf("with an adapter: exit %d: want that of the flag\n%s", r.code, r.stderr)
	}
	plain := filepath.Join(filepath.Dir(named), "edge.conf")
	if err := os.WriteFile(plain, []byte(command(t, token, "adapt", "--config", named).stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "--config", plain}, {"validate", "--config", plain}} {
		if r := command(t, token, args...); r.code != 0 {
			t.Errorf("edge %q of JSON: exit %d\n%s%s", args, r.code, r.stdout, r.stderr)
		}
	}
}
