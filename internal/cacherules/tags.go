package cacherules

import (
	"net/http"
	"strings"
)

const (
	tagField       = "Cache-Tag"
	surrogateKeys  = "Surrogate-Key"
	maxTags        = 1000     // of one answer
	maxTagBytes    = 1024     // of one tag: Cloudflare purges by no longer one
	maxTagsBytes   = 16 << 10 // of the field: Cloudflare reads no more
	versionTagMark = "v-"
)

// CanonicalTag is the form in which tags are compared, everywhere: printable
// ASCII, with everything else and commas percent-escaped, in lower case.
func CanonicalTag(tag string) string { return strings.ToLower(escapeTag(tag)) }

// VersionTag is the canonical tag of all answers of one version of the
// application; "" for an unknown version. Longer ones than Cloudflare can
// purge by, 1024 bytes, are cut.
func VersionTag(version string) string {
	if version == "" {
		return ""
	}
	tag := CanonicalTag(versionTagMark + version)
	return tag[:min(len(tag), maxTagBytes)]
}

// ResponseTags are the canonical tags of an answer, each once: those of
// Cache-Tag, separated by commas, and of Surrogate-Key, separated by blanks.
// They are at most 1000; Verdict.Veto does not let answers with more be stored.
func ResponseTags(h http.Header) []string {
	tags := tagList{}
	tags.addSent(h)
	return tags.canonical
}

// tag writes what the answer is tagged with: its version first, which deploys
// rely on, then the tags of the rule, then those of the origin. An asset whose
// name changes with its content outlives its version and is not tagged with it.
func (v *Verdict) tag(in Response) {
	tags := tagList{}
	if !v.Fingerprinted {
		tags.add(VersionTag(in.Version))
	}
	for _, tag := range v.Tags {
		tags.add(tag)
	}
	tags.addSent(in.Header)
	if len(tags.written) > 0 {
		in.Header[tagField] = []string{strings.Join(tags.written, ",")}
	}
}

// tooManyTags reports an answer some of whose tags would be cut. The version's
// counts with its greatest length, so that storing and answering agree.
func (v *Verdict) tooManyTags(h http.Header) bool {
	if len(h[tagField]) == 0 && len(h[surrogateKeys]) == 0 && len(v.Tags) == 0 {
		return false
	}
	tags := tagList{size: maxTagBytes, reserved: 1}
	for _, tag := range v.Tags {
		tags.add(tag)
	}
	tags.addSent(h)
	return tags.cut
}

// tagList collects tags, each once, within the limits.
type tagList struct {
	written   []string // as they are sent
	canonical []string // as they are compared, in the same order
	seen      map[string]bool
	size      int // of the field so far
	reserved  int // tags that are not in the list, but count
	cut       bool
}

func (l *tagList) add(tag string) {
	tag = escapeTag(tag)
	canonical := strings.ToLower(tag)
	if tag == "" || l.seen[canonical] {
		return
	}
	size := len(tag)
	if len(l.written)+l.reserved > 0 {
		size++ // the comma
	}
	if l.size+size > maxTagsBytes || len(l.written)+l.reserved == maxTags {
		l.cut = true
		return
	}
	if l.seen == nil {
		l.seen = make(map[string]bool)
	}
	l.seen[canonical] = true
	l.size += size
	l.written = append(l.written, tag)
	l.canonical = append(l.canonical, canonical)
}

func (l *tagList) addSent(h http.Header) {
	for _, line := range h[tagField] {
		for tag := range strings.SplitSeq(line, ",") {
			l.add(tag)
		}
	}
	for _, line := range h[surrogateKeys] {
		for tag := range strings.FieldsSeq(line) {
			l.add(tag)
		}
	}
}

// escapeTag percent-escapes what Cloudflare does not allow in a tag. Percent
// signs stay: a tag that is escaped already stays as it is, and where two tags
// become one a purge removes too much, never too little.
func escapeTag(tag string) string {
	const hex = "0123456789ABCDEF"
	tag = trim(tag)
	var escaped []byte
	for i := range len(tag) {
		c := tag[i]
		forbidden := c <= ' ' || c > '~' || c == ','
		if forbidden && escaped == nil {
			escaped = append(make([]byte, 0, len(tag)+8), tag[:i]...)
		}
		switch {
		case forbidden:
			escaped = append(escaped, '%', hex[c>>4], hex[c&15])
		case escaped != nil:
			escaped = append(escaped, c)
		}
	}
	if escaped == nil {
		return tag
	}
	return string(escaped)
}
