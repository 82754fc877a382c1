package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"patag/app/loadtest/attack"
	"patag/app/loadtest/visits"
)

// requestsMade is how many different requests there are.
const requestsMade = 4000

// point is a latency measured at a rate.
type point struct {
	rate          float64
	p50, p99, max time.Duration // max is p99.9
}

func (b *bench) measure(ctx context.Context) error {
	begin := load()
	tag, err := b.startTag(ctx)
	if err != nil {
		return err
	}
	script, err := b.script(b.visits(1), requestsMade)
	if err != nil {
		return err
	}
	size, err := b.size(tag, b.visits(2))
	if err != nil {
		return err
	}
	nginx, err := b.startNginx(size)
	if err != nil {
		return err
	}
	node, err := b.startNode(size)
	if err != nil {
		return err
	}
	servers := []*server{tag, nginx, node}
	for _, s := range servers { // warm up
		if _, err := b.press(ctx, s, script); err != nil {
			return err
		}
	}
	before, err := b.counters()
	if err != nil {
		return err
	}
	runs := map[string][]pressed{}
	for range b.o.rounds {
		for _, s := range servers {
			p, err := b.press(ctx, s, script)
			if err != nil {
				return err
			}
			runs[s.name] = append(runs[s.name], p)
		}
	}
	after, err := b.counters()
	if err != nil {
		return err
	}
	var r report
	r.load, r.size, r.rss = begin, size, memory(tag.p.worker(), "VmRSS")
	r.wall, r.cpu = map[string]float64{}, map[string]float64{}
	for name, runs := range runs {
		r.wall[name] = median(runs, func(p pressed) float64 { return p.perSecond })
		r.cpu[name] = median(runs, func(p pressed) float64 { return p.perCPUSecond })
	}
	asked := after.lookups - before.lookups
	r.allocs = (after.mallocs - before.mallocs) / (after.ads - before.ads)
	r.asked, r.shared = asked/(after.ads-before.ads), 1-(after.local-before.local)/asked
	if asked == 0 || r.shared < 0.9 {
		return fmt.Errorf("%.0f of %.0f questions about frequency caps went to Redis: these figures would be of another job; try on a machine with less to do", asked*r.shared, asked)
	}
	if !b.o.quick {
		if err := b.latencyRuns(ctx, &r, tag, nginx); err != nil {
			return err
		}
	}
	r.loadEnd = load()
	out := io.Writer(os.Stdout)
	if b.o.table != "" {
		f, err := os.Create(b.o.table)
		if err != nil {
			return err
		}
		defer f.Close()
		out = io.MultiWriter(out, f)
	}
	r.print(out)
	if b.o.plot != "" && !b.o.quick {
		return os.WriteFile(b.o.plot, []byte(plot(r.points, r.wall["tag"])), 0o644)
	}
	return nil
}

// latencyRuns measures with the default budget for Redis: it bounds what a busy data tier does to an answer.
func (b *bench) latencyRuns(ctx context.Context, r *report, tag, nginx *server) error {
	tag.p.stop()
	fresh, err := b.startTagAlone(tag.addr)
	if err != nil {
		return err
	}
	before, err := b.counters()
	if err != nil {
		return err
	}
	if r.points, err = b.latencies(ctx, []*server{fresh, nginx}, r.wall["tag"]); err != nil {
		return err
	}
	after, err := b.counters()
	if err != nil {
		return err
	}
	r.inTime = 1 - (after.local-before.local)/max(after.lookups-before.lookups, 1)
	return nil
}

func (b *bench) visits(seed uint64) *visits.Visits {
	placements := make([]string, 1000)
	for i := range placements {
		placements[i] = fmt.Sprintf("pl-%07d", i+1)
	}
	return visits.New(visits.Options{Host: "ads.example", Placements: placements, Seed: seed})
}

// sizes is a Script that adds up the sizes of answers.
type sizes struct {
	*visits.Visits
	n, bytes int
}

func (s *sizes) Done(_ uint64, status int, body []byte) {
	if status == 200 {
		s.n++
		s.bytes += len(body)
	}
}

// size is the mean size of the tag server's answers.
func (b *bench) size(s *server, v *visits.Visits) (int, error) {
	sum := &sizes{Visits: v}
	if _, err := attack.Run(context.Background(), attack.Options{Addr: s.at(), Rate: 1000, Duration: 2 * time.Second}, sum); err != nil {
		return 0, err
	}
	if sum.n == 0 {
		return 0, fmt.Errorf("the tag server answers no request with an ad")
	}
	return sum.bytes / sum.n, nil
}

// shares of the tag server's maximum that latencies are measured at; the half is a goal's.
var shares = []float64{0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}

func (b *bench) latencies(ctx context.Context, servers []*server, most float64) (map[string][]point, error) {
	rounds := max(3, b.o.rounds/2)
	runs := map[string][][]point{} // by server, by share
	for range rounds {
		for i, share := range shares {
			for n, s := range servers {
				if runs[s.name] == nil {
					runs[s.name] = make([][]point, len(shares))
				}
				r, err := attack.Run(ctx, attack.Options{Addr: s.at(), Rate: most * share, Duration: b.o.span, Connections: b.o.connections}, b.visits(uint64(i*2+n)))
				if err != nil {
					return nil, err
				}
				if f := r.Failed(); f > 0 {
					return nil, fmt.Errorf("%s failed %d requests of %d at %.0f a second: %v", s.name, f, len(r.Latencies), most*share, r.Statuses)
				}
				runs[s.name][i] = append(runs[s.name][i], point{most * share, r.Quantile(0.5), r.Quantile(0.99), r.Quantile(0.999)})
			}
		}
	}
	out := map[string][]point{}
	for name, byShare := range runs {
		for _, ps := range byShare {
			of := func(f func(point) time.Duration) time.Duration {
				return time.Duration(median(ps, func(p point) float64 { return float64(f(p)) }))
			}
			out[name] = append(out[name], point{ps[0].rate, of(func(p point) time.Duration { return p.p50 }), of(func(p point) time.Duration { return p.p99 }), of(func(p point) time.Duration { return p.max })})
		}
	}
	return out, nil
}

func median[T any](of []T, value func(T) float64) float64 {
	v := make([]float64, len(of))
	for i := range of {
		v[i] = value(of[i])
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// counters are metrics of the tag server.
type counters struct{ ads, mallocs, lookups, local float64 }

func (b *bench) counters() (c counters, err error) {
	body, err := fetch(b.admin + "/metrics")
	if err != nil {
		return c, err
	}
	for line := range strings.Lines(string(body)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		v, _ := strconv.ParseFloat(value, 64)
		switch {
		case strings.HasPrefix(name, "tag_ad_requests_total{"):
			c.ads += v
		case name == "go_memstats_mallocs_total":
			c.mallocs = v
		case name == "tag_frequency_lookups_total":
			c.lookups = v
		case name == "tag_frequency_local_total":
			c.local = v
		}
	}
	return c, nil
}
