package disk

import "testing"

// openedBlobs is what BenchmarkOpen opens: as many as 3 GiB of pages of 16 KiB.
const openedBlobs = 200_000

// BenchmarkOpen opens a folder with a table in every segment but the last, as
// a crash leaves it. Blobs are small: opening reads heads only.
func BenchmarkOpen(b *testing.B) {
	o := Options{Dir: b.TempDir(), MaxBytes: 256 << 20}
	s, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	for i := range openedBlobs {
		s.Put(bulky(numbered(i), 512))
		if i%1000 == 0 {
			s.Flush()
		}
	}
	s.Flush()
	o.Dir = crashed(b, o.Dir)
	s.Close()
	b.ReportAllocs()
	for b.Loop() {
		s, err := Open(o)
		if err != nil {
			b.Fatal(err)
		}
		if n := s.Stats().Recovered; n != openedBlobs {
			b.Fatalf("%d blobs, want %d", n, openedBlobs)
		}
		s.Close()
	}
}

// BenchmarkRead reads blobs of 16 KiB that the system has in memory.
func BenchmarkRead(b *testing.B) {
	s := open(b, Options{Dir: b.TempDir(), MaxBytes: 256 << 20})
	for i := range 1000 {
		s.Put(bulky(numbered(i), 16<<10))
	}
	s.Flush()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, _, err := s.Read(b.Context(), s.Find(keyOf(numbered(i % 1000)))[0]); err != nil {
			b.Fatal(err)
		}
	}
}
