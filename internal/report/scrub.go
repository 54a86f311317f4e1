package report

import (
	"net/netip"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	removed  = "[removed]"
	maxText  = 2000
	maxFact  = 200 // characters of a tag's value, Sentry's own bound
	maxPath  = 500
	longName = 20 // characters from which a part of a path looks like a token
)

// sensitive are texts that may tell who a visitor is, or be a secret, and what
// stands in their place. Errors quote what they did not like, so any may.
var sensitive = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`(?i)\b(proxy-authorization|authorization|set-cookie|cookie|user-agent|x-forwarded-for|x-real-ip|cf-connecting-ip|true-client-ip|x-api-key)\b["']?\s*[:=][^\n]*`), "$1: " + removed},
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[a-z0-9+/=._~-]+`), "$1 " + removed},
	{regexp.MustCompile(`\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?`), removed},
	{regexp.MustCompile(`(?i)\b(\w*(?:password|passwd|secret|token|api_?key|session)\w*)\b["']?\s*[:=]\s*[^\s&,;]+`), "$1=" + removed},
	{regexp.MustCompile(`//[^/\s@"']+@`), "//" + removed + "@"},
	{regexp.MustCompile(`([?&][^=&\s"'#]*)=[^&\s"'#]*`), "$1=" + removed},
	{regexp.MustCompile(`[\w.+%-]+(?:@|%40)[\w-]+\.[\w.-]+`), removed},
}

// addresses finds what may be an IP address; whether it is one is asked then.
var addresses = regexp.MustCompile(`[0-9A-Fa-f]*(?::[0-9A-Fa-f]*){2,}(?:\.\d{1,3}){0,3}|\d{1,3}(?:\.\d{1,3}){3}`)

// scrub takes out of a text what must not leave the house.
func scrub(text string) string {
	for _, s := range sensitive {
		text = s.pattern.ReplaceAllString(text, s.instead)
	}
	return addresses.ReplaceAllStringFunc(text, func(found string) string {
		if _, err := netip.ParseAddr(found); err != nil {
			return found
		}
		return removed
	})
}

// scrubPath does so for a path, of which a part may be a token all by itself, as
// in links that let somebody in.
func scrubPath(path string) string {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if looksLikeToken(part) {
			parts[i] = removed
		}
	}
	return scrub(strings.Join(parts, "/"))
}

// looksLikeToken tells a long part of letters and digits mixed, without a dot:
// names of assets have one.
func looksLikeToken(part string) bool {
	return len(part) >= longName && !strings.Contains(part, ".") &&
		strings.ContainsFunc(part, unicode.IsDigit) && strings.ContainsFunc(part, unicode.IsLetter)
}

// clip is the text's beginning, of at most n bytes, in whole characters.
func clip(text string, n int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// clean makes a trouble fit to leave the house. Its facts are not visitors'.
func (t *Trouble) clean() {
	t.Text = clip(scrub(clip(t.Text, 4*maxText)), maxText)
	t.Path = clip(scrubPath(clip(t.Path, 4*maxPath)), maxPath)
	t.Host = clip(scrub(t.Host), maxFact)
	t.Method = clip(t.Method, 20)
	facts := make(map[string]string, len(t.Facts))
	for name, value := range t.Facts {
		if value != "" {
			facts[name] = clip(strings.ReplaceAll(value, "\n", " "), maxFact)
		}
	}
	t.Facts = facts
}

// likeness is the same for troubles that are the same.
func (t *Trouble) likeness() string {
	return strings.Join(append([]string{string(t.Kind), t.Title}, t.Like...), "\x00")
}
