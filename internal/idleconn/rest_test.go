package idleconn

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"
)

func TestRest(t *testing.T) {
	for b, want := range map[string]int64{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n":                              0,
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nG":                             unknown,
		"GET / HTTP/1.1\r\nHost: a\r\n":                                  unknown,
		"POST / HTTP/1.1\r\ncontent-length:  5 \r\n\r\nab":               3,
		"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde":              0,
		"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcdef":             unknown,
		"POST / HTTP/1.1\r\nContent-Length: five\r\n\r\n":                unknown,
		"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": unknown,
		"GET / HTTP/1.1\nHost: a\n\nGET / HTTP/1.1\r\n\r\n":              unknown,
	} {
		if got, _ := rest([]byte(b)); got != want {
			t.Errorf("%q: %d: want %d", b, got, want)
		}
	}
}

// What is called whole, net/http reads to its end, and no further: it has nothing of
// the client that would be lost.
func FuzzRest(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "GET / HTTP/1.1\nHost: a\n\n", "HEAD / HTTP/1.0\r\nX: a\r\n b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 2\r\n\r\nab",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		left, known := rest(b)
		if left < unknown || !known && left != unknown {
			t.Fatalf("%q: %d, %t", b, left, known)
		}
		in := bufio.NewReader(bytes.NewReader(b))
		request, err := http.ReadRequest(in)
		if err != nil || left != 0 {
			return // no answer says that the connection can be kept, or nothing is claimed
		}
		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			t.Fatalf("%q is not whole: %v", b, err)
		}
		if more := in.Buffered(); more > 0 {
			t.Fatalf("%q: net/http has %d bytes more than the request", b, more)
		}
	})
}
