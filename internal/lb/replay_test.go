package lb

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
)

// post is a POST whose body can be read once, as a server's request is.
func post(t *testing.T, body string) *http.Request {
	t.Helper()
	var src io.Reader
	if body != "" {
		src = struct{ io.Reader }{strings.NewReader(body)}
	}
	return must(http.NewRequestWithContext(t.Context(), http.MethodPost, "http://pool/order", src))
}

// upper reads the body to its end and sends it back in capitals.
func upper(w http.ResponseWriter, r *http.Request) {
	text, _ := io.ReadAll(r.Body)
	_, _ = w.Write(bytes.ToUpper(text))
}

func TestAPOSTIsRepeatedOnlyWhereTheKeyIsRespected(t *testing.T) {
	tests := map[string]struct {
		respected bool
		field     string
		bad       http.HandlerFunc
		attempts  int
		code      int // 0: an error
	}{
		"a key that the application respects, after a reset":  {true, "Idempotency-Key", hangUp, 2, 200},
		"a key that the application respects, after 503":      {true, "Idempotency-Key", status(503), 2, 200},
		"a key of which nobody knows whether it is respected": {false, "Idempotency-Key", hangUp, 1, 0},
		"the same by its old name":                            {false, "X-Idempotency-Key", hangUp, 1, 0},
		"no key":                                              {true, "X-Other", hangUp, 1, 0},
	}
	for name, test := range tests {
		for _, body := range []string{"order", ""} {
			t.Run(name+", body "+body, func(t *testing.T) {
				p, first, second := failingFirst(t, test.bad)
				c := p.settings.Config
				c.Retry.IdempotencyKey = test.respected
				if err := p.Configure(c); err != nil {
					t.Fatal(err)
				}
				second.answer(upper)
				req := post(t, body)
				req.Header.Set(test.field, "8e03978e")
				resp, err := p.RoundTrip(req)
				if (err != nil) != (test.code == 0) {
					t.Fatalf("%v: want status %d", err, test.code)
				}
				if got := first.hits.Load() + second.hits.Load(); got != int64(test.attempts) {
					t.Errorf("%d requests at the replicas: want %d", got, test.attempts)
				}
				if err == nil {
					text, _ := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if resp.StatusCode != test.code || string(text) != strings.ToUpper(body) {
						t.Errorf("%d %q: want %d %q", resp.StatusCode, text, test.code, strings.ToUpper(body))
					}
				}
				noneInFlight(t, p)
			})
		}
	}
}

// TestAKeyDoesNotMakeTheTransportRepeatByItself: net/http sends a request with
// a key again when a connection that it had used before breaks.
func TestAKeyDoesNotMakeTheTransportRepeatByItself(t *testing.T) {
	for _, body := range []string{"order", ""} {
		a := newApp(t, say("good"))
		p, _ := upPool(t, testConfig(a), a)
		mustGet(t, p) // leaves a connection behind
		a.answer(hangUp)
		req := post(t, body)
		req.Header.Set("Idempotency-Key", "8e03978e")
		if _, err := p.RoundTrip(req); err == nil {
			t.Fatal("an answer from a replica that hangs up")
		}
		if n := a.hits.Load(); n != 2 {
			t.Errorf("%d requests for one GET and one POST with body %q: want 2", n, body)
		}
	}
}

func TestABodyLongerThanWhatIsKeptIsSentOnce(t *testing.T) {
	for name, size := range map[string]int{"just as long": 1000, "longer": 1001} {
		for _, known := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				p, _, second := failingFirst(t, hangUp)
				c := p.settings.Config
				c.Retry.Body = 1000
				if err := p.Configure(c); err != nil {
					t.Fatal(err)
				}
				second.answer(upper)
				req := post(t, strings.Repeat("x", size))
				req.Method = http.MethodPut
				if known {
					req.ContentLength = int64(size)
				}
				resp, err := p.RoundTrip(req)
				if size > 1000 {
					if err == nil {
						t.Errorf("status %d: what was not kept was sent again", resp.StatusCode)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if text, _ := io.ReadAll(resp.Body); string(text) != strings.Repeat("X", size) {
					t.Errorf("%d bytes: want all %d", len(text), size)
				}
			})
		}
	}
}

// TestAConnectionThatWasClosedBeforeTheRequestCostsNoPOST: the replica's FIN
// had arrived when the request was about to be written. It was not, so it may
// be sent again, whatever its method.
func TestAConnectionThatWasClosedBeforeTheRequestCostsNoPOST(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "order"} {
		inWorld(t, "body "+body, 1, Config{}, func(t *testing.T, w *world) {
			asked := 0
			network := w.pipe(t, w.apps[0], func(out http.ResponseWriter, r *http.Request) {
				asked++
				upper(out, r)
			})
			textOf(t, w.pool, post(t, "first"))
			cut := 0
			hooks := httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
				if c.Reused {
					cut++
					network.hangUp()
					synctest.Wait() // The transport has noticed.
				}
			}}
			req := post(t, body)
			if got := textOf(t, w.pool, req.WithContext(httptrace.WithClientTrace(t.Context(), &hooks))); got != strings.ToUpper(body) {
				t.Errorf("%q: want %q", got, strings.ToUpper(body))
			}
			if cut != 1 || asked != 2 {
				t.Errorf("%d connections closed, %d requests arrived: want 1 and 2", cut, asked)
			}
			if r := w.apps[0].record.Load(); r.failures.Load() != 0 {
				t.Errorf("%d failures: a connection that ends is none", r.failures.Load())
			}
		})
	}
}

// textOf is the body of the answer to a request that must succeed.
func textOf(t *testing.T, p *Pool, req *http.Request) string {
	t.Helper()
	resp, err := p.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %q, %v: want 200", resp.StatusCode, text, err)
	}
	return string(text)
}

// TestATryThatWaitsForTheClientHandsOverWhatItGets: the old try stands in Read
// when the new one begins. What the client then sends belongs to the new one.
func TestATryThatWaitsForTheClientHandsOverWhatItGets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, body := io.Pipe()
		p := newPayload(client, &http.Request{ContentLength: -1}, 1000)
		old := p.reader
		left := make(chan error)
		go func() {
			_, err := io.ReadAll(old)
			left <- err
		}()
		_, _ = io.WriteString(body, "or")
		synctest.Wait()
		next, ok := p.again()
		if !ok {
			t.Fatal("two bytes are too many to begin anew")
		}
		got := make(chan string)
		go func() { got <- string(must(io.ReadAll(next))) }()
		synctest.Wait()
		_, _ = io.WriteString(body, "der")
		_ = body.Close()
		if text := <-got; text != "order" {
			t.Errorf("%q: want order", text)
		}
		if err := <-left; !errors.Is(err, errDetached) {
			t.Errorf("the old try ended with %v: want %v", err, errDetached)
		}
	})
}

// FuzzReplay: whatever tries read before they are left, the last one reads
// all, if there is a last one; and the source is closed once.
func FuzzReplay(f *testing.F) {
	f.Add([]byte("hello, world"), uint64(1), uint16(100))
	f.Add(bytes.Repeat([]byte("x"), 5000), uint64(7), uint16(4000))
	f.Fuzz(func(t *testing.T, text []byte, seed uint64, limit uint16) {
		dice := rand.New(rand.NewPCG(seed, 1))
		src := &closing{Reader: &halting{text: text, dice: dice}}
		p := newPayload(src, &http.Request{ContentLength: -1}, int64(limit))
		reader := p.reader
		for range dice.IntN(4) {
			n, err := io.ReadFull(reader, make([]byte, dice.IntN(len(text)+1)))
			if err != nil {
				t.Fatalf("%d bytes of %d: %v", n, len(text), err)
			}
			_ = reader.Close()
			next, ok := p.again()
			if !ok {
				if len(text) <= int(limit) {
					t.Fatalf("%d bytes were not kept: want up to %d", len(text), limit)
				}
				p.settle()
				if !src.closed {
					t.Fatal("the source is open still")
				}
				return
			}
			if _, err := reader.Read(make([]byte, 1)); err != errDetached {
				t.Fatalf("a reader that was left: %v", err)
			}
			reader = next
		}
		if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("%d bytes, %v: want all %d", len(got), err, len(text))
		}
		p.settle()
		if src.closed {
			t.Fatal("the source was closed before its reader")
		}
		if _ = reader.Close(); !src.closed {
			t.Fatal("the source is open still")
		}
	})
}

// halting gives its text in parts.
type halting struct {
	text []byte
	dice *rand.Rand
}

func (h *halting) Read(b []byte) (int, error) {
	if len(h.text) == 0 {
		return 0, io.EOF
	}
	n := copy(b, h.text[:1+h.dice.IntN(len(h.text))])
	h.text = h.text[n:]
	return n, nil
}
