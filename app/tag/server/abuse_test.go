package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"patag/app/tag/events"
	"patag/app/tag/token"
)

func TestAnyPageMayAskWithoutCredentials(t *testing.T) {
	f := newFixture(t)
	for _, target := range []string{"/v1/ad", "/v1/ads", "/v1/event", "/v1/event/impression", "/v1/click"} {
		w := f.do("OPTIONS", target, "Origin", "https://news.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type")
		if w.Code != http.StatusNoContent || w.Header().Get("Access-Control-Allow-Origin") != "*" || w.Header().Get("Access-Control-Allow-Credentials") != "" ||
			w.Header().Get("Access-Control-Allow-Headers") != "Content-Type" || w.Header().Get("Access-Control-Max-Age") == "" {
			t.Errorf("%s: %d %v", target, w.Code, w.Header())
		}
	}
	for _, w := range []*httptest.ResponseRecorder{
		f.do("GET", "/v1/ad?placement=demo-top"), f.do("GET", "/v1/ad"), f.post("/v1/ads", `{"placements":[{"id":"demo-top"}]}`), f.post("/v1/ads", `{`),
		f.do("GET", "/v1/event/impression?t=x"), f.do("GET", "/v1/click?t=x"),
	} {
		if w.Header().Get("Access-Control-Allow-Origin") != "*" || w.Header().Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%d: %v", w.Code, w.Header())
		}
	}
}

func TestWrongPathsAndMethodsAreJSON(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		method, target string
		code           int
		allow          string
	}{
		{"GET", "/", 404, ""}, {"GET", "/v1/", 404, ""}, {"GET", "/v1/event/", 404, ""}, {"GET", "/v1/event/impression/x", 404, ""}, {"GET", "/V1/ad", 404, ""},
		{"POST", "/v1/ad?placement=demo-top", 405, "GET, HEAD, OPTIONS"}, {"GET", "/v1/ads", 405, "POST, OPTIONS"}, {"PUT", "/v1/click", 405, "GET, HEAD, OPTIONS"}, {"TRACE", "/v1/event", 405, "POST, OPTIONS"},
	} {
		w := f.do(c.method, c.target)
		var e struct{ Error string }
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != c.code || e.Error == "" || w.Header().Get("Allow") != c.allow {
			t.Errorf("%s %s: %d %q, allow %q, %v", c.method, c.target, w.Code, w.Body, w.Header().Get("Allow"), err)
		}
	}
}

func TestHeadCountsNothing(t *testing.T) {
	f := newFixture(t)
	a := f.ad(t, "placement=demo-top")
	f.State().Tally.Drain(func(*events.Event) bool { return true })
	for _, target := range []string{"/v1/ad?placement=demo-top", a.URLs.Impression, "/ads.txt?site=news.example", "/tag/v1.js"} {
		if w := f.do("HEAD", target); w.Code != http.StatusOK {
			t.Errorf("HEAD %.40s: %d", target, w.Code)
		}
	}
	if w := f.do("HEAD", a.URLs.Click); w.Code != http.StatusFound || w.Header().Get("Location") == "" {
		t.Errorf("HEAD of a click: %d", w.Code)
	}
	f.State().Tally.Drain(func(e *events.Event) bool { t.Errorf("HEAD counted a %s", e.Kind); return true })
	if got := f.journal.kinds(); got != "" {
		t.Errorf("HEAD counted %s", got)
	}
}

func TestKeysRotateUnderTheServer(t *testing.T) {
	f := newFixture(t)
	secret := func(c byte) []byte { return bytes.Repeat([]byte{c}, token.MinKey) }
	use := func(secrets ...[]byte) {
		keys, err := token.NewKeys(secrets...)
		if err != nil {
			t.Fatal(err)
		}
		f.o.Keys = keys
	}
	use(secret(1))
	old := f.ad(t, "placement=demo-top")
	use(secret(2), secret(1))
	fresh := f.ad(t, "placement=demo-top")
	for _, u := range []string{old.URLs.Impression, fresh.URLs.Impression} {
		if w := f.do("POST", u); w.Code != http.StatusNoContent {
			t.Errorf("during the rotation: %d", w.Code)
		}
	}
	use(secret(2))
	if w := f.do("POST", old.URLs.Viewable); w.Code != http.StatusForbidden {
		t.Errorf("signed with a key that is gone: %d", w.Code)
	}
	if w := f.do("POST", fresh.URLs.Viewable); w.Code != http.StatusNoContent {
		t.Errorf("signed with the key that stayed: %d", w.Code)
	}
}

// A click leads to the creative's own page and nowhere else, and no header can be written by a request.
func TestNoOpenRedirectAndNoHeaderInjection(t *testing.T) {
	f := newFixture(t)
	a := f.ad(t, "placement=demo-top")
	want := f.do("GET", a.URLs.Click).Header().Get("Location")
	if u, err := url.Parse(want); err != nil || u.Scheme != "https" {
		t.Fatalf("landing %q", want)
	}
	path := a.URLs.Click[strings.Index(a.URLs.Click, "/v1/"):]
	for _, more := range []string{"&url=https://evil.example", "&t=https://evil.example", "&landing=//evil.example", "&r=%0d%0aLocation:%20https://evil.example"} {
		w := f.do("GET", path+more, "Referer", "https://evil.example", "X-Forwarded-Host", "evil.example")
		if got := w.Header().Get("Location"); got != want {
			t.Errorf("%s: sent to %q, want %q", more, got, want)
		}
	}
	for _, target := range []string{"/v1/ad?placement=%0d%0aX-Evil:%201", "/v1/ad?placement=demo-top&format=%0d%0aX-Evil:1", "/v1/ad?placement=demo-top&preview=%0aX-Evil:1", "/ads.txt?site=%0d%0aX-Evil:%201"} {
		w := f.do("GET", target)
		for k, vs := range w.Header() {
			if strings.ContainsAny(strings.Join(vs, ""), "\r\n") || k == "X-Evil" {
				t.Errorf("%s: header %s: %q", target, k, vs)
			}
		}
		if w.Code < 400 {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
}

// Nothing of a request comes back as markup.
func TestNoScriptOfTheRequestInADocument(t *testing.T) {
	f, _ := waterfall(t)
	const attack = `"><script>alert(1)</script>`
	q := url.QueryEscape(attack)
	query := "&page=https://x/" + q + "&gdpr_consent=" + q + "&gpp=" + q + "&us_privacy=" + q + "&kw=" + q + "&cat=" + q + "&pv=" + q + "&uid=" + q + "&consent=1&kv.a=" + q
	for _, target := range []string{"/v1/ad?placement=left&format=html", "/v1/ad?placement=mix&gdpr=0", "/v1/ad?placement=" + q, "/v1/ad?placement=left&format=" + q} {
		r := httptest.NewRequest("GET", target+query, nil)
		r.Host = attack
		w := f.serve(r, []string{"Referer", attack, "User-Agent", attack, "X-Forwarded-Proto", attack, "Accept-Language", attack})
		// <script> inside a JSON string is text; in a document it would run.
		html := strings.HasPrefix(w.Header().Get("Content-Type"), "text/html")
		if html && strings.Contains(w.Body.String(), "alert(1)") || !html && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: %s", target, w.Body)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: may be sniffed", target)
		}
		if strings.Contains(w.Body.String(), `parent.postMessage`) && strings.Contains(w.Body.String(), "alert(1)</script>") {
			t.Errorf("%s: a macro's value is not escaped: %s", target, w.Body)
		}
	}
}

func TestBodiesAreBounded(t *testing.T) {
	f := newFixture(t)
	base := f.live(t, 5*time.Second)
	for _, path := range []string{"/v1/ads", "/v1/event"} {
		// Chunked, so that no length gives it away.
		res, err := http.Post(base+path, "application/json", io.LimitReader(endless{}, 10<<20))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: 10 MB are answered %d", path, res.StatusCode)
		}
	}
	for body, code := range map[string]int{`{"placements":[{"id":"demo-top"}],"x":1}`: 400, `[]`: 400, ``: 400, strings.Repeat("[", 60000): 400} {
		if w := f.post("/v1/ads", body); w.Code != code {
			t.Errorf("%.30q: %d", body, w.Code)
		}
	}
	if w := f.post("/v1/ads", `{"placements":[{"id":"demo-top"}]}`, "Content-Type", "application/xml"); w.Code != http.StatusUnsupportedMediaType {
		t.Errorf("XML: %d", w.Code)
	}
	if w := f.post("/v1/ads", `{"placements":[{"id":"demo-top"}]}`, "Content-Type", "text/plain;charset=UTF-8"); w.Code != http.StatusOK {
		t.Errorf("text/plain, as pages send it without a preflight: %d", w.Code)
	}
	// A body where none belongs is not in the way.
	if w := f.post(f.ad(t, "placement=demo-top").URLs.Impression, strings.Repeat("x", 1<<10)); w.Code != http.StatusNoContent {
		t.Errorf("an event with a body: %d", w.Code)
	}
}

// endless is JSON that never ends.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '['
	}
	return len(b), nil
}

// A client that sends its body a byte at a time is cut off, and holds up nobody else.
func TestSlowBodiesAreCut(t *testing.T) {
	f := newFixture(t)
	base := f.live(t, 300*time.Millisecond)
	var conns []net.Conn
	for range 50 {
		conn, err := net.Dial("tcp", base[len("http://"):])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /v1/ads HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{")
		conns = append(conns, conn)
	}
	begin := time.Now()
	res, err := http.Get(base + "/v1/ad?placement=demo-top")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("beside slow clients: %v", err)
	}
	res.Body.Close()
	if took := time.Since(begin); took > 250*time.Millisecond {
		t.Errorf("beside slow clients an ad took %s", took)
	}
	for _, c := range conns {
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.ReadAll(c); err != nil {
			t.Fatalf("a slow client is not cut off: %v", err)
		}
	}
	if n := f.inFlight.Load(); n != 0 {
		t.Errorf("%d requests in flight after all ended", n)
	}
}

// No request makes a new series.
func TestMetricsDoNotGrow(t *testing.T) {
	f := newFixture(t)
	reg := prometheus.NewRegistry()
	f.o.Metrics = NewMetrics(reg)
	series := func() int {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, m := range families {
			n += len(m.Metric)
		}
		return n
	}
	before := series()
	for i := range 200 {
		f.do("GET", fmt.Sprintf("/v1/ad?placement=x%d", i))
		f.do("GET", fmt.Sprintf("/x%d", i))
		f.do(fmt.Sprintf("M%d", i), "/v1/ad")
		f.do("GET", fmt.Sprintf("/v1/event/k%d?t=%d", i, i))
		f.do("GET", fmt.Sprintf("/v1/ad?placement=demo-top&country=%d&kv.a%d=b", i, i), "User-Agent", fmt.Sprintf("bot %d", i))
		f.post("/v1/event", fmt.Sprintf(`{"events":[{"kind":"k%d","token":"%d"}]}`, i, i))
		f.post("/v1/ads", fmt.Sprintf(`{"placements":[{"id":"p%d"}]}`, i))
	}
	if after := series(); after != before || before == 0 {
		t.Errorf("%d series became %d", before, after)
	}
}

func TestEventBatch(t *testing.T) {
	f := newFixture(t)
	tok := func(u string) string { return u[strings.Index(u, "t=")+2:] }
	a, foreign := f.ad(t, "placement=demo-top"), newFixture(t).ad(t, "placement=demo-top")
	body := fmt.Sprintf(`{"events":[{"kind":"impression","token":%q},{"kind":"viewable","token":%[1]q},{"kind":"impression","token":%q},{"kind":"click","token":%[1]q},{"kind":"error","token":""}]}`,
		tok(a.URLs.Impression), tok(foreign.URLs.Impression))
	w := f.post("/v1/event", body)
	if got, want := strings.TrimSpace(w.Body.String()), `{"results":[{"status":"recorded"},{"status":"recorded"},{"status":"refused","reason":"forged"},{"status":"refused","reason":"unknown_kind"},{"status":"refused","reason":"malformed"}]}`; got != want {
		t.Errorf("%d %s", w.Code, got)
	}
	f.post("/v1/event", body) // once more: nothing is counted twice
	if n := len(f.journal.events); n != 2 {
		t.Errorf("%d events in the journal: %s", n, f.journal.kinds())
	}
	if w := f.post("/v1/event", `{"events":[`+strings.Repeat(`{"kind":"error","token":"x"},`, maxEvents)+`{"kind":"error","token":"x"}]}`); w.Code != http.StatusBadRequest {
		t.Errorf("65 events: %d", w.Code)
	}
}

// FuzzAds: whatever a body holds, the answer is whole JSON and what the document promises.
func FuzzAds(f *testing.F) {
	fx, _ := waterfall(f)
	f.Add([]byte(`{"page":{"url":"https://a.example/\"<","keyValues":{"a":["b"]}},"consent":{"gdpr":true,"gppSid":[1]},"placements":[{"id":"mix"},{"id":"left"},{"id":"\u2028<"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest("POST", "/v1/ads", bytes.NewReader(body))
		w := httptest.NewRecorder()
		fx.handler.ServeHTTP(w, r)
		fx.contract.check(t, r, w)
		if !json.Valid(w.Body.Bytes()) || w.Code >= 500 {
			t.Fatalf("%d: %s", w.Code, w.Body)
		}
	})
}
