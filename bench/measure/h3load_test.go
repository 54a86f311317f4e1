package measure

import (
	"encoding/json"
	"testing"
	"time"
)

func TestParseH3load(t *testing.T) {
	want := LoadResult{Requests: 5, Bytes: 60, Elapsed: time.Second, P50: time.Millisecond, P99: 2 * time.Millisecond, Errors: 1}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseH3load(string(text) + "\n"); err != nil || got != want {
		t.Errorf("%+v, %v: want %+v", got, err, want)
	}
	for _, out := range []string{"", "hello", `{"Requests": "five"}`} {
		if got, err := ParseH3load(out); err == nil {
			t.Errorf("%q is read as %+v: want an error", out, got)
		}
	}
}
