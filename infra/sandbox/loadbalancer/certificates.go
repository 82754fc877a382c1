package loadbalancer

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"patag/infra/sandbox/pki"
)

// issuedFor is the life of the certificates that stand for Google-managed ones, which live as long.
const issuedFor = 90 * 24 * time.Hour

type issued struct {
	pair tls.Certificate
	at   time.Time
}

// sslCertificate is the part of Compute Engine's resource that is used.
type sslCertificate struct {
	Type    string `json:"type"`
	Managed struct {
		Domains []string `json:"domains"`
	} `json:"managed"`
	Certificate string `json:"certificate"`
	SelfManaged struct {
		Certificate string `json:"certificate"`
	} `json:"selfManaged"`
}

// certificates collects what HTTPS is served with, in GKE's order: pre-shared, managed, then TLS secrets.
func (r *run) certificates(ctx context.Context, d *desired) error {
	for _, name := range splitList(d.ing.Annotations[preSharedAnnotation]) {
		c, err := r.preShared(name)
		if err != nil {
			return err
		}
		d.certificates = append(d.certificates, c)
	}
	for _, name := range splitList(d.ing.Annotations[managedCertsAnnotation]) {
		c, err := r.managed(ctx, d, name)
		if err != nil {
			return err
		}
		d.certificates = append(d.certificates, c)
	}
	for _, t := range d.ing.Spec.TLS {
		if t.SecretName == "" {
			continue
		}
		c, err := r.secret(ctx, d, t.SecretName)
		if err != nil {
			return err
		}
		d.certificates = append(d.certificates, c)
	}
	return nil
}

func splitList(s string) []string {
	var out []string
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func (r *run) preShared(name string) (certificate, error) {
	c := certificate{path: r.path("global/sslCertificates/" + name)}
	var doc sslCertificate
	found, err := r.read(c.path, &doc)
	if err != nil {
		return c, err
	}
	if !found {
		return c, notFound(c.path)
	}
	chain := doc.SelfManaged.Certificate
	if chain == "" {
		chain = doc.Certificate
	}
	// No answer of the API shows a private key, so Compute Engine keeps it beside the resource.
	var key string
	if _, err := r.ctl.Store.Get("compute-keys/"+c.path, &key); err != nil {
		return c, err
	}
	switch {
	case len(doc.Managed.Domains) > 0:
		c.domains = doc.Managed.Domains
		c.pair, err = r.issue(c.path, doc.Managed.Domains)
	case chain != "" && key != "":
		c.pair, err = tls.X509KeyPair([]byte(chain), []byte(key))
	default:
		err = fmt.Errorf("it has neither domains nor a certificate with its key")
	}
	if err != nil {
		return c, fmt.Errorf("pre-shared certificate %q: %w", name, err)
	}
	return c, nil
}

// managed serves a ManagedCertificate object and records the certificate that Google would have provisioned for it.
func (r *run) managed(ctx context.Context, d *desired, name string) (certificate, error) {
	object, err := r.view.object(ctx, managedCerts, d.namespace, name)
	if err != nil {
		return certificate{}, fmt.Errorf("error getting ManagedCertificate %q: %w", d.namespace+"/"+name, err)
	}
	var spec struct {
		Domains []string `json:"domains"`
	}
	if err := specOf(object, &spec); err != nil {
		return certificate{}, err
	}
	resource := "mcrt-" + string(object.GetUID())
	c := certificate{path: r.path("global/sslCertificates/" + resource)}
	if c.pair, err = r.issue(c.path, spec.Domains); err != nil {
		return c, fmt.Errorf("ManagedCertificate %q: %w", d.namespace+"/"+name, err)
	}
	status := map[string]string{}
	for _, domain := range spec.Domains {
		status[domain] = "ACTIVE"
	}
	c.document = map[string]any{"type": "MANAGED", "managed": map[string]any{"domains": spec.Domains, "status": "ACTIVE", "domainStatus": status}}
	return c, r.managedStatus(ctx, object, spec.Domains, resource)
}

func (r *run) secret(ctx context.Context, d *desired, name string) (certificate, error) {
	secret, err := r.view.client.CoreV1().Secrets(d.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return certificate{}, fmt.Errorf("error retrieving secret %q for TLS: %w", d.namespace+"/"+name, err)
	}
	chain, key := secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey]
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return certificate{}, fmt.Errorf("secret %q for TLS: %w", d.namespace+"/"+name, err)
	}
	resource := r.view.names.certificate(d.namespace, d.name, string(chain))
	return certificate{path: r.path("global/sslCertificates/" + resource), pair: pair,
		document: map[string]any{"type": "SELF_MANAGED", "certificate": string(chain), "selfManaged": map[string]any{"certificate": string(chain)}}}, nil
}

// issue makes a certificate, or gives the one it made before while that is in the first half of its life.
func (r *run) issue(id string, domains []string) (tls.Certificate, error) {
	if len(domains) == 0 {
		return tls.Certificate{}, fmt.Errorf("it names no domain")
	}
	domains = slices.Clone(domains)
	for i := range domains {
		domains[i] = strings.TrimSuffix(domains[i], ".")
	}
	key := id + " " + strings.Join(domains, ",")
	if have, ok := r.issued[key]; ok && time.Since(have.at) < issuedFor/2 {
		return have.pair, nil
	}
	certPEM, keyPEM, err := r.ctl.CA.Issue(pki.Request{CommonName: domains[0], DNSNames: domains, Server: true, Valid: issuedFor})
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	r.issued[key] = issued{pair, time.Now()}
	return pair, nil
}
