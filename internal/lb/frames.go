package lb

// Opcodes of WebSocket frames (RFC 6455, 5.2).
const (
	opBinary = 2
	opClose  = 8
	opPong   = 10
)

// frames follows what passes in one direction of a WebSocket, so that it is
// known whether it ends between two frames (RFC 6455, 5.2): there, and only
// there, may a control frame be put in, also between the fragments of a message
// (5.4). What is no WebSocket is noticed as far as it can be; then there is no
// such place any more. The zero value has seen nothing.
type frames struct {
	head   [14]byte // of a frame: two bytes, at most eight of length, four of mask
	have   int      // bytes of head that have passed
	left   uint64   // bytes of payload that have not
	op     byte
	closed bool // a Close frame has passed, the last one there may be
	broken bool // these are no frames
}

// pass takes note of what passes.
func (f *frames) pass(p []byte) {
	for len(p) > 0 && !f.broken {
		if f.left > 0 {
			n := min(uint64(len(p)), f.left)
			f.left -= n
			p = p[n:]
			f.settle()
			continue
		}
		f.head[f.have] = p[0]
		f.have++
		p = p[1:]
		f.measure()
	}
}

// measure looks at the head as far as it is there.
func (f *frames) measure() {
	if f.have < 2 {
		return
	}
	short := f.head[1] & 0x7f
	extended := 0
	switch short {
	case 126:
		extended = 2
	case 127:
		extended = 8
	}
	f.op = f.head[0] & 0x0f
	control := f.op >= opClose
	known := f.op <= opBinary || (control && f.op <= opPong)
	// RFC 6455, 5.5: control frames are short and whole.
	if !known || (control && (short > 125 || f.head[0]&0x80 == 0)) {
		f.broken = true
		return
	}
	size := 2 + extended
	if f.head[1]&0x80 != 0 {
		size += 4
	}
	if f.have < size {
		return
	}
	f.left = uint64(short)
	if extended > 0 {
		f.left = 0
		for _, b := range f.head[2 : 2+extended] {
			f.left = f.left<<8 | uint64(b)
		}
	}
	if f.left>>63 != 0 { // RFC 6455, 5.2: the most significant bit must be 0
		f.broken = true
		return
	}
	f.have = 0
	f.settle()
}

// settle takes note of the end of a frame.
func (f *frames) settle() {
	if f.left == 0 && f.op == opClose {
		f.closed = true
	}
}

// between reports whether a frame may be put in here.
func (f *frames) between() bool { return f.have == 0 && f.left == 0 && !f.broken && !f.closed }

// serviceRestart is an unmasked Close frame with the status 1012, Service
// Restart, of the registry that RFC 6455, 11.7 made: the client should come
// back, after a while of its own choice.
var serviceRestart = []byte{0x80 | opClose, 2, 1012 >> 8, 1012 & 0xff}
