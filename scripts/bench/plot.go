package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
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
<text x="%d" y="24" font-size="15" font-weight="600">Latency by rate on one core: the tag server decides, nginx serves a file of the same size</text>
`, width, height, width, height, left)
	for e := from; e <= to; e++ {
		d := time.Duration(math.Pow(10, e))
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", left, y(d), width-right, left-8, y(d)+4, label(d))
	}
	step := math.Pow(10, math.Floor(math.Log10(most)))
	if most/step < 4 {
		step /= 2
	}
	for rate := 0.0; rate <= most; rate += step {
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#eee"/><text x="%.1f" y="%d" text-anchor="middle">%g</text>`+"\n", x(rate), top, height-bottom, x(rate), height-bottom+20, rate)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">requests a second; the right edge is the most that the tag server answered</text>`+"\n", (left+width-right)/2, height-14)
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(end(b, points), end(a, points)) }) // labels from above
	below := 0.0
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
		at := max(y(end(l, points)), below)
		below = at + 15
		fmt.Fprintf(&b, `<text x="%.1f" y="%.0f" fill="%s">%s %s</text>`+"\n", x(ps[len(ps)-1].rate)+8, at+4, colours[l.server], l.server, l.quantile)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// end is where a line ends, at the highest rate.
func end(l line, points map[string][]point) time.Duration {
	ps := points[l.server]
	if len(ps) == 0 {
		return 0
	}
	return l.of(ps[len(ps)-1])
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
