package httpcache

import (
	"io"
)

// body is a stored body in pieces. Nobody changes their bytes.
type body struct {
	chunks [][]byte
	size   int64
	// file is where it is, if it is too large for memory; open what reads it.
	file *bodyFile
	open *openBody
}

// flatBelow is the size up to which a body is kept in one piece, so that a hit
// is one write. Larger ones are not copied together.
const flatBelow = 1 << 20

// packed is the body without waste: in one piece when small, and without spare
// capacity.
func (b body) packed() body {
	if len(b.chunks) == 0 {
		return b
	}
	if b.size <= flatBelow {
		if only := b.chunks[0]; len(b.chunks) == 1 && cap(only) == len(only) {
			return b
		}
		flat := make([]byte, 0, b.size)
		for _, chunk := range b.chunks {
			flat = append(flat, chunk...)
		}
		return body{chunks: [][]byte{flat}, size: b.size}
	}
	chunks := append([][]byte(nil), b.chunks...)
	last := len(chunks) - 1
	if spare := chunks[last]; cap(spare) > len(spare) {
		chunks[last] = append(make([]byte, 0, len(spare)), spare...)
	}
	return body{chunks: chunks, size: b.size}
}

// WriteTo writes the whole body.
func (b body) WriteTo(w io.Writer) (int64, error) {
	return b.writePart(w, 0, b.size)
}

// writePart writes length bytes from offset on; both must lie within the body.
func (b body) writePart(w io.Writer, offset, length int64) (int64, error) {
	if b.file != nil {
		return b.open.writePart(w, offset, length)
	}
	written := int64(0)
	for _, chunk := range b.chunks {
		if length == 0 {
			break
		}
		if offset >= int64(len(chunk)) {
			offset -= int64(len(chunk))
			continue
		}
		part := chunk[offset:min(int64(len(chunk)), offset+length)]
		n, err := w.Write(part)
		written += int64(n)
		if err != nil {
			return written, err
		}
		offset, length = 0, length-int64(len(part))
	}
	return written, nil
}
