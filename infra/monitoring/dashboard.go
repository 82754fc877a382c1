package monitoring

import "encoding/json"

// Figures of Google's load balancer.
const (
	latencyFilter  = `resource.type = "https_lb_rule" AND metric.type = "loadbalancing.googleapis.com/https/total_latencies"`
	requestsFilter = `resource.type = "https_lb_rule" AND metric.type = "loadbalancing.googleapis.com/https/request_count"`
	cpuFilter      = `resource.type = "k8s_container" AND metric.type = "kubernetes.io/container/cpu/core_usage_time" AND resource.labels.container_name = "tag"`
)

type object = map[string]any

// dashboard is the JSON of a Cloud Monitoring dashboard: requests by answer, latency, CPU of the tag servers.
func dashboard(title string) (string, error) {
	chart := func(name, filter, aligner, reducer string, by ...string) object {
		aggregation := object{"alignmentPeriod": "60s", "perSeriesAligner": aligner, "crossSeriesReducer": reducer}
		if len(by) > 0 {
			aggregation["groupByFields"] = by
		}
		return object{"title": name, "xyChart": object{"dataSets": []object{{
			"plotType":        "LINE",
			"timeSeriesQuery": object{"timeSeriesFilter": object{"filter": filter, "aggregation": aggregation}},
		}}}}
	}
	raw, err := json.Marshal(object{
		"displayName": title,
		"gridLayout": object{"columns": "2", "widgets": []object{
			chart("Requests per second, by answer", requestsFilter, "ALIGN_RATE", "REDUCE_SUM", "metric.label.response_code_class"),
			chart("Latency, 50 of 100 requests (ms)", latencyFilter, "ALIGN_DELTA", "REDUCE_PERCENTILE_50"),
			chart("Latency, 95 of 100 requests (ms)", latencyFilter, "ALIGN_DELTA", "REDUCE_PERCENTILE_95"),
			chart("CPU of the tag servers (cores)", cpuFilter, "ALIGN_RATE", "REDUCE_SUM"),
		}},
	})
	return string(raw), err
}
