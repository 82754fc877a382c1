package rtb

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prebid/openrtb/v20/openrtb2"

	"patag/app/tag/decision"
)

// Whatever a source does, its answer is there by the deadline and the other source's bid with it.
func TestSourcesThatMisbehave(t *testing.T) {
	gzipped := func(text string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		io.WriteString(z, text)
		z.Close()
		return b.Bytes()
	}
	bomb := gzipped(strings.Repeat(" ", 16<<20))
	id := func(r *http.Request) string {
		var in struct{ ID string }
		json.NewDecoder(r.Body).Decode(&in)
		return in.ID
	}
	for _, c := range []struct {
		name    string
		h       http.HandlerFunc
		problem decision.Reason
		outcome string
	}{
		{"hangs", func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() }, decision.TimedOut, "timed_out"},
		{"drips", func(w http.ResponseWriter, r *http.Request) {
			for _, b := range []byte(oneBid("")) {
				if _, err := w.Write([]byte{b}); err != nil || r.Context().Err() != nil {
					return
				}
				w.(http.Flusher).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		}, decision.TimedOut, "timed_out"},
		{"500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, decision.SourceFailed, "source_failed"},
		{"redirects", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				t.Error("a redirect was followed")
			}
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, decision.SourceFailed, "source_failed"},
		{"204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, decision.NoBid, "no_bid"},
		{"garbage", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte{0xff, 0, 1, '{'}) }, decision.BadBid, "bad_bid"},
		{"announces a huge body", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000000000")
			w.Write([]byte("{"))
		}, decision.BadBid, "bad_bid"},
		{"sends a huge body", func(w http.ResponseWriter, _ *http.Request) {
			for range 64 {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 16<<10)); err != nil {
					return
				}
			}
		}, decision.BadBid, "bad_bid"},
		{"a small body that is huge unpacked", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(bomb)
		}, decision.BadBid, "bad_bid"},
		{"gzip", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "gzip" {
				t.Error("gzip is not accepted")
			}
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(gzipped(strings.Replace(oneBid(""), "$ID", id(r), 1)))
		}, decision.None, "bid"},
		{"resets", func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}, decision.SourceFailed, "source_failed"},
		{"panics midway", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.Write([]byte(`{"id":`))
			panic(http.ErrAbortHandler)
		}, decision.SourceFailed, "source_failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, Options{}, document(t, []string{listen(t, c.h), bidding(t, oneBid(""))}, nil))
			answers := w.ask("box")
			if len(answers) != 2 || answers[0].Problem != c.problem || answers[0].Source.ID != "s0" {
				t.Fatalf("%+v, want %s", answers, c.problem)
			}
			if answers[1].Problem != decision.None || answers[1].Source.ID != "s1" {
				t.Errorf("the other source: %+v", answers[1])
			}
			want := 1.0
			if c.outcome == "bid" {
				want = 2 // with the other's
			}
			eventually(t, "counted as "+c.outcome, func() bool { return w.count("tag_rtb_requests_total", c.outcome) == want })
		})
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if a := newWorld(t, Options{}, document(t, []string{"http://" + l.Addr().String()}, nil)).one("box"); a.Problem != decision.SourceFailed {
		t.Error(a.Problem)
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("asked over a connection that proves nothing") }))
	defer srv.Close()
	w := newWorld(t, Options{}, document(t, []string{srv.URL}, nil))
	w.snap.Placement("box").Steps[0].Deadline = 5 * time.Second // handshakes are slow on a busy machine
	if a := w.one("box"); a.Problem != decision.SourceFailed {
		t.Error(a.Problem)
	}
}

// Connections are used again, also after answers that are no bids.
func TestConnectionsAreKept(t *testing.T) {
	var connections atomic.Int64
	n := 0
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		switch n++; n % 3 {
		case 0:
			w.WriteHeader(204)
		case 1:
			http.Error(w, "no", 500)
		default:
			io.WriteString(w, "{}")
		}
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	w := newWorld(t, Options{}, document(t, []string{srv.URL}, nil))
	for range 18 { // below what opens the breaker
		w.one("box")
	}
	if got := connections.Load(); got != 1 {
		t.Errorf("18 requests one after the other took %d connections", got)
	}
}

// A source that answers within the grace, but late: its bid does not count, it is told so, and the connection is kept.
func TestLateBidsAreToldThatTheyLost(t *testing.T) {
	box := newInbox(t, func(w http.ResponseWriter, in *openrtb2.BidRequest, url string) {
		time.Sleep(430 * time.Millisecond) // the deadline is 400 ms
		io.WriteString(w, strings.Replace(oneBid(`"lurl":"`+url+`/lost?why=${AUCTION_LOSS}&p=${AUCTION_PRICE}","nurl":"`+url+`/won"`), "$ID", in.ID, 1))
	})
	w := newWorld(t, Options{}, document(t, []string{box.url}, nil))
	if a := w.one("box"); a.Problem != decision.TimedOut {
		t.Fatal(a.Problem)
	}
	eventually(t, "told", func() bool { return len(box.notices()) == 1 })
	if got := box.notices()[0]; got != "/lost?why=2&p=" {
		t.Error(got)
	}
}

// A source's own time is shorter than the step's: the step does not wait for it.
func TestASourcesOwnTimeout(t *testing.T) {
	snap := document(t, []string{listen(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() })}, nil)
	snap.Source("s0").Timeout = 40 * time.Millisecond
	w := newWorld(t, Options{Grace: 10 * time.Millisecond}, snap)
	begin := time.Now()
	a := w.one("box")
	if took := time.Since(begin); a.Problem != decision.TimedOut || took > 250*time.Millisecond || took < 30*time.Millisecond {
		t.Errorf("%s after %s", a.Problem, took)
	}
}

// The request's own deadline and its end are kept.
func TestTheRequestsContext(t *testing.T) {
	arrived, gone := make(chan struct{}, 4), make(chan struct{}, 4)
	w := newWorld(t, Options{Grace: 50 * time.Millisecond}, document(t, []string{listen(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	})}, nil))
	r := w.request("box")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if a := w.Ask(ctx, r, &r.Placement.Steps[0]); a[0].Problem != decision.TimedOut || time.Since(begin) > 200*time.Millisecond {
		t.Errorf("deadline of 30ms: %s after %s", a[0].Problem, time.Since(begin))
	}
	eventually(t, "the first request is over", func() bool { return len(gone) == len(arrived) })
	for len(arrived) > 0 {
		<-arrived
		<-gone
	}
	// A long step, and a visitor who goes when the source has the request.
	step := r.Placement.Steps[0]
	step.Deadline = 20 * time.Second
	ctx, cancel = context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	begin = time.Now()
	w.Ask(ctx, r, &step)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the visitor is gone, and the auction went on for %s", took)
	}
	select { // the connection is given up, too
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the source is still asked for somebody who has gone")
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if a := w.Ask(ctx, r, &r.Placement.Steps[0]); a[0].Problem != decision.TimedOut {
		t.Error(a[0].Problem)
	}
}
