package machine

import "testing"

func TestFactsLeaveOutWhatIsUnknown(t *testing.T) {
	if got := memory("25165824"); got != "24.0 GiB" {
		t.Errorf("25165824 KiB: got %s, want 24.0 GiB", got)
	}
	if got := memory(""); got != "" {
		t.Errorf("unknown memory: got %q, want nothing", got)
	}
	if got := match("/no/such/file", `(.*)`); got != "" {
		t.Errorf("no such file: got %q, want nothing", got)
	}
	for _, fact := range Facts() {
		if fact.Value == "" {
			t.Errorf("%s has no value", fact.Name)
		}
	}
}
