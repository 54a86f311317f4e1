package lb

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// conversation echoes the messages of a WebSocket until it ends, and tells with
// what status.
func conversation(ended chan<- websocket.StatusCode) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		socket, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer socket.CloseNow()
		for {
			kind, text, err := socket.Read(context.Background())
			if err != nil {
				ended <- websocket.CloseStatus(err)
				return
			}
			if err := socket.Write(context.Background(), kind, text); err != nil {
				return
			}
		}
	}
}

// socket is a WebSocket through a proxy that carries the pool, which has echoed
// a word.
func socket(t *testing.T, proxy string) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), "ws://"+proxy+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	if err := c.Write(t.Context(), websocket.MessageText, []byte("word")); err != nil {
		t.Fatal(err)
	}
	if _, text, err := c.Read(t.Context()); err != nil || string(text) != "word" {
		t.Fatalf("%q, %v: want the echo", text, err)
	}
	return c
}

// toldToComeBack waits for the end of a WebSocket.
func toldToComeBack(t *testing.T, c *websocket.Conn) {
	t.Helper()
	if _, text, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusServiceRestart {
		t.Errorf("%q, %v: want a Close frame 1012", text, err)
	}
}

func TestWebSocketsAreToldToComeBackOnBothSides(t *testing.T) {
	for _, secure := range []bool{false, true} {
		ended := make(chan websocket.StatusCode, 20)
		a := newApp(t, conversation(ended))
		c := testConfig(a)
		if secure {
			a = newSecureApp(t, conversation(ended))
			c = testConfig(a)
			c.Transport.TLS, c.Transport.UnsafeSkipVerify = true, true
		}
		p, _ := upPool(t, c, a)
		proxy := proxyOf(t, p)
		var sockets []*websocket.Conn
		for range 20 {
			sockets = append(sockets, socket(t, proxy))
		}
		began := time.Now()
		parted := make(chan int, 1)
		go func() { parted <- p.Part(t.Context(), ms(200).D()) }()
		for _, c := range sockets {
			toldToComeBack(t, c)
		}
		for range sockets {
			if status := <-ended; status != websocket.StatusServiceRestart {
				t.Errorf("the replica heard %d: want the client's 1012", status)
			}
		}
		if n := <-parted; n != len(sockets) {
			t.Errorf("%d were asked: want %d", n, len(sockets))
		}
		if took := time.Since(began); took < 100*time.Millisecond || took > answerWithin {
			t.Errorf("took %s: want about the window, 200ms", took)
		}
		noneInFlight(t, p)
	}
}

// TestACloseFrameStandsBetweenTwoFrames: a replica that writes without pause, in
// pieces that end within frames.
func TestACloseFrameStandsBetweenTwoFrames(t *testing.T) {
	message := bytes.Repeat([]byte("0123456789"), 7_000)
	a := newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		for n := 1; ; n++ {
			flood := append(frame(1, false, message[:n%200]), frame(fin|9, false, []byte("ping"))...)
			flood = append(flood, frame(fin, false, message[:n*997%len(message)])...)
			for len(flood) > 0 {
				size := min(len(flood), 1+n*31%5000)
				if _, err := conn.Write(flood[:size]); err != nil {
					return
				}
				flood = flood[size:]
			}
		}
	})
	p, _ := upPool(t, testConfig(a), a)
	conn, in := dialWebSocket(t, proxyOf(t, p))
	parted := make(chan int, 1)
	if _, err := in.Peek(1 << 10); err != nil {
		t.Fatal(err)
	}
	go func() { parted <- p.Part(t.Context(), ms(1).D()) }()
	if err := readFrames(in); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(frame(fin|opClose, true, []byte{0x03, 0xf4})); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		t.Errorf("%d bytes, %v after the Close frame: want none", len(rest), err)
	}
	if n := <-parted; n != 1 {
		t.Errorf("%d were asked: want 1", n)
	}
	noneInFlight(t, p)
}

// readFrames reads whole frames up to a Close frame of 1012.
func readFrames(in *bufio.Reader) error {
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(in, head); err != nil {
			return err
		}
		size := uint64(head[1])
		if size >= 126 {
			length := make([]byte, map[uint64]int{126: 2, 127: 8}[size])
			if _, err := io.ReadFull(in, length); err != nil {
				return err
			}
			size = 0
			for _, b := range length {
				size = size<<8 | uint64(b)
			}
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(in, payload); err != nil {
			return err
		}
		switch head[0] {
		case 1, fin:
		case fin | 9:
			if string(payload) != "ping" {
				return fmt.Errorf("ping %q", payload)
			}
		case fin | opClose:
			if !bytes.Equal(payload, []byte{0x03, 0xf4}) {
				return fmt.Errorf("close % x: want 1012", payload)
			}
			return nil
		default:
			return fmt.Errorf("first byte %#x: the frames are out of step", head[0])
		}
	}
}

func TestAWebSocketThatDoesNotAnswerIsClosed(t *testing.T) {
	a := newApp(t, conversation(make(chan websocket.StatusCode, 1)))
	p, _ := upPool(t, testConfig(a), a)
	conn, in := mute(t, proxyOf(t, p))
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // No time: a second is left for answers.
	if n := p.Part(ctx, time.Hour); n != 1 {
		t.Errorf("%d were asked: want 1", n)
	}
	if text, err := io.ReadAll(in); !bytes.Equal(text, serviceRestart) || (err != nil && !errors.Is(err, io.ErrUnexpectedEOF)) {
		t.Errorf("% x, %v: want a Close frame, and the end", text, err)
	}
	_ = conn.Close()
	noneInFlight(t, p)
}

// mute is the connection of a WebSocket whose client says nothing.
func mute(t *testing.T, proxy string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	fmt.Fprint(conn, "GET /live HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%+v, %v: want 101", resp, err)
	}
	return conn, in
}

func TestAnotherProtocolJustEnds(t *testing.T) {
	a := newApp(t, func(w http.ResponseWriter, _ *http.Request) { echoOver(w, "lines") })
	p, _ := upPool(t, testConfig(a), a)
	conn, err := net.Dial("tcp", proxyOf(t, p))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n")
	in := bufio.NewReader(conn)
	if _, err := http.ReadResponse(in, nil); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(conn, "word")
	if line, err := in.ReadString('\n'); line != "echo word\n" {
		t.Fatalf("%q, %v: want an echo", line, err)
	}
	p.Part(t.Context(), ms(1).D())
	if rest, _ := io.ReadAll(in); len(rest) > 0 {
		t.Errorf("%q: want the end alone", rest)
	}
	noneInFlight(t, p)
}

func TestADrainTellsWebSocketsToComeBack(t *testing.T) {
	ended := make(chan websocket.StatusCode, 10)
	a, b := newApp(t, conversation(ended)), newApp(t, conversation(ended))
	c := testConfig(a)
	c.Drain = ms(3000) // a busy machine needs a while for ten
	p, seen := upPool(t, c, a)
	proxy := proxyOf(t, p)
	var sockets []*websocket.Conn
	for range 10 {
		sockets = append(sockets, socket(t, proxy))
	}
	c.Discover = listing(b)
	began := time.Now()
	if err := p.Configure(c); err != nil {
		t.Fatal(err)
	}
	for _, c := range sockets {
		toldToComeBack(t, c)
	}
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("all were told within %s: want them spread over the drain", took)
	}
	seen.await(t, ReplicaGone, a.address)
	noneInFlight(t, p)
}

func TestAPoolThatClosesTellsItsClients(t *testing.T) {
	a := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/live") {
			conversation(make(chan websocket.StatusCode, 1))(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	p, _ := upPool(t, testConfig(a), a)
	c, events := socket(t, proxyOf(t, p)), listen(t, p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	toldToComeBack(t, c)
	events.ends("")
}
