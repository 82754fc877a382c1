package inside

import (
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"time"

	"patag/infra/sandbox/pki"
)

// certificates makes a certificate for each of Google's names that is asked for, and keeps it.
type certificates struct {
	ca   *pki.CA
	mu   sync.Mutex
	made map[string]made
}

type made struct {
	pair *tls.Certificate
	at   time.Time
}

const (
	// validFor is short because nothing but this process has the keys.
	validFor = 30 * 24 * time.Hour
	// maxMade bounds the memory: names of buckets can be asked for without end.
	maxMade = 1000
)

func (c *certificates) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return c.get(hello.ServerName)
	}}
}

func (c *certificates) get(name string) (*tls.Certificate, error) {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if !isRegistry(name) {
		if _, ok := servicePrefix(name, "/service"); !ok {
			return nil, fmt.Errorf("%q is not a name of Google's", name)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if m, ok := c.made[name]; ok && time.Since(m.at) < validFor/2 {
		return m.pair, nil
	}
	certPEM, keyPEM, err := c.ca.Issue(pki.Request{CommonName: name, DNSNames: []string{name}, Server: true, Valid: validFor})
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	if c.made == nil || len(c.made) >= maxMade {
		c.made = map[string]made{}
	}
	c.made[name] = made{&pair, time.Now()}
	return &pair, nil
}
