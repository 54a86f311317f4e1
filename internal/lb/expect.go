package lb

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// StatusRange is a status that passes a check, such as 204, or a hundred of
// them, such as 2xx. The zero value is none.
type StatusRange struct{ low, high int }

var statusWord = regexp.MustCompile(`^[2-5]([0-9][0-9]|xx)$`)

// ParseStatusRange reads "204" or "2xx".
func ParseStatusRange(text string) (StatusRange, error) {
	if !statusWord.MatchString(text) {
		return StatusRange{}, fmt.Errorf("%q: want a status from 200 to 599 such as 204, or a hundred of them such as 2xx", text)
	}
	if class, all := strings.CutSuffix(text, "xx"); all {
		n := 100 * int(class[0]-'0')
		return StatusRange{n, n + 99}, nil
	}
	n, err := strconv.Atoi(text)
	return StatusRange{n, n}, err
}

// String is what ParseStatusRange reads.
func (s StatusRange) String() string {
	if s.low == s.high {
		return strconv.Itoa(s.low)
	}
	return strconv.Itoa(s.low/100) + "xx"
}

// MarshalText is for JSON.
func (s StatusRange) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is for JSON.
func (s *StatusRange) UnmarshalText(text []byte) error {
	read, err := ParseStatusRange(string(text))
	if err != nil {
		return fmt.Errorf("expect_status %w", err)
	}
	*s = read
	return nil
}

// CheckPattern returns text if it is a regular expression (RE2).
func CheckPattern(text string) (string, error) {
	if _, err := regexp.Compile(text); err != nil || text == "" {
		return "", fmt.Errorf("%q: want a regular expression, as Go has them, such as ^ok$: %w", text, err)
	}
	return text, nil
}

// expectation is what the answer to a check has to look like.
type expectation struct {
	statuses []StatusRange
	body     *regexp.Regexp // nil: anything
}

// expectation fills in the default. The pattern must have been checked.
func (h *Health) expectation() expectation {
	e := expectation{statuses: h.ExpectStatus}
	if len(e.statuses) == 0 {
		e.statuses = []StatusRange{{200, 299}}
	}
	if h.ExpectBody != "" {
		e.body = regexp.MustCompile(h.ExpectBody)
	}
	return e
}

// met says, to people, why an answer does not pass. It reads the start of its
// body, if need be.
func (e *expectation) met(resp *http.Response) error {
	passes := false
	for _, s := range e.statuses {
		passes = passes || (s.low <= resp.StatusCode && resp.StatusCode <= s.high)
	}
	if !passes {
		words := make([]string, len(e.statuses))
		for i, s := range e.statuses {
			words[i] = s.String()
		}
		return fmt.Errorf("status %d: want %s", resp.StatusCode, strings.Join(words, " or "))
	}
	if e.body == nil {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxHealthBody))
	if err != nil {
		return err
	}
	if !e.body.Match(body) {
		return fmt.Errorf("the body does not match %q", e.body)
	}
	return nil
}
