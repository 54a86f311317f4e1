package caddymodule

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

// RFC 9111, 3.1, and RFC 9110, 7.6.1: what belongs to one connection is neither
// stored nor sent on, in whatever case, whoever carries the request.
func TestFieldsOfOneConnection(t *testing.T) {
	mine := []string{
		"Keep-Alive: timeout=77", "Proxy-Connection: mine", "Proxy-Authenticate: Basic realm=mine",
		"Proxy-Authorization: Basic mine", "TE: mine", "Upgrade: mine/1",
		"X-Listed: mine", "x-LISTED-too: mine", "Connection: x-listed", "connection: X-Listed-Too, keep-alive",
	}
	// Not to be stored; nobody forbids to send it on.
	const unstored = "Proxy-Authentication-Info: mine"
	for name, c := range map[string]struct {
		proxy, control string
		fetches        int64
	}{
		"edge_proxy, stored":       {"edge_proxy app", "max-age=60", 1},
		"edge_proxy, passed on":    {"edge_proxy app", "no-store", 3},
		"reverse_proxy, stored":    {"reverse_proxy {$ORIGIN}", "max-age=60", 1},
		"reverse_proxy, passed on": {"reverse_proxy {$ORIGIN}", "no-store", 3},
	} {
		t.Run(name, func(t *testing.T) {
			forbidden := mine
			if c.fetches == 1 {
				forbidden = append([]string{unstored}, mine...)
			}
			address, fetches := rawOrigin(t, func(conn net.Conn, _ *http.Request) {
				raw(conn, "HTTP/1.1 200 OK\nContent-Length: 4\nX-Stays: yes\nCache-Control: "+c.control+"\n"+
					strings.Join(mine, "\n")+"\n"+unstored+"\n\npage")
			})
			t.Setenv("ORIGIN", address)
			e := startEdge(t, fmt.Sprintf(suitePool, address), "edge_cache\n"+c.proxy+"\n")
			for n := range 3 {
				client := e.rawClient()
				client.send("GET /page HTTP/1.1\nHost: %s\n\n", strings.TrimPrefix(e.URL, "http://"))
				status, header := client.head()
				if status != "HTTP/1.1 200 OK" || !strings.Contains(header, "X-Stays: yes\n") {
					t.Fatalf("request %d: %s\n%s", n, status, header)
				}
				for _, line := range forbidden {
					if strings.Contains("\n"+strings.ToLower(header), "\n"+strings.ToLower(line)+"\n") {
						t.Errorf("request %d: the origin's %q came through", n, line)
					}
				}
			}
			if n := fetches.Load(); n != c.fetches {
				t.Errorf("%d fetches: want %d", n, c.fetches)
			}
		})
	}
}
