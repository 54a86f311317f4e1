package gateway

import (
	"errors"
	"testing"
)

func TestExitCodesAreHeldAgainstWhatWasPrinted(t *testing.T) {
	for name, c := range map[string]struct {
		command string
		code    int
		said    printed
		parsed  error
		lie     bool
	}{
		"done":                       {"purge", 0, printed{0, "done", ""}, nil, false},
		"done, and is not":           {"purge", 0, printed{0, "partial", ""}, nil, true},
		"done, with an error":        {"deploy", 0, printed{0, "done", "x"}, nil, true},
		"not yet":                    {"purge", 4, printed{4, "running", "x"}, nil, false},
		"not yet, and is":            {"purge", 4, printed{4, "done", "x"}, nil, true},
		"another in JSON":            {"purge", 4, printed{0, "running", "x"}, nil, true},
		"no JSON":                    {"purge", 8, printed{}, errors.New("EOF"), true},
		"unreachable":                {"purge", 8, printed{8, "", "x"}, nil, false},
		"usage":                      {"purge", 2, printed{2, "", "x"}, nil, true},
		"a gate without one":         {"purge", 7, printed{7, "", "x"}, nil, true},
		"a gate that is not reached": {"deploy", 7, printed{7, "failed", "x"}, nil, false},
		"not allowed":                {"deploy", 3, printed{3, "partial", "x"}, nil, true},
	} {
		if why := untrue(c.command, c.code, c.said, c.parsed); (why != "") != c.lie {
			t.Errorf("%s: %q, want a lie: %v", name, why, c.lie)
		}
	}
}
