package httpcache

import (
	"sort"
	"unsafe"
)

// What a stored answer costs beside its own memory, on 64-bit Go: a slot of a
// map with eight-byte keys and values, at the emptiest that a table is after it
// has grown (a slot and its control byte, half of 7/8 full), in the index and
// in the list; the list's element.
const (
	mapSlot   = 39
	listCost  = 64 + mapSlot
	indexCost = mapSlot
)

// weigh counts the memory that the entry holds on to. A test compares the sums
// with what the heap grows by.
func (e *entry) weigh() int64 {
	n := listCost + indexCost
	n += scanned(unsafe.Sizeof(*e), 1) + allocated(len(e.text)) + allocated(cap(e.whole[0]))
	return managed(int64(n+e.belongs.weigh()) + e.after.weigh())
}

func (b *belongs) weigh() int {
	if b == nil {
		return 0
	}
	return scanned(unsafe.Sizeof(*b), 1) + scanned(unsafe.Sizeof(varied{}), len(b.vary)) + b.groups.weigh()
}

func (a *after) weigh() int64 {
	if a == nil {
		return 0
	}
	n := scanned(unsafe.Sizeof(*a), 1) + allocated(len(a.lengthText)) + allocated(len(a.trailer.lines))
	held := a.body.held()
	for _, p := range a.pieces {
		held += p.body.held()
	}
	return held + int64(n+scanned(unsafe.Sizeof(piece{}), cap(a.pieces)))
}

// managed adds what the runtime needs to manage memory: structures and mark
// bits of its spans, and the tails of spans, some 3 % with entries of 1 KiB.
func managed(n int64) int64 { return n + n/32 }

// held is the memory behind the body.
func (b body) held() int64 {
	n := scanned(unsafe.Sizeof([]byte(nil)), len(b.chunks))
	for _, chunk := range b.chunks {
		n += allocated(cap(chunk))
	}
	return int64(n)
}

// sizeClasses are the sizes that Go's allocator rounds small objects up to.
var sizeClasses = [...]int{
	0, 8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320, 352, 384, 416,
	448, 480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792, 2048, 2304, 2688, 3072, 3200,
	3456, 4096, 4864, 5376, 6144, 6528, 6784, 6912, 8192, 9472, 9728, 10240, 10880, 12288, 13568, 14336,
	16384, 18432, 19072, 20480, 21760, 24576, 27264, 28672, 32768,
}

// allocPage is what larger objects are rounded up to.
const allocPage = 8 << 10

// allocated is what n bytes take of the heap.
func allocated(n int) int {
	if last := sizeClasses[len(sizeClasses)-1]; n > last {
		return (n + allocPage - 1) / allocPage * allocPage
	}
	return sizeClasses[sort.SearchInts(sizeClasses[:], n)]
}

// scanned is what some elements with pointers take: above half a kilobyte they
// have a header of a word.
func scanned(size uintptr, count int) int {
	n := int(size) * count
	if n > 512 {
		n += 8
	}
	return allocated(n)
}
