package inside

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gce "cloud.google.com/go/compute/metadata"
	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/inside/tokens"
	"patag/infra/sandbox/loadbalancer/kubetest"
	"patag/infra/sandbox/netns"
	"patag/infra/sandbox/pki"
	"patag/infra/sandbox/registry"
	"patag/infra/sandbox/store"
)

const (
	node     = "gke-production-standard-1234abcd-x1y2"
	account  = "tags@p.iam.gserviceaccount.com"
	nodeMail = "nodes@p.iam.gserviceaccount.com"
)

// world is the controller with everything real around it but the Google API, which says what it was asked for.
type world struct {
	t      *testing.T
	store  *store.Store
	issuer *tokens.Issuer
	ca     *pki.CA
	ctl    *Controller
	client kubernetes.Interface
	run    cluster.Running
}

func newWorld(t *testing.T) *world {
	t.Helper()
	config := kubetest.Start(t)
	dir := t.TempDir()
	w := &world{t: t}
	var err error
	if w.store, err = store.Open(filepath.Join(dir, "api.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	if w.issuer, err = tokens.Open(filepath.Join(dir, "keys.json")); err != nil {
		t.Fatal(err)
	}
	if w.ca, err = pki.OpenOrCreate(filepath.Join(dir, "ca"), "test authority"); err != nil {
		t.Fatal(err)
	}
	auth, err := tokens.NewAuthenticator(w.issuer, "0123456789abcdef", "user:admin")
	if err != nil {
		t.Fatal(err)
	}
	reg, err := registry.Open(registry.Options{Dir: filepath.Join(dir, "registry"), Store: w.store, Auth: auth})
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	w.ctl, err = New(Options{Registry: reg, CA: w.ca, Tokens: w.issuer, Store: w.store, ProjectNumber: func(string) string { return "123456789012" }, Logger: logger,
		API: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(rw, "%s %s %s", r.Method, r.URL.RequestURI(), r.Header.Get("Authorization"))
		})})
	if err != nil {
		t.Fatal(err)
	}
	if w.client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	w.run = cluster.Running{Config: config, Spec: cluster.Cluster{ID: "production-1", Project: "p", Location: "europe-west1", Name: "production", Zones: []string{"europe-west1-b"},
		PodCIDR: netip.MustParsePrefix("127.8.0.0/16"), NodeCIDR: netip.MustParsePrefix("10.77.0.0/24"), WorkloadPool: "p.svc.id.goog"}}
	ctx := context.Background()
	if _, err := w.client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node, Labels: map[string]string{"topology.kubernetes.io/zone": "europe-west1-b"}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.put("compute/projects/p/zones/europe-west1-b/instances/"+node, map[string]any{"id": "4711", "machineType": "https://x/machineTypes/n1-standard-1",
		"serviceAccounts": []any{map[string]any{"email": nodeMail, "scopes": []string{cloudPlatform}}}, "scheduling": map[string]any{"preemptible": true}})
	w.put("iam/projects/p/serviceAccounts/"+account, map[string]any{"email": account})
	w.account("bound", account)
	w.account("plain", "")
	w.account("missing", "none@p.iam.gserviceaccount.com")
	w.pod("one", "bound", "127.8.0.1")
	w.pod("two", "plain", "127.8.0.2")
	w.pod("three", "missing", "127.8.0.3")
	return w
}

func (w *world) put(key string, v any) {
	w.t.Helper()
	if err := w.store.Put(key, v); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) bind(members ...string) {
	w.put("policy/iam/projects/p/serviceAccounts/"+account, map[string]any{"bindings": []any{map[string]any{"role": workloadRole, "members": members}}})
}

func (w *world) account(name, gsa string) {
	w.t.Helper()
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if gsa != "" {
		sa.Annotations = map[string]string{accountAnnotation: gsa}
	}
	if _, err := w.client.CoreV1().ServiceAccounts("default").Create(context.Background(), sa, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) pod(name, sa, ip string) {
	w.t.Helper()
	ctx := context.Background()
	p, err := w.client.CoreV1().Pods("default").Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{NodeName: node, ServiceAccountName: sa, Containers: []corev1.Container{{Name: "c", Image: "x"}}}}, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	p.Status.Phase, p.Status.PodIP, p.Status.PodIPs = corev1.PodRunning, ip, []corev1.PodIP{{IP: ip}}
	if _, err := w.client.CoreV1().Pods("default").UpdateStatus(ctx, p, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// from is a client whose connections come from an address, as a pod's do.
func from(ip string) *http.Client {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	return &http.Client{Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}}
}

// serve starts one node's metadata server on a loopback port and points Google's client at it.
func (w *world) serve() string {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w.t.Cleanup(cancel)
	watched, err := newWatch(ctx, w.client)
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	go w.ctl.serve(ctx, l, &metadata{ctl: w.ctl, running: w.run, watch: watched, node: node, logger: w.ctl.Logger}, false)
	w.t.Setenv("GCE_METADATA_HOST", l.Addr().String())
	return "http://" + l.Addr().String()
}

// principal asks for a token as Google's libraries do and tells whose it is.
func (w *world) principal(c *gce.Client) (string, error) {
	raw, err := c.GetWithContext(context.Background(), "instance/service-accounts/default/token?scopes="+cloudPlatform)
	if err != nil {
		return "", err
	}
	var t struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
		TokenType   string `json:"token_type"`
	}
	if err := json.Unmarshal([]byte(raw), &t); err != nil {
		return "", err
	}
	if t.ExpiresIn < 3500 || t.TokenType != "Bearer" {
		return "", fmt.Errorf("token answer %s", raw)
	}
	claims, err := w.issuer.Verify(t.AccessToken)
	return claims.Principal, err
}

func TestMetadataWithGooglesClient(t *testing.T) {
	w := newWorld(t)
	url := w.serve()
	ctx := context.Background()
	c := gce.NewClient(from("127.8.0.1"))
	for what, want := range map[string]string{
		"project/project-id": "p", "project/numeric-project-id": "123456789012", "instance/id": "4711", "instance/name": node,
		"instance/zone": "projects/123456789012/zones/europe-west1-b", "instance/hostname": node + ".europe-west1-b.c.p.internal",
		"instance/attributes/cluster-name": "production", "instance/attributes/cluster-location": "europe-west1", "instance/preempted": "FALSE",
		"instance/scheduling/preemptible": "TRUE", "instance/service-accounts/default/email": account, "instance/service-accounts/default/aliases": "default",
		"instance/service-accounts/": "default/\n" + account + "/\n", "instance/service-accounts/" + account + "/scopes": cloudPlatform,
		"instance/machine-type": "projects/123456789012/machineTypes/n1-standard-1",
	} {
		if got, err := c.GetWithContext(ctx, what); err != nil || got != want {
			t.Errorf("%s = %q, %v, want %q", what, got, err, want)
		}
	}
	if zone, err := c.ZoneWithContext(ctx); err != nil || zone != "europe-west1-b" {
		t.Errorf("zone %q, %v", zone, err)
	}
	var notDefined gce.NotDefinedError
	if _, err := c.InstanceAttributeValueWithContext(ctx, "nothing"); !errors.As(err, &notDefined) {
		t.Errorf("an attribute that is not there: %v", err)
	}

	// Without a binding IAM says no; with it the token is the account's; another's binding does not help.
	status := func(err error) int {
		var e *gce.Error
		if errors.As(err, &e) {
			return e.Code
		}
		return 0
	}
	if p, err := w.principal(c); status(err) != 403 {
		t.Errorf("without a binding: %q, %v", p, err)
	}
	w.bind("serviceAccount:p.svc.id.goog[default/other]")
	if p, err := w.principal(c); status(err) != 403 {
		t.Errorf("with another's binding: %q, %v", p, err)
	}
	w.bind("serviceAccount:p.svc.id.goog[default/bound]")
	if p, err := w.principal(c); err != nil || p != "serviceAccount:"+account {
		t.Errorf("bound: %q, %v", p, err)
	}
	if id, err := c.GetWithContext(ctx, "instance/service-accounts/default/identity?audience=https://x"); err != nil || strings.Count(id, ".") != 2 {
		t.Errorf("identity token %q, %v", id, err)
	}
	if p, err := w.principal(gce.NewClient(from("127.8.0.2"))); err != nil || p != "serviceAccount:p.svc.id.goog[default/plain]" {
		t.Errorf("a pod without a Google account: %q, %v", p, err)
	}
	if p, err := w.principal(gce.NewClient(from("127.8.0.3"))); !errors.As(err, &notDefined) && status(err) != 404 {
		t.Errorf("a pod whose account does not exist: %q, %v", p, err)
	}
	if p, err := w.principal(gce.NewClient(from("127.8.0.99"))); status(err) != 403 {
		t.Errorf("an address that no pod has: %q, %v", p, err)
	}
	if p, err := w.principal(gce.NewClient(from("127.0.0.1"))); err != nil || p != "serviceAccount:"+nodeMail {
		t.Errorf("the node itself: %q, %v", p, err)
	}
	w.pod("late", "bound", "127.8.0.9") // the watch may not have it yet
	if p, err := w.principal(gce.NewClient(from("127.8.0.9"))); err != nil || p != "serviceAccount:"+account {
		t.Errorf("a pod that has just come: %q, %v", p, err)
	}

	get := func(path string, header ...string) (*http.Response, string) {
		req, _ := http.NewRequest("GET", url+path, nil)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := (&http.Transport{}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp, string(body)
	}
	for _, c := range []struct {
		path   string
		header []string
		status int
	}{
		{"/", nil, 200}, {"/computeMetadata/v1/", nil, 403}, {"/computeMetadata/v1/instance/id", []string{"Metadata-Flavor", "Google"}, 200},
		{"/computeMetadata/v1/instance/id", []string{"Metadata-Flavor", "Google", "X-Forwarded-For", "1.2.3.4"}, 403},
		{"/computeMetadata/v1/instance", []string{"Metadata-Flavor", "Google"}, 301}, {"/computeMetadata/v1beta1/instance", []string{"Metadata-Flavor", "Google"}, 404},
		{"/computeMetadata/v1/instance/id/", []string{"Metadata-Flavor", "Google"}, 404},
	} {
		if resp, _ := get(c.path, c.header...); resp.StatusCode != c.status || resp.Header.Get("Metadata-Flavor") != "Google" {
			t.Errorf("%s %v: %s, want %d", c.path, c.header, resp.Status, c.status)
		}
	}
	_, all := get("/computeMetadata/v1/?recursive=true", "Metadata-Flavor", "Google")
	var tree struct {
		Instance struct {
			ID              int64
			Attributes      map[string]string
			ServiceAccounts map[string]map[string]any
		}
		Project struct{ NumericProjectId int64 }
	}
	if err := json.Unmarshal([]byte(all), &tree); err != nil || tree.Instance.ID != 4711 || tree.Project.NumericProjectId != 123456789012 ||
		tree.Instance.Attributes["cluster-name"] != "production" || tree.Instance.ServiceAccounts["default"]["token"] != nil {
		t.Errorf("recursive: %s, %v", all, err)
	}
}

func TestWaitForPreemption(t *testing.T) {
	w := newWorld(t)
	url := w.serve()
	ask := func(query string) string {
		req, _ := http.NewRequest("GET", url+"/computeMetadata/v1/instance/preempted?"+query, nil)
		req.Header.Set("Metadata-Flavor", "Google")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return ""
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return string(body)
	}
	begun := time.Now()
	if got := ask("wait_for_change=true&timeout_sec=1"); got != "FALSE" || time.Since(begun) < 900*time.Millisecond {
		t.Errorf("after the time-out: %q in %v", got, time.Since(begun))
	}
	answer := make(chan string)
	go func() { answer <- ask("wait_for_change=true") }()
	time.Sleep(100 * time.Millisecond)
	w.ctl.SetPreempted("another-node", true) // wakes, but is no change
	select {
	case got := <-answer:
		t.Fatalf("answered %q when another node was preempted", got)
	case <-time.After(200 * time.Millisecond):
	}
	w.ctl.SetPreempted(node, true)
	select {
	case got := <-answer:
		if got != "TRUE" {
			t.Errorf("preempted: %q", got)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("who waits for the preemption is not told")
	}
}

// TestInNamespaces runs the whole controller in real network namespaces.
func TestInNamespaces(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root to make network namespaces")
	}
	w := newWorld(t)
	ns := func(name string, addresses ...string) *netns.NS {
		full := fmt.Sprintf("patagtest-%d-%s", os.Getpid(), name)
		n, err := netns.Create(full)
		if err != nil {
			t.Skipf("SKIPPED: network namespaces cannot be made here: %v", err)
		}
		t.Cleanup(func() { n.Close(); netns.Delete(full) })
		err = n.Do(func() error {
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			for _, a := range addresses {
				addr, err := netlink.ParseAddr(a)
				if err != nil {
					return err
				}
				if err := netlink.AddrAdd(lo, addr); err != nil {
					return err
				}
			}
			return netlink.LinkSetUp(lo)
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	nodeNS := ns("node")
	w.run.ControlPlane, w.run.Gateway = ns("cp", "10.77.0.1/24"), netip.MustParseAddr("10.77.0.1")
	w.run.NodeNS = func(name string) (*netns.NS, bool) { return nodeNS, name == node }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.ctl.Run(ctx, w.run) }()
	defer func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	}()
	fetch := func(n *netns.NS, url, dialTo string, header ...string) (string, error) {
		transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: w.ca.Pool()},
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				_, port, _ := net.SplitHostPort(address)
				return n.DialContext(ctx, network, net.JoinHostPort(dialTo, port))
			}}
		req, err := http.NewRequest("GET", url, nil)
		if err != nil {
			return "", err
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return fmt.Sprintf("%d %s", resp.StatusCode, body), err
	}
	expect := func(n *netns.NS, url, dialTo, want string, header ...string) {
		t.Helper()
		var got string
		var err error
		for range 100 {
			if got, err = fetch(n, url, dialTo, header...); err == nil && strings.Contains(got, want) {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Errorf("%s: %q, %v, want %q", url, got, err, want)
	}
	expect(w.run.ControlPlane, "https://bucket.storage.googleapis.com/o", "10.77.0.1", "200 GET /storage/bucket/o")
	expect(w.run.ControlPlane, "https://secretmanager.googleapis.com/v1/projects/p/secrets?pageSize=1", "10.77.0.1", "200 GET /secretmanager/v1/projects/p/secrets?pageSize=1 Bearer x", "Authorization", "Bearer x")
	expect(w.run.ControlPlane, "https://europe-west1-docker.pkg.dev/v2/", "10.77.0.1", "401 ")
	expect(w.run.ControlPlane, "http://10.77.0.1:5000/v2/", "10.77.0.1", "200 {}")
	expect(w.run.ControlPlane, "http://storage.googleapis.com/", "10.77.0.1", "403 ")
	expect(nodeNS, "http://169.254.169.254/computeMetadata/v1/instance/name", "169.254.169.254", "200 "+node, "Metadata-Flavor", "Google")
	if got, err := fetch(w.run.ControlPlane, "https://example.com/", "10.77.0.1"); err == nil {
		t.Errorf("a certificate for example.com was handed out: %s", got)
	}
}
