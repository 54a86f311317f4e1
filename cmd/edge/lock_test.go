package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates of clients.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{certificate, key}
}

func (a authority) file(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// client is a certificate as Cloudflare would show it.
func (a authority) client(t *testing.T) []tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "zone"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
}

// TestOriginPullsTakeTheZonesCertificate runs what docs/security.md writes.
func TestOriginPullsTakeTheZonesCertificate(t *testing.T) {
	t.Parallel()
	ours, others := newAuthority(t, "our zone"), newAuthority(t, "everybody's")
	g := configure(t, origin(t))
	secure := strings.Replace(freeAddress(t), "127.0.0.1", "localhost", 1)
	text := read(t, g.config) + fmt.Sprintf("\nhttps://%s {\n\tbind 127.0.0.1\n\ttls internal {\n\t\tclient_auth {\n\t\t\tmode require_and_verify\n\t\t\ttrust_pool file %s\n\t\t}\n\t}\n\tedge_proxy app\n}\n", secure, ours.file(t))
	text = text[:2] + "\tskip_install_trust\n\tauto_https disable_redirects\n" + text[2:]
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g.start()
	ask := func(certificates []tls.Certificate) (int, error) {
		client := &http.Client{Transport: &http.Transport{
			// Which certificate the gateway shows is not what is tried.
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, Certificates: certificates},
			DisableKeepAlives: true,
		}}
		got, err := client.Get("https://" + secure + "/")
		if err != nil {
			return 0, err
		}
		defer got.Body.Close()
		_, err = io.Copy(io.Discard, got.Body)
		return got.StatusCode, err
	}
	g.eventually("the zone's certificate opens", func() bool {
		status, err := ask(ours.client(t))
		return err == nil && status == http.StatusOK
	})
	for name, certificates := range map[string][]tls.Certificate{"none": nil, "another authority's": others.client(t)} {
		if status, err := ask(certificates); err == nil {
			t.Errorf("a client with %s got %d: want the handshake refused", name, status)
		}
	}
}
