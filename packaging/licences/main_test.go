package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const bill = `{"bomFormat":"CycloneDX","components":[
	{"name":"good","version":"v1","licenses":[{"license":{"id":"MIT"}}]},
	{"name":"both","version":"v1","licenses":[{"license":{"id":"Apache-2.0"}},{"license":{"id":"GPL-3.0-only"}}]},
	{"name":"named","version":"v2","licenses":[{"license":{"name":"Beerware"}}]},
	{"name":"chosen","version":"v1","licenses":[{"expression":"MIT OR GPL-2.0-only"}]},
	{"name":"none","version":"v3"}]}`

func TestEveryLicenceThatIsNotAllowedIsNamed(t *testing.T) {
	components, err := read([]byte(bill))
	if err != nil {
		t.Fatal(err)
	}
	err = check(components)
	if err == nil {
		t.Fatal("all are allowed")
	}
	for _, want := range []string{`both v1: licence "GPL-3.0-only": want one of 0BSD`, `named v2: licence "Beerware"`, `chosen v1: licence "MIT OR GPL-2.0-only"`, "none v3: no licence was found"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 4 {
		t.Errorf("%d mistakes: want 4\n%v", n, err)
	}
}

func TestWhatIsNoBillOfMaterialsIsRefused(t *testing.T) {
	for _, text := range []string{``, `{}`, `{"bomFormat":"SPDX","components":[{"name":"a"}]}`, `{"bomFormat":"CycloneDX","components":[]}`} {
		if _, err := read([]byte(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func TestTextsAreGathered(t *testing.T) {
	folder, bare := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{"LICENSE.md": "may be used", "NOTICE": "made by", "README": "no text of a licence", "license_test.go": "package x"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := gather([]component{{Name: "a", Version: "v1"}}, map[string]string{"a v1": folder})
	if err != nil || !strings.HasPrefix(string(text), "==== a v1\n") || !strings.Contains(string(text), "may be used") || !strings.Contains(string(text), "made by") || strings.Contains(string(text), "README") {
		t.Errorf("%v\n%s", err, text)
	}
	_, err = gather([]component{{Name: "b", Version: "v1"}, {Name: "c", Version: "v1"}}, map[string]string{"b v1": bare})
	if err == nil || !strings.Contains(err.Error(), "b v1: no text of a licence") || !strings.Contains(err.Error(), "c v1: go list has no folder") {
		t.Errorf("%v", err)
	}
}
