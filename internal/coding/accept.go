package coding

import "strings"

// Accept is what an Accept-Encoding field accepts (RFC 9110, 12.5.3). The zero
// value accepts the body as it is and nothing else.
type Accept struct {
	weights [Count]uint16 // in thousandths
	// refused: identity is not acceptable.
	refused bool
}

// ParseAccept reads the lines of the field. Without the field any coding would
// be acceptable, but clients that send none are the ones that decode none: they
// get the body as it is. A member that breaks the grammar accepts nothing, and
// of a coding that is named twice the lower weight counts.
func ParseAccept(lines []string) Accept {
	var a Accept
	var said [Count]bool
	star, starred := uint16(1000), false
	for _, line := range lines {
		for line != "" {
			var m member
			m, line = cutMember(line)
			switch {
			case m.kind == anything:
				star, starred = min(star, m.weight), true
			case m.kind >= deflate:
			case !said[m.kind] || m.weight < a.weights[m.kind]:
				a.weights[m.kind], said[m.kind] = m.weight, true
			}
		}
	}
	a.refused = a.weights[Identity] == 0 && (said[Identity] || starred && star == 0)
	if starred {
		for c := Brotli; c < Count; c++ {
			if !said[c] {
				a.weights[c] = star
			}
		}
	}
	return a
}

// Accepts reports that an answer may have a coding.
func (a Accept) Accepts(c Coding) bool {
	if c == Identity {
		return !a.refused
	}
	return a.weights[c] > 0
}

// Choose is the coding of the offered ones that the client likes best, and of
// those that it likes alike the first in order. Identity is always on offer. It
// comes last, unless the client names it with a higher weight, and is chosen
// where nothing on offer is acceptable: RFC 9110, 12.1, permits that.
func (a Accept) Choose(order []Coding, offered Set) Coding {
	best := Identity
	for _, c := range order {
		if !offered.Has(c) || a.weights[c] == 0 {
			continue
		}
		if a.weights[c] > a.weights[best] || best == Identity && a.weights[c] == a.weights[best] {
			best = c
		}
	}
	return best
}

// member is one element of the field.
type member struct {
	name   string
	kind   kind
	weight uint16 // in thousandths
	// broken: the grammar does not allow it.
	broken bool
}

// kind is a name that means something here. Those of codings that this package
// can produce have the coding's number.
type kind uint8

const (
	deflate = kind(Count) + iota
	anything
	unknown
)

// kindOf tells names apart by their length first: it runs for each hit.
func kindOf(name string) kind {
	k, like := unknown, ""
	switch len(name) {
	case 1:
		k, like = anything, "*"
	case 2:
		k, like = kind(Brotli), "br"
	case 4:
		if k, like = kind(Gzip), "gzip"; name[0]|0x20 == 'z' {
			k, like = kind(Zstd), "zstd"
		}
	case 6:
		k, like = kind(Gzip), "x-gzip" // RFC 9110, 8.4.1.3
	case 7:
		k, like = deflate, "deflate"
	case 8:
		k, like = kind(Identity), "identity"
	}
	if name != like && !strings.EqualFold(name, like) {
		return unknown
	}
	return k
}

// cutMember cuts the first element off a list. Its name is empty for an empty
// one.
func cutMember(list string) (m member, rest string) {
	text, rest := list, ""
	if i := strings.IndexByte(list, ','); i >= 0 {
		text, rest = list[:i], list[i+1:]
	}
	m.weight = 1000
	if i := strings.IndexByte(text, ';'); i >= 0 {
		var ok bool
		m.weight, ok = parseWeight(trim(text[i+1:]))
		m.broken = !ok
		text = text[:i]
	}
	m.name = trim(text)
	if m.kind = kindOf(m.name); m.kind == unknown && strings.ContainsAny(m.name, " \t\"=/") {
		m.weight, m.broken = 0, true
	}
	return m, rest
}

func trim(text string) string {
	for text != "" && (text[0] == ' ' || text[0] == '\t') {
		text = text[1:]
	}
	for text != "" && (text[len(text)-1] == ' ' || text[len(text)-1] == '\t') {
		text = text[:len(text)-1]
	}
	return text
}

// parseWeight reads "q=0.5": RFC 9110, 12.4.2. What it cannot read is zero.
func parseWeight(text string) (thousandths uint16, ok bool) {
	if len(text) < 3 || text[0]|0x20 != 'q' || text[1] != '=' {
		return 0, false
	}
	whole, fraction := text[2], text[3:]
	if whole != '0' && whole != '1' || len(fraction) > 4 || fraction != "" && fraction[0] != '.' {
		return 0, false
	}
	n, unit := uint16(whole-'0')*1000, uint16(100)
	for i := 1; i < len(fraction); i++ {
		if fraction[i] < '0' || fraction[i] > '9' {
			return 0, false
		}
		n += uint16(fraction[i]-'0') * unit
		unit /= 10
	}
	if n > 1000 {
		return 0, false
	}
	return n, true
}
