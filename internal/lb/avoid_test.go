package lb

import "testing"

func TestAVersionIsAvoidedWhileOthersAreThere(t *testing.T) {
	good, bad := newApp(t, say("good")), newApp(t, say("bad"))
	good.version.Store("v1")
	bad.version.Store("v2")
	p, _ := upPool(t, testConfig(good, bad), good, bad)
	served := func() map[string]int {
		seen := make(map[string]int)
		for range 40 {
			code, body, _ := mustGet(t, p)
			if code != 200 {
				t.Fatalf("status %d", code)
			}
			seen[body]++
		}
		return seen
	}
	if seen := served(); seen["good"] == 0 || seen["bad"] == 0 {
		t.Fatalf("%v: want both", seen)
	}
	p.Avoid("v2")
	if seen := served(); seen["bad"] != 0 {
		t.Errorf("%v: want none from v2", seen)
	}
	// Better a version that is worse than nobody.
	p.Avoid("v1")
	if _, err := p.SetAside(Selection{Replica: bad.address}, false); err != nil {
		t.Fatal(err)
	}
	if seen := served(); seen["good"] != 40 {
		t.Errorf("%v: want the only one", seen)
	}
	p.Avoid("")
	if seen := served(); seen["good"] != 40 {
		t.Errorf("%v", seen)
	}
}
