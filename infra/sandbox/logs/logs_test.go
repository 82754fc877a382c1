package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/api/logging/v2"
)

func open(t testing.TB, dir string, o Options) *Log {
	t.Helper()
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func entry(n int) *Entry {
	return &Entry{
		LogName: "projects/p/logs/requests", Severity: "INFO", Timestamp: start.Add(time.Duration(n) * time.Second).Format(time.RFC3339Nano),
		Resource:    &logging.MonitoredResource{Type: "http_load_balancer", Labels: map[string]string{"url_map_name": "um"}},
		HttpRequest: &logging.HttpRequest{Status: int64(200 + n%2*300), RequestUrl: "http://ad/v1/ad", RemoteIp: fmt.Sprintf("10.0.%d.%d", n/256, n%256), Latency: "0.012s", ResponseSize: int64(n)},
		JsonPayload: []byte(fmt.Sprintf(`{"n":%d}`, n)),
	}
}

func numbers(t *testing.T, raw []json.RawMessage) []int {
	t.Helper()
	var all []int
	for _, r := range raw {
		var e struct{ JsonPayload struct{ N int } }
		if err := json.Unmarshal(r, &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e.JsonPayload.N)
	}
	return all
}

func list(t *testing.T, l *Log, q Query) []int {
	t.Helper()
	q.Projects = []string{"p"}
	var all []int
	for {
		raw, next, err := l.List(t.Context(), q)
		if err != nil {
			t.Fatalf("list %+v: %v", q, err)
		}
		all = append(all, numbers(t, raw)...)
		if next == "" {
			return all
		}
		q.Token = next
	}
}

func TestAppendAndList(t *testing.T) {
	l := open(t, t.TempDir(), Options{Segment: 4 << 10}) // many segments
	defer l.Close()
	for n := range 200 {
		if err := l.Append("p", entry(n)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		q           Query
		first, last int
		count       int
	}{
		{Query{}, 0, 199, 200},
		{Query{Size: 7}, 0, 199, 200},
		{Query{Size: 7, Descending: true}, 199, 0, 200},
		{Query{Filter: `httpRequest.status>=500`}, 1, 199, 100},
		{Query{Filter: `timestamp>="2026-03-01T00:01:00Z" timestamp<"2026-03-01T00:02:00Z"`}, 60, 119, 60},
		{Query{Filter: `ip_in_net(httpRequest.remoteIp, "10.0.0.0/29")`}, 0, 7, 8},
		{Query{Filter: `log_id("requests") jsonPayload.n=42`}, 42, 42, 1},
		{Query{Filter: `logName="projects/p/logs/requests" resource.labels.url_map_name=um severity>=INFO`, Size: 1000}, 0, 199, 200},
	} {
		got := list(t, l, c.q)
		if len(got) != c.count || got[0] != c.first || got[len(got)-1] != c.last {
			t.Errorf("%+v: %d entries, %v", c.q, len(got), got)
		}
	}
	if got := list(t, l, Query{Filter: `severity>=ERROR`}); got != nil {
		t.Errorf("errors: %v", got)
	}
	for _, bad := range []Query{{Filter: "colour=red"}, {Filter: "sample(insertId, 0.5)"}, {Token: "!"}, {Projects: []string{"../x"}}} {
		if bad.Projects == nil {
			bad.Projects = []string{"p"}
		}
		if _, _, err := l.List(t.Context(), bad); !errors.Is(err, ErrQuery) {
			t.Errorf("%+v: %v, want ErrQuery", bad, err)
		}
	}
}

func TestRefusedEntries(t *testing.T) {
	l := open(t, t.TempDir(), Options{})
	defer l.Close()
	for _, c := range []struct {
		change func(*Entry)
		want   string
	}{
		{func(e *Entry) { e.LogName = "" }, "logName"},
		{func(e *Entry) { e.Resource = nil }, "monitored resource"},
		{func(e *Entry) { e.Timestamp = "yesterday" }, "RFC 3339"},
	} {
		e := entry(1)
		c.change(e)
		if err := l.Append("p", e); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	if err := l.Append("../../etc", entry(1)); err == nil {
		t.Error("a project outside the folder was accepted")
	}
}

// TestCrash opens the folder anew while the first Log was never closed, as after kill -9.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{Segment: 4 << 10, Flush: time.Hour})
	for n := range 50 {
		if err := l.Append("p", entry(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Flush("p"); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "p", "*.jsonl"))
	f, err := os.OpenFile(files[len(files)-1], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"logName":"projects/p/logs/req`); err != nil { // a torn write
		t.Fatal(err)
	}
	f.Close()
	again := open(t, dir, Options{Segment: 4 << 10})
	if err := again.Append("p", entry(50)); err != nil {
		t.Fatal(err)
	}
	if got := list(t, again, Query{}); len(got) != 51 || got[50] != 50 {
		t.Errorf("after the crash: %v", got)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	last := open(t, dir, Options{})
	defer last.Close()
	if got := list(t, last, Query{}); len(got) != 51 {
		t.Errorf("after a clean restart: %d entries", len(got))
	}
	if names := last.Names("p"); len(names) != 1 || names[0] != "projects/p/logs/requests" {
		t.Errorf("names %v", names)
	}
}

func TestRetention(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{Segment: 4 << 10, Space: 16 << 10})
	defer l.Close()
	for n := range 500 {
		if err := l.Append("p", entry(n)); err != nil {
			t.Fatal(err)
		}
	}
	got := list(t, l, Query{})
	if len(got) >= 200 || len(got) < 20 || got[len(got)-1] != 499 {
		t.Errorf("%d entries kept, the last %d", len(got), got[len(got)-1])
	}
	var total int64
	files, _ := os.ReadDir(filepath.Join(dir, "p"))
	for _, f := range files {
		info, _ := f.Info()
		total += info.Size()
	}
	if total > 24<<10 {
		t.Errorf("%d bytes on disk", total)
	}
}

func TestDelete(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{})
	for n := range 5 {
		if err := l.Append("p", entry(n)); err != nil {
			t.Fatal(err)
		}
	}
	if ok, err := l.Delete("p", "projects/p/logs/none"); ok || err != nil {
		t.Errorf("deleting a log that is not there: %v %v", ok, err)
	}
	if ok, err := l.Delete("p", "projects/p/logs/requests"); !ok || err != nil {
		t.Fatalf("delete: %v %v", ok, err)
	}
	if got := list(t, l, Query{}); got != nil || l.Names("p") != nil {
		t.Errorf("after delete: %v %v", got, l.Names("p"))
	}
	if err := l.Append("p", entry(7)); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, Options{})
	defer l.Close()
	if got := list(t, l, Query{}); len(got) != 1 || got[0] != 7 || len(l.Names("p")) != 1 {
		t.Errorf("after delete and a new entry: %v %v", got, l.Names("p"))
	}
}

func TestConcurrent(t *testing.T) {
	l := open(t, t.TempDir(), Options{Segment: 16 << 10, Flush: time.Millisecond})
	defer l.Close()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := range 250 {
				if err := l.Append("p", entry(w*250+n)); err != nil {
					t.Error(err)
					return
				}
				if n%50 == 0 {
					if _, _, err := l.List(t.Context(), Query{Projects: []string{"p"}}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	seen := map[int]bool{}
	for _, n := range list(t, l, Query{Size: 1000}) {
		seen[n] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d different entries, want 1000", len(seen))
	}
}

func BenchmarkAppend(b *testing.B) {
	l := open(b, b.TempDir(), Options{})
	defer l.Close()
	b.ReportAllocs()
	for n := range b.N {
		if err := l.Append("p", entry(n)); err != nil {
			b.Fatal(err)
		}
	}
}
