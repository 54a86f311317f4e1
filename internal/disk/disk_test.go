package disk

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// change is one of a sequence, and what must be there after it.
type change struct {
	put      bool
	all      bool // delete every variant
	name     string
	variant  uint64
	stamp    int64
	expected map[string]int64 // "name variant" → stamp
}

// changes cover puts, variants, replacements, deletions and their return.
func changes() []change {
	list := []change{
		{put: true, name: "a", stamp: 7}, {put: true, name: "b", variant: 1, stamp: 8},
		{put: true, name: "b", variant: 2, stamp: 9}, {put: true, name: "a", stamp: 10},
		{name: "b", variant: 1}, {put: true, name: "c", stamp: 50}, {all: true, name: "b"},
		{put: true, name: "b", variant: 2, stamp: 33}, {name: "a"}, {put: true, name: "a", stamp: 41},
	}
	now := map[string]int64{}
	for i := range list {
		c := &list[i]
		id := c.name + string(rune('0'+c.variant))
		switch {
		case c.put:
			now[id] = c.stamp
		case c.all:
			for v := range 3 {
				delete(now, c.name+string(rune('0'+v)))
			}
		default:
			delete(now, id)
		}
		c.expected = map[string]int64{}
		for k, v := range now {
			c.expected[k] = v
		}
	}
	return list
}

func (c *change) apply(s *Store) {
	switch {
	case c.put:
		s.Put(putOf(c.name, c.variant, c.stamp))
	case c.all:
		s.DeleteAll(keyOf(c.name))
	default:
		s.Delete(keyOf(c.name), c.variant)
	}
}

func expect(t *testing.T, s *Store, want map[string]int64) {
	t.Helper()
	for _, name := range []string{"a", "b", "c"} {
		for v := range uint64(3) {
			id := name + string(rune('0'+v))
			if got := stampOf(t, s, name, v); got != want[id] {
				t.Errorf("%s: stamp %d, want %d", id, got, want[id])
			}
		}
	}
}

func TestWhatWasWrittenIsThereAfterARestart(t *testing.T) {
	for _, end := range []string{"closed", "crashed"} {
		t.Run(end, func(t *testing.T) {
			dir := t.TempDir()
			for _, c := range changes() {
				s := open(t, small(dir))
				c.apply(s)
				s.Flush()
				expect(t, s, c.expected)
				if end == "crashed" {
					dir = crashed(t, dir)
				}
				s.Close()
				again := open(t, small(dir))
				expect(t, again, c.expected)
				if st := again.Stats(); st.Torn != 0 || st.Blobs != int64(len(c.expected)) || st.Segments > 1 {
					t.Errorf("after %+v: %+v", c, st)
				}
				again.Close()
			}
		})
	}
}

// A crash may cut the last segment anywhere: what was whole by then is there,
// and the store goes on from it.
func TestACrashAtEveryByteLosesOnlyWhatWasNotWhole(t *testing.T) {
	dir := t.TempDir()
	s := open(t, small(dir))
	list := changes()
	ends := []int64{int64(len(segmentMagic))}
	for i := range list {
		list[i].apply(s)
		s.Flush()
		info, err := os.Stat(onlySegment(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, info.Size())
	}
	text, err := os.ReadFile(onlySegment(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	whole := 0
	for cut := range int64(len(text)) + 1 {
		for whole+1 < len(ends) && ends[whole+1] <= cut {
			whole++
		}
		want := map[string]int64{}
		if whole > 0 {
			want = list[whole-1].expected
		}
		torn := newMemory("d/"+segmentName(1), text[:cut])
		again := held(t, torn)
		expect(t, again, want)
		again.Put(putOf("c", 2, 21))
		again.Close()
		third := held(t, torn)
		if got := stampOf(t, third, "c", 2); got != 21 {
			t.Fatalf("cut at %d: what was put afterwards has stamp %d, want 21", cut, got)
		}
		third.Close()
		if t.Failed() {
			t.Fatalf("cut at %d of %d, %d records whole", cut, len(text), whole)
		}
	}
}

// Any damaged byte, in a segment with a table or without one, costs blobs, and
// never gives a wrong one.
func TestADamagedByteNeverGivesAWrongBlob(t *testing.T) {
	for _, sealed := range []bool{true, false} {
		dir := t.TempDir()
		s := open(t, small(dir))
		for i := range int64(6) {
			s.Put(putOf(numbered(int(i)), 0, 10+i))
		}
		s.Flush()
		if !sealed {
			dir = crashed(t, dir)
		}
		s.Close()
		text, err := os.ReadFile(onlySegment(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		for at := range text {
			damaged := bytes.Clone(text)
			damaged[at] ^= 0x41
			again := held(t, newMemory("d/"+segmentName(1), damaged))
			for i := range int64(6) {
				for _, r := range again.Find(keyOf(numbered(int(i)))) {
					meta, body, err := again.Read(context.Background(), r)
					wantMeta, wantBody := content(numbered(int(i)), 0, 10+i)
					if err == nil && (!bytes.Equal(meta, wantMeta) || !bytes.Equal(body, wantBody)) {
						t.Fatalf("byte %d: a wrong blob", at)
					}
					if err != nil && again.Has(r) {
						t.Fatalf("byte %d: a blob that cannot be read is still offered: %v", at, err)
					}
				}
			}
			again.Close()
		}
	}
}

// What a damaged segment said about older blobs is lost, so they go too.
func TestDamageInAnOldSegmentDeletesWhatIsOlder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, small(dir))
	s.Put(putOf("old", 0, 5))
	for i := range 600 { // fills the first segment and goes on in the second
		s.Put(bulky(numbered(i), 4<<10))
	}
	s.Delete(keyOf("old"), 0)
	s.Flush()
	s.Close()
	second := filepath.Join(dir, segmentName(2))
	text, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(second, text[:len(text)/3], 0o600); err != nil {
		t.Fatal(err)
	}
	again := open(t, small(dir))
	if got := stampOf(t, again, "old", 0); got != 0 {
		t.Errorf("a deleted blob is back, stamp %d", got)
	}
	if again.Stats().Blobs == 0 {
		t.Error("nothing is left: want what is newer than the damage")
	}
}

func bulky(name string, size int) Put {
	p := Put{Key: keyOf(name), Stamp: 1, Meta: func(b []byte) []byte { return b }, Size: int64(size)}
	p.Body = [][]byte{bytes.Repeat([]byte{'x'}, size)}
	return p
}

func TestTheBoundHolds(t *testing.T) {
	const most = 16 << 20
	s := open(t, Options{Dir: t.TempDir(), MaxBytes: most})
	for i := range 3000 {
		s.Put(bulky(numbered(i), 16<<10))
		if i%100 == 0 {
			s.Flush()
			if st := s.Stats(); st.Bytes > most {
				t.Fatalf("%d bytes after %d blobs: at most %d", st.Bytes, i, most)
			}
			if used := onDisk(t, s.dir); used > most {
				t.Fatalf("%d bytes in files: at most %d", used, most)
			}
		}
	}
	s.Flush()
	if st := s.Stats(); st.Reclaimed == 0 || st.Blobs < 700 || st.Segments > 20 {
		t.Errorf("%+v: want most of %d kept, and few files", st, most)
	}
	s.Configure(most / 4)
	s.Flush()
	if used := onDisk(t, s.dir); used > most/4 {
		t.Errorf("%d bytes after the bound fell to %d", used, most/4)
	}
}

func onDisk(t *testing.T, dir string) (n int64) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		info, err := one.Info()
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size()
	}
	return n
}

func TestWhatIsReadStays(t *testing.T) {
	s := open(t, small(t.TempDir()))
	s.Put(putOf("hot", 0, 20))
	s.Put(putOf("cold", 0, 20))
	for i := range 4000 {
		s.Put(bulky(numbered(i), 16<<10))
		if i%50 == 0 {
			s.Flush()
			if stampOf(t, s, "hot", 0) == 0 {
				t.Fatalf("the blob that is read all the time is gone after %d others", i)
			}
		}
	}
	if stampOf(t, s, "cold", 0) != 0 {
		t.Error("what nobody read is still there")
	}
	if s.Stats().Reinserted == 0 {
		t.Error("nothing was re-inserted")
	}
}

func TestTheIndexIsBounded(t *testing.T) {
	var grown int64
	var mu sync.Mutex
	s := open(t, Options{Dir: t.TempDir(), MaxBytes: 64 << 20, MaxIndex: 1000 * recordCost, Grown: func(n int64) {
		mu.Lock()
		defer mu.Unlock()
		grown += n
	}})
	for i := range 40_000 {
		s.Put(bulky(numbered(i), 100))
		if i%1000 == 0 {
			s.Flush()
		}
	}
	s.Flush()
	mu.Lock()
	defer mu.Unlock()
	if st := s.Stats(); st.Blobs > 1000 || grown != st.Blobs*recordCost || st.IndexBytes != grown {
		t.Errorf("%d blobs in an index for 1000; %d bytes were reported, %d are shown", st.Blobs, grown, st.IndexBytes)
	}
}

func TestAKeyHasSoManyVariants(t *testing.T) {
	s := open(t, small(t.TempDir()))
	for v := range uint64(3 * maxVariants) {
		s.Put(putOf("a", v, 20))
	}
	s.Flush()
	if n := len(s.Find(keyOf("a"))); n != maxVariants || stampOf(t, s, "a", 3*maxVariants-1) != 20 {
		t.Errorf("%d variants: want the newest %d", n, maxVariants)
	}
}

// recordCost must not be less than what a record takes.
func TestARecordCostsNoMoreThanIsCounted(t *testing.T) {
	const records = 300_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	x := newIndex(records, nil)
	g := &segment{id: 1}
	for i := range records {
		g.slots = append(g.slots, x.add(slot{key: keyOf(numbered(i)), segment: 1}))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := int64(after.HeapAlloc-before.HeapAlloc) / records
	runtime.KeepAlive(x.slots)
	runtime.KeepAlive(g.slots)
	if each > recordCost {
		t.Errorf("a record takes %d bytes, %d are counted", each, recordCost)
	}
}

func TestOlderBlobsDoNotReplaceNewerOnes(t *testing.T) {
	s := open(t, small(t.TempDir()))
	s.Put(putOf("a", 0, 9))
	if s.Put(putOf("a", 0, 8)) {
		t.Error("an older blob was taken while a newer one waits")
	}
	s.Flush()
	if s.Put(putOf("a", 0, 8)) || !s.Newer(keyOf("a"), 0, 8) || s.Newer(keyOf("a"), 0, 9) {
		t.Error("an older blob was taken after a newer one")
	}
	if got := stampOf(t, s, "a", 0); got != 9 {
		t.Errorf("stamp %d, want 9", got)
	}
}
