package disk

import (
	"encoding/binary"
	"hash/crc32"
)

// A record is a head, a label, and the two parts of a blob:
//
//	 0 magic      4
//	 4 kind       1   put, delete one variant, delete the whole family, put a file
//	 5 flags      1   the user's
//	 6 label      2   its length
//	 8 key       16
//	24 variant    8
//	32 stamp      8   the user's; orders blobs of one key and variant
//	40 meta       4   length of the first part
//	44 body       4   length of the second part, which for a file says which
//	48 checksum   4   CRC-32C of both parts
//	52 checksum   4   CRC-32C of the 52 bytes above and the label
//	56 label, meta, body
//
// Numbers are little-endian. Segments begin with segmentMagic, in which the
// last byte is the format's version: a format that is not known is removed.
const (
	recordMagic  = "eRec"
	segmentMagic = "edgeSeg\x01"
	headSize     = 56
	// MaxLabel bounds a label.
	MaxLabel = 1024
	// maxMeta bounds the first part.
	maxMeta = 16 << 20
)

type recordKind uint8

const (
	kindPut recordKind = 1 + iota
	kindDelete
	kindDeleteAll
	// kindPutFile is a put whose second part is in a file of its own.
	kindPutFile
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// head is the head of a record with its label.
type head struct {
	kind       recordKind
	flags      uint8
	key        Key
	variant    uint64
	stamp      int64
	meta, body uint32
	sum        uint32
	label      string
}

func (h *head) isPut() bool { return h.kind == kindPut || h.kind == kindPutFile }

// size is that of the whole record.
func (h *head) size() int64 { return headSize + int64(len(h.label)) + int64(h.meta) + int64(h.body) }

func (h *head) append(b []byte) []byte {
	start := len(b)
	b = append(b, recordMagic...)
	b = append(b, byte(h.kind), h.flags)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(h.label)))
	b = append(b, h.key[:]...)
	b = binary.LittleEndian.AppendUint64(b, h.variant)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.stamp))
	b = binary.LittleEndian.AppendUint32(b, h.meta)
	b = binary.LittleEndian.AppendUint32(b, h.body)
	b = binary.LittleEndian.AppendUint32(b, h.sum)
	sum := crc32.Update(crc32.Checksum(b[start:], castagnoli), castagnoli, []byte(h.label))
	b = binary.LittleEndian.AppendUint32(b, sum)
	return append(b, h.label...)
}

// decodeHead reads a head and its label from the beginning of b. It needs
// headSize+MaxLabel bytes at most.
func decodeHead(b []byte) (h head, ok bool) {
	if len(b) < headSize || string(b[:4]) != recordMagic {
		return head{}, false
	}
	length := int(binary.LittleEndian.Uint16(b[6:]))
	if length > MaxLabel || len(b) < headSize+length {
		return head{}, false
	}
	label := b[headSize : headSize+length]
	if crc32.Update(crc32.Checksum(b[:52], castagnoli), castagnoli, label) != binary.LittleEndian.Uint32(b[52:]) {
		return head{}, false
	}
	h = head{
		kind: recordKind(b[4]), flags: b[5], key: Key(b[8:24]),
		variant: binary.LittleEndian.Uint64(b[24:]), stamp: int64(binary.LittleEndian.Uint64(b[32:])),
		meta: binary.LittleEndian.Uint32(b[40:]), body: binary.LittleEndian.Uint32(b[44:]),
		sum: binary.LittleEndian.Uint32(b[48:]), label: string(label),
	}
	switch h.kind {
	case kindPut:
		ok = h.meta <= maxMeta
	case kindPutFile:
		ok = h.meta <= maxMeta && h.body == contentsSize
	case kindDelete, kindDeleteAll:
		ok = h.meta == 0 && h.body == 0 && length == 0
	}
	return h, ok
}

// A sealed segment ends with its table: the place and head of each record, so
// that opening it does not touch the blobs, and a tail of fixed size.
//
//	 0 magic      4
//	 4 records    4
//	 8 offset     8   where the table begins
//	16 checksum   4   CRC-32C of the table
//	20 checksum   4   CRC-32C of the 20 bytes above
const (
	tailMagic = "eToc"
	tailSize  = 24
)

type tail struct {
	records uint32
	offset  int64
	sum     uint32
}

func (t tail) append(b []byte) []byte {
	start := len(b)
	b = append(b, tailMagic...)
	b = binary.LittleEndian.AppendUint32(b, t.records)
	b = binary.LittleEndian.AppendUint64(b, uint64(t.offset))
	b = binary.LittleEndian.AppendUint32(b, t.sum)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

func decodeTail(b []byte) (t tail, ok bool) {
	if len(b) != tailSize || string(b[:4]) != tailMagic || crc32.Checksum(b[:20], castagnoli) != binary.LittleEndian.Uint32(b[20:]) {
		return tail{}, false
	}
	t = tail{
		records: binary.LittleEndian.Uint32(b[4:]), offset: int64(binary.LittleEndian.Uint64(b[8:])),
		sum: binary.LittleEndian.Uint32(b[16:]),
	}
	return t, t.offset >= int64(len(segmentMagic))
}

// placed is a record and where it is.
type placed struct {
	offset uint32
	head   head
}

func appendPlaced(b []byte, p placed) []byte {
	return p.head.append(binary.LittleEndian.AppendUint32(b, p.offset))
}

// decodeTable reads a table whose records must lie, in order and without
// overlap, before end.
func decodeTable(b []byte, records uint32, end int64) (all []placed, ok bool) {
	if int64(records)*(headSize+4) > int64(len(b)) {
		return nil, false
	}
	all = make([]placed, 0, records)
	at := int64(len(segmentMagic))
	for range records {
		if len(b) < 4 {
			return nil, false
		}
		p := placed{offset: binary.LittleEndian.Uint32(b)}
		if p.head, ok = decodeHead(b[4:]); !ok || int64(p.offset) < at || int64(p.offset)+p.head.size() > end {
			return nil, false
		}
		at = int64(p.offset) + p.head.size()
		b = b[4+headSize+len(p.head.label):]
		all = append(all, p)
	}
	return all, len(b) == 0
}
