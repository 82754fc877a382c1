package deploy

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// asked is a server whose traffic port a handler stands in for.
func asked(t *testing.T, h http.HandlerFunc) *server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	at, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 300 * time.Millisecond, Transport: &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return at, nil }}}
	return &server{traffic: client, answers: newAnswers()}
}

const someAd = `{"placement":"x","fill":true,"chain":[{"source":"house","price":{"cpmMicros":0},"urls":{"impression":"http://tag/v1/event/impression?t=1","click":"/v1/click?t=1"}}]}`

func TestAsk(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		failed  string // "" for no failure
		status  int
	}{
		"an ad":      {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(someAd)) }, "", 200},
		"no such":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, "", 404},
		"an error":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "status 500", 0},
		"nonsense":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "no ad", 0},
		"no answer":  {func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) }, "exceeded", 0},
		"a lost one": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF", 0},
	} {
		s := asked(t, c.handler)
		s.ask(t.Context(), "x")
		f := s.answers.figures()
		if f.Requests != 1 || f.Errors == 1 != (c.failed != "") || !strings.Contains(f.First, c.failed) {
			t.Errorf("%s: %+v, want %q", name, f, c.failed)
		}
		if c.status != 0 && s.answers.statuses["ad x"][c.status] != 1 {
			t.Errorf("%s: statuses %v, want one %d", name, s.answers.statuses, c.status)
		}
	}
}

// TestRound: both servers are asked for each placement and each other's events, as machines and with all fields noted.
func TestRound(t *testing.T) {
	seen := map[string]int{}
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != agent {
			t.Errorf("asked as %q", r.UserAgent())
		}
		seen[r.URL.Path]++
		switch r.URL.Path {
		case "/v1/ad":
			_, _ = w.Write([]byte(someAd))
		case "/v1/click":
			http.Redirect(w, r, "http://elsewhere.example/", http.StatusFound)
		}
	}
	running, canary := asked(t, handler), asked(t, handler)
	for _, s := range []*server{running, canary} {
		s.traffic.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	round(t.Context(), running, canary, []string{"x", "y"}, true)
	if seen["/v1/ad"] != 4 || seen["/v1/event/impression"] != 8 || seen["/v1/click"] != 8 {
		t.Errorf("asked %v, want 4 ads and 8 of each event", seen)
	}
	if n := canary.answers.statuses["click of a running server's ad"][302]; n != 2 {
		t.Errorf("the canary followed %d of the running server's clicks, want 2", n)
	}
	if !canary.answers.ever["ad x"]["chain.price.cpmMicros"] {
		t.Errorf("fields are %v", canary.answers.ever)
	}
}
