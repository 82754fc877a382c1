// Package kubetest runs a real etcd and kube-apiserver on loopback ports for tests of what watches a cluster. There are
// no nodes and no controllers: what those would write, a test writes itself.
package kubetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Start returns a cluster administrator's configuration. It skips the test, saying so, when $PATAG_TOOLS names no
// folder with the program kube.
func Start(t testing.TB) *rest.Config {
	t.Helper()
	kube := filepath.Join(os.Getenv("PATAG_TOOLS"), "kube")
	if os.Getenv("PATAG_TOOLS") == "" {
		t.Skip("SKIPPED: needs a real API server; set PATAG_TOOLS to the folder of the program kube")
	}
	if _, err := os.Stat(kube); err != nil {
		t.Skipf("SKIPPED: needs a real API server: %v", err)
	}
	dir := t.TempDir()
	client, peer, api := freePort(t), freePort(t), freePort(t)
	run(t, dir, "etcd", kube, "etcd", "--data-dir="+filepath.Join(dir, "etcd"), "--listen-client=http://127.0.0.1:"+client, "--listen-peer=http://127.0.0.1:"+peer)
	key := filepath.Join(dir, "sa.key")
	writeKey(t, key)
	tokens := filepath.Join(dir, "tokens.csv")
	if err := os.WriteFile(tokens, []byte("test-token,admin,admin,system:masters\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "apiserver", kube, "kube-apiserver", "--etcd-servers=http://127.0.0.1:"+client, "--bind-address=127.0.0.1", "--secure-port="+api,
		"--cert-dir="+filepath.Join(dir, "certs"), "--service-account-key-file="+key, "--service-account-signing-key-file="+key,
		"--service-account-issuer=https://kubernetes.default.svc", "--token-auth-file="+tokens, "--authorization-mode=RBAC",
		"--service-cluster-ip-range=10.99.0.0/16", "--disable-admission-plugins=ServiceAccount", "--watch-cache=true")
	config := &rest.Config{Host: "https://127.0.0.1:" + api, BearerToken: "test-token", TLSClientConfig: rest.TLSClientConfig{Insecure: true}, QPS: 500, Burst: 500}
	cs, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(90 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		_, err := cs.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		cancel()
		if err == nil {
			return config
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(dir, "apiserver.log"))
			t.Fatalf("the API server is not ready: %v\n%s", err, log[max(0, len(log)-3000):])
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func run(t testing.TB, dir, name, program string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		log.Close()
	})
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

func writeKey(t testing.TB, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
