package controlplane

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"patag/infra/sandbox/pki"
)

// Files below the folder of keys.
const (
	authority         = "authority"
	frontProxy        = "front-proxy-authority"
	tokens            = "tokens.csv"
	serviceAccountKey = "service-accounts.key"
)

// Keys are a cluster's certificate authority and the files made with it. Certificates are issued anew at each start,
// so none runs out; the authority and the key of service accounts' tokens are kept.
type Keys struct {
	CA     *pki.CA
	folder string
	server string
}

func (k *Keys) file(name string) string { return filepath.Join(k.folder, name) }

// CAFile is the certificate of the cluster's authority.
func (k *Keys) CAFile() string { return k.file(authority + "/ca.crt") }

// Kubeconfig is the file with which a component reaches the API server from inside.
func (k *Keys) Kubeconfig(component string) string { return k.file(component + ".kubeconfig") }

// AdminCert and AdminKey are the administrator's.
func (k *Keys) AdminCert() string { return k.file("admin.crt") }

// AdminKey is the key of AdminCert.
func (k *Keys) AdminKey() string { return k.file("admin.key") }

func prepareKeys(o Options) (*Keys, error) {
	k := &Keys{folder: filepath.Join(o.Folder, "keys"), server: "https://" + o.Master.String()}
	var err error
	if k.CA, err = pki.OpenOrCreate(k.file(authority), "gke cluster"); err != nil {
		return nil, err
	}
	front, err := pki.OpenOrCreate(k.file(frontProxy), "gke front proxy")
	if err != nil {
		return nil, err
	}
	err = front.IssueFiles(k.file("front-proxy.crt"), k.file("front-proxy.key"), pki.Request{CommonName: "front-proxy-client", Client: true})
	if err != nil {
		return nil, err
	}
	if err := ensureServiceAccountKey(k.file(serviceAccountKey)); err != nil {
		return nil, err
	}
	for name, r := range certificates(o) {
		if err := k.CA.IssueFiles(k.file(name+".crt"), k.file(name+".key"), r); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"admin", "kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns", "metrics-server"} {
		if err := k.WriteKubeconfig(k.Kubeconfig(name), k.file(name+"-client.crt"), k.file(name+"-client.key")); err != nil {
			return nil, err
		}
	}
	if strings.ContainsAny(o.AdminToken, ",\"\n") || o.AdminToken == "" {
		return nil, errors.New("the administrator's token is empty or has a comma, quote or newline")
	}
	line := fmt.Sprintf("%s,sandbox-administrator,sandbox-administrator,\"system:masters\"\n", o.AdminToken)
	if err := pki.WriteFile(k.file(tokens), []byte(line), 0o600); err != nil {
		return nil, err
	}
	return k, pki.WriteFile(filepath.Join(o.Folder, corefile), []byte(dnsConfig(o, k.Kubeconfig("coredns"))), 0o600)
}

// certificates are those of the control plane, by file name.
func certificates(o Options) map[string]pki.Request {
	client := func(user string, groups ...string) pki.Request {
		return pki.Request{CommonName: user, Organizations: groups, Client: true}
	}
	return map[string]pki.Request{
		"apiserver": {
			CommonName: "kube-apiserver", Server: true,
			DNSNames: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"},
			IPs:      []netip.Addr{o.Endpoint, o.Master, ServiceIP(o.Services, 1), netip.AddrFrom4([4]byte{127, 0, 0, 1})},
		},
		"metrics-server": {
			CommonName: "metrics-server", Server: true,
			DNSNames: []string{"metrics-server.kube-system.svc"}, IPs: []netip.Addr{o.Gateway},
		},
		"apiserver-kubelet":              client("kube-apiserver", "system:masters"),
		"admin":                          client("sandbox-administrator", "system:masters"),
		"admin-client":                   client("sandbox-administrator", "system:masters"),
		"kube-controller-manager-client": client("system:kube-controller-manager"),
		"kube-scheduler-client":          client("system:kube-scheduler"),
		"kube-proxy-client":              client("system:kube-proxy"),
		"coredns-client":                 client("system:coredns"),
		"metrics-server-client":          client("system:metrics-server"),
	}
}

// WriteKubeconfig writes a file that reaches the API server from inside with a certificate.
func (k *Keys) WriteKubeconfig(file, cert, key string) error {
	return pki.WriteFile(file, fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: cluster, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: user, user: {client-certificate: %q, client-key: %q}}]
contexts: [{name: context, context: {cluster: cluster, user: user}}]
current-context: context
`, k.server, k.CAFile(), cert, key), 0o600)
}

// ensureServiceAccountKey makes the key once: tokens signed with another would all be refused. It is RSA, as GKE's,
// which is what readers of the tokens expect.
func ensureServiceAccountKey(file string) error {
	_, err := os.Stat(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	return pki.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600)
}
