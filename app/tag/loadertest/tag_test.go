package loadertest

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"patag/app/tag/catalogue"
	"patag/app/tag/counters"
	"patag/app/tag/demo"
	"patag/app/tag/events"
	"patag/app/tag/frequency"
	"patag/app/tag/hardcap"
	"patag/app/tag/inventory"
	"patag/app/tag/pacing"
	"patag/app/tag/server"
	"patag/app/tag/token"
)

// tagServer is the tag server, with a journal in memory and notes of what was asked.
type tagServer struct {
	*httptest.Server
	mu       sync.Mutex
	events   []events.Event
	requests []*http.Request
	bodies   []string
}

func newTag(t *testing.T) *tagServer {
	t.Helper()
	data, err := os.ReadFile("testdata/catalogue.json")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, data)
}

func newDemo(t *testing.T) *tagServer {
	t.Helper()
	return serve(t, demo.JSON)
}

func serve(t *testing.T, data []byte) *tagServer {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	doc, err := catalogue.Parse(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	snap, err := inventory.Compile(doc, 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := token.RandomKeys()
	if err != nil {
		t.Fatal(err)
	}
	s := &tagServer{}
	srv := server.New(server.Options{
		Keys: keys, Frequency: frequency.New(frequency.Options{Logger: quiet}), Journal: s, Live: counters.NewLive(nil, quiet),
		Metrics: server.NewMetrics(prometheus.NewRegistry()), Logger: quiet,
	})
	srv.Publish(&server.State{Snapshot: snap, Tally: counters.NewTally(snap), Delivery: pacing.New(pacing.Options{Logger: quiet}).View(t.Context(), snap, hardcap.New(nil, quiet).View(t.Context(), snap))})
	handler := server.Adapt(srv.Handler())
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.mu.Lock()
		s.requests, s.bodies = append(s.requests, r), append(s.bodies, string(body))
		s.mu.Unlock()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// Append implements server.Journal.
func (s *tagServer) Append(_ context.Context, payload []byte) error {
	e, err := events.Parse(payload)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
	return err
}

// names are events as kind placement/what, with ! for invalid traffic.
func (s *tagServer) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, e := range s.events {
		name := e.Kind.String() + " " + e.Placement + "/" + e.Item + e.Source
		if e.Invalid {
			name += "!"
		}
		out = append(out, name)
	}
	return out
}

func (s *tagServer) count(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, e := range s.events {
		if e.Kind.String() == kind {
			n++
		}
	}
	return n
}

// expect fails the test when other events were counted, or one of them twice.
func (s *tagServer) expect(t *testing.T, want []string) {
	t.Helper()
	got := s.names()
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("not counted: %s", w)
		}
	}
	for i, g := range got {
		if !slices.Contains(want, g) || slices.Contains(got[:i], g) {
			t.Errorf("counted, and should not be (again): %s", g)
		}
	}
}

func (s *tagServer) asked(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.requests {
		if r.URL.Path == path {
			n++
		}
	}
	return n
}

// body of the first POST /v1/ads.
func (s *tagServer) body() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.requests {
		if r.URL.Path == "/v1/ads" {
			return s.bodies[i]
		}
	}
	return ""
}

// query of the last GET /v1/ad.
func (s *tagServer) query() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range slices.Backward(s.requests) {
		if r.URL.Path == "/v1/ad" {
			return r.URL.RawQuery
		}
	}
	return ""
}
