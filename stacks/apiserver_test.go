package stacks

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"patag/infra/pulumitest"
)

// TestAPIServer hands every Kubernetes object of the stacks to a real API server, which would create them (a dry run):
// it checks names, fields, immutability and, for the pod of every template, Pod Security restricted. It needs the
// Kubernetes binary in the folder of tools (PATAG_TOOLS).
func TestAPIServer(t *testing.T) {
	kube := filepath.Join(os.Getenv("PATAG_TOOLS"), "kube")
	if _, err := os.Stat(kube); os.Getenv("PATAG_TOOLS") == "" || err != nil {
		t.Skipf("SKIPPED: no kube in PATAG_TOOLS=%q: the objects are not tried on an API server", os.Getenv("PATAG_TOOLS"))
	}
	kubectl := startAPIServer(t, kube)
	for name, result := range cases(t) {
		if name == "foundation" {
			continue
		}
		for _, ns := range result.OfType("kubernetes:core/v1:Namespace") {
			if out, err := kubectl(list(manifest(ns)), "apply", "-f", "-"); err != nil {
				t.Fatalf("make the namespace: %v\n%s", err, out)
			}
		}
		objects, untried := []object{}, 0
		for _, r := range result.Resources {
			switch {
			case !strings.HasPrefix(r.Type, "kubernetes:"), r.Type == "kubernetes:core/v1:Namespace":
			case strings.Contains(r.Type, "cloud.google.com"):
				untried++ // GKE's own kinds are not known to a bare API server
			default:
				objects = append(objects, manifest(r))
			}
		}
		for i, p := range pods(result) {
			objects = append(objects, podOf(fmt.Sprintf("pod-%d", i), result, p))
		}
		out, err := kubectl(list(objects...), "create", "--dry-run=server", "--validate=strict", "-f", "-")
		if err != nil {
			t.Errorf("%s: refused: %s", name, out)
		}
		for _, line := range strings.Split(out, "\n") {
			// GKE's controller wants the annotation, whatever Kubernetes thinks of it.
			if strings.HasPrefix(line, "Warning") && !strings.Contains(line, "kubernetes.io/ingress.class") {
				t.Errorf("%s: %s", name, line)
			}
		}
		if created := strings.Count(out, "created (server dry run)"); err == nil && created != len(objects) {
			t.Errorf("%s: %d of %d objects were created", name, created, len(objects))
		}
		if untried != 1 {
			t.Errorf("%s: %d objects were not tried, want the BackendConfig alone", name, untried)
		}
		// And the check itself can fail.
		bad := pods(result)[0]
		bad.spec["hostNetwork"] = true
		if out, err := kubectl(list(podOf("bad", result, bad)), "create", "--dry-run=server", "-f", "-"); err == nil || !strings.Contains(out, "PodSecurity") {
			t.Errorf("%s: a pod on the host's network is not refused: %s", name, out)
		}
	}
}

// list is a manifest of objects.
func list(objects ...object) []byte {
	raw, err := json.Marshal(object{"apiVersion": "v1", "kind": "List", "items": objects})
	if err != nil {
		panic(err) // they came from JSON
	}
	return raw
}

// podOf is a pod as the controller of its template makes it: with a volume for each claim of a StatefulSet.
func podOf(name string, result *pulumitest.Result, p pod) object {
	spec := object{}
	for key, value := range p.spec {
		spec[key] = value
	}
	volumes, _ := spec["volumes"].([]any)
	if strings.Contains(p.owner, "StatefulSet") {
		volumes = append([]any{object{"name": "data", "persistentVolumeClaim": object{"claimName": "data-0"}}}, volumes...)
	}
	spec["volumes"] = volumes
	return object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": name, "namespace": namespaceOf(result), "labels": p.labels}, "spec": spec}
}

func namespaceOf(result *pulumitest.Result) any {
	return result.OfType("kubernetes:core/v1:Namespace")[0].At("metadata.name")
}

// manifest is the object of a resource, with a name where the provider would make one.
func manifest(r pulumitest.Resource) object {
	inputs := object{}
	for key, value := range r.Inputs {
		inputs[key] = value
	}
	if r.At("metadata.name") == nil {
		meta := object{"name": r.Name + "-auto"}
		for key, value := range inputs["metadata"].(object) {
			meta[key] = value
		}
		inputs["metadata"] = meta
	}
	return inputs
}

// startAPIServer starts etcd and an API server on free ports of 127.0.0.1, for the time of the test, and answers how to
// run kubectl against it with a manifest on its standard input.
func startAPIServer(t *testing.T, kube string) func(stdin []byte, args ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	ports := freePorts(t, 3)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string][]byte{
		"sa.key":    pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
		"token.csv": []byte("token,admin,1,system:masters\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	etcd := fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	child(t, kube, "etcd", "-data-dir", filepath.Join(dir, "etcd"), "-listen-client", etcd, "-listen-peer", fmt.Sprintf("http://127.0.0.1:%d", ports[1]))
	log := child(t, kube, "kube-apiserver", "--etcd-servers="+etcd, "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", ports[2]),
		"--cert-dir="+filepath.Join(dir, "certs"), "--token-auth-file="+filepath.Join(dir, "token.csv"), "--authorization-mode=AlwaysAllow",
		"--service-cluster-ip-range=10.30.0.0/20", "--service-account-issuer=https://test", "--service-account-key-file="+filepath.Join(dir, "sa.key"),
		"--service-account-signing-key-file="+filepath.Join(dir, "sa.key"), "--disable-admission-plugins=ServiceAccount")
	run := func(stdin []byte, args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, kube, append([]string{"kubectl", fmt.Sprintf("--server=https://127.0.0.1:%d", ports[2]), "--token=token",
			"--insecure-skip-tls-verify", "--kubeconfig=/dev/null", "--cache-dir=" + filepath.Join(dir, "cache")}, args...)...)
		cmd.Stdin = bytes.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		if _, err := run(nil, "get", "--raw", "/readyz"); err == nil {
			return run
		}
		if time.Now().After(deadline) {
			t.Fatalf("the API server did not become ready:\n%s", log())
		}
	}
}

// child runs a process until the test ends, and dies with it. Its log is answered by the function.
func child(t *testing.T, name string, args ...string) func() string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), args[0]+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also when the test is killed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Its data folder is the test's: nothing is lost that anyone wants.
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Errorf("end %s: %v", args[0], err)
		}
		_ = cmd.Wait() // it was killed, and says so
		_ = file.Close()
	})
	return func() string {
		raw, _ := os.ReadFile(file.Name()) // a log that cannot be read is empty
		return string(raw)
	}
}

func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}
