package caddymodule

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// rawEdge is a gateway with edge_hits at its URL and, over TLS, at secure; and
// the same site without it at the other addresses.
type rawEdge struct {
	*edge
	other, secure, secureOther string
	text                       string
}

// rawCaddyfile names ports; its sites are for any host.
const rawCaddyfile = `{
	admin %s
	persist_config off
	auto_https off
	grace_period 2s
	log {
		output discard
	}
	servers %[2]s {
		listener_wrappers {
			edge
			tls
			edge_hits
		}
	}
	servers %[3]s {
		protocols h1 h2
		listener_wrappers {
			edge
			tls
			edge_hits
		}
	}
	servers %[4]s {
		protocols h1 h2
	}
	edge {
		state_dir %[5]q
		purge {
			%[6]s
		}
		control {
			%[7]s
		}
		%[8]s
	}
}
(site) {
	log {
		output file %[9]q
	}
	%[10]s
	handle /.edge/* {
		edge_control
	}
}
http://%[2]s, http://%[11]s {
	import site
}
https://%[3]s, https://%[4]s {
	tls %[12]s/cert.pem %[12]s/key.pem
	import site
}
`

func startRawEdge(t *testing.T, address, site string, global ...string) *rawEdge {
	t.Helper()
	e := &rawEdge{edge: newEdge(t), other: freeAddress(t), secure: freeAddress(t), secureOther: freeAddress(t)}
	port := func(address string) string { return strings.TrimPrefix(address, "127.0.0.1") }
	certificate := writeCertificate(t)
	e.text = fmt.Sprintf(rawCaddyfile, e.Admin, port(strings.TrimPrefix(e.URL, "http://")), port(e.secure), port(e.secureOther), e.stateDir, e.purges, e.controls,
		strings.Join(append(global, staticPool(address)), "\n"), e.accessLog, site, port(e.other), certificate)
	if err := e.loadText(e.text); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a replica", func() bool { return e.get("/ready").StatusCode == http.StatusOK })
	return e
}

// anyCertificate asks for example.com and HTTP/1.1.
var anyCertificate = &tls.Config{InsecureSkipVerify: true, ServerName: "example.com", NextProtos: []string{"http/1.1"}}

// writeCertificate returns a folder with cert.pem, for example.com, and key.pem.
func writeCertificate(t *testing.T) (dir string) {
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
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// replies counts what was answered on connections, by all configurations' tables
// that are in use.
func replies() (n int64) {
	tables.Lock()
	defer tables.Unlock()
	for _, raw := range tables.of {
		n += raw.table.Replies()
	}
	return n
}

// rawSecurely is a connection of TLS.
func rawSecurely(t *testing.T, address string) *rawClient {
	t.Helper()
	c := rawTo(t, address)
	secure := tls.Client(c.Conn, anyCertificate)
	c.Conn, c.in = secure, bufio.NewReader(secure)
	return c
}

// learned asks until the answer comes from the connection.
func (c *rawClient) learned(request string) response {
	c.t.Helper()
	for range 200 {
		before := replies()
		if got := c.ask(request); replies() > before {
			return got
		}
	}
	c.t.Fatalf("not learned: %q", request)
	return response{}
}

func (c *rawClient) ask(request string) response {
	c.t.Helper()
	c.send("%s", strings.ReplaceAll(request, "\r\n", "\n"))
	return c.answer(http.MethodGet)
}
