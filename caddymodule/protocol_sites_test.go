package caddymodule

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// sites is a gateway whose whole Caddyfile the test writes: several sites, TLS,
// server options.
type sites struct {
	t       *testing.T
	address string
}

// startSites runs it. In the text, PORT stands for the port that all sites
// listen on. Names of hosts all lead there.
func startSites(t *testing.T, servers, block, text string) *sites {
	t.Helper()
	s := &sites{t: t, address: freeAddress(t)}
	_, port, err := net.SplitHostPort(s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	config := fmt.Sprintf("{\n\tadmin off\n\tpersist_config off\n\tskip_install_trust\n\tauto_https disable_redirects\n\tgrace_period 2s\n"+
		"\tstorage file_system %q\n\tlog {\n\t\toutput discard\n\t}\n\tservers {\n\t\tprotocols h1 h2 h2c\n%s\n\t}\n\tedge {\n\t\tstate_dir %q\n%s\n\t}\n}\n%s",
		t.TempDir(), servers, t.TempDir(), block, strings.ReplaceAll(text, "PORT", port))
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(adapted, true); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"a.test", "b.test"} {
		if strings.Contains(text, "https://"+host) {
			eventually(t, "a certificate for "+host, func() bool { return s.hasCertificate(host) })
		}
	}
	return s
}

func (s *sites) hasCertificate(host string) bool {
	conn, err := tls.Dial("tcp", s.address, &tls.Config{ServerName: host, InsecureSkipVerify: true}) // as in client
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing was sent
	return true
}

// client speaks HTTP/2 over TLS, or HTTP/1.1, to whatever host is named.
func (s *sites) client() *http.Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.address)
		},
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true}, // the certificate is of an authority made for this test
		ForceAttemptHTTP2:  true,
		DisableCompression: true,
	}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (s *sites) do(client *http.Client, method, url string, body io.Reader, headers ...string) response {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.address) // it has been split before
	request, err := http.NewRequestWithContext(s.t.Context(), method, strings.ReplaceAll(url, "PORT", port), body)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			request.Host = headers[i+1]
		}
	}
	r, err := read(client.Do(request))
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, url, err)
	}
	return r
}

func indented(site string) string { return "{\n" + site + "\n}\n" }

func TestHTTP2OverTLS(t *testing.T) {
	large := patterned(3 << 20)
	address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			echoed(w, r)
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "must not pass") // HTTP/2 has no hops
		_, _ = io.WriteString(w, large)          // a reader that left is what the test sees
	})
	s := startSites(t, "", staticPool(address), "https://a.test:PORT "+indented("tls internal\n"+wholeSite))
	client := s.client()
	for n := range 3 {
		r := s.do(client, "GET", "https://a.test:PORT/page", nil)
		if r.ProtoMajor != 2 || r.StatusCode != 200 || r.hit() != (n > 0) || r.Header.Get("X-Hop") != "" {
			t.Errorf("request %d: %s %d, %v", n, r.Proto, r.StatusCode, r.Header)
		}
		same(t, "page", r.Text, large)
	}
	if n := fetches.Load(); n != 1 {
		t.Errorf("%d fetches: want 1", n)
	}
	if r := s.do(client, "HEAD", "https://a.test:PORT/page", nil); !r.hit() || r.ContentLength != int64(len(large)) || r.Text != "" {
		t.Errorf("HEAD: Cache-Status %q, Content-Length %d, %d bytes", r.cacheStatus(), r.ContentLength, len(r.Text))
	}
	if r := s.do(client, "GET", "https://a.test:PORT/page", nil, "Range", "bytes=10-19"); r.StatusCode != 206 || r.Text != large[10:20] {
		t.Errorf("range: %d %q", r.StatusCode, r.Text)
	}
	same(t, "echo", s.do(client, "POST", "https://a.test:PORT/page", strings.NewReader(large)).Text, large)
	if r := s.do(client, "GET", "https://a.test:PORT/page", nil); r.hit() {
		t.Errorf("Cache-Status %q: a POST has changed the page (RFC 9111, 4.4)", r.cacheStatus())
	}
}

// What is cut off must end as an error in HTTP/2 as well.
func TestACutBodyOverHTTP2(t *testing.T) {
	address, _ := rawOrigin(t, func(conn net.Conn, _ *http.Request) {
		raw(conn, "HTTP/1.1 200 OK\nCache-Control: max-age=60\nTransfer-Encoding: chunked\n\n9\nonly this\n")
		_ = conn.Close() // the cut
	})
	s := startSites(t, "", staticPool(address), "https://a.test:PORT "+indented("tls internal\n"+wholeSite))
	for range 2 {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://a.test/page", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(s.address) // it has been split before
		request.URL.Host += ":" + port
		if r, err := read(s.client().Do(request)); err == nil || !strings.Contains(err.Error(), "INTERNAL_ERROR") {
			t.Errorf("%q, %v: want the stream to be reset", r.Text, err)
		}
	}
}

// Sites share the store, and nothing that is in it: neither by host, nor by
// scheme, nor by how the host is spelled.
func TestSitesDoNotShareEntries(t *testing.T) {
	address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprintf(w, "%s://%s%s", r.Header.Get("X-Forwarded-Proto"), r.Host, r.URL.Path)
	})
	s := startSites(t, "", staticPool(address), "https://a.test:PORT "+indented("tls internal\n"+wholeSite)+"https://b.test:PORT "+indented("tls internal\n"+wholeSite))
	client := s.client()
	_, port, _ := net.SplitHostPort(s.address) // it has been split before
	for n := range 2 {
		for _, host := range []string{"a.test", "b.test"} {
			r := s.do(client, "GET", "https://"+host+":PORT/page", nil)
			if want := "https://" + host + ":" + port + "/page"; r.Text != want || r.hit() != (n > 0) {
				t.Errorf("%q, Cache-Status %q: want %q", r.Text, r.cacheStatus(), want)
			}
		}
	}
	if n := fetches.Load(); n != 2 {
		t.Errorf("%d fetches: want one for each site", n)
	}
}

// A host is one host however it is spelled, and the origin is told the one
// spelling: what it writes into the page is right for all.
func TestSpellingsOfTheHost(t *testing.T) {
	address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprintf(w, "%s %s", r.Host, r.Header.Get("X-Forwarded-Host"))
	})
	s := startSites(t, "", staticPool(address), "http://:PORT "+indented(wholeSite))
	for n, host := range []string{"A.TEST:80", "a.test", "A.test"} {
		r := s.do(s.client(), "GET", "http://a.test:PORT/page", nil, "Host", host)
		if r.Text != "a.test a.test" || r.hit() != (n > 0) {
			t.Errorf("%s: %q, Cache-Status %q", host, r.Text, r.cacheStatus())
		}
	}
	if r := s.do(s.client(), "GET", "http://a.test:PORT/page", nil, "Host", "a.test:8080"); r.Text != "a.test:8080 a.test:8080" {
		t.Errorf("another port: %q", r.Text)
	}
	if n := fetches.Load(); n != 2 {
		t.Errorf("%d fetches: want 2", n)
	}
}

// Nobody can put into a stored page what others then get: by no field that
// frameworks read, from strangers and through a trusted proxy.
func TestNobodyPoisonsAPage(t *testing.T) {
	fields := []string{
		"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Scheme", "X-Forwarded-Protocol", "X-Forwarded-Ssl",
		"X-Forwarded-Prefix", "Forwarded", "X-Host", "X-Original-Host", "X-Http-Host-Override", "X-Original-Url", "X-Rewrite-Url",
		"Front-End-Https", "X-Http-Method-Override", "X-Http-Method", "X-Method-Override",
	}
	for name, servers := range map[string]string{"strangers": "", "through a trusted proxy": "trusted_proxies static 127.0.0.0/8\n"} {
		t.Run(name, func(t *testing.T) {
			address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "max-age=60")
				for _, field := range fields {
					fmt.Fprintf(w, "%s: %s\n", field, r.Header.Get(field))
				}
			})
			s := startSites(t, servers, staticPool(address), "http://:PORT "+indented(wholeSite))
			client := s.client()
			for _, field := range fields {
				url := "http://a.test:PORT/" + field
				evil := s.do(client, "GET", url, nil, field, "host=evil")
				if cdn := evil.Header.Get("Cloudflare-Cdn-Cache-Control"); cdn != "no-store" && strings.Contains(evil.Text, "evil") && field != "X-Forwarded-Proto" {
					t.Errorf("%s: the CDN may store what it says: %q", field, cdn)
				}
				for range 2 {
					if r := s.do(client, "GET", url, nil); strings.Contains(r.Text, "evil") {
						t.Errorf("%s: others get %q", field, r.Text)
					}
				}
				asked := fetches.Load()
				if r := s.do(client, "GET", url, nil); !r.hit() || fetches.Load() != asked {
					t.Errorf("%s: Cache-Status %q: want a hit for others", field, r.cacheStatus())
				}
			}
		})
	}
}

// The length of a short answer is left to the server, which must write it in each
// protocol as the cache writes that of a long one.
func TestHitsHaveTheirLengthWhoeverWritesIt(t *testing.T) {
	address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Path[1:]) // the test asks for numbers
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", strconv.Itoa(n))
		_, _ = io.WriteString(w, patterned(n))
	})
	s := startSites(t, "", staticPool(address), "https://a.test:PORT "+indented("tls internal\n"+wholeSite))
	for major := 1; major <= 2; major++ {
		client := s.client()
		client.Transport.(*http.Transport).ForceAttemptHTTP2 = major == 2
		for _, n := range []int{0, 1, 2047, 2048, 2049, 4096, 4097} {
			for i, method := range []string{"GET", "GET", "HEAD"} {
				r := s.do(client, method, "https://a.test:PORT/"+strconv.Itoa(n), nil)
				if r.ProtoMajor != major || r.hit() != (i > 0 || major == 2) || r.ContentLength != int64(n) || len(r.TransferEncoding) > 0 {
					t.Errorf("%s, %d bytes, %s %d: length %d, %v", r.Proto, n, method, i, r.ContentLength, r.Header)
				}
			}
		}
	}
	if got := fetches.Load(); got != 7 {
		t.Errorf("%d fetches: want 7", got)
	}
}
