package transport

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"sync"
	"syscall"
	"testing"
)

// FuzzSameAsNetHTTP has both transports read the same bytes as an answer.
func FuzzSameAsNetHTTP(f *testing.F) {
	for _, answer := range []string{
		hello, "", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "HTTP/1.0 200 OK\r\n\r\nuntil the end", "HTTP/1.1 204 No Content\r\n\r\nmore",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + hello,
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\nx", "HTTP/1.1 100 Continue\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", "HTTP/1.1 200 OK\r\n folded\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "nonsense\r\n\r\n", "HTTP/1.1 099 Odd\r\n\r\n",
	} {
		for i := range methods {
			f.Add(byte(i), []byte(answer))
		}
	}
	f.Fuzz(func(t *testing.T, which byte, answer []byte) {
		method := methods[int(which)%len(methods)]
		ours := New(Options{Dial: func(context.Context) (net.Conn, error) { return tell(answer), nil }})
		theirs := &http.Transport{DisableCompression: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
			return tell(answer), nil
		}}
		defer theirs.CloseIdleConnections()
		got := seen(ours.RoundTrip(request(t, method, "/"), nil))
		wanted := seen(theirs.RoundTrip(request(t, method, "/")))
		if !reflect.DeepEqual(got, wanted) {
			t.Errorf("%s %q:\n got %v\nwant %v", method, answer, got, wanted)
		}
	})
}

var methods = []string{"GET", "HEAD", "POST", "DELETE"}

// told is a connection whose other side hears a request, says what it says and
// ends.
type told struct {
	net.Conn // nil: deadlines and addresses are not asked for
	answer   *bytes.Reader
	heard    chan struct{}
	once     sync.Once
}

func tell(answer []byte) *told {
	return &told{answer: bytes.NewReader(answer), heard: make(chan struct{})}
}

func (c *told) Read(p []byte) (int, error) {
	<-c.heard
	return c.answer.Read(p)
}

func (c *told) Write(p []byte) (int, error) {
	c.once.Do(func() { close(c.heard) })
	return len(p), nil
}

func (c *told) Close() error                          { return nil }
func (c *told) SyscallConn() (syscall.RawConn, error) { return noSocket{}, nil }

type noSocket struct{ syscall.RawConn }

func (noSocket) Control(func(uintptr)) error { return net.ErrClosed }

func seen(resp *http.Response, err error) (all []string) {
	if err != nil {
		return []string{"error"}
	}
	defer resp.Body.Close()
	all = append(all, fmt.Sprint(resp.StatusCode, resp.Status, resp.Proto, resp.ContentLength, resp.TransferEncoding, resp.Close, resp.Uncompressed, resp.Header))
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return all // The rest is the other protocol's, for which nobody asks here.
	}
	body, err := io.ReadAll(resp.Body)
	return append(all, fmt.Sprintf("%q %v %v", body, err != nil, resp.Trailer))
}
