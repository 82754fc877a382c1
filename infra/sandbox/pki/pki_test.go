package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func TestIssuedCertificatesVerify(t *testing.T) {
	dir := t.TempDir()
	ca, err := OpenOrCreate(dir, "test authority")
	if err != nil {
		t.Fatal(err)
	}
	certPEM, keyPEM, err := ca.Issue(Request{
		CommonName: "kube-apiserver", DNSNames: []string{"kubernetes.default"},
		IPs: []netip.Addr{netip.MustParseAddr("127.7.1.1")}, Server: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(certPEM)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"kubernetes.default": true, "127.7.1.1": true, "127.7.1.2": false, "example.com": false} {
		_, err := cert.Verify(x509.VerifyOptions{DNSName: name, Roots: ca.Pool()})
		if (err == nil) != want {
			t.Errorf("verify for %s: %v", name, err)
		}
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: ca.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
		t.Error("a server's certificate passes as a client's")
	}
	if _, _, err := ca.Issue(Request{CommonName: "x"}); err == nil {
		t.Error("a certificate for nothing was issued")
	}
}

func TestAuthorityIsKept(t *testing.T) {
	dir := t.TempDir()
	first, err := OpenOrCreate(dir, "a")
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenOrCreate(dir, "b")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.CertPEM(), second.CertPEM()) {
		t.Error("the second opening made another authority")
	}
	// A crash between the two files leaves the key alone.
	if err := os.Remove(filepath.Join(dir, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	third, err := OpenOrCreate(dir, "a")
	if err != nil {
		t.Fatal(err)
	}
	if !third.key.Equal(first.key) {
		t.Error("the key was not kept")
	}
	if st, err := os.Stat(filepath.Join(dir, "ca.key")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("key mode %v, %v", st.Mode(), err)
	}
	// A certificate of another key is refused rather than used.
	if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenOrCreate(dir, "a"); err == nil {
		t.Error("a certificate without its key was accepted")
	}
}
