package disk

import (
	"bytes"
	"hash/crc32"
	"testing"
	"testing/fstest"
)

func FuzzDecodeHead(f *testing.F) {
	h := head{kind: kindPut, flags: 3, key: keyOf("a"), variant: 9, stamp: -1, meta: 10, body: 20, sum: 7, label: "Accept-Encoding"}
	f.Add(h.append(nil))
	d := head{kind: kindDeleteAll, key: keyOf("a")}
	f.Add(d.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := decodeHead(b)
		if ok && !bytes.HasPrefix(b, h.append(nil)) {
			t.Errorf("%x was read as %+v", b, h)
		}
	})
}

func FuzzDecodeTable(f *testing.F) {
	h := head{kind: kindPut, key: keyOf("a"), meta: 10, body: 20, label: "x"}
	f.Add(appendPlaced(nil, placed{offset: 8, head: h}), uint32(1))
	f.Fuzz(func(t *testing.T, b []byte, n uint32) {
		all, ok := decodeTable(b, n, 1<<30)
		if !ok {
			return
		}
		var again []byte
		for _, p := range all {
			again = appendPlaced(again, p)
		}
		if !bytes.Equal(again, b) || len(all) != int(n) {
			t.Errorf("%x was read as %d records", b, len(all))
		}
	})
}

// FuzzSegment opens whatever a file may hold.
func FuzzSegment(f *testing.F) {
	h := head{kind: kindPut, key: keyOf("a"), meta: 2, body: 3, sum: checksum([]byte("me"), []byte("bod")), label: "x"}
	record := append(h.append([]byte(segmentMagic)), "mebod"...)
	f.Add(record)
	table := appendPlaced(nil, placed{offset: uint32(len(segmentMagic)), head: h})
	f.Add(tail{records: 1, offset: int64(len(record)), sum: crc32.Checksum(table, castagnoli)}.append(append(record, table...)))
	f.Fuzz(func(t *testing.T, text []byte) {
		files := newMemory("d/"+segmentName(1), text) // as a finished segment
		files.files["d/"+segmentName(2)] = &fstest.MapFile{Data: bytes.Clone(text)}
		s := held(t, files)
		for key := range s.index.heads {
			for _, r := range s.Find(key) {
				if _, _, err := s.Read(t.Context(), r); err == nil && r.Size > int64(len(text)) {
					t.Errorf("a blob of %d bytes from a file of %d", r.Size, len(text))
				}
			}
		}
		s.Put(putOf("b", 0, 5))
		s.Flush()
		if got := stampOf(t, s, "b", 0); got != 5 {
			t.Errorf("stamp %d, want 5", got)
		}
	})
}
