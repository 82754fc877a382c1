package main

import (
	"fmt"
	"io"
	"time"
)

// report is what was measured.
type report struct {
	load, loadEnd         string
	size                  int
	rss                   float64
	wall, cpu             map[string]float64
	allocs, asked, shared float64
	inTime                float64 // share of questions to Redis answered within the default budget in the runs for latency
	points                map[string][]point
}

// half is the index of the share that a goal speaks of.
func half() int {
	for i, s := range shares {
		if s == 0.5 {
			return i
		}
	}
	return 0
}

// verdict says whether a goal is met.
func verdict(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "Load average %s at the start, %s at the end; answers of %d bytes.\n\n", r.load, r.loadEnd, r.size)
	fmt.Fprintf(w, "| server | requests a second | requests a second of its processor time |\n|---|---|---|\n")
	for _, name := range []string{"tag", "nginx", "node"} {
		fmt.Fprintf(w, "| %s | %.0f | %.0f |\n", name, r.wall[name], r.cpu[name])
	}
	ratio := func(m map[string]float64, to string) float64 { return m["tag"] / m[to] }
	fmt.Fprintf(w, "\n| goal | measured | met |\n|---|---|---|\n")
	fmt.Fprintf(w, "| ≥ 0.5 of nginx's requests a second | %.2f; %.2f by processor time | %s; %s |\n",
		ratio(r.wall, "nginx"), ratio(r.cpu, "nginx"), verdict(ratio(r.wall, "nginx") >= 0.5), verdict(ratio(r.cpu, "nginx") >= 0.5))
	fmt.Fprintf(w, "| ≥ 2 × Node.js | %.2f; %.2f by processor time | %s; %s |\n",
		ratio(r.wall, "node"), ratio(r.cpu, "node"), verdict(ratio(r.wall, "node") >= 2), verdict(ratio(r.cpu, "node") >= 2))
	if r.points != nil {
		tag, nginx := r.points["tag"][half()], r.points["nginx"][half()]
		p99 := float64(tag.p99) / float64(nginx.p99)
		fmt.Fprintf(w, "| p99 at half of its maximum ≤ 2 × nginx's | %s against %s at %.0f a second: %.2f | %s |\n",
			short(tag.p99), short(nginx.p99), tag.rate, p99, verdict(p99 <= 2))
	}
	fmt.Fprintf(w, "\nThe tag server allocated %.1f objects per request, all of the HTTP library's and go-redis's included. %.0f %% of its decisions asked for frequency\n"+
		"caps, %.1f %% of these were answered by Redis. Its resident memory was %.0f MiB after the runs.\n", r.allocs, 100*r.asked, 100*r.shared, r.rss)
	if r.points == nil {
		return
	}
	fmt.Fprintf(w, "\nLatencies, with the default budget of 5 ms for Redis, within which it answered %.0f %% of the questions:\n", 100*r.inTime)
	fmt.Fprintf(w, "\n| requests a second | tag p50 | p99 | p99.9 | nginx p50 | p99 | p99.9 |\n|---|---|---|---|---|---|---|\n")
	for i, t := range r.points["tag"] {
		n := r.points["nginx"][i]
		fmt.Fprintf(w, "| %.0f | %s | %s | %s | %s | %s | %s |\n", t.rate, short(t.p50), short(t.p99), short(t.max), short(n.p50), short(n.p99), short(n.max))
	}
}

func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
