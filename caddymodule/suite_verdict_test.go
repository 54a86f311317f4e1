package caddymodule

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// suiteTest is a test of the public HTTP cache test suite, and what its client
// saw.
type suiteTest struct {
	Group string
	ID    string
	// Kind is required, optimal or check, which is a question without a right
	// answer.
	Kind        string
	DependsOn   []string `json:"depends_on"`
	BrowserOnly bool     `json:"browser_only"`
	// Result is "pass", or the name of the error; empty when the test did not run.
	Result  string
	Message string
}

// verdictsOf judges as the suite's own pages do: a test counts for something
// only if all that it builds on was passed.
func verdictsOf(tests []suiteTest) map[string]string {
	byID := make(map[string]suiteTest, len(tests))
	for _, one := range tests {
		byID[one.ID] = one
	}
	verdicts := make(map[string]string, len(tests))
	var judge func(id string) string
	judge = func(id string) string {
		if v, done := verdicts[id]; done {
			return v
		}
		one, known := byID[id]
		if !known {
			return "untested"
		}
		v := one.raw()
		for _, needed := range one.DependsOn {
			if needs := judge(needed); v != "untested" && needs != "pass" && needs != "yes" {
				v = "blocked"
			}
		}
		verdicts[id] = v
		return v
	}
	for _, one := range tests {
		judge(one.ID)
	}
	return verdicts
}

// raw is the verdict on the test by itself.
func (s suiteTest) raw() string {
	switch {
	case s.Result == "":
		return "untested"
	case s.Result == "Setup" && s.Message == "retry":
		return "retry" // the origin saw one request twice
	case s.Result == "Setup":
		return "setup" // the exchange was not the one that the script means
	case s.Result == "AbortError":
		return "timeout"
	}
	words := map[string][2]string{"required": {"pass", "fail"}, "optimal": {"pass", "not-optimal"}, "check": {"yes", "no"}}[s.Kind]
	if s.Result == "pass" {
		return words[0]
	}
	return words[1]
}

func TestVerdictsOfTheSuite(t *testing.T) {
	tests := []suiteTest{
		{ID: "gate", Kind: "check", Result: "pass"},
		{ID: "behind an open gate", Kind: "required", DependsOn: []string{"gate"}, Result: "pass"},
		{ID: "shut gate", Kind: "optimal", Result: "Assertion"},
		{ID: "behind a shut gate", Kind: "required", DependsOn: []string{"gate", "shut gate"}, Result: "pass"},
		{ID: "two gates on", Kind: "optimal", DependsOn: []string{"behind a shut gate"}, Result: "pass"},
		{ID: "behind none", Kind: "required", DependsOn: []string{"nowhere"}, Result: "pass"},
		{ID: "broken rule", Kind: "required", Result: "Assertion"},
		{ID: "broken connection", Kind: "required", Result: "FetchError"},
		{ID: "disturbed", Kind: "required", Result: "Setup", Message: "status is 502"},
		{ID: "asked twice", Kind: "required", Result: "Setup", Message: "retry"},
		{ID: "disturbed behind a shut gate", Kind: "required", DependsOn: []string{"shut gate"}, Result: "Setup"},
		{ID: "no answer", Kind: "optimal", Result: "AbortError"},
		{ID: "question", Kind: "check", Result: "Assertion"},
		{ID: "not run", Kind: "required", DependsOn: []string{"shut gate"}},
	}
	want := map[string]string{
		"gate": "yes", "behind an open gate": "pass", "shut gate": "not-optimal", "behind a shut gate": "blocked",
		"two gates on": "blocked", "behind none": "blocked", "broken rule": "fail", "broken connection": "fail",
		"disturbed": "setup", "asked twice": "retry", "disturbed behind a shut gate": "blocked", "no answer": "timeout",
		"question": "no", "not run": "untested",
	}
	for range 2 {
		for id, got := range verdictsOf(tests) {
			if got != want[id] {
				t.Errorf("%s: %s: want %s", id, got, want[id])
			}
		}
		slices.Reverse(tests) // the order that tests stand in is of no matter
	}
}

// expectation is a line of a recorded list: a test and the verdict on it.
type expectation struct{ group, id, kind, verdict string }

func readExpectations(t *testing.T, profile string) []expectation {
	t.Helper()
	path := filepath.Join(suiteFolder, profile+".txt")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []expectation
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 4 {
			t.Fatalf("%s: %q: want a group, an id, a kind and a verdict", path, line)
		}
		list = append(list, expectation{fields[0], fields[1], fields[2], fields[3]})
	}
	return list
}

// writeExpectations records what was seen.
func writeExpectations(t *testing.T, profile string, tests []suiteTest, verdicts map[string]string) {
	t.Helper()
	var b strings.Builder
	for _, one := range tests {
		if !one.BrowserOnly {
			fmt.Fprintf(&b, "%-15s %-46s %-8s %s\n", one.Group, one.ID, one.Kind, verdicts[one.ID])
		}
	}
	if err := os.WriteFile(filepath.Join(suiteFolder, profile+".txt"), []byte(b.String()), 0o644); err != nil {
		t.Error(err)
	}
}

// compare says what is other than recorded, one line a test.
func compare(tests []suiteTest, verdicts map[string]string, list []expectation) []string {
	var complaints []string
	want, seen := make(map[string]string), make(map[string]bool)
	for _, one := range list {
		want[one.id] = one.verdict
	}
	for _, one := range tests {
		if one.BrowserOnly {
			continue
		}
		seen[one.ID] = true
		got, recorded := verdicts[one.ID], want[one.ID]
		if got == recorded {
			continue
		}
		say := fmt.Sprintf("%s (%s): %s, recorded as %q", one.ID, one.Kind, got, recorded)
		switch {
		case recorded == "":
			say += ": new; record it by: make verdicts"
		case one.Kind == "check":
			say += ": if that is meant, record it by: make verdicts"
		case rank(got) > rank(recorded):
			say += ": better; record it by: make verdicts"
		default:
			say += ": worse: " + one.Message
		}
		complaints = append(complaints, say)
	}
	for id := range want {
		if !seen[id] {
			complaints = append(complaints, id+": recorded, but not in the suite; record its going by: make verdicts")
		}
	}
	slices.Sort(complaints)
	return complaints
}

// rank orders verdicts on tests that have a right answer.
func rank(verdict string) int {
	switch verdict {
	case "pass":
		return 2
	case "fail", "not-optimal":
		return 0
	}
	return 1 // not judged
}

func TestCompareWithTheRecordedVerdicts(t *testing.T) {
	cases := map[string]struct {
		kind, got, recorded, says string
	}{
		"the same":                 {"required", "pass", "pass", ""},
		"a rule broken":            {"required", "fail", "pass", "worse"},
		"blocked from now on":      {"required", "blocked", "pass", "worse"},
		"blocked, then broken":     {"required", "fail", "blocked", "worse"},
		"an option dropped":        {"optimal", "not-optimal", "pass", "worse"},
		"an option taken up":       {"optimal", "pass", "not-optimal", "better"},
		"broken, then blocked":     {"required", "blocked", "fail", "better"},
		"another answer":           {"check", "no", "yes", "if that is meant"},
		"a test that is not known": {"required", "pass", "", "new"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var want []expectation
			if c.recorded != "" {
				want = []expectation{{id: "one", verdict: c.recorded}}
			}
			said := compare([]suiteTest{{ID: "one", Kind: c.kind}}, map[string]string{"one": c.got}, want)
			if c.says == "" && len(said) > 0 || c.says != "" && (len(said) != 1 || !strings.Contains(said[0], c.says)) {
				t.Errorf("says %q: want one line with %q", said, c.says)
			}
		})
	}
	if said := compare(nil, nil, []expectation{{id: "gone", verdict: "pass"}}); len(said) != 1 || !strings.Contains(said[0], "not in the suite") {
		t.Errorf("a test that left the suite: says %q", said)
	}
}
