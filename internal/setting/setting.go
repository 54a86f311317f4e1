// Package setting judges what came from the environment or from a file, before it is
// used: whether somebody has filled it in, and whether a secret is one. It is pure,
// and what it says never shows the value.
package setting

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"unicode"
)

// Kind is what is wrong with a value.
type Kind int

// Kinds of problems.
const (
	Malformed Kind = iota // it cannot be meant so
	Left                  // nobody has replaced what stood there
	Weak                  // a secret that can be guessed
)

// Problem is one thing that is wrong.
type Problem struct {
	Kind Kind
	Text string
}

const (
	// leastSecret is how long a secret has to be.
	leastSecret = 16
	// leastBits is how much there must be to guess, by the shares of its characters.
	leastBits = 40
)

// secretName tells names of secrets from others.
var secretName = regexp.MustCompile(`(?i)(token|secret|passw|pwd|dsn|credential|private)|(^|[_./-])key([_./-]|$)|(access|api|backup)_?key`)

// publicName tells names that would pass for those of secrets.
var publicName = regexp.MustCompile(`(?i)(access_key(_id)?|public_key|key_id|keyspace|_file)$`)

// Secret reports whether something of that name is a secret, such as EDGE_TOKEN.
func Secret(name string) bool {
	return secretName.MatchString(name) && (plainlySecret.MatchString(name) || !publicName.MatchString(name))
}

var plainlySecret = regexp.MustCompile(`(?i)(secret|passw)[^/]*$`)

// left are words that stand where somebody has to write something.
var left = regexp.MustCompile(`(?i)(^|[^a-z])(change[-_ ]?(me|this|it)|replace([-_ ]?(me|this|with.*))?|placeholder|fill[-_ ]?(me|this|in)|to[-_ ]?do|fix[-_ ]?me|insert[-_ ].*|your[-_ ].*|example|dummy|sample|(my|our|super|some|top)[-_ ]?(secret|password|token).*|x{3,}|\.{3}|…)([^a-z]|$)|^<.*>$|^\$\{?[A-Za-z_]|^\{[a-z]`)

// wholly are values that are only left over if they are all there is.
var wholly = regexp.MustCompile(`(?i)^(example|dummy|sample|secret|password|admin|test|token|none|null|nil|undefined|x+|\*+|-+|0+|1234.*|abc(123|def.*)?)$`)

// Problems says what is wrong with a value, which is not empty.
func Problems(value string, secret bool) []Problem {
	var all []Problem
	say := func(kind Kind, format string, args ...any) {
		all = append(all, Problem{kind, fmt.Sprintf(format, args...)})
	}
	trimmed := strings.TrimSpace(value)
	if quoted(trimmed) {
		say(Malformed, "stands in quotation marks, which are taken for a part of it")
	}
	bare := strings.Trim(trimmed, `"'`)
	if strings.ContainsFunc(trimmed, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' }) {
		say(Malformed, "holds control characters")
	}
	if isLeft(bare, secret) {
		say(Left, "is what stood there before anybody filled it in")
		return all
	}
	if !secret {
		return all
	}
	if n := len(bare); n < leastSecret {
		say(Weak, "has %d characters: want %d or more", n, leastSecret)
	} else if Bits(bare) < leastBits {
		say(Weak, "repeats itself: want %d or more random characters", leastSecret)
	}
	return all
}

// isLeft looks for the words of templates. In what is not a secret, such as a host's
// name, those that could be meant count only alone.
func isLeft(bare string, secret bool) bool {
	if wholly.MatchString(bare) {
		return true
	}
	found := left.FindStringSubmatch(bare)
	if found == nil {
		return false
	}
	switch strings.ToLower(found[2]) {
	case "example", "dummy", "sample", "replace":
		return secret || strings.HasPrefix(bare, "REPLACE")
	}
	return true
}

func quoted(text string) bool {
	return len(text) > 1 && (text[0] == '"' || text[0] == '\'') && text[len(text)-1] == text[0]
}

// Bits is how much there is to guess in a text, if its characters came in no order:
// Shannon's entropy of one, times their number.
func Bits(text string) float64 {
	counts, n := make(map[rune]int), 0
	for _, r := range text {
		counts[r]++
		n++
	}
	bits := 0.0
	for _, count := range counts {
		share := float64(count) / float64(n)
		bits -= float64(count) * math.Log2(share)
	}
	return bits
}
