package coding

import (
	"strings"
	"testing"
)

var order = []Coding{Brotli, Zstd, Gzip}

func TestChoose(t *testing.T) {
	all := Of(Brotli, Zstd, Gzip)
	for name, c := range map[string]struct {
		field   []string
		offered Set
		want    Coding
	}{
		"a browser: the first in order":                    {[]string{"gzip, deflate, br, zstd"}, all, Brotli},
		"Cloudflare":                                       {[]string{"gzip, br"}, all, Brotli},
		"what is liked best is not on offer":               {[]string{"gzip, br"}, Of(Gzip), Gzip},
		"nothing on offer":                                 {[]string{"gzip, br"}, 0, Identity},
		"no field":                                         {nil, all, Identity},
		"an empty field":                                   {[]string{""}, all, Identity},
		"only what nobody here can do":                     {[]string{"deflate, compress"}, all, Identity},
		"weights outrank the order":                        {[]string{"br;q=0.8, gzip;q=0.9, zstd;q=0.1"}, all, Gzip},
		"equal weights: the order":                         {[]string{"gzip;q=0.5, zstd;q=0.5"}, all, Zstd},
		"a weight of zero refuses":                         {[]string{"br;q=0, gzip;q=0.000, zstd;q=0."}, all, Identity},
		"the least weight accepts":                         {[]string{"br;q=0.001"}, all, Brotli},
		"identity liked better":                            {[]string{"identity, gzip;q=0.5"}, all, Identity},
		"identity liked as much: the smaller one":          {[]string{"identity;q=0.5, gzip;q=0.5"}, all, Gzip},
		"identity refused":                                 {[]string{"identity;q=0, gzip"}, all, Gzip},
		"identity refused, nothing else to give":           {[]string{"identity;q=0"}, all, Identity},
		"anything":                                         {[]string{"*"}, all, Brotli},
		"anything but br":                                  {[]string{"br;q=0, *"}, all, Zstd},
		"nothing but gzip":                                 {[]string{"gzip, *;q=0"}, all, Gzip},
		"anything, gzip best":                              {[]string{"*;q=0.1, gzip"}, all, Gzip},
		"several lines":                                    {[]string{"gzip", "br"}, all, Brotli},
		"capitals, blanks, empty members":                  {[]string{" , GZIP ;\tQ=1.000 ,, "}, all, Gzip},
		"x-gzip is gzip (RFC 9110, 8.4.1.3)":               {[]string{"x-gzip"}, all, Gzip},
		"a weight above one breaks the grammar":            {[]string{"br;q=1.001, gzip"}, all, Gzip},
		"four digits break the grammar":                    {[]string{"br;q=0.0001, gzip"}, all, Gzip},
		"no number":                                        {[]string{"br;q=high, gzip"}, all, Gzip},
		"another parameter":                                {[]string{"br;level=9, gzip"}, all, Gzip},
		"a blank in a name":                                {[]string{"br gzip"}, all, Identity},
		"named twice: the refusal counts":                  {[]string{"br;q=0, br, gzip;q=0.5, gzip;q=0"}, all, Identity},
		"a name that only begins alike":                    {[]string{"brotli, gzipped, zstandard"}, all, Identity},
		"a coding that is not in the order is not offered": {[]string{"zstd;q=1, gzip;q=0.1"}, Of(Gzip), Gzip},
	} {
		if got := ParseAccept(c.field).Choose(order, c.offered); got != c.want {
			t.Errorf("%s: %q: %s: want %s", name, c.field, got, c.want)
		}
	}
}

func TestAcceptsIdentity(t *testing.T) {
	for field, want := range map[string]bool{
		"": true, "gzip": true, "identity": true, "*": true, "identity;q=0.1, *;q=0": true,
		"identity;q=0": false, "*;q=0": false, "gzip, *;q=0": false, "identity;q=0, *": false,
	} {
		if got := ParseAccept([]string{field}).Accepts(Identity); got != want {
			t.Errorf("%q accepts identity: %v: want %v", field, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	for c := Brotli; c < Count; c++ {
		if got, err := Parse(c.String()); got != c || err != nil {
			t.Errorf("%s: %s %v", c, got, err)
		}
	}
	for _, name := range []string{"identity", "deflate", "", "BR"} {
		if _, err := Parse(name); err == nil {
			t.Errorf("%q is a coding: want an error", name)
		}
	}
}

// FuzzAccept: what is chosen is on offer, and acceptable wherever anything is;
// and no answer goes to a request of the same class that does not accept it.
func FuzzAccept(f *testing.F) {
	for _, seed := range [][2]string{
		{"gzip, br", "br;q=0.5,GZIP"}, {"*;q=0, identity", "identity;q=1"}, {"dcb, br", "br"},
		{"x-gzip", "gzip;q=0.3"}, {"br;q=2", "br;q=0"}, {"*, foo;q=0", "*"}, {"br,br;q=0", "br"}, {"dcb;q=0,dcb", "dcb"}, {"gzip;q=0,br,gzip", "gzip,br"},
	} {
		f.Add(seed[0], seed[1], uint8(14))
	}
	f.Fuzz(func(t *testing.T, one, other string, offer uint8) {
		a := ParseAccept([]string{one})
		offered := Set(offer)
		got := a.Choose(order, offered)
		if got != Identity && (!offered.Has(got) || !a.Accepts(got)) {
			t.Fatalf("%q chose %s of %b", one, got, offered)
		}
		for _, c := range order {
			if got == Identity && !a.Accepts(Identity) && offered.Has(c) && a.Accepts(c) {
				t.Fatalf("%q refuses identity and accepts %s: got identity", one, c)
			}
		}
		if Class([]string{one}) != Class([]string{other}) {
			return
		}
		b := ParseAccept([]string{other})
		for c := range Count {
			if a.Accepts(c) != b.Accepts(c) {
				t.Fatalf("%q and %q are of one class: one accepts %s, the other does not", one, other, c)
			}
		}
		for _, name := range []string{"dcb", "deflate", "foo", "compress"} {
			if accepts(one, name) != accepts(other, name) {
				t.Fatalf("%q and %q are of one class: one accepts %s, the other does not", one, other, name)
			}
		}
	})
}

// accepts is the word of RFC 9110, 12.5.3, for one coding.
func accepts(field, name string) bool {
	star, starred, named, lowest := false, false, false, uint16(1000)
	for rest := field; rest != ""; {
		var m member
		m, rest = cutMember(rest)
		switch {
		case strings.EqualFold(m.name, name):
			named, lowest = true, min(lowest, m.weight)
		case m.name == "*":
			star = !starred && m.weight > 0 || star && m.weight > 0
			starred = true
		}
	}
	return named && lowest > 0 || !named && star
}
