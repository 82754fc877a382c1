package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// It tells what a server answered, and fails when one request did or when answers are slower than wanted.
func TestRun(t *testing.T) {
	var status atomic.Int64
	status.Store(200)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(int(status.Load()))
		if r.URL.Path == "/v1/ad" {
			io.WriteString(w, `{"chain":[{"urls":{"impression":"http://x/v1/event/impression?t=a","viewable":"http://x/v1/event/viewable?t=a","click":"http://x/v1/click?t=a"}}]}`)
		}
	}))
	defer srv.Close()
	args := []string{"--placements", "a,b", "--rate", "200", "--duration", "1s", "--events", "--json", srv.URL}
	var out, errOut bytes.Buffer
	if code := run(t.Context(), args, &out, &errOut); code != 0 {
		t.Fatalf("code %d: %s", code, &errOut)
	}
	var s summary
	if err := json.Unmarshal(out.Bytes(), &s); err != nil || s.Requests != 200 || s.Failed != 0 || s.Acked["impression"] < 20 || s.Ads < 20 || s.P99 <= 0 {
		t.Errorf("%v: %s", err, &out)
	}
	errOut.Reset()
	if code := run(t.Context(), append([]string{"--p99", "1ns"}, args...), io.Discard, &errOut); code != 1 || !strings.Contains(errOut.String(), "above") {
		t.Errorf("code %d, %q for answers that are too slow", code, &errOut)
	}
	status.Store(500)
	errOut.Reset()
	if code := run(t.Context(), args, io.Discard, &errOut); code != 1 || !strings.Contains(errOut.String(), "200 of 200 requests failed") {
		t.Errorf("code %d, %q for a server that fails", code, &errOut)
	}
}

func TestWrongUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"one URL":           {"--placements", "a"},
		"not https":         {"--placements", "a", "https://127.0.0.1"},
		"--placements":      {"http://127.0.0.1:1"},
		"read the":          {"--placements", "@/does/not/exist", "http://127.0.0.1:1"},
		"must be at least":  {"--placements", "a", "--users", "0", "http://127.0.0.1:1"},
		"without path":      {"--placements", "a", "http://127.0.0.1:1/v1/ad"},
		"flag provided but": {"--what"},
	} {
		var errOut bytes.Buffer
		if code := run(t.Context(), args, io.Discard, &errOut); code != 2 || !strings.Contains(errOut.String(), want) {
			t.Errorf("%v: code %d, %q", args, code, &errOut)
		}
	}
}
