package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Size of the drawing and of what is around its axes.
const (
	width, height            = 860, 480
	left, right, top, bottom = 70, 130, 40, 60
)

// line is how a quantile is drawn: servers differ by colour, quantiles by dash.
type line struct {
	server, quantile, dash string
	of                     func(point) time.Duration
}

// plot draws latencies, on a logarithmic scale, against the rate as an SVG that reads on light and dark pages.
func plot(points map[string][]point, most float64) string {
	colours := map[string]string{"tag": "#0b6e4f", "nginx": "#b3541e"}
	var lines []line
	for _, server := range []string{"tag", "nginx"} {
		lines = append(lines,
			line{server, "p50", "2 4", func(p point) time.Duration { return p.p50 }},
			line{server, "p99", "", func(p point) time.Duration { return p.p99 }},
			line{server, "p99.9", "8 4", func(p point) time.Duration { return p.max }})
	}
	low, high := time.Hour, time.Duration(1)
	for _, l := range lines {
		for _, p := range points[l.server] {
			low, high = min(low, l.of(p)), max(high, l.of(p))
		}
	}
	from, to := math.Floor(math.Log10(float64(max(low, time.Microsecond)))), math.Ceil(math.Log10(float64(high)))
	x := func(rate float64) float64 { return left + rate/most*(width-left-right) }
	y := func(d time.Duration) float64 {
		return top + (to-math.Log10(float64(max(d, 1))))/(to-from)*(height-top-bottom)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui,sans-serif" font-size="13" role="img" aria-label="Latency against rate of the tag server and of nginx">
<rect width="%d" height="%d" fill="#fff"/>
<text x="%d" y="24" font-size="15" font-weight="600">Latency against rate, one core each: the tag server deciding, nginx serving a file of the same size</text>
`, width, height, width, height, left)
	for e := from; e <= to; e++ {
		d := time.Duration(math.Pow(10, e))
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", left, y(d), width-right, left-8, y(d)+4, label(d))
	}
	for i := range 11 {
		rate := most * float64(i) / 10
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#eee"/><text x="%.1f" y="%d" text-anchor="middle">%.1fk</text>`+"\n", x(rate), top, height-bottom, x(rate), height-bottom+20, rate/1000)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">requests a second; the right edge is the most that the tag server answered</text>`+"\n", (left+width-right)/2, height-14)
	labels := map[float64]bool{}
	for _, l := range lines {
		ps := points[l.server]
		if len(ps) == 0 {
			continue
		}
		var path strings.Builder
		for i, p := range ps {
			path.WriteString(map[bool]string{true: "M", false: "L"}[i == 0])
			fmt.Fprintf(&path, "%.1f %.1f", x(p.rate), y(l.of(p)))
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="2" stroke-dasharray="%s"/>`+"\n", &path, colours[l.server], l.dash)
		last := ps[len(ps)-1]
		at := math.Round(y(l.of(last)))
		for taken(labels, at) {
			at++
		}
		labels[at] = true
		fmt.Fprintf(&b, `<text x="%.1f" y="%.0f" fill="%s">%s %s</text>`+"\n", x(last.rate)+8, at+4, colours[l.server], l.server, l.quantile)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// taken says whether a label at a height would cover another.
func taken(labels map[float64]bool, at float64) bool {
	for other := range labels {
		if math.Abs(other-at) < 15 {
			return true
		}
	}
	return false
}

func label(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%d s", int(d.Seconds()))
}
