package caddymodule

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// The page for readers has the totals of the recorded lists.
func TestConformancePageHasTheTotals(t *testing.T) {
	const path = "../docs/conformance.md"
	const begin, end = "<!-- totals of the recorded lists: make verdicts -->\n", "<!-- end of totals -->\n"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, opened := strings.Cut(string(page), begin)
	table, after, closed := strings.Cut(rest, end)
	if !opened || !closed {
		t.Fatalf("%s: want the lines %q and %q, and the table between them", path, begin, end)
	}
	want := totals(readExpectations(t, "conformance"), readExpectations(t, "default"))
	if table == want {
		return
	}
	if !*update {
		t.Fatalf("%s has other totals than the recorded lists: make verdicts", path)
	}
	if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

var suiteKinds = []string{"required", "optimal", "check"}

// totals is a table of what was passed in each group and profile.
func totals(conformance, standard []expectation) string {
	var groups []string
	for _, one := range conformance {
		if !slices.Contains(groups, one.group) {
			groups = append(groups, one.group)
		}
	}
	b := new(strings.Builder)
	b.WriteString("| group | required | optimal | check | conformance | default |\n| --- | --- | --- | --- | --- | --- |\n")
	row := func(name, group string) {
		var all, first, second [3]int
		for k, kind := range suiteKinds {
			first[k], all[k] = passed(conformance, group, kind)
			second[k], _ = passed(standard, group, kind)
		}
		fmt.Fprintf(b, "| %s | %d | %d | %d | %d / %d / %d | %d / %d / %d |\n", name, all[0], all[1], all[2],
			first[0], first[1], first[2], second[0], second[1], second[2])
	}
	for _, group := range groups {
		row(group, group)
	}
	row("**all**", "")
	return b.String()
}

// passed counts the tests of a kind in a group, or in all of them, and those
// passed, or answered yes.
func passed(list []expectation, group, kind string) (pass, all int) {
	for _, one := range list {
		if one.kind != kind || group != "" && one.group != group {
			continue
		}
		all++
		if one.verdict == "pass" || one.verdict == "yes" {
			pass++
		}
	}
	return pass, all
}
