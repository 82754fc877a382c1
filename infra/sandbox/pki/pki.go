// Package pki makes certificate authorities and the certificates they sign: one authority for the sandbox, whose
// certificates stand for Google's, and one for each cluster. Keys are ECDSA P-256. It knows nothing of who uses them.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// caValid is the life of an authority: longer than any sandbox's.
const caValid = 10 * 365 * 24 * time.Hour

// DefaultValid is the life of a certificate unless the request says otherwise.
const DefaultValid = 365 * 24 * time.Hour

// backdate keeps a certificate valid when clocks differ a little, or this machine's is set back.
const backdate = time.Hour

// CA is a certificate authority.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// OpenOrCreate reads ca.crt and ca.key in dir, or makes them. A key without its certificate, as a crash may leave
// it, gets a new certificate.
func OpenOrCreate(dir, commonName string) (*CA, error) {
	certFile, keyFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open certificate authority %s: %w", dir, err)
	}
	key, err := openKey(keyFile)
	if err != nil {
		return nil, fmt.Errorf("open certificate authority %s: %w", dir, err)
	}
	certPEM, err := os.ReadFile(certFile)
	if errors.Is(err, fs.ErrNotExist) {
		certPEM, err = selfSign(key, commonName)
		if err == nil {
			err = WriteFile(certFile, certPEM, 0o644)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open certificate authority %s: %w", dir, err)
	}
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return nil, fmt.Errorf("open certificate authority: %s holds no PEM; remove it and its key to make a new one", certFile)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("open certificate authority: %s: %w", certFile, err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("open certificate authority: %s and %s do not belong together", certFile, keyFile)
	}
	return &CA{cert, key, certPEM}, nil
}

func openKey(file string) (*ecdsa.PrivateKey, error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		raw, err := encodeKey(key)
		if err != nil {
			return nil, err
		}
		return key, WriteFile(file, raw, 0o600)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM", file)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func selfSign(key *ecdsa.PrivateKey, commonName string) ([]byte, error) {
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caValid),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return encodeCert(der), nil
}

func serialNumber() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

// CertPEM is the authority's certificate.
func (ca *CA) CertPEM() []byte { return ca.pem }

// Pool holds the authority alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// Request says whom a certificate is for.
type Request struct {
	CommonName    string
	Organizations []string
	DNSNames      []string
	IPs           []netip.Addr
	// Client and Server are what it may be used for, at least one.
	Client, Server bool
	// Valid is its life from now, DefaultValid if zero; never longer than the authority's.
	Valid time.Duration
}

// Issue makes a new key and signs its certificate.
func (ca *CA) Issue(r Request) (certPEM, keyPEM []byte, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("issue certificate for %q: %w", r.CommonName, err)
		}
	}()
	if !r.Client && !r.Server {
		return nil, nil, errors.New("it is for neither a client nor a server")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, nil, err
	}
	if r.Valid == 0 {
		r.Valid = DefaultValid
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: r.CommonName, Organization: r.Organizations},
		DNSNames:              r.DNSNames,
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(r.Valid),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
	}
	if t.NotAfter.After(ca.cert.NotAfter) {
		t.NotAfter = ca.cert.NotAfter
	}
	for _, ip := range r.IPs {
		t.IPAddresses = append(t.IPAddresses, net.IP(ip.Unmap().AsSlice()))
	}
	if r.Client {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	if r.Server {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err = encodeKey(key)
	return encodeCert(der), keyPEM, err
}

// IssueFiles is Issue into two files, the key with mode 0600.
func (ca *CA) IssueFiles(certFile, keyFile string, r Request) error {
	certPEM, keyPEM, err := ca.Issue(r)
	if err != nil {
		return err
	}
	if err := WriteFile(keyFile, keyPEM, 0o600); err != nil {
		return err
	}
	return WriteFile(certFile, certPEM, 0o644)
}

// WriteFile writes a file whole or not at all: readers, and a start after a crash, see the old or the new.
func WriteFile(path string, data []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
