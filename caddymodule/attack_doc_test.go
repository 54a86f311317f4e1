package caddymodule

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The page about attacks names every class that is tried, and no test that
// does not exist.
func TestTheSecurityPageTellsWhatIsTested(t *testing.T) {
	page, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	for class := range poisonings {
		if !strings.Contains(string(page), "\n| "+class+" |") {
			t.Errorf("docs/security.md has no row for the class %q", class)
		}
	}
	var sources strings.Builder
	for _, folder := range []string{".", "../internal/httpcache", "../internal/cacherules", "../internal/control", "../cmd/edge"} {
		files, err := filepath.Glob(folder + "/*_test.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sources.Write(text)
		}
	}
	names := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`").FindAllStringSubmatch(string(page), -1)
	if len(names) < 10 {
		t.Fatalf("docs/security.md names %d tests: want one for each class", len(names))
	}
	for _, found := range names {
		if !strings.Contains(sources.String(), "\nfunc "+found[1]+"(") {
			t.Errorf("docs/security.md names %s, which is no test", found[1])
		}
	}
}
