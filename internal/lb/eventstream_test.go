package lb

import (
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
)

func TestEventsEndAfterAnEmptyLine(t *testing.T) {
	for text, places := range map[string]string{ // | marks each
		"":                              "|",
		"data: 1\n\n":                   "|data: 1\n\n|",
		"data: 1\r\n\r\n":               "|data: 1\r\n\r|\n|",
		"data: 1\r\r":                   "|data: 1\r\r|",
		"data: 1\n\r\n":                 "|data: 1\n\r|\n|",
		"id: 1\ndata: 1\n\n: ping\n\n":  "|id: 1\ndata: 1\n\n|: ping\n\n|",
		"\ndata: 1\n":                   "|\n|data: 1\n",
		"data: 1\r\n":                   "|data: 1\r\n",
		"data: 1\n\n\n\ndata: 2\r\nid:": "|data: 1\n\n|\n|\n|data: 2\r\nid:",
	} {
		var e edges
		got := "|"
		for i := range len(text) {
			got += text[i : i+1]
			if e.pass([]byte(text[i : i+1])) {
				got += "|"
			}
		}
		if got != places {
			t.Errorf("%q: want %q", got, places)
		}
	}
}

// FuzzEdges: the last place between two events is the same however the stream
// is cut, and nothing but the rest of an event follows it.
func FuzzEdges(f *testing.F) {
	f.Add("data: 1\r\n\r\ndata: 2\n\n\rid", uint64(1))
	f.Add("\n\n\r\n\r", uint64(2))
	f.Fuzz(func(t *testing.T, text string, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 1))
		var whole, cut edges
		n, found := whole.last([]byte(text))
		at, rest, passed := 0, text, 0
		for rest != "" {
			size := 1 + random.IntN(len(rest))
			if m, ok := cut.last([]byte(rest[:size])); ok && m > 0 {
				at = passed + m
			}
			passed, rest = passed+size, rest[size:]
		}
		if whole != cut || n != at || !found {
			t.Fatalf("last place %d, in pieces %d, found %v; %+v %+v", n, at, found, whole, cut)
		}
		normal := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text[n:])
		if text[n:] != "" && (strings.Contains(normal, "\n\n") || normal[0] == '\n') {
			t.Fatalf("%q follows the last place of %q", text[n:], text)
		}
	})
}

// streamer is an application whose events are what a test says, with these
// fields in its header.
func streamer(t *testing.T, fields ...string) (*app, chan string) {
	t.Helper()
	next := make(chan string)
	return newApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; i < len(fields); i += 2 {
			w.Header().Set(fields[i], fields[i+1])
		}
		for {
			_ = http.NewResponseController(w).Flush()
			select {
			case text := <-next:
				_, _ = io.WriteString(w, text)
			case <-r.Context().Done():
				return
			}
		}
	}), next
}

// listener reads a stream to its end in the background.
type listener struct {
	t    *testing.T
	done chan error

	mu   sync.Mutex
	text string
}

func listen(t *testing.T, p *Pool) *listener {
	t.Helper()
	resp, err := p.RoundTrip(get(t).WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{t: t, done: make(chan error, 1)}
	go func() {
		_, err := io.Copy(l, resp.Body)
		_ = resp.Body.Close()
		l.done <- err
	}()
	return l
}

func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += string(p)
	return len(p), nil
}

func (l *listener) heard() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text
}

// await waits until all of this has arrived.
func (l *listener) await(text string) {
	l.t.Helper()
	eventually(l.t, "arrived: "+text, func() bool { return l.heard() == text })
}

// ends wants a clean end after this.
func (l *listener) ends(text string) {
	l.t.Helper()
	if err := <-l.done; err != nil || l.heard() != text {
		l.t.Errorf("%q, %v: want %q and a clean end", l.heard(), err, text)
	}
}

func TestAnEventStreamEndsBetweenTwoEvents(t *testing.T) {
	a, next := streamer(t)
	p, _ := upPool(t, testConfig(a), a)
	silent := listen(t, p)
	silent.await("")
	p.Part(t.Context(), ms(1).D())
	silent.ends("")

	quiet := listen(t, p)
	next <- "data: 1\n\n"
	quiet.await("data: 1\n\n")
	p.Part(t.Context(), ms(1).D())
	quiet.ends("data: 1\n\n")
	eventually(t, "the application has noticed", func() bool {
		select {
		case next <- "": // taken by a stream that is still there
			return false
		default:
			return true
		}
	})

	busy := listen(t, p)
	next <- "data: 1\n\ndata: half"
	busy.await("data: 1\n\ndata: half")
	parted := make(chan int, 1)
	go func() { parted <- p.Part(t.Context(), ms(1).D()) }()
	eventually(t, "it was asked", func() bool { return asked(p, a) == 1 })
	next <- " of it\n\ndata: never seen"
	busy.ends("data: 1\n\ndata: half of it\n\n")
	if n := <-parted; n != 1 {
		t.Errorf("%d were asked: want 1", n)
	}
	if r, _ := replicaOf(p, a.address); r.Failures != 0 || r.Failing != 0 {
		t.Errorf("%+v: want that nothing of it is held against the replica", r)
	}
	noneInFlight(t, p)
}

// asked is how many connections of a replica are asked to end, and are there.
func asked(p *Pool, a *app) int {
	for _, r := range p.all() {
		if string(r.address) == a.address {
			here, all := r.lasting.count()
			return all - here
		}
	}
	return 0
}

func TestAnEncodedEventStreamEndsAtItsMoment(t *testing.T) {
	a, next := streamer(t, "Content-Encoding", "br")
	p, _ := upPool(t, testConfig(a), a)
	stream := listen(t, p)
	next <- "\x01\x02"
	stream.await("\x01\x02")
	if n := p.Part(t.Context(), ms(1).D()); n != 1 {
		t.Errorf("%d were asked: want 1", n)
	}
	stream.ends("\x01\x02")
	noneInFlight(t, p)
}

func TestAnEventStreamThatIsCutCountsAgainstItsReplica(t *testing.T) {
	a, next := streamer(t)
	p, _ := upPool(t, testConfig(a), a)
	stream := listen(t, p)
	next <- "data: 1\n\n"
	stream.await("data: 1\n\n")
	a.Server.CloseClientConnections()
	if err := <-stream.done; err == nil {
		t.Error("a clean end: want that the client hears of it")
	}
	if r, _ := replicaOf(p, a.address); r.Failures != 1 {
		t.Errorf("%d failures: want 1", r.Failures)
	}
	noneInFlight(t, p)
}
