package fleet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

// identity is a certificate and its key. It is made once: a process reads the
// certificates that it trusts once, too.
var identity = sync.OnceValues(func() (certificate, private []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	if certificate, err = x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key); err != nil {
		panic(err)
	}
	if private, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		panic(err)
	}
	return certificate, private
})

// serveTLS has the server listen with TLS, and this process trust it.
func (s *redisServer) serveTLS() (address string) {
	s.t.Helper()
	der, private := identity()
	write := func(name, kind string, bytes []byte) string {
		path := filepath.Join(s.Dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600); err != nil {
			s.t.Fatal(err)
		}
		return path
	}
	certificate := write("cert.pem", "CERTIFICATE", der)
	s.t.Setenv("SSL_CERT_FILE", certificate)
	s.t.Setenv("SSL_CERT_DIR", s.Dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	address = l.Addr().String()
	_ = l.Close() // its port is for the server
	_, port, _ := net.SplitHostPort(address)
	for _, set := range [][]string{
		{"tls-cert-file", certificate, "tls-key-file", write("key.pem", "PRIVATE KEY", private), "tls-ca-cert-file", certificate,
			"tls-auth-clients", "no", "tls-port", port},
	} {
		if said := s.Say(append([]string{"CONFIG", "SET"}, set...)...); said != "OK" {
			s.t.Fatalf("redis-server: %s", said)
		}
	}
	return address
}

// A fleet needs no more rights than docs/fleet.md says, and TLS.
func TestAFleetOverTLSWithFewRights(t *testing.T) {
	s := newRedisServer(t)
	address := s.serveTLS()
	text, err := os.ReadFile("../../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rule, found := strings.Cut(string(text), "\nACL SETUSER ")
	rule, _, _ = strings.Cut(rule, "\n")
	if !found {
		t.Fatal("docs/fleet.md does not say which rights a fleet needs")
	}
	if said := s.Say(append([]string{"ACL", "SETUSER"}, strings.Fields(strings.Replace(rule, "PASSWORD", "few", 1))...)...); said != "OK" {
		t.Fatal(said)
	}
	var members []*Member
	for _, name := range []string{"a", "b"} {
		c := Config{URL: "rediss://edge@" + address, Password: "few", Node: name, Lease: unit.Duration(time.Second)}
		m, err := Open(c, "host", &fakeNode{}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		members = append(members, m)
	}
	a, b := members[0], members[1]
	eventually(t, "two are trusted, and one calls", func() bool {
		s := a.Status()
		return a.Holds() && b.Holds() && len(s.Members) == 2 && s.Caller != ""
	})
	ctx := t.Context()
	generation, err := a.Next(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := a.Announce(ctx, generation, []byte("{}")); n != 2 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	testOrders(t, a, b)
	testRoster(t, a, b)

	wrong, err := Open(Config{URL: "rediss://edge@" + address, Password: "wrong"}, "host", &fakeNode{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	eventually(t, "a wrong password shows", func() bool { return strings.Contains(wrong.Status().Fault, "WRONGPASS") })
}
