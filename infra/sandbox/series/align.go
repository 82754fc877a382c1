package series

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Aggregation is Google's: align the points of each series to a period, then reduce the series to one per group.
type Aggregation struct {
	Period  time.Duration
	Aligner string
	Reducer string
	// GroupBy are the fields ("metric.labels.code", "resource.labels.zone") that keep series apart.
	GroupBy []string
}

var aligners = map[string]func(points []Point, k Kind, period time.Duration) float64{
	"ALIGN_MEAN":  func(ps []Point, _ Kind, _ time.Duration) float64 { return sum(ps) / float64(len(ps)) },
	"ALIGN_SUM":   func(ps []Point, _ Kind, _ time.Duration) float64 { return sum(ps) },
	"ALIGN_MIN":   func(ps []Point, _ Kind, _ time.Duration) float64 { return slices.MinFunc(ps, byNumber).Number },
	"ALIGN_MAX":   func(ps []Point, _ Kind, _ time.Duration) float64 { return slices.MaxFunc(ps, byNumber).Number },
	"ALIGN_COUNT": func(ps []Point, _ Kind, _ time.Duration) float64 { return float64(len(ps)) },
	"ALIGN_NEXT_OLDER": func(ps []Point, _ Kind, _ time.Duration) float64 {
		return ps[len(ps)-1].Number
	},
	"ALIGN_DELTA":         func(ps []Point, _ Kind, _ time.Duration) float64 { return sum(ps) },
	"ALIGN_RATE":          func(ps []Point, _ Kind, period time.Duration) float64 { return sum(ps) / period.Seconds() },
	"ALIGN_PERCENTILE_99": percentile(0.99), "ALIGN_PERCENTILE_95": percentile(0.95),
	"ALIGN_PERCENTILE_50": percentile(0.50), "ALIGN_PERCENTILE_05": percentile(0.05),
}

var reducers = map[string]func([]float64) float64{
	"REDUCE_SUM": func(vs []float64) (t float64) {
		for _, v := range vs {
			t += v
		}
		return t
	},
	"REDUCE_MEAN": func(vs []float64) (t float64) {
		for _, v := range vs {
			t += v
		}
		return t / float64(len(vs))
	},
	"REDUCE_MIN":           func(vs []float64) float64 { return slices.Min(vs) },
	"REDUCE_MAX":           func(vs []float64) float64 { return slices.Max(vs) },
	"REDUCE_COUNT":         func(vs []float64) float64 { return float64(len(vs)) },
	"REDUCE_PERCENTILE_99": func(vs []float64) float64 { return quantile(vs, 0.99) }, "REDUCE_PERCENTILE_95": func(vs []float64) float64 { return quantile(vs, 0.95) },
	"REDUCE_PERCENTILE_50": func(vs []float64) float64 { return quantile(vs, 0.50) }, "REDUCE_PERCENTILE_05": func(vs []float64) float64 { return quantile(vs, 0.05) },
}

func none(name, prefix string) bool { return name == "" || name == prefix+"_NONE" }

// Check says what of an aggregation is not supported.
func (a Aggregation) Check() error {
	switch {
	case none(a.Aligner, "ALIGN") && !none(a.Reducer, "REDUCE"):
		return fmt.Errorf("crossSeriesReducer %s needs a perSeriesAligner", a.Reducer)
	case !none(a.Aligner, "ALIGN") && aligners[a.Aligner] == nil:
		return fmt.Errorf("perSeriesAligner %s is not supported", a.Aligner)
	case !none(a.Reducer, "REDUCE") && reducers[a.Reducer] == nil:
		return fmt.Errorf("crossSeriesReducer %s is not supported", a.Reducer)
	case !none(a.Aligner, "ALIGN") && a.Period < time.Second:
		return fmt.Errorf("alignmentPeriod must be at least one second")
	}
	for _, f := range a.GroupBy {
		if _, ok := groupField(Key{}, f); !ok {
			return fmt.Errorf("groupByFields %q is not supported", f)
		}
	}
	return nil
}

// Apply aggregates. Buckets end at from+period, from+2·period … to, as Google's do; empty buckets have no point.
func (a Aggregation) Apply(all []Series, to time.Time) ([]Series, error) {
	if err := a.Check(); err != nil || none(a.Aligner, "ALIGN") {
		return all, err
	}
	var out []Series
	for _, s := range all {
		if s.Type == String {
			return nil, fmt.Errorf("%s cannot be applied to %s, whose values are text", a.Aligner, s.Metric.Type)
		}
		if aligned := a.align(s, to); len(aligned.Points) > 0 {
			out = append(out, aligned)
		}
	}
	if none(a.Reducer, "REDUCE") {
		return out, nil
	}
	return a.reduce(out), nil
}

func (a Aggregation) align(s Series, to time.Time) Series {
	points := slices.Clone(s.Points)
	slices.Reverse(points) // oldest first
	if a.Aligner == "ALIGN_DELTA" || a.Aligner == "ALIGN_RATE" {
		points = deltas(points, s.Kind)
	}
	buckets := map[time.Time][]Point{}
	for _, p := range points {
		n := to.Sub(p.End) / a.Period // whole periods before to
		end := to.Add(-n * a.Period)
		buckets[end] = append(buckets[end], p)
	}
	r := Series{Key: s.Key}
	r.Kind, r.Type = Gauge, Double
	switch a.Aligner {
	case "ALIGN_DELTA":
		r.Kind, r.Type = Delta, s.Type
	case "ALIGN_COUNT":
		r.Type = Int64
	case "ALIGN_MIN", "ALIGN_MAX", "ALIGN_SUM", "ALIGN_NEXT_OLDER":
		r.Type = s.Type
	}
	fn := aligners[a.Aligner]
	for _, end := range slices.SortedFunc(maps.Keys(buckets), func(x, y time.Time) int { return y.Compare(x) }) {
		p := Point{Start: end, End: end, Number: fn(buckets[end], s.Kind, a.Period)}
		if r.Kind == Delta {
			p.Start = end.Add(-a.Period)
		}
		r.Points = append(r.Points, p)
	}
	return r
}

// deltas turns the points of a counter into the growth between them; a counter that began anew counts from zero.
func deltas(points []Point, k Kind) []Point {
	if k == Delta {
		return points
	}
	var out []Point
	for i := 1; i < len(points); i++ {
		p := points[i]
		if before := points[i-1]; k == Gauge || p.Start.Equal(before.Start) {
			p.Number -= before.Number
		}
		out = append(out, p)
	}
	return out
}

func (a Aggregation) reduce(all []Series) []Series {
	groups := map[string]*Series{}
	values := map[string]map[time.Time][]float64{}
	shape := map[string]map[time.Time]Point{}
	for _, s := range all {
		key := Key{Metric: Labeled{Type: s.Metric.Type, Labels: map[string]string{}}, Resource: Labeled{Type: s.Resource.Type, Labels: map[string]string{}}, Kind: s.Kind, Type: s.Type, Unit: s.Unit}
		for _, f := range a.GroupBy {
			v, _ := groupField(s.Key, f)
			part, name := splitField(f)
			switch {
			case name == "":
			case part == "metric":
				key.Metric.Labels[name] = v
			default:
				key.Resource.Labels[name] = v
			}
		}
		if a.Reducer == "REDUCE_COUNT" {
			key.Type = Int64
		} else if a.Reducer == "REDUCE_MEAN" {
			key.Type = Double
		}
		id := key.id()
		if groups[id] == nil {
			groups[id] = &Series{Key: key}
			values[id], shape[id] = map[time.Time][]float64{}, map[time.Time]Point{}
		}
		for _, p := range s.Points {
			values[id][p.End] = append(values[id][p.End], p.Number)
			shape[id][p.End] = p
		}
	}
	var out []Series
	for _, id := range slices.Sorted(maps.Keys(groups)) {
		g := groups[id]
		for end, vs := range values[id] {
			p := shape[id][end]
			p.Number = reducers[a.Reducer](vs)
			g.Points = append(g.Points, p)
		}
		slices.SortFunc(g.Points, func(x, y Point) int { return y.End.Compare(x.End) })
		out = append(out, *g)
	}
	return out
}

// splitField reads "metric.labels.code" (or label) as metric, code; and "resource.type" as resource, "".
func splitField(f string) (part, label string) {
	part, rest, _ := strings.Cut(f, ".")
	if name, ok := strings.CutPrefix(rest, "labels."); ok {
		return part, strings.Trim(name, `"`)
	}
	if name, ok := strings.CutPrefix(rest, "label."); ok {
		return part, strings.Trim(name, `"`)
	}
	return part, ""
}

func groupField(k Key, f string) (string, bool) {
	part, label := splitField(f)
	switch {
	case f == "metric.type":
		return k.Metric.Type, true
	case f == "resource.type":
		return k.Resource.Type, true
	case part == "metric" && label != "":
		return k.Metric.Labels[label], true
	case part == "resource" && label != "":
		return k.Resource.Labels[label], true
	}
	return "", false
}

func byNumber(a, b Point) int { return cmp.Compare(a.Number, b.Number) }

func sum(ps []Point) (t float64) {
	for _, p := range ps {
		t += p.Number
	}
	return t
}

func percentile(q float64) func([]Point, Kind, time.Duration) float64 {
	return func(ps []Point, _ Kind, _ time.Duration) float64 {
		vs := make([]float64, len(ps))
		for i, p := range ps {
			vs[i] = p.Number
		}
		return quantile(vs, q)
	}
}

// quantile interpolates linearly between the closest ranks.
func quantile(vs []float64, q float64) float64 {
	vs = slices.Sorted(slices.Values(vs))
	at := q * float64(len(vs)-1)
	lo := math.Floor(at)
	hi := min(int(lo)+1, len(vs)-1)
	return vs[int(lo)] + (at-lo)*(vs[hi]-vs[int(lo)])
}
