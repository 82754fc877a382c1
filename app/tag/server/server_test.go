package server

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"patag/app/tag/counters"
	"patag/app/tag/demo"
	"patag/app/tag/events"
	"patag/app/tag/events/journal"
	"patag/app/tag/frequency"
	"patag/app/tag/hardcap"
	"patag/app/tag/inventory"
	"patag/app/tag/pacing"
	"patag/app/tag/token"
	"patag/app/tag/visitor"
)

// memory is a journal that keeps events, or refuses them.
type memory struct {
	mu     sync.Mutex
	events []events.Event
	err    error
}

func (m *memory) Append(_ context.Context, b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	e, err := events.Parse(b)
	m.events = append(m.events, e)
	return err
}

func (m *memory) kinds() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var s []string
	for _, e := range m.events {
		k := e.Kind.String()
		if e.Invalid {
			k += "!"
		}
		s = append(s, k)
	}
	return strings.Join(s, " ")
}

func (f *fixture) post(target, body string, header ...string) *httptest.ResponseRecorder {
	return f.serve(httptest.NewRequest("POST", target, strings.NewReader(body)), append([]string{"Content-Type", "application/json"}, header...))
}

type fixture struct {
	*Server
	t        testing.TB
	contract *contract
	journal  *memory
	handler  http.Handler
	keys     *token.Keys
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	keys, err := token.RandomKeys()
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, journal: &memory{}, keys: keys}
	if f.contract, err = loadContract(); err != nil {
		t.Fatal(err)
	}
	f.Server = New(Options{
		Keys: keys, Frequency: frequency.New(frequency.Options{Logger: log}), Journal: f.journal, Live: counters.NewLive(nil, log),
		Metrics: NewMetrics(prometheus.NewRegistry()), Logger: log, Visitors: &visitor.Reader{CountryHeader: "X-Country"}, Demo: true,
	})
	c, version, err := demo.Source{}.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	snap, err := inventory.Compile(c, version, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	f.Publish(&State{Snapshot: snap, Tally: counters.NewTally(snap), Delivery: pacing.New(pacing.Options{Logger: log}).View(t.Context(), snap, hardcap.New(nil, log).View(t.Context(), snap))})
	f.handler = Adapt(f.Handler())
	return f
}

const chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36"

func (f *fixture) do(method, target string, header ...string) *httptest.ResponseRecorder {
	return f.serve(httptest.NewRequest(method, target, nil), header)
}

// serve serves one request and holds the answer to the document.
func (f *fixture) serve(r *http.Request, header []string) *httptest.ResponseRecorder {
	r.Header.Set("User-Agent", chrome)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	f.contract.check(f.t, r, w)
	return w
}

type entry struct {
	Source, LineItem, DemandSource, Markup string
	TimeoutMs                              int
	Native                                 *struct{ Title string }
	Price                                  struct {
		CPMMicros int64
		Currency  string
	}
	URLs struct{ Impression, Viewable, Click, Attempt, Passback, Error string }
}

type answer struct {
	Placement, Reason, Arm string
	Fill                   bool
	Chain                  []entry
}

// last is the server's own fill.
func (a *answer) last() *entry { return &a.Chain[len(a.Chain)-1] }

func (f *fixture) answer(t testing.TB, query string, header ...string) answer {
	t.Helper()
	w := f.do("GET", "/v1/ad?"+query, header...)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", query, w.Code, w.Body)
	}
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("%s: %v: %s", query, err, w.Body)
	}
	return a
}

func (f *fixture) ad(t testing.TB, query string, header ...string) *entry {
	t.Helper()
	a := f.answer(t, query, header...)
	if !a.Fill || len(a.Chain) == 0 {
		t.Fatalf("%s: nothing fills: %s", query, a.Reason)
	}
	return a.last()
}

func TestAdIsWholeJSONWithWorkingURLs(t *testing.T) {
	f := newFixture(t)
	for _, p := range []string{"demo-top", "demo-side", "demo-native"} {
		a := f.ad(t, "placement="+p)
		if !strings.HasPrefix(a.Markup, "<!doctype html>") || !strings.HasSuffix(a.Markup, "</html>") {
			t.Errorf("%s: %+v", p, a)
		}
		if strings.Contains(a.Markup, "{{") || strings.Contains(a.Markup, "click.invalid") || !strings.Contains(a.Markup, a.URLs.Click) {
			t.Errorf("%s: the click URL is not in the markup", p)
		}
		if (p == "demo-native") != (a.Native != nil) {
			t.Errorf("%s: native assets %v", p, a.Native)
		}
	}
}

func TestURLsStartAsTheClientAsked(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct{ host, proto, want string }{
		{"ads.example", "https", "https://ads.example/v1/"}, {"ads.example:8080", "", "http://ads.example:8080/v1/"}, {`x"><script>`, "", "/v1/"},
	} {
		r := httptest.NewRequest("GET", "/v1/ad?placement=demo-top", nil)
		r.Host = c.host
		r.Header.Set("X-Forwarded-Proto", c.proto)
		w := httptest.NewRecorder()
		f.handler.ServeHTTP(w, r)
		var a answer
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || !strings.HasPrefix(a.last().URLs.Click, c.want) {
			t.Errorf("host %q: %q, %v; want %s…", c.host, a.last().URLs.Click, err, c.want)
		}
	}
}

func TestEventsCountOnceAndOnlyWithAToken(t *testing.T) {
	f := newFixture(t)
	a := f.ad(t, "placement=demo-top")
	for _, method := range []string{"GET", "POST", "GET"} {
		w := f.do(method, a.URLs.Impression)
		want := http.StatusOK
		if method == "POST" {
			want = http.StatusNoContent
		}
		if w.Code != want {
			t.Errorf("%s: %d, want %d", method, w.Code, want)
		}
	}
	f.do("POST", a.URLs.Viewable)
	w := f.do("GET", a.URLs.Click)
	if loc := w.Header().Get("Location"); w.Code != http.StatusFound || !strings.HasPrefix(loc, "https://") {
		t.Errorf("click: %d to %q", w.Code, loc)
	}
	if got := f.journal.kinds(); got != "impression viewable click" {
		t.Errorf("journal: %s", got)
	}
	other := newFixture(t).ad(t, "placement=demo-top")
	old := string(f.keys.Append(nil, &token.Claims{ID: 1, Issued: time.Now().Add(-2 * time.Hour).Unix(), Placement: "demo-top", Creative: "radhaus-728x90"}))
	for target, want := range map[string]int{
		other.URLs.Impression: http.StatusForbidden, "/v1/event/impression": http.StatusBadRequest, "/v1/event/impression?t=" + old: http.StatusGone,
		"/v1/event/purchase?t=x": http.StatusNotFound, other.URLs.Click: http.StatusForbidden, "/v1/click?t=x&url=https://evil.example": http.StatusBadRequest,
	} {
		if w := f.do("GET", target); w.Code != want {
			t.Errorf("%.60s: %d, want %d", target, w.Code, want)
		}
	}
	if got := f.journal.kinds(); got != "impression viewable click" {
		t.Errorf("after refused ones: %s", got)
	}
}

func TestBotsAreServedAndCountedApart(t *testing.T) {
	f := newFixture(t)
	a := f.ad(t, "placement=demo-top", "User-Agent", "Googlebot/2.1")
	f.do("GET", a.URLs.Impression) // the token remembers, whoever sends it
	if got := f.journal.kinds(); got != "impression!" {
		t.Errorf("journal: %s", got)
	}
	var drained []string
	f.State().Tally.Drain(func(e *events.Event) bool {
		if !e.Invalid {
			t.Errorf("a bot's %s is counted as valid", e.Kind)
		}
		drained = append(drained, e.Kind.String())
		return true
	})
	if strings.Join(drained, " ") != "request fill" {
		t.Errorf("drained %v", drained)
	}
}

func TestNoUserWithoutConsentOrAgainstGPC(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		query, gpc string
		capped     bool
	}{{"&uid=u&consent=1", "", true}, {"&uid=u", "", false}, {"&uid=u&consent=0", "", false}, {"&uid=u&consent=1", "1", false}} {
		a := f.ad(t, "placement=demo-side"+c.query, "Sec-GPC", c.gpc)
		if got := a.LineItem == "morgenrot-side"; got != c.capped {
			t.Errorf("%q with GPC %q: filled by %s", c.query, c.gpc, a.LineItem)
		}
	}
}

func TestJournalThatRefusesIsTold(t *testing.T) {
	f := newFixture(t)
	a := f.ad(t, "placement=demo-top")
	f.journal.err = journal.ErrFull
	if w := f.do("POST", a.URLs.Impression); w.Code != http.StatusServiceUnavailable {
		t.Errorf("an event that is not safe was answered %d", w.Code)
	}
	if w := f.do("GET", a.URLs.Click); w.Code != http.StatusFound {
		t.Errorf("a click that cannot be counted must still be followed: %d", w.Code)
	}
	f.ad(t, "placement=demo-top") // ads go on
	f.journal.err = nil
	if w := f.do("POST", a.URLs.Impression); w.Code != http.StatusNoContent {
		t.Errorf("tried again: %d", w.Code)
	}
	if got := f.journal.kinds(); got != "impression" {
		t.Errorf("journal: %s", got)
	}
}

func TestHTMLFormatIsSandboxedAndCountsItself(t *testing.T) {
	f := newFixture(t)
	w := f.do("GET", "/v1/ad?placement=demo-top&format=html")
	if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "sandbox") || strings.Contains(csp, "allow-same-origin") {
		t.Errorf("policy %q", csp)
	}
	if !strings.Contains(w.Body.String(), "/v1/event/impression?t=") {
		t.Error("no impression pixel")
	}
}

func TestHealthAndLimits(t *testing.T) {
	f := newFixture(t)
	if w := f.do("GET", "/healthz"); w.Code != http.StatusOK {
		t.Errorf("healthz: %d", w.Code)
	}
	if w := f.do("GET", "/v1/ad?placement="+strings.Repeat("a", 9000)); w.Code != http.StatusRequestURITooLong {
		t.Errorf("a long URL: %d", w.Code)
	}
	for target, want := range map[string]int{"/v1/ad?placement=nope": 404, "/v1/ad": 400, "/v1/ad?placement=a&format=xml": 400, "/nothing": 404, "/demo": 200, "/tag/v1.js": 200} {
		if w := f.do("GET", target); w.Code != want {
			t.Errorf("%s: %d, want %d", target, w.Code, want)
		}
	}
	if w := f.do("DELETE", "/v1/ad?placement=demo-top"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("DELETE: %d", w.Code)
	}
	f.Drain()
	if w := f.do("GET", "/healthz"); w.Code != http.StatusServiceUnavailable || f.Ready() {
		t.Errorf("healthz while draining: %d", w.Code)
	}
	f.ad(t, "placement=demo-top") // and yet served
}

func TestOverloadIsShedAtOnce(t *testing.T) {
	f := newFixture(t)
	f.o.MaxInFlight = 4
	f.inFlight.Store(4)
	a := f.ad(t, "placement=demo-top")
	if a.Source != "house" {
		t.Errorf("overloaded: filled by %s", a.Source)
	}
	if w := f.do("GET", "/v1/ad?placement=demo-top&format=html"); !strings.Contains(w.Body.String(), "/v1/event/impression?t=") {
		t.Errorf("overloaded: %d without an ad", w.Code)
	}
	if w := f.post("/v1/ads", `{"placements":[{"id":"demo-top"},{"id":"demo-side"}]}`); w.Code != http.StatusOK || strings.Count(w.Body.String(), `"source":"house"`) != 2 {
		t.Errorf("overloaded: %d %.200s", w.Code, w.Body)
	}
	if w := f.do("GET", a.URLs.Impression); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("an event while overloaded: %d", w.Code)
	}
	f.inFlight.Store(100)
	if w := f.do("GET", "/v1/ad?placement=demo-top"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("far beyond the limit: %d", w.Code)
	}
	if w := f.do("GET", "/healthz"); w.Code != http.StatusOK {
		t.Errorf("health checks must not be shed: %d", w.Code)
	}
	if n := f.inFlight.Load(); n != 100 {
		t.Errorf("%d in flight after all, want 100", n)
	}
}

func TestLoaderIsSmallAndCached(t *testing.T) {
	f := newFixture(t)
	w := f.do("GET", "/tag/v1.js", "Accept-Encoding", "gzip")
	if n := w.Body.Len(); n > 5<<10 || n == 0 {
		t.Errorf("the loader has %d bytes gzipped, at most 5 KiB are allowed", n)
	}
	if w := f.do("GET", "/tag/v1.js", "If-None-Match", w.Header().Get("ETag")); w.Code != http.StatusNotModified {
		t.Errorf("asked again: %d", w.Code)
	}
}

func TestBeforeTheFirstCatalogue(t *testing.T) {
	f := newFixture(t)
	f.state.Store(nil)
	for _, target := range []string{"/v1/ad?placement=demo-top", "/healthz"} {
		if w := f.do("GET", target); w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
}

// live serves a fixture over a socket, with its own limits but for the time to read.
func (f *fixture) live(t *testing.T, read time.Duration) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := f.HTTP()
	if srv.ReadTimeout <= 0 || srv.WriteTimeout <= 0 || srv.IdleTimeout <= 600*time.Second || srv.Concurrency <= 0 {
		t.Fatalf("a limit is missing: %+v", srv)
	}
	srv.ReadTimeout = read
	served := make(chan error, 1)
	go func() { served <- srv.Serve(Listener(l)) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := srv.ShutdownWithContext(ctx); err != nil {
			t.Errorf("shut down: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return "http://" + l.Addr().String()
}

// Slow and oversized requests are cut off by the server's own limits.
func TestSlowHeadersAreCut(t *testing.T) {
	f := newFixture(t)
	base := f.live(t, 200*time.Millisecond)
	conn, err := net.Dial("tcp", base[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /v1/ad?placement=demo-top HTTP/1.1\r\nHost: x\r\nX-Slow: ")); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if got, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 408 ") {
		t.Errorf("a client that never ends its headers is not cut off: %v, %.100q", err, got)
	}
	req, err := http.NewRequest("GET", base+"/v1/ad?placement=demo-top", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Big", strings.Repeat("h", 64<<10))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("64 KiB of headers: %d", res.StatusCode)
	}
}

// What is no HTTP is refused in JSON, and neither ends the server nor reaches a handler.
func TestGarbageIsRefused(t *testing.T) {
	f := newFixture(t)
	base := f.live(t, time.Second)
	for _, garbage := range []string{
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "GET\r\n\r\n", "GET /v1/ad HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"POST /v1/ads HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "GET /v1/ad?placement=demo-top HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", base[len("http://"):])
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte(garbage))
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		got, err := io.ReadAll(conn)
		conn.Close()
		if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 4") || strings.Contains(string(got), `"fill"`) {
			t.Errorf("%.40q is answered %.200q, %v", garbage, got, err)
		}
	}
	if res, err := http.Get(base + "/v1/ad?placement=demo-top"); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %v %v", res, err)
	} else {
		res.Body.Close()
	}
}

// A fault in one request is that request's alone.
func TestFaultEndsOneRequest(t *testing.T) {
	f := newFixture(t)
	st := *f.State()
	st.Tally = nil
	f.Publish(&st)
	base := f.live(t, time.Second)
	for range 3 {
		res, err := http.Get(base + "/v1/ad?placement=demo-top")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusInternalServerError || !json.Valid(body) {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	}
	if n := f.inFlight.Load(); n != 0 {
		t.Errorf("%d requests in flight", n)
	}
}

// FuzzAd: whatever a query or a header holds, the answer is what the document promises.
func FuzzAd(f *testing.F) {
	fx, _ := waterfall(f)
	f.Add("placement=mix&kv.section=sport&gdpr=0", "ads.example", "DE")
	f.Add("placement=left&uid=%22&consent=1&country=zz&format=html", "\"<>", "\x00")
	f.Add("placement=story&gdpr_consent=CPX&gpp=DBABMA~CPX&gpp_sid=2&us_privacy=1YNN&page=https://a.example/%22%3C", "[::1]:80", "Mozilla/5.0")
	f.Fuzz(func(t *testing.T, query, host, header string) {
		r := &http.Request{Method: "GET", URL: &url.URL{Path: "/v1/ad", RawQuery: query}, Host: host, RequestURI: "/v1/ad?" + query,
			Header: http.Header{"X-Country": {header}, "User-Agent": {header}, "Accept-Language": {header}, "X-Forwarded-For": {header}, "Referer": {header}, "Cookie": {header}}}
		w := httptest.NewRecorder()
		fx.handler.ServeHTTP(w, r.WithContext(t.Context()))
		fx.contract.check(t, r, w)
	})
}
