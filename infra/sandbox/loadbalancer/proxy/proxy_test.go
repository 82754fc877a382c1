package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"patag/infra/sandbox/loadbalancer/armor"
)

type records struct {
	mu   sync.Mutex
	list []*Record
}

func (r *records) Record(rec *Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, rec)
}

func (r *records) last(t *testing.T) *Record {
	t.Helper()
	for range 200 {
		r.mu.Lock()
		n := len(r.list)
		r.mu.Unlock()
		if n > 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) == 0 {
		t.Fatal("no record")
	}
	rec := r.list[len(r.list)-1]
	r.list = nil
	return rec
}

type rig struct {
	backend *Backend
	front   *Frontend
	records *records
	url     string
	addr    string
}

func newRig(t testing.TB, spec BackendSpec) *rig {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	r := &rig{records: &records{}}
	r.backend = NewBackend((&net.Dialer{}).DialContext, quiet, nil)
	spec.Name = "k8s1-test"
	r.backend.Update(spec)
	t.Cleanup(r.backend.Close)
	m, err := NewURLMap("um", nil, r.backend)
	if err != nil {
		t.Fatal(err)
	}
	r.front = NewFrontend(false, r.records, quiet)
	r.front.Configure(&FrontendConfig{Address: "127.2.2.1", ForwardingRule: "fr", TargetProxy: "tp", URLMap: m})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.front.Serve(l)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		r.front.Close(ctx)
	})
	r.addr, r.url = l.Addr().String(), "http://"+l.Addr().String()
	return r
}

func (r *rig) wait(t testing.TB, healthy int) {
	t.Helper()
	for range 1000 {
		n := 0
		for _, ok := range r.backend.Health() {
			if ok {
				n++
			}
		}
		if n == healthy && len(*r.backend.usable.Load()) == healthy {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("health %v, want %d healthy", r.backend.Health(), healthy)
}

func pod(t testing.TB, h http.HandlerFunc) (*httptest.Server, Endpoint) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s, Endpoint{Address: s.Listener.Addr().String()}
}

func fast() HealthCheck {
	return HealthCheck{Interval: 20 * time.Millisecond, Timeout: time.Second, Healthy: 1, Unhealthy: 2}
}

func get(t *testing.T, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp, string(body)
}

func TestHeadersAndRecord(t *testing.T) {
	var seen *http.Request
	_, ep := pod(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.UserAgent(), "GoogleHC") {
			seen = r.Clone(context.Background())
		}
		io.WriteString(w, "hello")
	})
	r := newRig(t, BackendSpec{Health: fast(), LogRate: 1, Endpoints: []Endpoint{ep}, RequestHeaders: []Header{{"X-Client", "{client_ip_address}:{client_region}"}}})
	r.wait(t, 1)
	resp, body := get(t, r.url+"/a%2Fb?x=1;y=2", "X-Forwarded-For", "9.9.9.9", "X-Cloud-Trace-Context", "0123456789abcdef0123456789abcdef/1;o=1", "Host", "x")
	if body != "hello" || resp.Header.Get("Via") != "1.1 google" {
		t.Errorf("%s %q, Via %q", resp.Status, body, resp.Header.Get("Via"))
	}
	for name, want := range map[string]string{"X-Forwarded-For": "9.9.9.9,127.0.0.1,127.2.2.1", "X-Forwarded-Proto": "http", "Via": "1.1 google", "X-Client": "127.0.0.1:"} {
		if got := seen.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if got := seen.Header.Get("X-Cloud-Trace-Context"); !strings.HasPrefix(got, "0123456789abcdef0123456789abcdef/") || !strings.HasSuffix(got, ";o=1") {
		t.Errorf("trace %q", got)
	}
	if seen.RequestURI != "/a%2Fb?x=1;y=2" || seen.Host != r.addr {
		t.Errorf("the backend saw %s on %s", seen.RequestURI, seen.Host)
	}
	rec := r.records.last(t)
	if rec.Status != 200 || rec.Detail != "response_sent_by_backend" || rec.RemoteIP != "127.0.0.1" || rec.Backend != "k8s1-test" || rec.ResponseSize < 5 || rec.Latency <= 0 ||
		rec.URL() != r.url+"/a%2Fb?x=1;y=2" || !rec.Sampled() {
		t.Errorf("record: %+v", rec)
	}
}

func TestFailures(t *testing.T) {
	closed, _ := net.Listen("tcp", "127.0.0.1:0")
	gone := Endpoint{Address: closed.Addr().String()}
	closed.Close()
	_, slow := pod(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			time.Sleep(400 * time.Millisecond)
		case "/die":
			c, _, _ := w.(http.Hijacker).Hijack()
			c.Close()
		case "/half":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	cases := []struct {
		what, path string
		endpoints  []Endpoint
		healthy    int
		status     int
		detail     string
	}{
		{"no endpoints", "/", nil, 0, 503, "failed_to_pick_backend"},
		{"none healthy", "/", []Endpoint{gone}, 0, 502, "failed_to_pick_backend"},
		{"timeout", "/slow", []Endpoint{slow}, 1, 504, "backend_timeout"},
		{"dies", "/die", []Endpoint{slow}, 1, 502, "backend_connection_closed_before_data_sent_to_client"},
	}
	for _, c := range cases {
		r := newRig(t, BackendSpec{Health: fast(), Timeout: 100 * time.Millisecond, Endpoints: c.endpoints})
		r.wait(t, c.healthy)
		resp, body := get(t, r.url+c.path)
		if rec := r.records.last(t); resp.StatusCode != c.status || rec.Detail != c.detail || rec.Status != c.status || !strings.Contains(body, "Error: Server Error") {
			t.Errorf("%s: %s %q, record %d %q, want %d %q", c.what, resp.Status, body, rec.Status, rec.Detail, c.status, c.detail)
		}
	}
	r := newRig(t, BackendSpec{Health: fast(), Endpoints: []Endpoint{slow}})
	r.wait(t, 1)
	resp, err := http.Get(r.url + "/half")
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if rec := r.records.last(t); err == nil || rec.Detail != "backend_connection_closed_after_partial_response_sent" {
		t.Errorf("half a response: %v, %q", err, rec.Detail)
	}
}

func TestRetryOnDeadEndpoint(t *testing.T) {
	_, one := pod(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "one") })
	two, ep := pod(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "two") })
	check := fast()
	check.Interval = time.Hour // the health check does not notice
	r := newRig(t, BackendSpec{Health: check, Endpoints: []Endpoint{one, ep}})
	r.wait(t, 2)
	two.CloseClientConnections()
	two.Close()
	for i := range 20 {
		method, body := "GET", io.Reader(nil)
		if i%2 == 1 {
			method, body = "POST", strings.NewReader("payload")
		}
		req, _ := http.NewRequest(method, r.url, body)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s with a dead endpoint: %s", method, resp.Status)
		}
	}
}

// A rollout as Kubernetes does it: the new pod is ready, the old one is taken out of the endpoints, goes on serving for
// its preStop pause, then ends. No request may fail.
func TestRolloutLosesNothing(t *testing.T) {
	serve := func() (*httptest.Server, Endpoint) {
		return pod(t, func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.UserAgent(), "GoogleHC") {
				time.Sleep(2 * time.Millisecond)
			}
			io.WriteString(w, "ok")
		})
	}
	old, oldEP := serve()
	r := newRig(t, BackendSpec{Health: fast(), Drain: time.Second, Endpoints: []Endpoint{oldEP}})
	r.wait(t, 1)
	var sent, failed atomic.Int64
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			for ctx.Err() == nil {
				resp, err := client.Get(r.url)
				sent.Add(1)
				if err != nil || resp.StatusCode != 200 {
					failed.Add(1)
				}
				if err == nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}
		})
	}
	for range 5 {
		next, nextEP := serve()
		spec := *r.backend.spec.Load()
		spec.Endpoints = []Endpoint{oldEP, nextEP}
		r.backend.Update(spec)
		r.wait(t, 2)
		spec.Endpoints = []Endpoint{nextEP}
		r.backend.Update(spec)
		time.Sleep(50 * time.Millisecond) // the preStop pause
		old.Close()
		old, oldEP = next, nextEP
	}
	stop()
	wg.Wait()
	if failed.Load() != 0 || sent.Load() < 50 { // a busy machine sends few
		t.Errorf("%d of %d requests failed during five rollouts", failed.Load(), sent.Load())
	}
}

func TestDraining(t *testing.T) {
	begun := make(chan struct{}, 2)
	_, ep := pod(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			begun <- struct{}{}
			select {
			case <-time.After(600 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
		io.WriteString(w, "done")
	})
	for _, c := range []struct {
		drain time.Duration
		want  int
	}{{2 * time.Second, 200}, {100 * time.Millisecond, 502}, {0, 200}} {
		r := newRig(t, BackendSpec{Health: fast(), Drain: c.drain, Endpoints: []Endpoint{ep}})
		r.wait(t, 1)
		got := make(chan int)
		go func() {
			resp, err := http.Get(r.url + "/long")
			if err != nil {
				got <- 0
				return
			}
			resp.Body.Close()
			got <- resp.StatusCode
		}()
		<-begun
		spec := *r.backend.spec.Load()
		spec.Endpoints = nil
		r.backend.Update(spec)
		if resp, _ := get(t, r.url+"/"); resp.StatusCode != 503 {
			t.Errorf("a new request while draining: %s, want 503", resp.Status)
		}
		if status := <-got; status != c.want {
			t.Errorf("drain %v: the old request got %d, want %d", c.drain, status, c.want)
		}
	}
}

func TestHealthThresholds(t *testing.T) {
	var healthy atomic.Bool
	var probes atomic.Int64
	_, ep := pod(t, func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != "GoogleHC/1.0" || r.URL.Path != "/up" {
			t.Errorf("probe %s by %s", r.URL.Path, r.UserAgent())
		}
		probes.Add(1)
		if !healthy.Load() {
			w.WriteHeader(http.StatusFound)
		}
	})
	r := newRig(t, BackendSpec{Health: HealthCheck{Path: "/up", Interval: 20 * time.Millisecond, Healthy: 3, Unhealthy: 3}, Endpoints: []Endpoint{ep}})
	time.Sleep(100 * time.Millisecond)
	r.wait(t, 0)
	healthy.Store(true)
	before := probes.Load()
	r.wait(t, 1)
	if n := probes.Load() - before; n < 3 {
		t.Errorf("healthy after %d probes, want 3", n)
	}
	healthy.Store(false)
	before = probes.Load()
	r.wait(t, 0)
	if n := probes.Load() - before; n < 3 {
		t.Errorf("unhealthy after %d probes, want 3", n)
	}
}

func TestPolicyAndRedirect(t *testing.T) {
	_, ep := pod(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	p, _, err := armor.Compile([]byte(`{"name":"edge","rules":[{"priority":1,"action":"deny(403)","match":{"expr":{"expression":"request.path == '/no'"}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, BackendSpec{Health: fast(), Policy: p, Endpoints: []Endpoint{ep}})
	r.wait(t, 1)
	if resp, _ := get(t, r.url+"/yes"); resp.StatusCode != 200 {
		t.Errorf("/yes: %s", resp.Status)
	}
	r.records.last(t)
	resp, _ := get(t, r.url+"/no")
	if rec := r.records.last(t); resp.StatusCode != 403 || rec.Detail != "denied_by_security_policy" || rec.Policy.Policy != "edge" {
		t.Errorf("/no: %s, %+v", resp.Status, rec)
	}
	c := *r.front.config.Load()
	c.Redirect = 301
	r.front.Configure(&c)
	if resp, _ := get(t, r.url+"/x?y=1"); resp.StatusCode != 301 || resp.Header.Get("Location") != "https://127.0.0.1/x?y=1" {
		t.Errorf("redirect: %s to %s", resp.Status, resp.Header.Get("Location"))
	}
}

func TestUpgrade(t *testing.T) {
	_, ep := pod(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			return
		}
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		rw.Flush()
		line, _ := rw.ReadString('\n')
		fmt.Fprint(rw, "echo "+line)
		rw.Flush()
	})
	r := newRig(t, BackendSpec{Health: fast(), Endpoints: []Endpoint{ep}})
	r.wait(t, 1)
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("upgrade: %v %v", resp, err)
	}
	fmt.Fprint(c, "hello\n")
	if line, _ := br.ReadString('\n'); line != "echo hello\n" {
		t.Errorf("through the upgraded connection: %q", line)
	}
	c.Close()
	if rec := r.records.last(t); rec.Status != 101 {
		t.Errorf("record: %d", rec.Status)
	}
}

func BenchmarkProxy(b *testing.B) {
	payload := strings.Repeat("x", 1024)
	_, ep := pod(b, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, payload) })
	drive := func(b *testing.B, url string) {
		transport := &http.Transport{MaxIdleConnsPerHost: 64}
		b.ReportAllocs()
		b.SetParallelism(8)
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				req, _ := http.NewRequest("GET", url, nil)
				resp, err := transport.RoundTrip(req)
				if err != nil || resp.StatusCode != 200 {
					b.Error(resp, err)
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
	b.Run("direct", func(b *testing.B) { drive(b, "http://"+ep.Address) })
	b.Run("plainReverseProxy", func(b *testing.B) {
		s := httptest.NewServer(plainProxy(ep.Address))
		defer s.Close()
		drive(b, s.URL)
	})
	b.Run("loadbalancer", func(b *testing.B) {
		r := newRig(b, BackendSpec{Health: HealthCheck{}, LogRate: 1, Endpoints: []Endpoint{ep}})
		r.front.sink = discard{}
		r.wait(b, 1)
		drive(b, r.url)
	})
}

type discard struct{}

func (discard) Record(*Record) {}
