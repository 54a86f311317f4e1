package cli

import (
	"strings"
	"testing"
)

func TestStatusShowsTheFleet(t *testing.T) {
	var shown strings.Builder
	err := printStatus(&shown, []byte(`{"schema":1,"node":"n","fleet":{"trusted":true,"left":"8.5s","position":7,"settled":true,
		"members":[{"node":"edge-1","id":"X","self":true,"applied":7},{"node":"edge-2","id":"Y","applied":5}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"fleet: 2 members, 7 purges in the log, lease for 8.5s", "edge-1 (this)  7        0       X", "edge-2         5        2       Y"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("%s\nwant %q in it", shown.String(), want)
		}
	}
	shown.Reset()
	if err := printStatus(&shown, []byte(`{"schema":1,"fleet":{"lag":3,"fault":"connection refused"}}`)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"BEHIND by 3 purges", "gathers anew", "connection refused"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("%s\nwant %q in it", shown.String(), want)
		}
	}
	shown.Reset()
	if err := printStatus(&shown, []byte(`{"schema":1}`)); err != nil || strings.Contains(shown.String(), "fleet") {
		t.Errorf("%v\n%s\nwant no fleet for a node alone", err, shown.String())
	}
}
