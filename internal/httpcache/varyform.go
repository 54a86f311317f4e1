package httpcache

import (
	"cmp"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"github.com/edgegw/edge/internal/coding"
)

// form is how the values of a field that an answer varies by are made equal
// (RFC 9111, 4.1). Two values of one form mean the same by the field's own
// definition, so it does no harm to compare a value in its form with another as
// it was sent.
type form uint8

const (
	// asSent: field lines are joined and trimmed, nothing else.
	asSent form = iota
	// asList: a list in order, without blanks around commas and empty members
	// (RFC 9110, 5.6.1).
	asList
	// asWeighted: a list whose members have weights and no order, of what is
	// compared without regard to case (RFC 9110, 12.4.2 and 12.5).
	asWeighted
	// asCodings: the set of codings that are acceptable, whatever is said of
	// normalisation: an answer in one of them will do for all such requests.
	asCodings
)

// weighted are the fields of that form, by their definitions: RFC 9110, 12.5.1,
// 12.5.2 and 12.5.4; the last warns that the order of languages of one weight
// cannot be relied upon. Accept-Encoding has a form of its own.
var weighted = map[string]bool{"Accept": true, "Accept-Charset": true, "Accept-Language": true}

// secret are fields that tell visitors apart: they are compared as sent.
var secret = map[string]bool{"Authorization": true, "Cookie": true}

// allFields in Policy.NormalizeVary stands for every field of any Vary.
const allFields = "*"

// formOf is the form in which a field is compared, given Policy.NormalizeVary.
func formOf(name string, normalize []string) form {
	switch {
	case name == acceptEncoding:
		return asCodings
	case len(normalize) == 0 || secret[name] || !slices.Contains(normalize, name) && !slices.Contains(normalize, allFields):
		return asSent
	case weighted[name]:
		return asWeighted
	}
	return asList
}

// ParseNormalizeVary reads names of fields for Policy.NormalizeVary, and reports
// every mistake.
func ParseNormalizeVary(fields []string) ([]string, error) {
	names := make([]string, 0, len(fields))
	var errs []error
	for _, field := range fields {
		name := textproto.CanonicalMIMEHeaderKey(field)
		switch {
		case field == allFields:
		case name == "" || strings.ContainsFunc(field, func(r rune) bool { return !isTokenByte(r) }):
			errs = append(errs, fmt.Errorf("%q: want the name of a request field, such as Accept-Language, or * for all", field))
		case name == acceptEncoding:
			errs = append(errs, fmt.Errorf("%q: it has rules of its own: leave it out", field))
		case secret[name]:
			errs = append(errs, fmt.Errorf("%q: it tells visitors apart and is compared as sent: leave it out", field))
		}
		names = append(names, name)
	}
	return names, errors.Join(errs...)
}

func isTokenByte(r rune) bool {
	return r < 0x80 && (isLower(byte(r)|0x20) || isDigit(byte(r)) || strings.IndexByte("!#$%&'*+-.^_`|~", byte(r)) >= 0)
}

// in is the value of field lines in a form. What does not keep to the field's
// grammar stays as it was sent.
func (f form) in(lines []string) string {
	if f == asCodings {
		return coding.Class(lines)
	}
	text := joined(lines)
	if f == asSent || text == "" {
		return text
	}
	members, ok := splitList(text)
	switch {
	case !ok:
		return text
	case f == asList:
		return strings.Join(members, ",")
	}
	if sorted, ok := byWeight(members); ok {
		return sorted
	}
	return text
}

// splitList cuts a list at commas outside of quoted strings.
func splitList(text string) (members []string, ok bool) { return splitOutside(text, ',') }

// splitOutside cuts at a separator outside of quoted strings, and trims. Empty
// members are left out. It reports false for a string without an end.
func splitOutside(text string, separator byte) (parts []string, ok bool) {
	start, quoted := 0, false
	for i := 0; i <= len(text); i++ {
		switch {
		case i == len(text) || !quoted && text[i] == separator:
			if part := strings.Trim(text[start:i], " \t"); part != "" {
				parts = append(parts, part)
			}
			start = i + 1
		case text[i] == '"':
			quoted = !quoted
		case quoted && text[i] == '\\':
			i++
		}
	}
	return parts, !quoted
}

// weightedMember is a member of a list of asWeighted.
type weightedMember struct {
	text   string
	weight int // in thousandths
}

// byWeight writes members with the heaviest first, those of one weight by their
// text, each once, a weight of 1 left out.
func byWeight(members []string) (string, bool) {
	read := make([]weightedMember, len(members))
	for i, member := range members {
		one, ok := parseWeighted(member)
		if !ok {
			return "", false
		}
		read[i] = one
	}
	slices.SortFunc(read, func(a, b weightedMember) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.text, b.text))
	})
	var out strings.Builder
	for i, one := range slices.Compact(read) {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString(one.text)
		if one.weight < 1000 {
			out.WriteString(";q=" + strconv.FormatFloat(float64(one.weight)/1000, 'f', -1, 64))
		}
	}
	return out.String(), true
}

// parseWeighted reads "text;name=value;q=0.5". Values of parameters may depend
// on case, all else does not. What follows the weight has no meaning that we
// know.
func parseWeighted(member string) (weightedMember, bool) {
	parts, ok := splitOutside(member, ';')
	if !ok || len(parts) == 0 || member[0] == ';' {
		return weightedMember{}, false
	}
	one := weightedMember{text: strings.ToLower(parts[0]), weight: 1000}
	for i, part := range parts[1:] {
		name, value, _ := strings.Cut(part, "=")
		name = strings.ToLower(name)
		if name != "q" {
			one.text += ";" + name + "=" + value
			continue
		}
		one.weight, ok = parseWeight(value)
		return one, ok && i == len(parts)-2
	}
	return one, true
}

// parseWeight reads a qvalue (RFC 9110, 12.4.2) in thousandths.
func parseWeight(text string) (int, bool) {
	whole, fraction, _ := strings.Cut(text, ".")
	if whole != "0" && whole != "1" || len(fraction) > 3 {
		return 0, false
	}
	weight, ok := parseOffset(whole + (fraction + "000")[:3])
	return int(weight), ok && weight <= 1000
}
