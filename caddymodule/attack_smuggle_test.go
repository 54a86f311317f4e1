package caddymodule

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/edgegw/edge/internal/rawhit/streams"
)

// recorder is a replica that keeps every byte that it gets, by connection, and takes
// for a request what the most trusting of servers would: all that a line end of any
// kind and the name of a method begin.
type recorder struct {
	mu    sync.Mutex
	conns []*bytes.Buffer
}

// recording is one connection's record.
type recording struct {
	net.Conn
	of  *recorder
	got *bytes.Buffer
}

func (r recording) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	r.got.Write(p[:n])
	return n, err
}

func (r *recorder) start(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/healthz" {
			return
		}
		body, err := io.ReadAll(req.Body)
		w.Header().Set("Cache-Control", "no-store")
		fmt.Fprintf(w, "%s %s has %d bytes, %v", req.Method, req.RequestURI, len(body), err)
	})}
	go func() { _ = server.Serve(recordingListener{l, r}) }() // until it is closed
	t.Cleanup(func() { _ = server.Close() })                  // what is cut off has been judged
	return l.Addr().String()
}

type recordingListener struct {
	net.Listener
	of *recorder
}

func (l recordingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	got := new(bytes.Buffer)
	l.of.conns = append(l.of.conns, got)
	return recording{conn, l.of, got}, nil
}

func (r *recorder) all() (texts []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, got := range r.conns {
		texts = append(texts, got.String())
	}
	return texts
}

var (
	bareEnd   = regexp.MustCompile(`(^|[^\r])\n|\r([^\n]|$)`)
	chunkSize = regexp.MustCompile(`^[0-9a-f]+$`)
)

// misread says what a server that reads in another way than ours could take for
// something else in what one connection brought; "" for nothing.
func misread(text string) string {
	in := bufio.NewReader(strings.NewReader(text))
	for {
		head, err := readHead(in)
		if err != nil {
			return "" // the rest is on its way
		}
		lines := strings.Split(strings.TrimSuffix(head, "\r\n\r\n"), "\r\n")
		lengths, codings := 0, 0
		for _, line := range lines[1:] {
			name, value, found := strings.Cut(line, ":")
			switch {
			case !found || strings.TrimRight(name, " \t") != name || strings.TrimLeft(line, " \t") != line:
				return fmt.Sprintf("the line %q", line)
			case strings.EqualFold(name, "Content-Length"):
				lengths++
			case strings.EqualFold(name, "Transfer-Encoding"):
				codings++
				if strings.TrimSpace(value) != "chunked" {
					return fmt.Sprintf("the coding %q", value)
				}
			}
		}
		switch {
		case bareEnd.MatchString(head):
			return fmt.Sprintf("a bare line end in %q", head)
		case lengths+codings > 1:
			return fmt.Sprintf("%d lengths and %d codings in %q", lengths, codings, head)
		case codings == 1:
			if how := skipChunks(in); how != "" {
				return how
			}
		case lengths == 1:
			var n int64
			_, _ = fmt.Sscanf(lines[indexOf(lines, "content-length")][len("content-length:"):], "%d", &n)
			_, _ = io.CopyN(io.Discard, in, n) // the rest is on its way
		}
	}
}

func indexOf(lines []string, name string) int {
	for i, line := range lines {
		if strings.HasPrefix(strings.ToLower(line), name+":") {
			return i
		}
	}
	return 0
}

func readHead(in *bufio.Reader) (head string, err error) {
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := in.ReadString('\n')
		if err != nil {
			return head, err
		}
		head += line
	}
	return head, nil
}

func skipChunks(in *bufio.Reader) string {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return ""
		}
		text, ok := strings.CutSuffix(line, "\r\n")
		if !ok || !chunkSize.MatchString(text) {
			return fmt.Sprintf("the chunk's size %q", line)
		}
		var n int64
		_, _ = fmt.Sscanf(text, "%x", &n)
		if n == 0 {
			if text := strings.ToLower(readTrailer(in)); strings.Contains(text, "content-length") || strings.Contains(text, "transfer-encoding") {
				return fmt.Sprintf("the trailer %q", text)
			}
			return ""
		}
		if _, err := io.CopyN(io.Discard, in, n+2); err != nil {
			return ""
		}
	}
}

func readTrailer(in *bufio.Reader) (text string) {
	for {
		line, err := in.ReadString('\n')
		if text += line; err != nil || line == "\r\n" {
			return text
		}
	}
}

// hidden is the request that the attacker wants a replica to see, and nobody else.
const hidden = "GET /smuggled HTTP/1.1\r\nHost: example.com\r\n\r\n"

// smugglings are requests whose end two parsers may see in two places (RFC 9112,
// 11.2; Linhart et al., HTTP Request Smuggling, 2005; Kettle, HTTP Desync Attacks,
// 2019, and HTTP/1.1 must die, 2025). The one in disguise is a body by the reading that counts.
func smugglings() map[string]string {
	head := "POST /form HTTP/1.1\r\nHost: example.com\r\n"
	inBody := func(fields string) string { // the length counts
		return head + fields + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(hidden)+5) + "0\r\n\r\n" + hidden
	}
	inChunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden)
	both := inBody("Transfer-Encoding: chunked\r\n") // the chunks count, and what follows is what the proxy takes for a body
	return map[string]string{
		"CL.TE, the rest a request":            both,
		"CL.TE, with an Upgrade":               strings.Replace(both, "\r\n", "\r\nConnection: Upgrade\r\nUpgrade: whatever\r\n", 1),
		"CL.TE, with the coding folded":        strings.Replace(both, "Transfer-Encoding: ", "Transfer-Encoding:\r\n ", 1),
		"CL.TE":                                head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + inChunk,
		"TE.CL":                                head + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + inChunk,
		"TE.TE, two of them":                   inBody("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n"),
		"TE.TE, a list":                        inBody("Transfer-Encoding: identity, chunked\r\n"),
		"TE.TE, a parameter":                   inBody("Transfer-Encoding: chunked;q=1\r\n"),
		"TE.TE, a space before the colon":      inBody("Transfer-Encoding : chunked\r\n"),
		"TE.TE, a tab before the colon":        inBody("Transfer-Encoding\t: chunked\r\n"),
		"TE.TE, a vertical tab":                inBody("Transfer-Encoding: \vchunked\r\n"),
		"TE.TE, in quotation marks":            inBody("Transfer-Encoding: \"chunked\"\r\n"),
		"TE.TE, behind a line folded":          inBody("X-One: 1\r\n Transfer-Encoding: chunked\r\n"),
		"TE.TE, behind a bare LF":              inBody("X-One: 1\nTransfer-Encoding: cow\r\n"),
		"TE.TE, behind a bare CR":              inBody("X-One: 1\rTransfer-Encoding: chunked\r\n"),
		"TE.TE, behind a NUL":                  inBody("X-One: 1\x00\r\nTransfer-Encoding: cow\r\n"),
		"TE.TE, an underscore":                 inBody("Transfer_Encoding: chunked\r\n"),
		"TE with HTTP/1.0":                     strings.Replace(inBody("Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n"), "HTTP/1.1", "HTTP/1.0", 1),
		"two lengths that agree":               head + "Content-Length: 9\r\nContent-Length: 9\r\n\r\n/smuggled",
		"two lengths that do not":              head + fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n\r\n", len(hidden)) + hidden,
		"a length in hexadecimal":              head + "Content-Length: 0x2f\r\n\r\n" + hidden,
		"a length with an underscore":          head + "Content-Length: 4_7\r\n\r\n" + hidden,
		"a length with a NUL":                  head + "Content-Length: 47\x00\r\n\r\n" + hidden,
		"a length that Connection names":       inBody("Connection: Content-Length\r\n"),
		"a GET with a body":                    strings.Replace(inBody(""), "POST", "GET", 1),
		"an Expect that holds the body back":   inBody("Expect: 100-continue\r\n"),
		"an Expect that means nothing":         inBody("Expect: y 100-continue\r\n"),
		"a chunk with an extension":            head + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x;a=b\r\n%s\r\n0\r\n\r\n", len(hidden), hidden),
		"an extension with a bare LF":          head + "Transfer-Encoding: chunked\r\n\r\n" + "2;\n" + "xx\r\n" + inChunk,
		"an extension with a bare CR":          head + "Transfer-Encoding: chunked\r\n\r\n" + "2;\rxx\r\nab\r\n" + inChunk,
		"a chunk that ends with a bare LF":     head + "Transfer-Encoding: chunked\r\n\r\n" + "1\r\nZ\n" + inChunk,
		"a chunk with a space in its size":     head + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x \r\n%s\r\n0\r\n\r\n", len(hidden), hidden),
		"a chunk whose size has a sign":        head + "Transfer-Encoding: chunked\r\n\r\n" + "+" + inChunk,
		"a chunk whose size has 0x":            head + "Transfer-Encoding: chunked\r\n\r\n" + "0x" + inChunk,
		"a chunk whose size overflows":         head + "Transfer-Encoding: chunked\r\n\r\n" + "10000000000000001\r\n" + inChunk,
		"a trailer that is a framing":          head + "Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n" + strings.TrimSuffix(inChunk, "\r\n") + "Content-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n",
		"a line end encoded in the target":     "GET /form%0d%0aHost:%20evil%0d%0a%0d%0aGET%20/smuggled HTTP/1.1\r\nHost: example.com\r\n\r\n",
		"a tab in the request line":            "GET\t/smuggled\tHTTP/1.1\r\nHost: example.com\r\n\r\n",
		"an Upgrade that nobody grants":        "GET /form HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
		"a WebSocket of an unknown version":    "GET /form HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
		"CONNECT, to what a replica could ask": "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
	}
}

// Whatever is sent, through whichever door, no replica gets a request in it but the
// one that edge has read, nor a byte that could be read in another way; and the next
// visitor has his own answer.
func TestNothingIsSmuggledToAReplica(t *testing.T) {
	var r recorder
	// The attacker comes through a proxy that shares its connections among visitors.
	e := startGuardedEdge(t, r.start(t), slowSite, "\n\t\ttrusted_proxies static private_ranges\n")
	for _, d := range e.doors() {
		for name, attack := range smugglings() {
			c := d.dial(t)
			if _, err := io.WriteString(c, attack); err != nil {
				t.Fatal(err)
			}
			_, _ = http.ReadResponse(c.in, nil) // or nothing, or a tunnel
			_ = c.Close()
			e.victim(t, d, name)
			if r.smuggled() {
				t.Fatalf("%s at %s: a replica was asked for what was hidden:\n%q", name, d.name, r.all())
			}
		}
	}
	e.downgrade(t)
	seen := 0
	for _, text := range r.all() {
		seen += strings.Count(text, "POST /form HTTP/1.1\r\n")
		if how := misread(text); how != "" {
			t.Errorf("a replica got %s", how)
		}
	}
	if seen < 20 || r.smuggled() {
		t.Errorf("%d of the attacks reached the replica: want many, to prove something, and nothing that was hidden in them", seen)
	}
}

// smuggled reports whether a replica was asked for what was hidden.
func (r *recorder) smuggled() bool {
	return slices.ContainsFunc(r.all(), func(text string) bool {
		return slices.ContainsFunc(targetsOf(text), func(target string) bool { return strings.HasPrefix(target, "/smuggled") })
	})
}

// targetsOf are those of the requests on a connection, as Go reads them.
func targetsOf(text string) (targets []string) {
	for in := bufio.NewReader(strings.NewReader(text)); ; {
		r, err := http.ReadRequest(in)
		if err != nil {
			return targets
		}
		targets = append(targets, r.RequestURI)
		_, _ = io.Copy(io.Discard, r.Body) // of what was cut off
	}
}

// victim asks on a connection of his own, which the gateway may carry on the one
// that it has used for the attacker.
func (e *rawEdge) victim(t *testing.T, d door, after string) {
	t.Helper()
	c := d.dial(t)
	defer c.Close()
	if got := c.ask(streams.Get("/private/victim")); !strings.HasPrefix(got.Text, "GET /private/victim has 0 bytes") {
		t.Errorf("%s at %s: the next visitor gets %d %q", after, d.name, got.StatusCode, got.Text)
	}
}

// downgrade sends over HTTP/2 what would be another request in HTTP/1.1 (Kettle,
// HTTP/2: The Sequel is Always Worse, 2021).
func (e *rawEdge) downgrade(t *testing.T) {
	t.Helper()
	chunked := "0\r\n\r\n" + hidden
	for _, d := range e.doors() {
		if !d.secure {
			continue
		}
		for name, fields := range map[string][]string{
			"H2.CL, too short":               {"content-length: 4"},
			"H2.CL, two of them":             {"content-length: 4", "content-length: 5"},
			"H2.CL, a sign":                  {"content-length: +4"},
			"H2.TE":                          {"transfer-encoding: chunked"},
			"H2.TE, behind a line end":       {"x-one: 1\r\ntransfer-encoding: chunked"},
			"H2.TE, in a name":               {"x-one: 1\r\ntransfer-encoding: chunked\r\nx-two: 2"},
			"a line end in a name":           {"foo\r\ntransfer-encoding: chunked"},
			"a colon in a name":              {"transfer-encoding:chunked : x"},
			"a request in a value":           {"x-one: 1\r\n\r\n" + hidden},
			"a bare LF in a value":           {"x-one: 1\ntransfer-encoding: chunked"},
			"a NUL in a value":               {"x-one: 1\x00"},
			"a capital letter":               {"Transfer-Encoding: chunked"},
			"Connection":                     {"connection: transfer-encoding, content-length"},
			"Upgrade":                        {"upgrade: h2c", "http2-settings: AAMAAABkAARAAAAAAAIAAAAA"},
			"a second method":                {":method: GET /smuggled HTTP/1.1\r\nx: "},
			"a second host":                  {"host: evil.example"},
			"a path that is two lines":       {":path: /smuggled HTTP/1.1\r\nhost: evil"},
			"a pseudo-field of no meaning":   {":evil: 1"},
			"CONNECT of RFC 8441, unoffered": {":protocol: websocket"},
		} {
			c := dialFrames(t, d.address)
			list := streams.Fields("POST", "/form")
			for _, line := range fields {
				cut := strings.Index(line[1:], ": ") + 1
				if cut <= 0 {
					list = append(list, hpack.HeaderField{Name: line, Value: "x"})
					continue
				}
				list = append(list, hpack.HeaderField{Name: line[:cut], Value: line[cut+2:]})
			}
			c.Open(1)
			c.write(t, c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: c.Block(list...)}))
			_ = c.WriteData(1, true, []byte(chunked)) // the connection may have ended
			if err := c.Await(1); err != nil {
				t.Errorf("%s at %s: %v", name, d.name, err)
			}
			_ = c.Close()
			e.victim(t, d, name)
		}
	}
}
