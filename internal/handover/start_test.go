package handover

import (
	"strings"
	"testing"
)

func TestTheLastLinesOfAProcessAreKept(t *testing.T) {
	var said tail
	for range 100 {
		if _, err := said.Write([]byte(strings.Repeat("x", 99) + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := said.Write([]byte("first\nsecond\n")); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(said.lastLines(), "\n")
	if len(lines) != tailLines || lines[tailLines-1] != "second" || len(said.text) > tailBytes {
		t.Errorf("%d lines, the last %q, of %d bytes", len(lines), lines[len(lines)-1], len(said.text))
	}
}
