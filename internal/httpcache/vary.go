package httpcache

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

const (
	// maxVariants is how many answers one key may hold; the least useful makes
	// room.
	maxVariants = 64
	// maxVaryFields bounds what a lookup has to compare.
	maxVaryFields = 32
)

// unseen are request fields that a proxy behind this cache may write, so their
// values here say nothing about what the origin saw.
var unseen = map[string]bool{
	"X-Forwarded-For": true, "Forwarded": true, "Via": true, "X-Real-Ip": true,
}

// varied is a request field that chose an answer, with the value it had.
type varied struct {
	name    string
	value   string
	present bool
	form    form // of the value
}

// varyNames reads the field names of Vary, canonical, sorted, each once. It
// reports false for an answer that no later request can be matched with: a "*"
// anywhere (RFC 9111, 4.1), a member that is no field name, too many members,
// or a field whose value this cache does not see.
func varyNames(h http.Header) (names []string, ok bool) {
	for _, line := range h["Vary"] {
		for member := range strings.SplitSeq(line, ",") {
			member = strings.Trim(member, " \t")
			if member == "" {
				continue
			}
			name := textproto.CanonicalMIMEHeaderKey(member)
			if member == "*" || unseen[name] || strings.ContainsAny(member, " \t\"=;/") {
				return nil, false
			}
			names = append(names, name)
		}
	}
	if isEncoded(h) { // whether it says so or not
		names = append(names, acceptEncoding)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return names, len(names) <= maxVaryFields
}

// alsoBy adds names to names, sorted, each once.
func alsoBy(names, more []string) []string {
	if len(more) == 0 {
		return names
	}
	names = append(names, more...)
	slices.Sort(names)
	return slices.Compact(names)
}

// variedBy takes the named fields' values from a request, in the form that
// Policy.NormalizeVary gives them.
func variedBy(names, normalize []string, request http.Header) []varied {
	if len(names) == 0 {
		return nil
	}
	fields := make([]varied, len(names))
	for i, name := range names {
		f := formOf(name, normalize)
		fields[i] = varied{name: name, value: f.in(request[name]), present: len(request[name]) > 0, form: f}
	}
	return fields
}

const acceptEncoding = "Accept-Encoding"

// isEncoded reports an answer that the origin has encoded.
func isEncoded(h http.Header) bool {
	return slices.ContainsFunc(h["Content-Encoding"], func(line string) bool {
		line = strings.Trim(line, " \t,")
		return line != "" && !strings.EqualFold(line, "identity")
	})
}

// variedAs takes the same fields' values from another request.
func variedAs(like []varied, request http.Header) []varied {
	if len(like) == 0 {
		return nil
	}
	fields := slices.Clone(like)
	for i := range fields {
		lines := request[fields[i].name]
		fields[i].value, fields[i].present = fields[i].form.in(lines), len(lines) > 0
	}
	return fields
}

// matches reports that a request has the same values, in the form of the
// stored ones.
func matches(fields []varied, request http.Header) bool {
	for i := range fields {
		lines := request[fields[i].name]
		if (len(lines) > 0) != fields[i].present || fields[i].form.in(lines) != fields[i].value {
			return false
		}
	}
	return true
}

func joined(lines []string) string {
	switch len(lines) {
	case 0:
		return ""
	case 1:
		return strings.Trim(lines[0], " \t")
	}
	trimmed := make([]string, len(lines))
	for i, line := range lines {
		trimmed[i] = strings.Trim(line, " \t")
	}
	return strings.Join(trimmed, ", ")
}
