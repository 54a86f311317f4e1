package lb

import (
	"encoding/json"
	"testing"
)

func TestParseStatusRange(t *testing.T) {
	for _, text := range []string{"200", "204", "599", "2xx", "5xx"} {
		if got, err := ParseStatusRange(text); err != nil || got.String() != text {
			t.Errorf("%q was read as %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "42", "100", "1xx", "600", "6xx", "2XX", "20x", "xxx", "+200", "2000", "200-299"} {
		if got, err := ParseStatusRange(text); err == nil {
			t.Errorf("%q was read as %q: want an error", text, got)
		}
	}
	var h Health
	if err := json.Unmarshal([]byte(`{"expect_status":["204","3xx"]}`), &h); err != nil || len(h.ExpectStatus) != 2 || h.ExpectStatus[1] != (StatusRange{300, 399}) {
		t.Errorf("JSON was read as %v, %v", h.ExpectStatus, err)
	}
	if err := json.Unmarshal([]byte(`{"expect_status":["99"]}`), &h); err == nil {
		t.Error("JSON with a bad status was read")
	}
}
