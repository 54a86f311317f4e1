package rawhit

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// newCertificate makes one that signs itself, of a server or a client.
func newCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"example.com"},
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestAHitIsGivenAgainOverTLS(t *testing.T) {
	w := newSecureWorld(t, true)
	for _, path := range []string{"/hit/a", "/hit/16000", "/hit/16384", "/hit/100000", "/hit/262144"} {
		c := w.dial()
		_, plain := c.ask(get(path))
		w.learned(c, get(path))
		before := w.table.Replies()
		if _, again := c.ask(get(path, "User-Agent: another")); again != plain || w.table.Replies() != before+1 {
			t.Errorf("%s: %d bytes after %d, %d replies", path, len(again), len(plain), w.table.Replies()-before)
		}
	}
	w.ended()
}

// An answer of several records of TLS is in the log with its header, as others are.
func TestARecordHasTheHeaderOfALargeAnswer(t *testing.T) {
	w := newSecureWorld(t, true)
	records := make(chan Record, 1)
	w.log = func(r Record) {
		select {
		case records <- r:
		default: // the first will do
		}
	}
	w.table.Start()
	w.learned(w.dial(), get("/hit/100000"))
	record := <-records
	got, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(record.Head)), nil)
	if err != nil || got.ContentLength != 100_000 || got.Header.Get("X-Request-Id") == "" {
		t.Errorf("header %.100q, %v: want that of the answer", record.Head, err)
	}
	w.table.Drain()
	if err := w.table.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	w.table.Stop()
}

// What was learned under one name is not for another, nor for those without
// TLS; the host in the request is the same.
func TestANameOfTLSIsPartOfTheRequest(t *testing.T) {
	w := newSecureWorld(t, true)
	w.learned(w.dial(), get("/hit/a"))
	for _, name := range []string{"other.example", ""} {
		w.secure = w.secure.Clone()
		w.secure.ServerName = name
		c := w.dial()
		c.ask(get("/hit/b")) // tells that the client is no proxy
		if w.replied(c, get("/hit/a")) {
			t.Errorf("name %q: answered with what was learned under another", name)
		}
	}
}

func TestAClientWithACertificateTakesTheLongWay(t *testing.T) {
	w := startWorld(t, true, &tls.Config{Certificates: []tls.Certificate{newCertificate(t)}, ClientAuth: tls.RequestClientCert})
	w.learned(w.dial(), get("/hit/a"))
	w.secure = w.secure.Clone()
	w.secure.Certificates = []tls.Certificate{newCertificate(t)}
	c := w.dial()
	for range 5 {
		if w.replied(c, get("/hit/a")) {
			t.Error("answered from the table")
		}
	}
}

// A client that is slow with its handshake holds nobody up, and one that does
// not speak TLS is told so, as net/http tells it.
func TestAHandshakeHoldsNobodyUp(t *testing.T) {
	w := newSecureWorld(t, true)
	slow, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if _, body := w.dial().ask(get("/hit/a")); body == "" {
		t.Error("no answer")
	}
	plain, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := io.WriteString(plain, get("/hit/a")); err != nil {
		t.Fatal(err)
	}
	if err := plain.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(plain).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.0 400 ") {
		t.Errorf("%q, %v: want a 400", line, err)
	}
}

func TestAHandshakeHasADeadline(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	table := NewTable(Config{Handshake: func() time.Duration { return 50 * time.Millisecond }})
	l := table.Listener(tls.NewListener(inner, &tls.Config{Certificates: []tls.Certificate{newCertificate(t)}}))
	silent, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if err := nc.(*tls.Conn).Handshake(); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v: want a timeout, which net/http finds when it makes the handshake", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v after Close", err)
	}
	if err := table.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// A listener that is closed lets go of the handshakes that are under way.
func TestClosingEndsHandshakes(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	table := NewTable(Config{Handshake: func() time.Duration { return 0 }})
	l := table.Listener(tls.NewListener(inner, &tls.Config{Certificates: []tls.Certificate{newCertificate(t)}}))
	silent, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	waitFor(t.Context(), t, func() bool { return table.running.Load() == 1 })
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if err := table.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if err := silent.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := silent.Read(make([]byte, 1)); err == nil || errors.Is(err, io.ErrNoProgress) {
		t.Error("the connection is still open")
	}
}

func TestAPanicInAHandshakeIsLogged(t *testing.T) {
	cert := newCertificate(t)
	w := startWorld(t, true, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == "panic.example" {
			panic("no such certificate")
		}
		return &cert, nil
	}})
	logged := w.logged()
	bad := w.secure.Clone()
	bad.ServerName = "panic.example"
	if nc, err := tls.Dial("tcp", w.address, bad); err == nil {
		_ = nc.Close()
		t.Error("the handshake succeeded")
	}
	waitFor(t.Context(), t, func() bool { return strings.Contains(logged(), "no such certificate") })
	if _, body := w.dial().ask(get("/hit/a")); body == "" {
		t.Error("no answer after the panic")
	}
}
