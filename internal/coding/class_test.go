package coding

import "testing"

func TestClass(t *testing.T) {
	for _, alike := range [][]string{
		{"br, gzip", "gzip, br", "gzip,br", "GZIP , Br", "br;q=1.0, gzip;q=0.3", "x-gzip, br", "gzip, br, deflate;q=0", "gzip, br, foo;q=0", "br, gzip, identity"},
		{"identity", "", " ", ",", "identity;q=0.5", "foo;q=0", "br;q=0"},
		{"gzip, deflate, br, zstd", "zstd,br,deflate,gzip"},
		{"*", "*;q=0.1", "br, *", "*, gzip, identity"},
		{"identity;q=0", "*;q=0", "*;q=0, br;q=0"},
		{"gzip, *;q=0", "identity;q=0, gzip"},
		{"dcb, br", "br, DCB"},
	} {
		for _, field := range alike {
			if got, want := Class([]string{field}), Class([]string{alike[0]}); got != want {
				t.Errorf("%q is %q: want as %q, %q", field, got, alike[0], want)
			}
		}
	}
}

func TestClassesThatDiffer(t *testing.T) {
	fields := []string{
		"identity", "br", "gzip", "br, gzip", "zstd", "deflate", "*", "br;q=0, *", "identity;q=0, br", "*;q=0",
		"dcb", "dcb, br", "compress", "*, foo;q=0", "br;q=2", "br;q=x", "br, br;q=0", "br br", "identity;q=0, *",
		"br, gzip;q=0, gzip", "*, br, *;q=0", "*, br, gzip, *;q=0", "foo;q=0, foo",
	}
	seen := make(map[string]string)
	for _, field := range fields {
		class := Class([]string{field})
		if other, taken := seen[class]; taken {
			t.Errorf("%q and %q are both of class %q", field, other, class)
		}
		seen[class] = field
	}
	if one, two := Class([]string{"gzip", "br"}), Class([]string{"gzip, br"}); one != two {
		t.Errorf("two lines are %q, one is %q", one, two)
	}
}

func TestClassAllocatesNothing(t *testing.T) {
	lines := []string{"gzip, deflate, br;q=0.9, zstd, *;q=0.1"}
	if got := testing.AllocsPerRun(100, func() { Class(lines); ParseAccept(lines) }); got != 0 {
		t.Errorf("%v allocations: want none", got)
	}
}

func BenchmarkClass(b *testing.B) {
	lines := []string{"gzip, deflate, br, zstd"}
	b.ReportAllocs()
	for b.Loop() {
		Class(lines)
	}
}

func BenchmarkParseAccept(b *testing.B) {
	lines := []string{"gzip, deflate, br, zstd"}
	b.ReportAllocs()
	for b.Loop() {
		ParseAccept(lines)
	}
}
