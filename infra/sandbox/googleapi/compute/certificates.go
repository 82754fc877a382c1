package compute

import (
	"crypto/x509"
	"encoding/pem"
	"regexp"
	"slices"
	"time"

	api "google.golang.org/api/compute/v0.beta"

	"patag/infra/sandbox/googleapi"
)

var domainRE = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.?$`)

// sslCertificates: a managed one stays PROVISIONING until a load balancer serves its domains, as at Google; the
// sandbox's balancer writes ACTIVE into it.
func (s *Service) sslCertificates() *kind {
	return &kind{
		collection: "sslCertificates", kind: "compute#sslCertificate", list: "compute#sslCertificateList", label: "ssl_certificate",
		scopes: []string{"global", "regions"}, like: api.SslCertificate{}, outputs: []string{"expireTime", "subjectAlternativeNames"}, deletable: true,
		insert: func(c *call, d googleapi.Doc) error {
			d.Default("type", map[bool]string{true: "MANAGED", false: "SELF_MANAGED"}[d.Has("managed")])
			switch d.String("type") {
			case "MANAGED":
				return insertManaged(d)
			case "SELF_MANAGED":
				return c.insertSelfManaged(d)
			}
			return invalidField("resource.type", d.String("type"), "Must be one of [MANAGED, SELF_MANAGED].")
		},
	}
}

func insertManaged(d googleapi.Doc) error {
	managed := d.Doc("managed")
	domains := managed.Strings("domains")
	if len(domains) == 0 {
		return required("resource.managed.domains")
	}
	if len(domains) > 100 {
		return invalidField("resource.managed.domains", len(domains), "At most 100 domains can be given.")
	}
	status := googleapi.Doc{}
	for i, name := range domains {
		if !domainRE.MatchString(name) || len(name) > 253 {
			return invalidField("resource.managed.domains", name, "Must be a fully qualified domain name without a wildcard.")
		}
		if slices.Index(domains, name) != i {
			return invalidField("resource.managed.domains", name, "Domains must be unique.")
		}
		status[name] = "PROVISIONING"
	}
	managed["status"], managed["domainStatus"] = "PROVISIONING", status
	return nil
}

func (c *call) insertSelfManaged(d googleapi.Doc) error {
	certs, key := d.String("certificate"), d.String("privateKey")
	if certs == "" {
		return required("resource.certificate")
	}
	if key == "" {
		return required("resource.privateKey")
	}
	block, _ := pem.Decode([]byte(certs))
	if block == nil || block.Type != "CERTIFICATE" {
		return invalidField("resource.certificate", "", "The SSL certificate could not be parsed.")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return invalidField("resource.certificate", "", "The SSL certificate could not be parsed.")
	}
	if b, _ := pem.Decode([]byte(key)); b == nil {
		return invalidField("resource.privateKey", "", "The SSL key could not be parsed.")
	}
	d["expireTime"] = timestamp(cert.NotAfter.Truncate(time.Second))
	if len(cert.DNSNames) > 0 {
		names := []any{}
		for _, n := range cert.DNSNames {
			names = append(names, n)
		}
		d["subjectAlternativeNames"] = names
	}
	d["selfManaged"] = googleapi.Doc{"certificate": certs}
	// The key is never read back; the balancer finds it under a key of its own.
	delete(d, "privateKey")
	return c.tx.Put("compute-keys/"+c.path, key)
}

func (s *Service) sslPolicies() *kind {
	fill := func(d googleapi.Doc) error {
		d.Default("profile", "COMPATIBLE")
		d.Default("minTlsVersion", "TLS_1_0")
		if p := d.String("profile"); !slices.Contains([]string{"COMPATIBLE", "MODERN", "RESTRICTED", "CUSTOM"}, p) {
			return invalidField("resource.profile", p, "Must be one of [COMPATIBLE, CUSTOM, MODERN, RESTRICTED].")
		}
		if v := d.String("minTlsVersion"); !slices.Contains([]string{"TLS_1_0", "TLS_1_1", "TLS_1_2"}, v) {
			return invalidField("resource.minTlsVersion", v, "Must be one of [TLS_1_0, TLS_1_1, TLS_1_2].")
		}
		custom := d.Strings("customFeatures")
		if (d.String("profile") == "CUSTOM") != (len(custom) > 0) {
			return invalidField("resource.customFeatures", "", "Must be given for the profile CUSTOM, and for it only.")
		}
		d["enabledFeatures"] = enabledFeatures(d.String("profile"), custom)
		return nil
	}
	return &kind{
		collection: "sslPolicies", kind: "compute#sslPolicy", list: "compute#sslPoliciesList", label: "ssl_policy", scopes: []string{"global"},
		like: api.SslPolicy{}, outputs: []string{"enabledFeatures", "warnings"}, deletable: true, fingerprinted: true,
		insert: func(_ *call, d googleapi.Doc) error { delete(d, "fingerprint"); return fill(d) },
		patch:  func(_ *call, _, d googleapi.Doc) error { return fill(d) },
	}
}

// enabledFeatures are the cipher suites of a profile. Source: "SSL policies for SSL and TLS protocols".
func enabledFeatures(profile string, custom []string) []any {
	restricted := []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
		"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
		"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"}
	modern := append(slices.Clone(restricted), "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA")
	compatible := append(slices.Clone(modern), "TLS_RSA_WITH_3DES_EDE_CBC_SHA", "TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_RSA_WITH_AES_128_GCM_SHA256", "TLS_RSA_WITH_AES_256_CBC_SHA", "TLS_RSA_WITH_AES_256_GCM_SHA384")
	features := map[string][]string{"RESTRICTED": restricted, "MODERN": modern, "COMPATIBLE": compatible, "CUSTOM": custom}[profile]
	slices.Sort(features)
	out := []any{}
	for _, f := range features {
		out = append(out, f)
	}
	return out
}
