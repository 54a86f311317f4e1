package caddymodule

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// visitor is a client that keeps its connection, and never sends a request again.
type visitor struct {
	host string
	conn net.Conn
	in   *bufio.Reader
	sent int
}

func (v *visitor) redial() (err error) {
	if v.conn != nil {
		_ = v.conn.Close() // the server has, too
	}
	if v.conn, err = net.Dial("tcp", v.host); err != nil {
		return err
	}
	v.in = bufio.NewReader(v.conn)
	return nil
}

// ask makes a request that is answered from the store, or one that is not.
func (v *visitor) ask() error {
	v.sent++
	want, request := "page", "GET /contacts HTTP/1.1\r\nHost: "+v.host+"\r\n\r\n"
	if v.sent%2 == 0 {
		want = fmt.Sprint("form ", v.sent)
		request = fmt.Sprintf("POST /form HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", v.host, len(want), want)
	}
	if err := v.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := io.WriteString(v.conn, request); err != nil {
		return err
	}
	got, err := http.ReadResponse(v.in, nil)
	if err != nil {
		return fmt.Errorf("request %d of its connection: %w", v.sent, err)
	}
	text, err := io.ReadAll(got.Body)
	if err != nil || got.StatusCode != http.StatusOK || string(text) != want {
		return fmt.Errorf("status %d, %q, %v: want 200 and %q", got.StatusCode, text, err, want)
	}
	if got.Close { // announced, so that nothing is lost
		return v.redial()
	}
	return nil
}

// crowd are visitors who ask in turns, each on a connection that has waited for it.
type crowd struct {
	sent, failed atomic.Int64
	example      atomic.Value
	stop         chan struct{}
	done         sync.WaitGroup
}

func (c *crowd) visit(t *testing.T, host string, visitors int) {
	t.Helper()
	list := make([]visitor, visitors)
	for i := range list {
		list[i].host = host
		if err := list[i].redial(); err != nil {
			t.Fatal(err)
		}
	}
	c.done.Go(func() {
		defer func() {
			for _, v := range list {
				_ = v.conn.Close() // the test is over
			}
		}()
		for i := 0; ; i = (i + 1) % visitors {
			select {
			case <-c.stop:
				return
			default:
			}
			c.sent.Add(1)
			err := list[i].ask()
			if err == nil {
				continue
			}
			c.failed.Add(1)
			c.example.Store(err.Error())
			if list[i].redial() != nil {
				return // the test waits for more, and says so
			}
		}
	})
}

// A server that is replaced must not close a connection at the moment at which a
// request arrives.
func TestAReloadLosesNoRequestOfAKeptConnection(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			fmt.Fprint(w, "page")
			return
		}
		_, _ = io.Copy(w, r.Body) // the visitor tells
	})
	block := staticPool(address)
	for name, wrappers := range map[string]string{"": "tls\n", "with edge_hits": "tls\nedge_hits\n"} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t)
			load := func(n int) {
				t.Helper()
				text := strings.Replace(e.caddyfile(block, sampleSite), "interval 200ms", fmt.Sprintf("interval %dms", 200+n), 1)
				if err := e.loadText(strings.Replace(text, "tls\n", wrappers, 1)); err != nil {
					t.Fatal(err)
				}
			}
			load(0)
			e.get("/contacts") // stored
			c := &crowd{stop: make(chan struct{})}
			const groups, each = 8, 50
			for range groups {
				c.visit(t, strings.TrimPrefix(e.URL, "http://"), each)
			}
			for n := range 10 {
				load(n + 1)
				before := c.sent.Load()
				eventually(t, "requests after the reload", func() bool { return c.sent.Load() > before+groups*each })
			}
			close(c.stop)
			c.done.Wait()
			if c.failed.Load() > 0 {
				t.Errorf("%d of %d requests failed, such as %v", c.failed.Load(), c.sent.Load(), c.example.Load())
			}
		})
	}
}
