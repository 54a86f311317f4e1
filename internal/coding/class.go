package coding

import (
	"slices"
	"strings"
)

// Bits of a class, beside which other members may stand.
const (
	classBr = 1 << iota
	classDeflate
	classGzip
	classZstd
	classAny       // "*"
	classPlain     // identity
	classes        // how many there are
	classAllOfThem = classBr | classDeflate | classGzip | classZstd
)

// classNames has the text of each class that has no other members.
var classNames = func() (all [classes]string) {
	for bits := range all {
		all[bits] = strings.Join(classMembers(bits), ", ")
	}
	return all
}()

func classMembers(bits int) []string {
	var members []string
	for i, name := range []string{"br", "deflate", "gzip", "zstd", "*"} {
		if bits>>i&1 == 1 {
			members = append(members, name)
		}
	}
	switch plain := bits&classPlain != 0; {
	case !plain:
		members = append(members, "identity;q=0")
	case len(members) == 0:
		members = append(members, "identity")
	}
	return members
}

// Class is the lines of an Accept-Encoding field in a form that is equal for
// fields that accept the same set of codings, so that an answer to one is
// acceptable to the other: order, case, spelling and weights above zero, which
// only say what is liked better, leave no trace (RFC 9111, 4.1). It allocates
// nothing for fields that name only br, deflate, gzip, zstd, identity and "*".
func Class(lines []string) string {
	bits, named := 0, 0
	var others, refused []string
	for _, line := range lines {
		for line != "" {
			var m member
			m, line = cutMember(line)
			bit := classBits[m.kind]
			switch {
			case m.broken, named&bit != 0:
				// Who knows what the origin makes of it: it is like itself only.
				// No name has quotes.
				return `"` + strings.Join(lines, ",") + `"`
			case m.name == "":
			case bit == 0 && m.weight > 0:
				others = append(others, strings.ToLower(m.name))
			case bit == 0:
				refused = append(refused, strings.ToLower(m.name))
			case m.weight > 0:
				bits, named = bits|bit, named|bit
			default:
				named |= bit
			}
		}
	}
	plain := bits&classPlain != 0 || named&(classPlain|classAny) == 0
	if bits&classAny != 0 { // whatever is not named
		bits |= classAllOfThem &^ named
		plain = plain || named&classPlain == 0
	}
	for _, name := range refused {
		// A refusal says something where "*", or the same name, accepts it.
		if bits&classAny != 0 || slices.Contains(others, name) {
			others = append(others, name+";q=0")
		}
	}
	if plain {
		bits |= classPlain
	}
	if len(others) == 0 {
		return classNames[bits]
	}
	slices.Sort(others)
	return classNames[bits] + ", " + strings.Join(slices.Compact(others), ", ")
}

// classBits are the bits of the kinds of names.
var classBits = [unknown + 1]int{
	kind(Identity): classPlain, kind(Brotli): classBr, kind(Zstd): classZstd, kind(Gzip): classGzip,
	deflate: classDeflate, anything: classAny, unknown: 0,
}
