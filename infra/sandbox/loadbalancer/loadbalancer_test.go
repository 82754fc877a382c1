package loadbalancer

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
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/api/logging/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"patag/infra/sandbox/addresses"
	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/layout"
	"patag/infra/sandbox/loadbalancer/kubetest"
	"patag/infra/sandbox/loadbalancer/proxy"
	"patag/infra/sandbox/pki"
	"patag/infra/sandbox/store"
)

// world is a project with a store, real API servers, and pods that are HTTP servers on loopback ports.
type world struct {
	t     *testing.T
	store *store.Store
	ctl   *Controller
	mu    sync.Mutex
	pods  map[string]string // pod address → real one
	ports map[string]string // load balancer address:port → real one
	log   []*logging.LogEntry
	count int64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(filepath.Join(dir, "api.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	ca, err := pki.OpenOrCreate(filepath.Join(dir, "ca"), "test authority")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: s, pods: map[string]string{}, ports: map[string]string{}}
	logger := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	w.ctl, err = New(Options{Store: s, Settings: layout.Settings{Instance: 99, API: "127.0.0.1:1"}, CA: ca, Log: w, Metrics: w, Logger: logger,
		Materialise: func(tx store.Tx, path string, doc map[string]any) error {
			doc["selfLink"], doc["name"] = link(path), path[strings.LastIndex(path, "/")+1:]
			return tx.Put("compute/"+path, doc)
		},
		Listen: func(ctx context.Context, address string) (net.Listener, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if _, taken := w.ports[address]; taken {
				return nil, errors.New("address already in use")
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err == nil {
				w.ports[address] = l.Addr().String()
				l = &forgetting{l, w, address}
			}
			return l, err
		},
		Dialer: func(cluster.Running) proxy.Dialer {
			return func(ctx context.Context, network, address string) (net.Conn, error) {
				w.mu.Lock()
				real, ok := w.pods[address]
				w.mu.Unlock()
				if !ok {
					return nil, fmt.Errorf("no pod at %s", address)
				}
				return (&net.Dialer{}).DialContext(ctx, network, real)
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	w.put("projects/p/global/addresses/web", map[string]any{"name": "web", "address": "127.99.2.50", "status": "RESERVED", "addressType": "EXTERNAL"})
	w.put("projects/p/global/sslCertificates/ads", map[string]any{"name": "ads", "type": "MANAGED", "managed": map[string]any{"domains": []string{"ads.example.com"}}})
	return w
}

type forgetting struct {
	net.Listener
	w       *world
	address string
}

func (f *forgetting) Close() error {
	f.w.mu.Lock()
	delete(f.w.ports, f.address)
	f.w.mu.Unlock()
	return f.Listener.Close()
}

func (w *world) Append(_ string, e *logging.LogEntry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, e)
	return nil
}

func (w *world) Write(_ string, samples []Sample) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range samples {
		if strings.HasSuffix(s.Metric, "/request_count") {
			w.count += s.Count
		}
	}
	return nil
}

func (w *world) put(path string, doc map[string]any) {
	w.t.Helper()
	if err := w.store.Put("compute/"+path, doc); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) get(path string) map[string]any {
	w.t.Helper()
	var doc map[string]any
	if _, err := w.store.Get("compute/"+path, &doc); err != nil {
		w.t.Fatal(err)
	}
	return doc
}

// paths lists the resources of a collection.
func (w *world) paths(collection string) []string {
	w.t.Helper()
	var out []string
	err := w.store.View(func(tx store.Tx) error {
		return tx.List("compute/projects/p/"+collection+"/", func(key string, _ []byte) error {
			if !strings.HasSuffix(key, "/endpoints") {
				out = append(out, key[strings.LastIndex(key, "/")+1:])
			}
			return nil
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// eventually waits for a condition; what it returns last is shown.
func eventually(t *testing.T, what string, cond func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = cond(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// kube is one cluster.
type kube struct {
	w      *world
	config *rest.Config
	cs     kubernetes.Interface
	dyn    dynamic.Interface
	spec   cluster.Cluster
	stop   func()
}

func (w *world) cluster(name string) *kube {
	w.t.Helper()
	config := kubetest.Start(w.t)
	k := &kube{w: w, config: config, spec: cluster.Cluster{ID: name + "-1", Project: "p", Location: "europe-west1", Name: name, Zones: []string{"europe-west1-b", "europe-west1-c"}}}
	var err error
	if k.cs, err = kubernetes.NewForConfig(config); err != nil {
		w.t.Fatal(err)
	}
	if k.dyn, err = dynamic.NewForConfig(config); err != nil {
		w.t.Fatal(err)
	}
	k.definitions()
	k.start()
	w.t.Cleanup(func() { k.stop() })
	return k
}

func (k *kube) start() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.w.ctl.Run(ctx, cluster.Running{Spec: k.spec, Config: k.config}) }()
	var once sync.Once
	k.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				k.w.t.Errorf("Run: %v", err)
			}
		})
	}
}

// definitions installs the three custom resources of GKE.
func (k *kube) definitions() {
	k.w.t.Helper()
	crds := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	for gvr, kind := range map[schema.GroupVersionResource]string{backendConfigs: "BackendConfig", frontendConfigs: "FrontendConfig", managedCerts: "ManagedCertificate"} {
		crd := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": gvr.Resource + "." + gvr.Group,
				"annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, a test"}},
			"spec": map[string]any{"group": gvr.Group, "scope": "Namespaced", "names": map[string]any{"kind": kind, "plural": gvr.Resource, "singular": strings.ToLower(kind)},
				"versions": []any{map[string]any{"name": gvr.Version, "served": true, "storage": true,
					"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}}}
		if _, err := k.dyn.Resource(crds).Create(context.Background(), crd, metav1.CreateOptions{}); err != nil {
			k.w.t.Fatal(err)
		}
		eventually(k.w.t, kind, func() error {
			_, err := k.dyn.Resource(gvr).Namespace("default").List(context.Background(), metav1.ListOptions{})
			return err
		})
	}
}

func (k *kube) object(gvr schema.GroupVersionResource, kind, name string, spec map[string]any) {
	k.w.t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": gvr.GroupVersion().String(), "kind": kind, "metadata": map[string]any{"name": name}, "spec": spec}}
	if _, err := k.dyn.Resource(gvr).Namespace("default").Create(context.Background(), u, metav1.CreateOptions{}); err != nil {
		k.w.t.Fatal(err)
	}
}

// pod is a server that answers with its name, and where it is in the cluster.
type pod struct {
	name, ip string
	server   *httptest.Server
}

func (w *world) pod(name, ip string, handler http.HandlerFunc) pod {
	if handler == nil {
		handler = func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, name) }
	}
	s := httptest.NewServer(handler)
	w.t.Cleanup(s.Close)
	w.mu.Lock()
	w.pods[ip+":8080"] = s.Listener.Addr().String()
	w.mu.Unlock()
	return pod{name, ip, s}
}

func (k *kube) service(name string, annotations map[string]string, pods ...pod) {
	k.w.t.Helper()
	ctx := context.Background()
	_, err := k.cs.CoreV1().Services("default").Create(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}}}}, metav1.CreateOptions{})
	if err != nil {
		k.w.t.Fatal(err)
	}
	if _, err := k.cs.DiscoveryV1().EndpointSlices("default").Create(ctx, slice(name, pods...), metav1.CreateOptions{}); err != nil {
		k.w.t.Fatal(err)
	}
}

func (k *kube) setPods(name string, pods ...pod) {
	k.w.t.Helper()
	if _, err := k.cs.DiscoveryV1().EndpointSlices("default").Update(context.Background(), slice(name, pods...), metav1.UpdateOptions{}); err != nil {
		k.w.t.Fatal(err)
	}
}

func slice(name string, pods ...pod) *discoveryv1.EndpointSlice {
	port, portName, ready, zone := int32(8080), "http", true, "europe-west1-b"
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &portName, Port: &port}}}
	for _, p := range pods {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{p.ip}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}, Zone: &zone})
	}
	return s
}

func backend(name string) *networkingv1.IngressBackend {
	return &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: name, Port: networkingv1.ServiceBackendPort{Number: 80}}}
}

func (k *kube) ingress(name string, annotations map[string]string, spec networkingv1.IngressSpec) {
	k.w.t.Helper()
	if annotations[classAnnotation] == "" {
		annotations[classAnnotation] = "gce"
	}
	_, err := k.cs.NetworkingV1().Ingresses("default").Create(context.Background(), &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}, Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		k.w.t.Fatal(err)
	}
}

func (k *kube) annotate(ingress, annotation string, value any) {
	k.w.t.Helper()
	patch, _ := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{annotation: value}}})
	if _, err := k.cs.NetworkingV1().Ingresses("default").Patch(context.Background(), ingress, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		k.w.t.Fatal(err)
	}
}

// expectOwners waits until so many addresses are allotted to balancers.
func (w *world) expectOwners(n int) {
	w.t.Helper()
	eventually(w.t, "allotted addresses", func() error {
		var owners []string
		err := w.store.View(func(tx store.Tx) (err error) {
			owners, err = addresses.Owners(tx, "compute/projects/p/global/forwardingRules/")
			return err
		})
		if err == nil && len(owners) != n {
			err = fmt.Errorf("owners %v, want %d", owners, n)
		}
		return err
	})
}

// fetch asks a load balancer by its address, as a client would.
func (w *world) fetch(url, host string) (*http.Response, string, error) {
	w.t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: w.ctl.CA.Pool(), ServerName: host},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			w.mu.Lock()
			real, ok := w.ports[address]
			w.mu.Unlock()
			if !ok {
				return nil, fmt.Errorf("nothing listens on %s", address)
			}
			return (&net.Dialer{}).DialContext(ctx, network, real)
		}}
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func (w *world) expect(url, host string, status int, body string) {
	w.t.Helper()
	eventually(w.t, url, func() error {
		resp, got, err := w.fetch(url, host)
		if err == nil && (resp.StatusCode != status || !strings.Contains(got, body)) {
			err = fmt.Errorf("%s %q, want %d with %q", resp.Status, got, status, body)
		}
		return err
	})
}

func (k *kube) address(name string) string {
	k.w.t.Helper()
	var ip string
	eventually(k.w.t, "address of ingress "+name, func() error {
		ing, err := k.cs.NetworkingV1().Ingresses("default").Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(ing.Status.LoadBalancer.Ingress) == 0 {
			return errors.New("it has none")
		}
		ip = ing.Status.LoadBalancer.Ingress[0].IP
		return nil
	})
	return ip
}

func (k *kube) event(text string) {
	k.w.t.Helper()
	eventually(k.w.t, "event "+text, func() error {
		list, err := k.cs.CoreV1().Events("default").List(context.Background(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, e := range list.Items {
			if strings.Contains(e.Message, text) {
				return nil
			}
		}
		return fmt.Errorf("not among %d events", len(list.Items))
	})
}

func TestIngressEndToEnd(t *testing.T) {
	w := newWorld(t)
	k := w.cluster("production")
	var probed sync.Map
	web := w.pod("web", "10.8.0.5", func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.UserAgent(), "GoogleHC") {
			probed.Store(r.URL.Path, true)
		}
		io.WriteString(rw, "web "+r.Header.Get("X-Forwarded-For"))
	})
	api := w.pod("api", "10.8.0.6", nil)
	w.put("projects/p/global/securityPolicies/edge", map[string]any{"name": "edge", "rules": []any{
		map[string]any{"priority": 10, "action": "deny(403)", "match": map[string]any{"expr": map[string]any{"expression": "request.path == '/secret'"}}}}})
	k.object(backendConfigs, "BackendConfig", "web", map[string]any{"timeoutSec": int64(10), "healthCheck": map[string]any{"checkIntervalSec": int64(1), "requestPath": "/up"},
		"securityPolicy": map[string]any{"name": "edge"}, "connectionDraining": map[string]any{"drainingTimeoutSec": int64(5)}})
	k.service("web", map[string]string{backendAnnotation: `{"default":"web"}`}, web)
	k.service("api", nil, api)
	exact, prefix := networkingv1.PathTypeExact, networkingv1.PathTypePrefix
	k.ingress("site", map[string]string{staticIPAnnotation: "web", preSharedAnnotation: "ads"}, networkingv1.IngressSpec{
		DefaultBackend: backend("web"),
		Rules: []networkingv1.IngressRule{{Host: "ads.example.com", IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{
			{Path: "/v1", PathType: &prefix, Backend: *backend("api")}, {Path: "/only", PathType: &exact, Backend: *backend("api")}}}}}}})
	if ip := k.address("site"); ip != "127.99.2.50" {
		t.Fatalf("address %s, want the static one", ip)
	}
	w.expect("http://127.99.2.50:80/", "", 200, "web 127.0.0.1,127.99.2.50")
	w.expect("http://127.99.2.50:80/v1/x", "ads.example.com", 200, "api")
	w.expect("http://127.99.2.50:80/only", "ads.example.com", 200, "api")
	w.expect("http://127.99.2.50:80/only/x", "ads.example.com", 200, "web")
	w.expect("http://127.99.2.50:80/v1/x", "other.example.com", 200, "web")
	w.expect("https://127.99.2.50:443/", "ads.example.com", 200, "web")
	w.expect("http://127.99.2.50:80/secret", "", 403, "403")
	if _, ok := probed.Load("/up"); !ok {
		t.Error("the health check did not ask for /up")
	}

	rule := w.paths("global/forwardingRules")
	if len(rule) != 2 || !strings.HasPrefix(rule[0], "k8s2-fr-") || !strings.HasPrefix(rule[1], "k8s2-fs-") {
		t.Errorf("forwarding rules %v", rule)
	}
	if ip := w.get("projects/p/global/forwardingRules/" + rule[0])["IPAddress"]; ip != "127.99.2.50" {
		t.Errorf("forwarding rule on %v", ip)
	}
	if status := w.get("projects/p/global/sslCertificates/ads")["managed"].(map[string]any)["status"]; status != "ACTIVE" {
		t.Errorf("the certificate that is served is %v", status)
	}
	for collection, want := range map[string]int{"global/targetHttpProxies": 1, "global/targetHttpsProxies": 1, "global/urlMaps": 1, "global/backendServices": 2,
		"global/healthChecks": 2, "zones/europe-west1-b/networkEndpointGroups": 2, "zones/europe-west1-c/networkEndpointGroups": 2} {
		if got := w.paths(collection); len(got) != want {
			t.Errorf("%s: %v, want %d", collection, got, want)
		}
	}
	eventually(t, "health in the annotation", func() error {
		ing, err := k.cs.NetworkingV1().Ingresses("default").Get(context.Background(), "site", metav1.GetOptions{})
		if err == nil && strings.Count(ing.Annotations["ingress.kubernetes.io/backends"], `"HEALTHY"`) != 2 {
			err = fmt.Errorf("annotations %v", ing.Annotations)
		}
		return err
	})

	// A security policy changed through the API takes effect without anybody touching the cluster.
	w.put("projects/p/global/securityPolicies/edge", map[string]any{"name": "edge", "rules": []any{}})
	w.expect("http://127.99.2.50:80/secret", "", 200, "web")

	// A new pod takes over.
	next := w.pod("next", "10.8.0.7", nil)
	k.setPods("web", next)
	w.expect("http://127.99.2.50:80/", "", 200, "next")

	// The sandbox restarts: the same cluster, the same address.
	k.stop()
	if _, _, err := w.fetch("http://127.99.2.50:80/", ""); err == nil {
		t.Error("it still answers after the stop")
	}
	k.start()
	w.expect("http://127.99.2.50:80/", "", 200, "next")

	// The Ingress goes, and all it had with it.
	if err := k.cs.NetworkingV1().Ingresses("default").Delete(context.Background(), "site", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "deletion", func() error {
		if _, err := k.cs.NetworkingV1().Ingresses("default").Get(context.Background(), "site", metav1.GetOptions{}); err == nil {
			return errors.New("the ingress is still there")
		}
		return nil
	})
	for _, collection := range []string{"global/forwardingRules", "global/targetHttpProxies", "global/targetHttpsProxies", "global/urlMaps", "global/backendServices", "global/healthChecks", "zones/europe-west1-b/networkEndpointGroups"} {
		if got := w.paths(collection); len(got) != 0 {
			t.Errorf("%s still has %v", collection, got)
		}
	}
	k.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count < 10 || len(w.log) < 10 {
		t.Fatalf("%d requests counted, %d logged", w.count, len(w.log))
	}
	raw, _ := json.Marshal(w.log[len(w.log)-1])
	for _, part := range []string{`"type":"http_load_balancer"`, `"statusDetails":"response_sent_by_backend"`, `"remoteIp":"127.0.0.1"`, `"latency":"0.0`, `"status":200`, `projects/p/logs/requests`} {
		if !strings.Contains(string(raw), part) {
			t.Errorf("log entry without %s: %s", part, raw)
		}
	}
}

func TestTwoClustersOneAddress(t *testing.T) {
	w := newWorld(t)
	one, two := w.cluster("one"), w.cluster("two")
	one.service("web", nil, w.pod("first", "10.8.0.5", nil))
	two.service("web", nil, w.pod("second", "10.9.0.5", nil))
	spec := networkingv1.IngressSpec{DefaultBackend: backend("web")}
	one.ingress("site", map[string]string{staticIPAnnotation: "web"}, spec)
	w.expect("http://127.99.2.50:80/", "", 200, "first")
	two.ingress("site", map[string]string{staticIPAnnotation: "web"}, spec)
	two.event("Specified IP address is in-use")
	w.expect("http://127.99.2.50:80/", "", 200, "first")
	two.ingress("own", map[string]string{}, spec)
	if ip := two.address("own"); ip == "127.99.2.50" || !netip.MustParseAddr(ip).IsLoopback() {
		t.Errorf("ephemeral address %s", ip)
	} else {
		w.expect("http://"+ip+":80/", "", 200, "second")
	}
	// From an address of its own to a static one and back: nothing stays allotted that is not used.
	w.put("projects/p/global/addresses/late", map[string]any{"name": "late", "address": "127.99.2.60", "status": "RESERVED", "addressType": "EXTERNAL"})
	two.annotate("own", staticIPAnnotation, "late")
	w.expect("http://127.99.2.60:80/", "", 200, "second")
	w.expectOwners(0)
	two.annotate("own", staticIPAnnotation, nil)
	w.expectOwners(1)
	// An address of a balancer's own is free again once its rule was deleted behind a dead cluster.
	err := w.store.Update(func(tx store.Tx) error {
		_, err := addresses.Allocate(tx, w.ctl.Settings, "compute/projects/p/global/forwardingRules/k8s2-fr-deadbeef-default-site-12345678")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	two.ingress("nowhere", map[string]string{staticIPAnnotation: "none"}, spec)
	two.event("the given static IP name none doesn't translate to an existing static IP")

	// The first cluster is deleted. What it had stays, and keeps the address until somebody deletes the rule.
	one.stop()
	time.Sleep(2 * poll)
	if ing, err := two.cs.NetworkingV1().Ingresses("default").Get(context.Background(), "site", metav1.GetOptions{}); err != nil || len(ing.Status.LoadBalancer.Ingress) != 0 {
		t.Errorf("the second cluster got the address while the dead one's rule is there: %v %v", ing.Status, err)
	}
	for _, rule := range w.paths("global/forwardingRules") {
		if w.get("projects/p/global/forwardingRules/" + rule)["IPAddress"] == "127.99.2.50" {
			if err := w.store.Delete("compute/projects/p/global/forwardingRules/" + rule); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.expect("http://127.99.2.50:80/", "", 200, "second")
	w.expectOwners(1) // the second cluster's own
}

func TestRedirectManagedCertificateAndErrors(t *testing.T) {
	w := newWorld(t)
	k := w.cluster("production")
	k.object(frontendConfigs, "FrontendConfig", "secure", map[string]any{"redirectToHttps": map[string]any{"enabled": true, "responseCodeName": "PERMANENT_REDIRECT"}})
	k.object(managedCerts, "ManagedCertificate", "cert", map[string]any{"domains": []any{"shop.example.com"}})
	k.ingress("site", map[string]string{staticIPAnnotation: "web", managedCertsAnnotation: "cert", frontendAnnotation: "secure"}, networkingv1.IngressSpec{DefaultBackend: backend("web")})
	k.event(`could not find service "default/web"`)
	k.service("web", nil, w.pod("web", "10.8.0.5", nil))
	w.expect("https://127.99.2.50:443/", "shop.example.com", 200, "web")
	resp, _, err := w.fetch("http://127.99.2.50:80/a?b=c", "shop.example.com")
	if err != nil || resp.StatusCode != 308 || resp.Header.Get("Location") != "https://shop.example.com/a?b=c" {
		t.Errorf("redirect: %v %v", resp, err)
	}
	cert, err := k.dyn.Resource(managedCerts).Namespace("default").Get(context.Background(), "cert", metav1.GetOptions{})
	if state, _, _ := unstructured.NestedString(cert.Object, "status", "certificateStatus"); err != nil || state != "Active" {
		t.Errorf("managed certificate: %v %v", cert.Object["status"], err)
	}
	if maps := w.paths("global/urlMaps"); len(maps) != 2 {
		t.Errorf("URL maps %v, want one of them for the redirect", maps)
	}
	// Another class is not ours.
	k.ingress("other", map[string]string{classAnnotation: "nginx"}, networkingv1.IngressSpec{DefaultBackend: backend("web")})
	// A broken reference leaves the balancer as it was.
	if err := k.cs.CoreV1().Services("default").Delete(context.Background(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	w.expect("https://127.99.2.50:443/", "shop.example.com", 200, "web")
	if ing, err := k.cs.NetworkingV1().Ingresses("default").Get(context.Background(), "other", metav1.GetOptions{}); err != nil || len(ing.Status.LoadBalancer.Ingress) != 0 || len(ing.Finalizers) != 0 {
		t.Errorf("an ingress of another class was touched: %v %v", ing, err)
	}
}
