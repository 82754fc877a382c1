package soak

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"patag/app/bidder/bidder"
	"patag/app/loadtest/attack"
	"patag/app/loadtest/visits"
	"patag/app/tag/catalogue"
	"patag/app/tag/catalogue/generate"
	"patag/app/tag/faulttest/parts"
)

const (
	mostMemory  = 128.0 // MiB
	mostLatency = 50 * time.Millisecond
)

// plan is how long what lasts. Shares of the whole: Redis is away from a tenth on, the store from four tenths on.
type plan struct {
	rate               float64
	whole              time.Duration
	redisAway, storeAw time.Duration
	full               bool
}

func planned(t *testing.T) plan {
	p := plan{rate: 500, whole: 30 * time.Second, redisAway: 3 * time.Second, storeAw: 6 * time.Second}
	if os.Getenv("PATAG_SOAK") != "" {
		p = plan{rate: 3000, whole: 10 * time.Minute, redisAway: time.Minute, storeAw: 2 * time.Minute, full: true}
	} else if testing.Short() {
		p.whole, p.redisAway, p.storeAw = 10*time.Second, time.Second, 2*time.Second
	}
	if s := os.Getenv("PATAG_LOAD_RATE"); s != "" {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || n <= 0 {
			t.Fatalf("PATAG_LOAD_RATE: %q is no rate", s)
		}
		p.rate = n
	}
	if s := os.Getenv("PATAG_LOAD_TIME"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d < 10*time.Second {
			t.Fatalf("PATAG_LOAD_TIME: %q is no time of 10s or more", s)
		}
		p.whole, p.redisAway, p.storeAw = d, d/10, d/5
	}
	return p
}

// No request fails, and every event that was acknowledged is in the reports exactly once, although Redis and the store go away, one demand
// source hangs and one fails. In the full form also: 99 of 100 answers within 50 ms, and no more than 128 MiB of memory.
func TestLoadWithFailingSurroundings(t *testing.T) {
	p := planned(t)
	redis := []*parts.Part{parts.Redis(t), parts.Redis(t), parts.Redis(t)}
	proxy, store := parts.Twemproxy(t, redis...), parts.FerretDB(t)
	tag := startTag(t, catalogueFile(t), proxy.Addr, "mongodb://"+store.Addr+"/patag")

	v := visits.New(visits.Options{Host: "ads.example", Placements: placements(1000), Events: true, Seed: 1})
	phases := newPhases(p)
	done := make(chan struct{})
	go func() {
		defer close(done)
		begin := time.Now()
		for _, f := range []struct {
			at, length time.Duration
			parts      []*parts.Part
		}{{p.whole / 10, p.redisAway, redis}, {p.whole * 4 / 10, p.storeAw, []*parts.Part{store}}} {
			time.Sleep(time.Until(begin.Add(f.at)))
			for _, part := range f.parts {
				part.Kill()
			}
			time.Sleep(f.length)
			for _, part := range f.parts {
				part.Start()
			}
		}
	}()
	r, err := attack.Run(t.Context(), attack.Options{Addr: tag.traffic, Rate: p.rate, Connections: 128, Duration: p.whole, Each: phases.add}, v)
	<-done
	if err != nil {
		t.Fatal(err)
	}
	peak := tag.memory(t)
	t.Logf("%d requests in %s, %d of them for ads of which %d were filled; %d events repeated; %d late; load average %s",
		len(r.Latencies), r.Took.Round(time.Second), v.Ads, v.Filled, v.Repeated, r.Late, loadAverage())
	t.Logf("all: p50 %s, p99 %s, p99.9 %s; statuses %v; most memory %.0f MiB", r.Quantile(.5), r.Quantile(.99), r.Quantile(.999), r.Statuses, peak)
	phases.log(t)
	if n := r.Failed(); n > 0 {
		t.Errorf("%d requests failed: %v", n, r.Statuses)
	}
	if v.Filled == 0 || v.Acked["click"] == 0 || v.Repeated == 0 {
		t.Errorf("too little happened to show anything: %+v", v.Counts)
	}
	equalReports(t, tag, v)
	if !p.full {
		return // how fast it is depends on what else the machine does; the full form is run alone
	}
	if q := r.Quantile(.99); q > mostLatency {
		t.Errorf("p99 is %s; at most %s are wanted", q, mostLatency)
	}
	if peak > mostMemory {
		t.Errorf("the tag server took %.0f MiB; at most %.0f are wanted", peak, mostMemory)
	}
}

// equalReports holds what browsers know against the reports, which may lag by what is being shipped.
func equalReports(t *testing.T, tag *tagServer, v *visits.Visits) {
	t.Helper()
	columns := map[string]string{"impression": "impressions", "viewable": "viewables", "click": "clicks"}
	var got map[string]int64
	for until := time.Now().Add(2 * time.Minute); ; time.Sleep(2 * time.Second) {
		got = tag.total(t)
		same := true
		for kind, column := range columns {
			same = same && got[column] == int64(v.Acked[kind])
		}
		if same || time.Now().After(until) {
			break
		}
	}
	time.Sleep(3 * time.Second) // what would come too much is there by then
	got = tag.total(t)
	for kind, column := range columns {
		if got[column] != int64(v.Acked[kind]) {
			t.Errorf("%s: %d in the reports, %d acknowledged, %d unsure", column, got[column], v.Acked[kind], v.Unsure[kind])
		}
	}
	t.Logf("acknowledged %v, in the reports %v", v.Acked, got)
}

// phases tells latencies apart by what was away.
type phases struct {
	names []string
	from  []time.Duration
	times [][]uint32
}

func newPhases(p plan) *phases {
	ph := &phases{names: []string{"all well", "Redis away", "all well again", "store away", "all well at last"}}
	tenth := p.whole / 10
	ph.from = []time.Duration{0, tenth, tenth + p.redisAway, 4 * tenth, 4*tenth + p.storeAw}
	ph.times = make([][]uint32, len(ph.from))
	return ph
}

func (p *phases) add(due, latency time.Duration, _ int) {
	i := len(p.from) - 1
	for due < p.from[i] {
		i--
	}
	p.times[i] = append(p.times[i], uint32(latency.Microseconds()))
}

func (p *phases) log(t *testing.T) {
	for i, times := range p.times {
		if len(times) == 0 {
			continue
		}
		slices.Sort(times)
		q := func(f float64) time.Duration {
			return time.Duration(times[int(f*float64(len(times)))]) * time.Microsecond
		}
		t.Logf("%-16s from %6s: %8d requests, p50 %s, p99 %s, p99.9 %s", p.names[i], p.from[i], len(times), q(.5), q(.99), q(.999))
	}
}

// catalogueFile is a catalogue of 1,000 placements whose three demand sources are real bidders: one that hangs, one that fails, one well.
func catalogueFile(t *testing.T) string {
	t.Helper()
	c, err := generate.Generate(generate.Options{Placements: 1000, Candidates: 10, Seed: 1, Sources: 3, Tags: 2, Start: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	bad := []func(*bidder.Options){
		func(o *bidder.Options) { o.Hang = 1 },
		func(o *bidder.Options) { o.Errors = 1 },
		func(o *bidder.Options) { o.Latency, o.Jitter, o.Fill = 2*time.Millisecond, 5*time.Millisecond, 0.7 },
	}
	n := 0
	for i := range c.DemandSources {
		if c.DemandSources[i].Kind != catalogue.OpenRTB {
			continue
		}
		o := bidder.Defaults()
		o.Currency = ""
		bad[n](&o)
		n++
		s := httptest.NewUnstartedServer(bidder.Handler(o))
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		s.Start()
		t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
		c.DemandSources[i].Endpoint = s.URL + "/openrtb2"
	}
	if n != len(bad) {
		t.Fatalf("%d demand sources, want %d", n, len(bad))
	}
	var b bytes.Buffer
	if err := catalogue.Write(&b, c); err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/catalogue.json"
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func placements(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("pl-%07d", i+1)
	}
	return ids
}

func loadAverage() string {
	raw, _ := os.ReadFile("/proc/loadavg")
	return string(bytes.TrimSpace(raw))
}

// total is the report's line of all.
func (s *tagServer) total(t *testing.T) map[string]int64 {
	t.Helper()
	var r struct{ Total map[string]any }
	out, err := exec.Command(s.path, "report", "--json", "--by", "placement", "--mongo-uri", s.mongo).Output()
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		t.Fatalf("report: %v\n%s", err, out)
	}
	counts := map[string]int64{}
	for k, v := range r.Total {
		if n, ok := v.(float64); ok {
			counts[k] = int64(n)
		}
	}
	return counts
}

func ready(url string) bool {
	r, err := http.Get(url)
	if err != nil {
		return false
	}
	r.Body.Close()
	return r.StatusCode == http.StatusOK
}
