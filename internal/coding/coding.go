// Package coding is content codings (RFC 9110, 8.4.1): which of them a client
// accepts, which requests accept alike, and the encoding of whole bodies.
package coding

import "fmt"

// Coding is a content coding that this package can produce, or none.
type Coding uint8

const (
	// Identity: the body as it is.
	Identity Coding = iota
	// Brotli is RFC 7932.
	Brotli
	// Zstd is RFC 8878, with the window that RFC 9659 permits on the web.
	Zstd
	// Gzip is RFC 1952.
	Gzip

	// Count is how many there are, with Identity.
	Count
)

// All is every coding but Identity.
const All = Set(1<<Brotli | 1<<Zstd | 1<<Gzip)

var names = [Count]string{"identity", "br", "zstd", "gzip"}

// String is the name in the registry of content codings.
func (c Coding) String() string { return names[c] }

// Parse reads a name. Identity is no coding that one could choose.
func Parse(name string) (Coding, error) {
	for c := Brotli; c < Count; c++ {
		if names[c] == name {
			return c, nil
		}
	}
	return Identity, fmt.Errorf("coding %q: want br, zstd or gzip", name)
}

// MarshalText is for JSON.
func (c Coding) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is Parse.
func (c *Coding) UnmarshalText(text []byte) (err error) {
	*c, err = Parse(string(text))
	return err
}

// Set is a set of codings.
type Set uint8

// Of is the set of some codings.
func Of(codings ...Coding) Set {
	var s Set
	for _, c := range codings {
		s |= 1 << c
	}
	return s
}

// Has reports that a coding is in the set.
func (s Set) Has(c Coding) bool { return s>>c&1 == 1 }
