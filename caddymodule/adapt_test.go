package caddymodule

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

var update = flag.Bool("update", false, "rewrite the expectations of the golden files")

const separator = "\n----------\n"

// Each golden file is a Caddyfile, a line of ten dashes, and the JSON that it
// adapts to or the error that it gives.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d golden files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) { golden(t, file) })
	}
}

func golden(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	input, want, found := strings.Cut(string(text), separator)
	if !found && !*update {
		t.Fatalf("%s has no line of ten dashes", file)
	}
	got := outcome(strings.TrimSuffix(input, "\n"))
	if *update {
		if err := os.WriteFile(file, []byte(strings.TrimSuffix(input, "\n")+separator+got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("%s adapts to\n%s\nwant\n%s", file, got, want)
	}
}

// outcome is the adapted JSON, or the error, with a newline at the end.
func outcome(caddyfile string) string {
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile+"\n"), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err.Error() + "\n"
	}
	var text bytes.Buffer
	for _, w := range warnings {
		text.WriteString("warning: " + w.String() + "\n")
	}
	if err := json.Indent(&text, adapted, "", "\t"); err != nil {
		return err.Error() + "\n"
	}
	return text.String() + "\n"
}
