package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/bench/certificate"
)

func crowdAt(t *testing.T, address string, n int) *crowd {
	t.Helper()
	c := &crowd{address: address}
	t.Cleanup(c.leave)
	if err := c.come(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryConnectionIsKeptAndAnswered(t *testing.T) {
	asked := make(map[string]int)
	took := make(chan string, 1000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		took <- r.RemoteAddr
		fmt.Fprint(w, "yes")
	}))
	t.Cleanup(server.Close)
	c := crowdAt(t, server.Listener.Addr().String(), 100)
	for range 3 {
		if err := c.ask(t.Context(), "/"); err != nil {
			t.Fatal(err)
		}
	}
	close(took)
	for from := range took {
		asked[from]++
	}
	if len(asked) != 100 {
		t.Errorf("%d connections were seen: want 100", len(asked))
	}
	for from, n := range asked {
		if n != 3 {
			t.Errorf("%s asked %d times: want 3", from, n)
		}
	}
}

func TestAConnectionThatIsNotWellIsNoticed(t *testing.T) {
	for name, answer := range map[string]string{
		"closed":                   "",
		"another status":           "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno",
		"cut":                      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nno",
		"empty":                    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"to be closed":             "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nyes",
		"followed by another":      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyesHTTP/1.1 200 OK\r\n",
		"nothing that HTTP allows": "yes\r\n\r\n",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				fmt.Fprint(conn, answer)
			}
		}()
		if err := crowdAt(t, l.Addr().String(), 1).ask(t.Context(), "/"); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestOverTLSTheCertificateCounts(t *testing.T) {
	made, err := certificate.New()
	if err != nil {
		t.Fatal(err)
	}
	other := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	c := &crowd{address: other.Listener.Addr().String(), secure: made.Trusted}
	t.Cleanup(c.leave)
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	if err := c.come(ctx, 1); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("another's certificate: %v", err)
	}
}

// Every configuration says where it listens, whom it asks, and what certifies it.
func TestConfigurationsSayAllThatTheyAreGiven(t *testing.T) {
	for _, c := range contestants {
		for _, secure := range []bool{false, true} {
			got := c.configure(setup{listen: "127.0.0.1:4000", dir: "/d", replicas: []string{"127.0.0.1:1", "127.0.0.1:2"}, secure: secure, most: 7})
			for _, part := range []string{"127.0.0.1:4000", "127.0.0.1:1", "127.0.0.1:2"} {
				if !strings.Contains(got.text, part) {
					t.Errorf("%s: no %s in\n%s", c.name, part, got.text)
				}
			}
			if strings.Contains(got.text, "/d/cert.pem") != secure && strings.Contains(got.text, "/d/both.pem") != secure {
				t.Errorf("%s, secure %t: the certificate in\n%s", c.name, secure, got.text)
			}
			if !strings.Contains(strings.Join(got.args, " "), "/d/"+got.file) {
				t.Errorf("%s: %v do not name %s", c.name, got.args, got.file)
			}
		}
	}
}
