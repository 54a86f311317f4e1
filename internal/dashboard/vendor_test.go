package dashboard

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// vendored are the files of uPlot, as scripts/vendor-uplot.sh fetches them.
const uplotVersion = "1.6.32"

var vendored = map[string]string{
	"uplot.js":          "5dd9b3281aa64b461b42d9945f6adb2649d346502b12281a9ae0d46599a80eba",
	"uplot.css":         "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
	"uplot-licence.txt": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}

func TestVendoredFilesAreAsReleased(t *testing.T) {
	for name, want := range vendored {
		sum := sha256.Sum256(parts[name].body)
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("%s has the checksum %s: want %s; run scripts/vendor-uplot.sh", name, got, want)
		}
	}
	script, err := os.ReadFile("../../scripts/vendor-uplot.sh")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(script), "\nversion="+uplotVersion+"\n") {
		t.Errorf("scripts/vendor-uplot.sh fetches another version than %s", uplotVersion)
	}
	if !strings.Contains(string(parts["uplot-licence.txt"].body), "MIT License") {
		t.Error("uPlot comes without its licence")
	}
}
