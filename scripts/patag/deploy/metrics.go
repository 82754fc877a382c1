package deploy

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// counts are what a tag server's /metrics say of its traffic.
type counts struct {
	requests, failed, filled, decided float64
	// seconds is the histogram of answers: cumulated counts by upper bound.
	seconds map[float64]float64
	timed   float64
}

// scrape reads the metrics of a server. A server that does not have them cannot be judged.
func scrape(ctx context.Context, s *server) (counts, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://tag/metrics", nil)
	if err != nil {
		return counts{}, err
	}
	var last error
	for range 3 { // the way through the API server may break for a moment
		resp, err := s.admin.Do(req)
		if err == nil {
			var c counts
			if resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %s", resp.Status)
			} else {
				c, err = parseMetrics(resp.Body)
			}
			resp.Body.Close()
			if err == nil {
				return c, nil
			}
		}
		last = err
		if err := pause(ctx, 300*time.Millisecond); err != nil {
			return counts{}, err
		}
	}
	return counts{}, fmt.Errorf("read the metrics of %s: %w", s.pod.Name, last)
}

const (
	metricAds      = "tag_ad_requests_total"
	metricSeconds  = "tag_ad_seconds"
	metricRejected = "tag_rejected_total"
	metricDropped  = "tag_events_dropped_total"
)

func parseMetrics(from io.Reader) (counts, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(from)
	if err != nil {
		return counts{}, err
	}
	for _, name := range []string{metricAds, metricSeconds} {
		if families[name] == nil {
			return counts{}, fmt.Errorf("there is no %s among them", name)
		}
	}
	c := counts{seconds: map[float64]float64{}}
	for _, m := range families[metricAds].GetMetric() {
		n := m.GetCounter().GetValue()
		c.requests += n
		switch label(m, "outcome") {
		case "filled":
			c.filled += n
			c.decided += n
		case "no_fill":
			c.decided += n
		case "no_catalogue":
			c.failed += n
		}
	}
	for _, m := range families[metricRejected].GetMetric() {
		if label(m, "reason") == "overload" { // refused before they were counted as ads
			c.requests += m.GetCounter().GetValue()
			c.failed += m.GetCounter().GetValue()
		}
	}
	for _, m := range families[metricDropped].GetMetric() {
		c.failed += m.GetCounter().GetValue()
	}
	for _, m := range families[metricSeconds].GetMetric() {
		c.timed += float64(m.GetHistogram().GetSampleCount())
		for _, b := range m.GetHistogram().GetBucket() {
			c.seconds[b.GetUpperBound()] += float64(b.GetCumulativeCount())
		}
	}
	return c, nil
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// since is what was added; a server that was restarted counts from nothing.
func (c counts) since(before counts) counts {
	if before.requests > c.requests {
		return c
	}
	d := counts{
		requests: c.requests - before.requests, failed: c.failed - before.failed, filled: c.filled - before.filled,
		decided: c.decided - before.decided, timed: c.timed - before.timed, seconds: map[float64]float64{},
	}
	for bound, n := range c.seconds {
		d.seconds[bound] = n - before.seconds[bound]
	}
	return d
}

func (c *counts) add(more counts) {
	c.requests += more.requests
	c.failed += more.failed
	c.filled += more.filled
	c.decided += more.decided
	c.timed += more.timed
	if c.seconds == nil {
		c.seconds = map[float64]float64{}
	}
	for bound, n := range more.seconds {
		c.seconds[bound] += n
	}
}

func (c counts) figures() Figures {
	f := Figures{Requests: int(c.requests), Errors: int(c.failed), Median: c.quantile(.5), Tail: c.quantile(.95)}
	if c.decided > 0 {
		f.FillRate = c.filled / c.decided
	}
	return f
}

// quantile in milliseconds, straight within a bucket as Prometheus does it. What is above the last bound is taken for that bound.
func (c counts) quantile(q float64) float64 {
	if c.timed == 0 {
		return 0
	}
	rank, low, below := q*c.timed, 0.0, 0.0
	for _, bound := range slices.Sorted(maps.Keys(c.seconds)) {
		n := c.seconds[bound]
		if math.IsInf(bound, 1) {
			break
		}
		if n >= rank {
			in := 1.0
			if n > below {
				in = (rank - below) / (n - below)
			}
			return 1000 * (low + (bound-low)*in)
		}
		low, below = bound, n
	}
	return 1000 * low
}
