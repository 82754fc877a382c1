package attack

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// same asks the same thing again and again.
type same struct {
	request []byte
	answers map[int]int
	body    string
}

func (s *same) Next() ([]byte, uint64) { return s.request, 7 }
func (s *same) Done(id uint64, status int, body []byte) {
	if id != 7 {
		panic("another's answer")
	}
	s.answers[status]++
	if status == 200 {
		s.body = string(body)
	}
}

func attackOn(t *testing.T, h http.HandlerFunc, o Options) (*Result, *same, error) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	o.Addr = netip.MustParseAddrPort(strings.TrimPrefix(srv.URL, "http://"))
	s := &same{request: []byte("GET /a HTTP/1.1\r\nHost: x\r\n\r\n"), answers: map[int]int{}}
	r, err := Run(t.Context(), o, s)
	return r, s, err
}

// A server that stalls for a while makes all wait that were due meanwhile, although one connection only can be waiting.
func TestStallsAreNotOmitted(t *testing.T) {
	var n atomic.Int64
	r, _, err := attackOn(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) == 20 {
			time.Sleep(300 * time.Millisecond)
		}
		fmt.Fprint(w, "ok")
	}, Options{Rate: 200, Duration: time.Second, Connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	slow := 0
	for _, l := range r.Latencies {
		if l > 100_000 {
			slow++
		}
	}
	if len(r.Latencies) != 200 || slow < 30 {
		t.Errorf("%d requests, %d of them over 100 ms; want 200, and at least 30 that had to wait for the stall", len(r.Latencies), slow)
	}
	if r.Late < 30 || r.Quantile(0.99) < 200*time.Millisecond || r.Failed() > 0 {
		t.Errorf("%d late, p99 %s, statuses %v", r.Late, r.Quantile(0.99), r.Statuses)
	}
}

// What fails is counted as failed: statuses, connections that are cut, answers that never come.
func TestFailuresAreCounted(t *testing.T) {
	var n atomic.Int64
	r, s, err := attackOn(t, func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) % 10 {
		case 1:
			w.WriteHeader(503)
		case 2:
			panic(http.ErrAbortHandler)
		case 3:
			w.WriteHeader(204)
		case 4:
			w.Header().Set("Connection", "close")
			fmt.Fprint(w, "bye")
		case 5:
			if n.Load() < 10 {
				<-r.Context().Done()
			}
		default:
			fmt.Fprint(w, "ok")
		}
	}, Options{Rate: 100, Duration: time.Second, Connections: 8, Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if r.Statuses[503] != 10 || r.Statuses[0] != 11 || r.Statuses[204] != 10 || r.Statuses[200] != 69 || r.Failed() != 21 {
		t.Errorf("statuses %v, %d failed; want 10 of 503, 11 without answer, 10 of 204, the rest 200", r.Statuses, r.Failed())
	}
	if s.body != "ok" && s.body != "bye" && s.body != "" || s.answers[200] != 69 {
		t.Errorf("the script heard %v, and %q", s.answers, s.body)
	}
}

func TestChunkedAnswersAreRefused(t *testing.T) {
	_, _, err := attackOn(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "a")
		w.(http.Flusher).Flush()
	}, Options{Rate: 10, Duration: time.Second})
	if err == nil || !strings.Contains(err.Error(), "Content-Length") {
		t.Errorf("err = %v; it should name what is missing", err)
	}
}

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"":                                     "0 false",
		"HTTP/1.1 200 OK\r\nContent-Length: 2": "0 false",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh":                        "0 false",
		"HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\nhi":                        "200 true hi keep",
		"HTTP/1.1 204 No Content\r\nA: b\r\n\r\n":                              "204 true  keep",
		"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n": "302 true  close",
		"HTTP/1.1 200 OK\r\n\r\n":                                              "error",
		"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n":                         "error",
		"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n":                         "error",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n":                        "error",
	} {
		status, body, whole, keep, err := parse([]byte(in))
		got := fmt.Sprintf("%d %t", status, whole)
		if whole {
			got += fmt.Sprintf(" %s %s", body, map[bool]string{true: "keep", false: "close"}[keep])
		}
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"))
	f.Fuzz(func(t *testing.T, b []byte) {
		status, body, whole, _, err := parse(b)
		if err == nil && whole && (status < 200 || status > 999 || len(body) > len(b)) {
			t.Errorf("%q: status %d, %d bytes", b, status, len(body))
		}
	})
}
