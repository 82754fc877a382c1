package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"patag/app/tag/token"
)

func BenchmarkAd(b *testing.B) {
	f := newFixture(b)
	bench(b, f, func() *http.Request {
		return httptest.NewRequest("GET", "/v1/ad?placement=demo-top&kv.section=sport", nil)
	})
}

func BenchmarkAdWithConsentAndUser(b *testing.B) {
	f := newFixture(b)
	const tc = "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA"
	bench(b, f, func() *http.Request {
		return httptest.NewRequest("GET", "/v1/ad?placement=demo-side&page=https%3A%2F%2Fnews.example%2Fa&uid=u&consent=1&gdpr=1&gdpr_consent="+tc, nil)
	})
}

func BenchmarkAdHTML(b *testing.B) {
	bench(b, newFixture(b), func() *http.Request { return httptest.NewRequest("GET", "/v1/ad?placement=demo-top&format=html", nil) })
}

func BenchmarkAdShed(b *testing.B) {
	f := newFixture(b)
	f.inFlight.Store(int64(f.o.MaxInFlight))
	bench(b, f, func() *http.Request { return httptest.NewRequest("GET", "/v1/ad?placement=demo-top", nil) })
}

func BenchmarkAds(b *testing.B) {
	bench(b, newFixture(b), func() *http.Request {
		return httptest.NewRequest("POST", "/v1/ads", strings.NewReader(`{"page":{"url":"https://news.example/a"},"placements":[{"id":"demo-top"},{"id":"demo-side"},{"id":"demo-native"}]}`))
	})
}

func BenchmarkEvent(b *testing.B) {
	f := newFixture(b)
	id := uint64(0)
	bench(b, f, func() *http.Request {
		id++
		t := f.keys.Append(nil, &token.Claims{ID: id, Issued: time.Now().Unix(), Placement: "demo-top", Item: "alpenweg-top", Creative: "alpenweg-728x90"})
		return httptest.NewRequest("POST", "/v1/event/impression?t="+string(t), nil)
	})
}

func BenchmarkClick(b *testing.B) {
	f := newFixture(b)
	t := f.keys.Append(nil, &token.Claims{ID: 1, Issued: time.Now().Unix(), Placement: "demo-top", Item: "alpenweg-top", Creative: "alpenweg-728x90"})
	bench(b, f, func() *http.Request { return httptest.NewRequest("GET", "/v1/click?t="+string(t), nil) })
}

func BenchmarkLoader(b *testing.B) {
	bench(b, newFixture(b), func() *http.Request { return httptest.NewRequest("GET", "/tag/v1.js", nil) })
}

// bench measures a request from the handler on. Those that must differ each time are made while the clock stands still.
func bench(b *testing.B, f *fixture, request func() *http.Request) {
	b.Helper()
	h := f.Handler()
	r := request()
	fresh := r.Method == http.MethodPost
	ctx := parsed(r)
	b.ReportAllocs()
	for b.Loop() {
		if fresh {
			b.StopTimer()
			ctx = parsed(request())
			b.StartTimer()
		}
		ctx.Response.Reset()
		h(ctx)
	}
	if status := ctx.Response.StatusCode(); status >= 400 {
		b.Fatalf("answered %d", status)
	}
}

// parsed is a request as it comes out of the HTTP library.
func parsed(r *http.Request) *fasthttp.RequestCtx {
	r.Header.Set("User-Agent", chrome)
	var kept *fasthttp.RequestCtx
	Adapt(func(ctx *fasthttp.RequestCtx) { kept = ctx }).ServeHTTP(httptest.NewRecorder(), r)
	kept.URI() // the library parses it before it calls a handler
	return kept
}

// An ad costs at most ten allocations, whatever comes with the request.
func TestAdAllocatesLittle(t *testing.T) {
	f := newFixture(t)
	h := f.Handler()
	ctx := parsed(httptest.NewRequest("GET", "/v1/ad?placement=demo-top&kv.section=sport&page=https://news.example/a&uid=u&consent=1&gdpr=0", nil))
	if n := testing.AllocsPerRun(200, func() { ctx.Response.Reset(); h(ctx) }); n > 10 {
		t.Errorf("%.0f allocations", n)
	}
	if ctx.Response.StatusCode() != http.StatusOK {
		t.Errorf("answered %d", ctx.Response.StatusCode())
	}
}
