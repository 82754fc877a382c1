package monitoring

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	api "google.golang.org/api/monitoring/v3"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/series"
	"patag/infra/sandbox/store"
)

// known are metrics of Google's that something in the sandbox writes or programs refer to: type, kind, value type, unit, labels, name.
var known = []struct {
	typ  string
	kind series.Kind
	vt   series.Type
	unit string
	keys []string
	name string
}{
	{"kubernetes.io/container/cpu/core_usage_time", series.Cumulative, series.Double, "s{CPU}", nil, "CPU usage time"},
	{"kubernetes.io/container/memory/used_bytes", series.Gauge, series.Int64, "By", []string{"memory_type"}, "Memory usage"},
	{"kubernetes.io/container/restart_count", series.Cumulative, series.Int64, "1", nil, "Restart count"},
	{"kubernetes.io/node/cpu/core_usage_time", series.Cumulative, series.Double, "s{CPU}", nil, "CPU usage time"},
	{"kubernetes.io/node/memory/used_bytes", series.Gauge, series.Int64, "By", []string{"memory_type", "component"}, "Memory usage"},
	{"loadbalancing.googleapis.com/https/request_count", series.Delta, series.Int64, "1", []string{"response_code", "response_code_class", "proxy_continent", "cache_result", "client_country", "protocol"}, "Request count"},
	{"loadbalancing.googleapis.com/https/response_bytes_count", series.Delta, series.Int64, "By", []string{"response_code", "response_code_class"}, "Response bytes"},
	{"loadbalancing.googleapis.com/https/total_latencies", series.Delta, "DISTRIBUTION", "ms", []string{"response_code", "response_code_class"}, "Total latency"},
	{"loadbalancing.googleapis.com/https/backend_latencies", series.Delta, "DISTRIBUTION", "ms", []string{"response_code", "response_code_class"}, "Backend latency"},
	{"monitoring.googleapis.com/uptime_check/check_passed", series.Gauge, series.Bool, "1", []string{"checked_resource_id", "checker_location", "check_id"}, "Check passed"},
	{"monitoring.googleapis.com/uptime_check/request_latency", series.Gauge, series.Double, "ms", []string{"checked_resource_id", "checker_location", "check_id"}, "Request latency"},
}

func (s *server) handleDescriptors(svc *googleapi.Service) {
	base := "v3/projects/{project}/metricDescriptors"
	svc.Handle("GET", base, s.listDescriptors)
	svc.Handle("POST", base, s.createDescriptor)
	svc.Handle("GET", base+"/{type**}", s.getDescriptor)
	svc.Handle("DELETE", base+"/{type**}", s.deleteDescriptor)
}

func descriptor(project, typ string, kind series.Kind, vt series.Type, unit, name string, keys []string) googleapi.Doc {
	d := googleapi.Doc{"name": "projects/" + project + "/metricDescriptors/" + typ, "type": typ, "metricKind": kind, "valueType": vt, "displayName": name}
	if unit != "" {
		d["unit"] = unit
	}
	var labels []any
	for _, k := range keys {
		labels = append(labels, map[string]any{"key": k})
	}
	if labels != nil {
		d["labels"] = labels
	}
	return d
}

func descriptorKey(project, typ string) string {
	return "monitoring/projects/" + project + "/metricDescriptors/" + strings.ReplaceAll(typ, "/", "%2F")
}

// descriptors are Google's, those that were created, and those that writing a series made, by type.
func (s *server) descriptors(project string) (map[string]googleapi.Doc, error) {
	all := map[string]googleapi.Doc{}
	for _, k := range known {
		all[k.typ] = descriptor(project, k.typ, k.kind, k.vt, k.unit, k.name, k.keys)
	}
	for _, k := range s.series.Metrics(project) {
		if all[k.Metric.Type] == nil {
			all[k.Metric.Type] = descriptor(project, k.Metric.Type, k.Kind, k.Type, k.Unit, k.Metric.Type, slices.Sorted(maps.Keys(k.Metric.Labels)))
		}
	}
	var made []googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) (err error) {
		made, err = googleapi.Children(tx, "monitoring/projects/"+project+"/metricDescriptors")
		return err
	})
	for _, d := range made {
		all[d.String("type")] = d
	}
	return all, err
}

func (s *server) listDescriptors(_ context.Context, r *googleapi.Request) (any, error) {
	f, err := seriesFilter(r.Query("filter"))
	if err != nil {
		return nil, err
	}
	byType, err := s.descriptors(r.Var("project"))
	if err != nil {
		return nil, err
	}
	var all []googleapi.Doc
	for _, d := range byType {
		if f.Match(map[string]any{"metric": map[string]any{"type": d.String("type")}}) {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b googleapi.Doc) int { return cmp.Compare(a.String("type"), b.String("type")) })
	page, err := googleapi.Paginate(r, all, func(d googleapi.Doc) string { return d.String("type") }, 10000)
	if err != nil {
		return nil, err
	}
	out := googleapi.Doc{}
	if len(page.Items) > 0 {
		out["metricDescriptors"] = page.Items
	}
	if page.Next != "" {
		out["nextPageToken"] = page.Next
	}
	return out, nil
}

func (s *server) getDescriptor(_ context.Context, r *googleapi.Request) (any, error) {
	all, err := s.descriptors(r.Var("project"))
	if err != nil {
		return nil, err
	}
	if d := all[r.Var("type")]; d != nil {
		return d, nil
	}
	return nil, googleapi.NotFound("Could not find descriptor for metric '%s'.", r.Var("type"))
}

func (s *server) createDescriptor(_ context.Context, r *googleapi.Request) (any, error) {
	d, err := r.DecodeDoc(api.MetricDescriptor{})
	if err != nil {
		return nil, err
	}
	d.DropNulls()
	typ := d.String("type")
	if !metricType.MatchString(typ) || !slices.ContainsFunc(writable, func(w string) bool { return strings.HasPrefix(typ, w) }) {
		return nil, googleapi.InvalidArgument("Field metricDescriptor.type had an invalid value of %q: it must begin with custom.googleapis.com/ or another domain that clients may write.", typ)
	}
	if d.String("metricKind") == "" || d.String("valueType") == "" {
		return nil, required("metricDescriptor.metric_kind and value_type")
	}
	d["name"] = "projects/" + r.Var("project") + "/metricDescriptors/" + typ
	return d, s.core.Store().Put(descriptorKey(r.Var("project"), typ), d)
}

func (s *server) deleteDescriptor(_ context.Context, r *googleapi.Request) (any, error) {
	return nil, s.core.Store().Update(func(tx store.Tx) error {
		key := descriptorKey(r.Var("project"), r.Var("type"))
		if !tx.Has(key) {
			return googleapi.NotFound("Could not find descriptor for metric '%s'.", r.Var("type"))
		}
		return tx.Delete(key)
	})
}
