package main

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/edgegw/edge/bench/certificate"
)

func TestWhatIsAskedIsCounted(t *testing.T) {
	var served atomic.Int64
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		if r.URL.Path != "/page" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte("twelve bytes"))
	}))
	l := loop{url: url + "/page", connections: 2, streams: 3, lasts: 50 * time.Millisecond}
	r, err := l.run(t.Context())
	if err != nil || r.Errors != 0 || r.Requests != served.Load() || r.Requests < 6 || r.Bytes != float64(12*r.Requests) {
		t.Errorf("%+v, %v: want the %d requests that were served, each of 12 bytes", r, err, served.Load())
	}
	if r.P50 <= 0 || r.P99 < r.P50 || r.Elapsed < l.lasts {
		t.Errorf("half took %s, 99 %% %s, all %s: want times, in this order", r.P50, r.P99, r.Elapsed)
	}
	l.url = url + "/another"
	if r, err := l.run(t.Context()); err != nil || r.Errors != 6 || r.Requests != 6 {
		t.Errorf("%+v, %v: want each of six to end with an error", r, err)
	}
}

func serve(t *testing.T, h http.Handler) (url string) {
	t.Helper()
	c, err := certificate.New()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := c.Write(dir); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(dir+"/cert.pem", dir+"/key.pem")
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	server := &http3.Server{Handler: h, TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{pair}})}
	ended := make(chan error)
	go func() { ended <- server.Serve(socket) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
		_ = socket.Close()
	})
	return "https://" + socket.LocalAddr().String()
}
