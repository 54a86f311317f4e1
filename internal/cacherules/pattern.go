package cacherules

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"
)

type patternForm uint8

const (
	everything patternForm = iota // "*" and "/*"
	exact                         // "/about"
	prefix                        // "/assets/*"
	suffix                        // "*.woff2"
	substring                     // "*/thumbs/*"
	glob                          // any other place or number of stars
)

// pattern is a path pattern with Caddy's meaning: letters match without regard
// to case, a star at one end or at both ends stands for anything, and in a
// pattern with stars elsewhere each one stands for anything but a slash.
type pattern struct {
	form patternForm
	text string // in lower case; without stars but for glob
}

// parsePattern reports every mistake of one pattern at once.
func parsePattern(written string) (pattern, error) {
	if err := checkPattern(written); err != nil {
		return pattern{}, err
	}
	text := strings.ToLower(written)
	body := strings.Trim(text, "*")
	starts, ends := strings.HasPrefix(text, "*"), strings.HasSuffix(text, "*")
	stars := strings.Count(text, "*")
	p := pattern{form: glob, text: text}
	switch {
	case text == "*" || text == "/*":
		p = pattern{form: everything}
	case stars == 0:
		p.form = exact
	case stars == 1 && ends:
		p = pattern{form: prefix, text: body}
	case stars == 1 && starts:
		p = pattern{form: suffix, text: body}
	case stars == 2 && starts && ends:
		p = pattern{form: substring, text: body}
	}
	if (p.form == exact || p.form == glob) && strings.ContainsAny(text, `[\`) {
		return pattern{}, fmt.Errorf("path %q: want no [ or \\ in a pattern that does not begin or end with its only star", written)
	}
	return p, nil
}

func checkPattern(written string) error {
	var errs []error
	wrong := func(want string) { errs = append(errs, fmt.Errorf("path %q: want %s", written, want)) }
	if !strings.HasPrefix(written, "/") && !strings.HasPrefix(written, "*") {
		wrong("a pattern that begins with / or *, such as /images/* or *.css")
	}
	if strings.Contains(written, "**") {
		wrong("one star, which stands for any number of characters")
	}
	if strings.ContainsAny(written, "?") {
		wrong("the path only: rules do not look at the query")
	}
	if strings.Contains(written, "%") {
		wrong("the path as it reads when decoded, without %")
	}
	if strings.ContainsAny(written, "{}") {
		wrong("no placeholder: use a matcher instead")
	}
	if !isClean(written) {
		wrong("no //, /./ or /../: they are resolved before patterns are compared")
	}
	if !utf8.ValidString(written) || strings.ContainsFunc(written, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		wrong("text without control characters")
	}
	return errors.Join(errs...)
}

// isClean reports that a path has no empty, "." or ".." segment to resolve.
func isClean(p string) bool {
	return !hasSegments(p, true, true)
}

// hasDots reports a "." or ".." segment.
func hasDots(p string) bool { return hasSegments(p, false, true) }

// hasSegments looks for empty segments and for dot segments (RFC 3986, 3.3).
func hasSegments(p string, empty, dots bool) bool {
	for i := range len(p) {
		if p[i] != '/' {
			continue
		}
		segment := p[i+1:]
		if empty && strings.HasPrefix(segment, "/") {
			return true
		}
		if !dots || !strings.HasPrefix(segment, ".") {
			continue
		}
		segment = strings.TrimPrefix(segment[1:], ".")
		if segment == "" || segment[0] == '/' {
			return true
		}
	}
	return false
}

// clean resolves empty and dot segments and keeps a slash at the end.
func clean(p string) string {
	if isClean(p) {
		return p
	}
	cleaned := path.Clean(p)
	if strings.HasSuffix(p, "/") && cleaned != "/" {
		cleaned += "/"
	}
	return cleaned
}

// foldable makes the path ready for match: letters outside ASCII in lower
// case, those inside as they are, so that the usual path needs no new string.
func foldable(p string) string {
	for i := range len(p) {
		if p[i] >= utf8.RuneSelf {
			return strings.ToLower(p)
		}
	}
	return p
}

// match compares a foldable path.
func (p pattern) match(target string) bool {
	switch p.form {
	case everything:
		return true
	case exact:
		return len(target) == len(p.text) && foldedPrefix(target, p.text)
	case prefix:
		return foldedPrefix(target, p.text)
	case suffix:
		return len(target) >= len(p.text) && foldedPrefix(target[len(target)-len(p.text):], p.text)
	case substring:
		for i := 0; i+len(p.text) <= len(target); i++ {
			if foldedPrefix(target[i:], p.text) {
				return true
			}
		}
		return false
	}
	return globMatch(p.text, target)
}

// globMatch steps back to the last star only: stars do not cross slashes, so
// an earlier star of another segment cannot mend a later one.
func globMatch(text, target string) bool {
	star, retry := -1, 0
	i, k := 0, 0
	for k < len(target) {
		switch {
		case i < len(text) && text[i] == '*':
			star, retry = i, k
			i++
		case i < len(text) && text[i] == fold(target[k]):
			i++
			k++
		case star >= 0 && target[retry] != '/':
			retry++
			i, k = star+1, retry
		default:
			return false
		}
	}
	return strings.Trim(text[i:], "*") == ""
}

// foldedPrefix reports whether s begins with the lower-case text.
func foldedPrefix(s, text string) bool {
	if len(s) < len(text) {
		return false
	}
	for i := range len(text) {
		if fold(s[i]) != text[i] {
			return false
		}
	}
	return true
}

func fold(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}
