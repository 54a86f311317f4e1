// Package streams makes what clients write on a connection, well-formed and
// not, and compares what comes back from two servers. It is for tests of what
// answers requests before net/http has seen them.
package streams

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Get is a request as curl writes it.
func Get(path string, lines ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: example.com\r\n" + strings.Join(append(lines, "", ""), "\r\n")
}

// Piece is bytes that a client writes at once, and what it does then.
type Piece struct {
	Text  string
	Await string // the method of the request whose answer it waits for
}

// kinds of requests, with their methods; some have what was learned as a body.
// The last three are answered in one way only by a server that does not proxy.
var kinds = []func(pick func(int) int) (text, method string){
	func(pick func(int) int) (string, string) { return Get("/hit/a", extras(pick)...), "GET" },
	func(pick func(int) int) (string, string) { return Get("/hit/5000", extras(pick)...), "GET" },
	func(pick func(int) int) (string, string) {
		return Get("/hit/40000", "Connection: keep-alive"), "GET"
	},
	func(pick func(int) int) (string, string) {
		body := strings.Repeat(Get("/hit/a"), 1+pick(3))
		return fmt.Sprintf("POST /echo HTTP/1.1\r\nHost: example.com\r\nContent-Length: %d\r\n\r\n%s", len(body), body), "POST"
	},
	func(pick func(int) int) (string, string) {
		body := Get("/hit/a")
		return fmt.Sprintf("POST /echo HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body), "POST"
	},
	func(pick func(int) int) (string, string) {
		return strings.Replace(Get("/hit/a", extras(pick)...), "\r\n", "\n", 1+pick(3)), "GET"
	},
	func(pick func(int) int) (string, string) {
		return Get("/hit/a", "User-Agent: a", " folded", "Accept: b"), "GET"
	},
	func(pick func(int) int) (string, string) {
		return Get("/hit/a", "User-Agent: a"+string(rune(pick(32)))+"b"), "GET"
	},
	func(pick func(int) int) (string, string) { return Get("/hit/a", "Host: other.example"), "GET" },
	func(pick func(int) int) (string, string) {
		return strings.Replace(Get("/hit/a"), "GET", "HEAD", 1), "HEAD"
	},
	func(pick func(int) int) (string, string) { return Get("/hit/a", "Connection: close"), "GET" },
	func(pick func(int) int) (string, string) {
		return strings.Replace(Get("/hit/a"), "HTTP/1.1", "HTTP/1.0", 1), "GET"
	},
	func(pick func(int) int) (string, string) {
		body := Get("/hit/a")
		return Get("/hit/a", fmt.Sprintf("Content-Length: %d", len(body))) + body, "GET"
	},
	func(pick func(int) int) (string, string) { return Get("/hit/a", "Cookie: a=b"), "GET" },
	func(pick func(int) int) (string, string) { return Get("/hit/a", "User Agent: a"), "GET" },
	func(pick func(int) int) (string, string) { return Get("/hit/a", "User-Agent : a"), "GET" },
	func(pick func(int) int) (string, string) { return Get("http://example.com/hit/a"), "GET" },
	func(pick func(int) int) (string, string) {
		return Get("/hit/a", "User-Agent: "+strings.Repeat("x", 3900+pick(400))), "GET"
	},
	func(pick func(int) int) (string, string) { return "\r\n" + Get("/hit/a"), "GET" },
	func(pick func(int) int) (string, string) {
		return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Get("/hit/a"), "GET"
	},
	func(pick func(int) int) (string, string) {
		body := Get("/hit/a")
		return fmt.Sprintf("POST /echo HTTP/1.1\r\nHost: example.com\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", len(body), body), "POST"
	},
	func(pick func(int) int) (string, string) {
		body := strings.Repeat(Get("/hit/a"), 1+pick(200))
		return fmt.Sprintf("POST /ignore HTTP/1.1\r\nHost: example.com\r\nContent-Length: %d\r\n\r\n%s", len(body), body), "POST"
	},
	func(pick func(int) int) (string, string) {
		return Get("/tunnel", "Connection: Upgrade", "Upgrade: echo") + Get("/hit/a"), "GET"
	},
}

// extras are fields that are ignored, and some that are not.
func extras(pick func(int) int) (lines []string) {
	for range pick(4) {
		lines = append(lines, []string{
			"User-Agent: one", "user-agent: two", "USER-AGENT:\tthree", "Accept: */*", "Accept-Encoding: gzip",
			"Cf-Ray: 1", "Referer:", "X-Real-Ip: 1", "X-Other: 1", "X-Under_Score: 1",
		}[pick(10)])
	}
	return lines
}

// New is what a client writes, decided by what pick says: a number below its
// argument. proxied leaves out what has no one answer behind a proxy.
func New(pick func(int) int, proxied bool) []Piece {
	some := kinds
	if proxied {
		some = some[:len(kinds)-3]
	}
	var all []Piece
	for range 1 + pick(8) {
		text, method := some[pick(len(some))](pick)
		for text != "" {
			n := len(text)
			if pick(3) == 0 {
				n = 1 + pick(len(text))
			}
			all = append(all, Piece{Text: text[:n]})
			text = text[n:]
		}
		if pick(2) == 0 {
			all[len(all)-1].Await = method
		}
	}
	return all
}

// Dial makes a connection to a server, with TLS if there is a configuration.
func Dial(address string, secure *tls.Config) (net.Conn, error) {
	if secure == nil {
		return net.Dial("tcp", address)
	}
	return tls.Dial("tcp", address, secure)
}

// Play sends a stream on a new connection, after it has asked prime three
// times, and returns all that came back after that.
func Play(address string, secure *tls.Config, prime string, stream []Piece) ([]byte, error) {
	nc, err := Dial(address, secure)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return nil, err
	}
	var all bytes.Buffer
	in := bufio.NewReader(io.TeeReader(nc, &all))
	for range 3 {
		if _, err := io.WriteString(nc, prime); err != nil {
			return nil, err
		}
		if err := await(in, http.MethodGet); err != nil {
			return nil, err
		}
	}
	all.Reset()
	for _, p := range stream {
		// A server that has closed takes no more: what came before counts.
		if _, err := io.WriteString(nc, p.Text); err != nil {
			break
		}
		if p.Await != "" && await(in, p.Await) != nil {
			break
		}
	}
	// The last request closes the connection: a client that shuts its side
	// down would have a proxy give up what is on its way. Only a tunnel needs it.
	if _, err := io.WriteString(nc, Get("/hit/a", "Connection: close")); err == nil && tunnels(stream) {
		_ = nc.(interface{ CloseWrite() error }).CloseWrite() // the server may have closed
	}
	// A reset ends it as well as an end does.
	_, err = io.Copy(io.Discard, in)
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		return nil, fmt.Errorf("no end of the answers to %q: %w", text(stream), err)
	}
	return all.Bytes(), nil
}

func tunnels(stream []Piece) bool {
	return strings.Contains(text(stream), "GET /tunnel")
}

// text is all that is written.
func text(stream []Piece) string {
	var all strings.Builder
	for _, p := range stream {
		all.WriteString(p.Text)
	}
	return all.String()
}

func await(in *bufio.Reader, method string) error {
	got, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, got.Body)
	return err
}

// Differ describes how two servers' answers to a stream differ; empty if they
// do not. A server that closes with unread bytes resets the connection, and
// what it sent last may be lost on the way: then one has a part of the other.
func Differ(stream []Piece, got, want []byte) string {
	if bytes.Equal(got, want) || closes(stream) && (bytes.HasPrefix(got, want) || bytes.HasPrefix(want, got)) {
		return ""
	}
	var sent strings.Builder
	for _, p := range stream {
		fmt.Fprintf(&sent, "%q await %s\n", p.Text, p.Await)
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	from := max(0, at-400)
	return fmt.Sprintf("sent\n%.4000safter %d bytes, got\n%.1000q\nwant\n%.1000q", sent.String(), from, got[from:], want[from:])
}

// closes reports a stream of which the server leaves a part unread.
func closes(stream []Piece) bool {
	all := text(stream)
	// What is neither refused nor closed comes back in full.
	for _, word := range []string{
		"Connection: close", "HTTP/1.0", "/ignore", "User Agent", "User-Agent : ", "Host: other", "PRI *", " folded", "HEAD",
		"/tunnel", "Expect", "\r\n\r\n\r\n",
	} {
		if strings.Contains(all, word) {
			return true
		}
	}
	return strings.HasPrefix(all, "\r\n") || strings.ContainsFunc(all, func(r rune) bool {
		return r < ' ' && r != '\r' && r != '\n' && r != '\t'
	})
}
