package monitoring

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	api "google.golang.org/api/monitoring/v3"

	"patag/infra/sandbox/filter"
	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/series"
	"patag/infra/sandbox/store"
)

// maxSeries is Google's limit on the series of one write.
const maxSeries = 200

func (s *server) write(_ context.Context, r *googleapi.Request) (any, error) {
	if err := s.project(store.Tx{}, r); err != nil {
		return nil, err
	}
	var body api.CreateTimeSeriesRequest
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if len(body.TimeSeries) == 0 || len(body.TimeSeries) > maxSeries {
		return nil, googleapi.InvalidArgument("Field timeSeries had an invalid value: it must have 1 to %d elements, not %d.", maxSeries, len(body.TimeSeries))
	}
	var problems []string
	for i, ts := range body.TimeSeries {
		k, p, err := s.convert(r.Var("project"), ts)
		if err == nil {
			err = s.series.Write(r.Var("project"), k, p)
		}
		if err != nil { // the others are written, as at Google
			problems = append(problems, fmt.Sprintf("timeSeries[%d]: %s", i, strings.TrimPrefix(err.Error(), series.ErrRefused.Error()+": ")))
		}
	}
	if problems != nil {
		return nil, googleapi.InvalidArgument("One or more TimeSeries could not be written: %s", strings.Join(problems, "; "))
	}
	return nil, nil
}

var metricType = regexp.MustCompile(`^[a-zA-Z0-9.-]+(/[a-zA-Z0-9_.-]+)+$`)

// writable are the domains of metrics that a client may write.
var writable = []string{"custom.googleapis.com/", "external.googleapis.com/", "workload.googleapis.com/", "prometheus.googleapis.com/", "kubernetes.io/", "agent.googleapis.com/", "logging.googleapis.com/user/"}

func (s *server) convert(project string, ts *api.TimeSeries) (k series.Key, p series.Point, err error) {
	if ts.Metric == nil || ts.Resource == nil {
		return k, p, errors.New("metric and resource are required")
	}
	if !metricType.MatchString(ts.Metric.Type) {
		return k, p, fmt.Errorf("invalid metric type %q", ts.Metric.Type)
	}
	allowed := false
	for _, w := range writable {
		allowed = allowed || strings.HasPrefix(ts.Metric.Type, w)
	}
	if !allowed {
		return k, p, fmt.Errorf("the metric type %q is not one that a client may write", ts.Metric.Type)
	}
	if len(ts.Points) != 1 {
		return k, p, fmt.Errorf("a series must have exactly one point, not %d", len(ts.Points))
	}
	pt := ts.Points[0]
	if pt.Interval == nil || pt.Value == nil {
		return k, p, errors.New("a point needs an interval and a value")
	}
	if p.End, err = time.Parse(time.RFC3339Nano, pt.Interval.EndTime); err != nil {
		return k, p, fmt.Errorf("interval.endTime: %w", err)
	}
	p.Start = p.End
	if pt.Interval.StartTime != "" {
		if p.Start, err = time.Parse(time.RFC3339Nano, pt.Interval.StartTime); err != nil {
			return k, p, fmt.Errorf("interval.startTime: %w", err)
		}
	}
	typ := series.Type("")
	switch v := pt.Value; {
	case v.DoubleValue != nil:
		typ, p.Number = series.Double, *v.DoubleValue
	case v.Int64Value != nil:
		typ, p.Number = series.Int64, float64(*v.Int64Value)
	case v.BoolValue != nil:
		typ = series.Bool
		if *v.BoolValue {
			p.Number = 1
		}
	case v.StringValue != nil:
		typ, p.Text = series.String, *v.StringValue
	case v.DistributionValue != nil:
		return k, p, errors.New("the sandbox does not keep distributions (timeSeries.create)")
	default:
		return k, p, errors.New("a point needs a value")
	}
	kind := ts.MetricKind
	if kind == "" {
		kind = "GAUGE"
	}
	if ts.ValueType != "" && ts.ValueType != string(typ) {
		return k, p, fmt.Errorf("the value is of type %s, not %s as valueType says", typ, ts.ValueType)
	}
	labels := map[string]string{"project_id": project}
	for name, v := range ts.Resource.Labels {
		labels[name] = v
	}
	k = series.Key{Metric: series.Labeled{Type: ts.Metric.Type, Labels: ts.Metric.Labels}, Resource: series.Labeled{Type: ts.Resource.Type, Labels: labels},
		Kind: series.Kind(kind), Type: typ, Unit: ts.Unit}
	return k, p, nil
}

// seriesFilter reads a filter over time series.
func seriesFilter(text string) (filter.Filter, error) {
	one := func(fn func(s, arg string) bool) func([]string) (func(string) bool, error) {
		return func(args []string) (func(string) bool, error) {
			if len(args) != 1 {
				return nil, errors.New("takes one argument")
			}
			return func(s string) bool { return fn(s, args[0]) }, nil
		}
	}
	f, err := filter.Parse(text, filter.Dialect{
		Fields: map[string]bool{"metric": true, "resource": true, "project": true, "group": false, "metadata": true},
		ValueCalls: map[string]func([]string) (func(string) bool, error){
			"starts_with": one(strings.HasPrefix), "ends_with": one(strings.HasSuffix), "has_substring": one(strings.Contains),
			"one_of": func(args []string) (func(string) bool, error) {
				return func(s string) bool {
					for _, a := range args {
						if a == s {
							return true
						}
					}
					return false
				}, nil
			},
			"monitoring.regex.full_match": func(args []string) (func(string) bool, error) {
				if len(args) != 1 {
					return nil, errors.New("takes one argument")
				}
				re, err := regexp.Compile("^(?:" + args[0] + ")$")
				if err != nil {
					return nil, err
				}
				return re.MatchString, nil
			},
		},
	})
	if err != nil {
		return f, googleapi.InvalidArgument("Field filter had an invalid value of %q: %v", text, err)
	}
	return f, nil
}

func document(project string, k series.Key) map[string]any {
	labels := func(m map[string]string) map[string]any {
		out := map[string]any{}
		for name, v := range m {
			out[name] = v
		}
		return out
	}
	return map[string]any{"project": project, "metric": map[string]any{"type": k.Metric.Type, "labels": labels(k.Metric.Labels)},
		"resource": map[string]any{"type": k.Resource.Type, "labels": labels(k.Resource.Labels)}}
}

func (s *server) list(_ context.Context, r *googleapi.Request) (any, error) {
	project := r.Var("project")
	if err := s.project(store.Tx{}, r); err != nil {
		return nil, err
	}
	if r.Query("filter") == "" {
		return nil, required("filter")
	}
	f, err := seriesFilter(r.Query("filter"))
	if err != nil {
		return nil, err
	}
	to, err := time.Parse(time.RFC3339Nano, r.Query("interval.endTime"))
	if err != nil {
		return nil, googleapi.InvalidArgument("Field interval.end_time had an invalid value of %q: a time is required.", r.Query("interval.endTime"))
	}
	from := to.Add(-time.Nanosecond)
	if v := r.Query("interval.startTime"); v != "" {
		if from, err = time.Parse(time.RFC3339Nano, v); err != nil || from.After(to) {
			return nil, googleapi.InvalidArgument("Field interval.start_time had an invalid value of %q: a time before the end time is required.", v)
		}
	}
	agg := series.Aggregation{Aligner: r.Query("aggregation.perSeriesAligner"), Reducer: r.Query("aggregation.crossSeriesReducer"), GroupBy: r.HTTP.URL.Query()["aggregation.groupByFields"]}
	if p := r.Query("aggregation.alignmentPeriod"); p != "" {
		if agg.Period, err = time.ParseDuration(p); err != nil || !strings.HasSuffix(p, "s") {
			return nil, googleapi.InvalidArgument("Field aggregation.alignment_period had an invalid value of %q.", p)
		}
	}
	if r.Query("secondaryAggregation.perSeriesAligner") != "" {
		return nil, googleapi.Unimplemented("The sandbox does not simulate secondaryAggregation (timeSeries.list).")
	}
	if err := agg.Check(); err != nil {
		return nil, googleapi.InvalidArgument("Field aggregation had an invalid value: %v.", err)
	}
	all, err := agg.Apply(s.series.List(project, from, to, func(k series.Key) bool { return f.Match(document(project, k)) }), to)
	if err != nil {
		return nil, googleapi.InvalidArgument("Field aggregation had an invalid value: %v.", err)
	}
	headers := r.Query("view") == "HEADERS"
	var docs []googleapi.Doc
	for i, one := range all {
		d := render(one, headers)
		d["\x00key"] = strconv.Itoa(i)
		docs = append(docs, d)
	}
	page, err := googleapi.Paginate(r, docs, func(d googleapi.Doc) string { return d.String("\x00key") }, 10000)
	if err != nil {
		return nil, err
	}
	for _, d := range page.Items {
		d.Drop("\x00key")
	}
	out := googleapi.Doc{}
	if len(page.Items) > 0 {
		out["timeSeries"] = page.Items
	}
	if page.Next != "" {
		out["nextPageToken"] = page.Next
	}
	return out, nil
}

func render(one series.Series, headersOnly bool) googleapi.Doc {
	d := googleapi.Doc{"metric": one.Metric, "resource": one.Resource, "metricKind": one.Kind, "valueType": one.Type}
	if one.Unit != "" {
		d["unit"] = one.Unit
	}
	if headersOnly {
		return d
	}
	points := make([]any, 0, len(one.Points))
	for _, p := range one.Points {
		var v any
		name := map[series.Type]string{series.Bool: "boolValue", series.Int64: "int64Value", series.Double: "doubleValue", series.String: "stringValue"}[one.Type]
		switch one.Type {
		case series.Bool:
			v = p.Number != 0
		case series.Int64:
			v = strconv.FormatInt(int64(p.Number), 10)
		case series.Double:
			v = p.Number
		case series.String:
			v = p.Text
		}
		points = append(points, map[string]any{"interval": map[string]any{"startTime": p.Start.UTC().Format(time.RFC3339Nano), "endTime": p.End.UTC().Format(time.RFC3339Nano)}, "value": map[string]any{name: v}})
	}
	d["points"] = points
	return d
}
