package httpcache

import (
	"net/http"
	"strings"
)

const acceptLanguage = "Accept-Language"

// languageSpace is how long a value may be without costing an allocation.
const languageSpace = 128

// spellLanguages gives Accept-Language the one spelling of all that mean the
// same in the same order: on one line, without blanks and empty members (RFC
// 9110, 5.3 and 5.6.1), letters as RFC 5646, 2.1.1, writes them. Answers that
// vary by it are then shared by more visitors. The origin gets this spelling
// too, so that one which it misreads cannot be stored for those who spell as
// usual. What is no list of languages stays as it was sent.
func spellLanguages(h http.Header) {
	lines := h[acceptLanguage]
	if len(lines) == 0 {
		return
	}
	text := lines[0]
	if len(lines) > 1 {
		text = strings.Join(lines, ",")
	}
	var space [languageSpace]byte
	if b, ok := appendLanguages(space[:0], text); ok && (len(lines) > 1 || string(b) != text) {
		h[acceptLanguage] = []string{string(b)}
	}
}

// appendLanguages appends the members of a list as they are spelled here. It
// reports false for one that breaks the grammar of RFC 9110, 12.5.4, and for a
// list of nothing.
func appendLanguages(b []byte, list string) ([]byte, bool) {
	for member := range strings.SplitSeq(list, ",") {
		member = strings.Trim(member, " \t")
		if member == "" {
			continue
		}
		if len(b) > 0 {
			b = append(b, ',')
		}
		tag, weight, weighted := strings.Cut(member, ";")
		var ok bool
		if b, ok = appendLanguage(b, strings.TrimRight(tag, " \t")); !ok {
			return nil, false
		}
		if !weighted {
			continue
		}
		weight = strings.TrimLeft(weight, " \t")
		if len(weight) < 3 || weight[0]|0x20 != 'q' || weight[1] != '=' || strings.Trim(weight[2:], "0123456789.") != "" {
			return nil, false
		}
		b = append(append(b, ";q="...), weight[2:]...)
	}
	return b, len(b) > 0
}

// appendLanguage appends a language range (RFC 4647, 2.2). Letters are small,
// but for regions ("en-US") and scripts ("zh-Hant") that do not come after a
// subtag of one letter.
func appendLanguage(b []byte, tag string) ([]byte, bool) {
	first, extended := true, false
	for subtag := range strings.SplitSeq(tag, "-") {
		if subtag == "" || len(subtag) > 8 {
			return nil, false
		}
		if !first {
			b = append(b, '-')
		}
		start := len(b)
		for i := range len(subtag) {
			c := subtag[i]
			if !isLower(c|0x20) && !isDigit(c) && c != '*' {
				return nil, false
			}
			if 'A' <= c && c <= 'Z' {
				c |= 0x20
			}
			b = append(b, c)
		}
		capitals := 0
		switch {
		case first || extended:
		case len(subtag) == 2:
			capitals = 2
		case len(subtag) == 4:
			capitals = 1
		}
		for i := range capitals {
			if isLower(b[start+i]) {
				b[start+i] &^= 0x20
			}
		}
		first, extended = false, extended || len(subtag) == 1 && subtag != "*"
	}
	return b, true
}
