package idleconn

import (
	"bytes"
	"strconv"
)

// unknown is the rest of a request that is not told by what came first.
const unknown = -1

// rest is how many bytes of a request are still to come after its first ones, which
// begin with it; negative when that cannot be told, or when there is more than the
// request. It is known when the header is whole. It is not for what a client means,
// but for whether net/http can have kept bytes back: whatever is unusual is unknown.
func rest(b []byte) (left int64, known bool) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return unknown, false
	}
	length := int64(0)
	for line := range bytes.SplitSeq(b[:end], []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Transfer-Encoding")), bytes.ContainsRune(line, '\n'):
			return unknown, true
		case bytes.EqualFold(name, []byte("Content-Length")):
			var err error
			if length, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64); err != nil {
				return unknown, true
			}
		}
	}
	return max(unknown, length-int64(len(b)-end-len("\r\n\r\n"))), true
}
