package main

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"time"
)

// Measured in November 2026 on a machine that had much else to do.
var measured = map[string][]point{
	"tag": {
		{1455, 468 * time.Microsecond, 23800 * time.Microsecond, 34100 * time.Microsecond}, {14553, 1800 * time.Microsecond, 26300 * time.Microsecond, 29300 * time.Microsecond},
		{26195, 246400 * time.Microsecond, 464900 * time.Microsecond, 467600 * time.Microsecond},
	},
	"nginx": {
		{1455, 657 * time.Microsecond, 17900 * time.Microsecond, 32600 * time.Microsecond}, {14553, 932 * time.Microsecond, 10500 * time.Microsecond, 14600 * time.Microsecond},
		{26195, 832 * time.Microsecond, 38600 * time.Microsecond, 49900 * time.Microsecond},
	},
}

// The drawing is well-formed, has each line once, and its labels do not cover each other.
func TestPlot(t *testing.T) {
	svg := plot(measured, 29106)
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{">tag p50<", ">tag p99<", ">tag p99.9<", ">nginx p50<", ">nginx p99<", ">nginx p99.9<", ">10000<", ">100 ms<"} {
		if strings.Count(svg, want) != 1 {
			t.Errorf("%d times %q", strings.Count(svg, want), want)
		}
	}
	if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
		t.Error("a point has no place")
	}
}

func TestReportSaysWhatIsNotMet(t *testing.T) {
	r := report{wall: map[string]float64{"tag": 49, "nginx": 100, "node": 20}, cpu: map[string]float64{"tag": 50, "nginx": 100, "node": 30}, points: map[string][]point{}}
	for _, s := range shares {
		r.points["tag"] = append(r.points["tag"], point{s, time.Millisecond, 4 * time.Millisecond, time.Second})
		r.points["nginx"] = append(r.points["nginx"], point{s, time.Millisecond, 2 * time.Millisecond, time.Second})
	}
	var b strings.Builder
	r.print(&b)
	for _, want := range []string{"| 0.49; 0.50 by processor time | no; yes |", "| 2.45; 1.67 by processor time | yes; no |", "4.0 ms against 2.0 ms at 0 a second: 2.00 | yes |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, &b)
		}
	}
}
