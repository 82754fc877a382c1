package deploy

import (
	"math"
	"strings"
	"testing"
)

const before = `# TYPE tag_ad_requests_total counter
tag_ad_requests_total{outcome="filled"} 100
tag_ad_requests_total{outcome="no_fill"} 10
tag_ad_requests_total{outcome="no_catalogue"} 1
# TYPE tag_rejected_total counter
tag_rejected_total{reason="overload"} 2
tag_rejected_total{reason="not_found"} 50
# TYPE tag_events_dropped_total counter
tag_events_dropped_total{reason="disk"} 3
# TYPE tag_ad_seconds histogram
tag_ad_seconds_bucket{le="0.001"} 50
tag_ad_seconds_bucket{le="0.01"} 110
tag_ad_seconds_bucket{le="+Inf"} 111
tag_ad_seconds_sum 1
tag_ad_seconds_count 111
`

const after = `# TYPE tag_ad_requests_total counter
tag_ad_requests_total{outcome="filled"} 180
tag_ad_requests_total{outcome="no_fill"} 30
tag_ad_requests_total{outcome="no_catalogue"} 2
# TYPE tag_rejected_total counter
tag_rejected_total{reason="overload"} 4
# TYPE tag_events_dropped_total counter
tag_events_dropped_total{reason="disk"} 4
# TYPE tag_ad_seconds histogram
tag_ad_seconds_bucket{le="0.001"} 100
tag_ad_seconds_bucket{le="0.01"} 200
tag_ad_seconds_bucket{le="+Inf"} 211
tag_ad_seconds_sum 2
tag_ad_seconds_count 211
`

func parsed(t *testing.T, text string) counts {
	t.Helper()
	c, err := parseMetrics(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMetrics(t *testing.T) {
	was, is := parsed(t, before), parsed(t, after)
	f := is.since(was).figures()
	if f.Requests != 103 || f.Errors != 4 || f.FillRate != .8 {
		t.Errorf("%+v, want 103 requests, 4 errors, fill rate 0.8", f)
	}
	// Of 100 answers 50 took up to 1 ms, 40 up to 10 ms, 10 longer.
	if math.Abs(f.Median-1) > 1e-9 || math.Abs(f.Tail-10) > 1e-9 {
		t.Errorf("median %v and tail %v, want 1 and 10", f.Median, f.Tail)
	}
	if again := was.since(is); again.requests != was.requests {
		t.Errorf("a restarted server has %v requests, want all that it counts, %v", again.requests, was.requests)
	}
	var sum counts
	sum.add(was)
	sum.add(is)
	if sum.requests != was.requests+is.requests || sum.seconds[.01] != 310 {
		t.Errorf("a sum of %+v", sum)
	}
}

// TestForeign: a server without our metrics cannot be judged, and is not taken for one without errors.
func TestForeign(t *testing.T) {
	for _, text := range []string{"", "# TYPE other counter\nother 1\n", "<html>"} {
		if c, err := parseMetrics(strings.NewReader(text)); err == nil {
			t.Errorf("%q is read as %+v", text, c)
		}
	}
}
