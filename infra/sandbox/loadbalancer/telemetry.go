package loadbalancer

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/api/logging/v2"

	"patag/infra/sandbox/loadbalancer/armor"
	"patag/infra/sandbox/loadbalancer/proxy"
)

// Metrics takes the load balancer's time series of a project, once a minute at most and at the end.
type Metrics interface {
	Write(project string, samples []Sample) error
}

// Sample is one point of loadbalancing.googleapis.com/https/… on the monitored resource https_lb_rule; all are deltas
// over Start to End.
type Sample struct {
	// Metric is "loadbalancing.googleapis.com/https/request_count", …/request_bytes_count, …/response_bytes_count,
	// …/total_latencies or …/backend_latencies.
	Metric                       string
	MetricLabels, ResourceLabels map[string]string
	Start, End                   time.Time
	// Count is the value, or the number of values of a distribution.
	Count int64
	// Distribution is set for latencies, in milliseconds.
	Distribution *Distribution
}

// Distribution has Google's exponential buckets: bucket i > 0 begins at 1.4^(i-1) ms; 66 of them.
type Distribution struct {
	Mean, SumOfSquaredDeviation float64
	Buckets                     []int64
}

const (
	// Buckets, Growth and Scale describe Google's latency distributions.
	Buckets, Growth, Scale = 66, 1.4, 1.0
	// flushEvery is how often metrics are written; Google's are sampled every minute.
	flushEvery = 10 * time.Second
	// queued is how many requests may wait to be logged: some seconds of the heaviest load.
	queued = 16384
)

// telemetry turns records into log entries and metrics, away from the request path.
type telemetry struct {
	project string
	log     AccessLog
	metrics Metrics
	logger  *slog.Logger
	queue   chan *proxy.Record
	lost    atomic.Int64
	stop    chan struct{}
	done    sync.WaitGroup
	begin   time.Time
	series  map[seriesKey]*series
}

type seriesKey struct {
	rule, target, urlMap, backend, scheme string
	status                                int
}

type series struct {
	count, in, out int64
	total, backend histogram
}

func newTelemetry(project string, log AccessLog, metrics Metrics, logger *slog.Logger) *telemetry {
	t := &telemetry{project: project, log: log, metrics: metrics, logger: logger, queue: make(chan *proxy.Record, queued), stop: make(chan struct{}),
		begin: time.Now(), series: map[seriesKey]*series{}}
	t.done.Go(t.loop)
	return t
}

// Record implements proxy.Sink.
func (t *telemetry) Record(r *proxy.Record) {
	select {
	case t.queue <- r:
	default:
		t.lost.Add(1) // told in loop: a request must not wait for its log
	}
}

func (t *telemetry) loop() {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case r := <-t.queue:
			t.take(r)
		case <-tick.C:
			t.flush()
		case <-t.stop:
			for {
				select {
				case r := <-t.queue:
					t.take(r)
					continue
				default:
				}
				t.flush()
				return
			}
		}
	}
}

// close writes what is waiting.
func (t *telemetry) close() {
	close(t.stop)
	t.done.Wait()
}

func (t *telemetry) take(r *proxy.Record) {
	if t.metrics != nil {
		key := seriesKey{r.ForwardingRule, r.TargetProxy, r.URLMap, r.Backend, r.Scheme, r.Status}
		s := t.series[key]
		if s == nil {
			s = &series{}
			t.series[key] = s
		}
		s.count++
		s.in += r.RequestSize
		s.out += r.ResponseSize
		s.total.add(float64(r.Latency) / float64(time.Millisecond))
		if r.BackendLatency > 0 {
			s.backend.add(float64(r.BackendLatency) / float64(time.Millisecond))
		}
	}
	if t.log == nil || !r.Sampled() {
		return
	}
	entry, err := logEntry(t.project, r)
	if err == nil {
		err = t.log.Append(t.project, entry)
	}
	if err != nil {
		t.logger.Error("write a request log entry", "err", err)
	}
}

func (t *telemetry) flush() {
	if n := t.lost.Swap(0); n > 0 {
		t.logger.Warn("requests came faster than they could be logged; their log entries and metrics are lost", "requests", n)
	}
	now := time.Now()
	if t.metrics == nil || len(t.series) == 0 {
		t.begin = now
		return
	}
	var samples []Sample
	for key, s := range t.series {
		resource := map[string]string{"project_id": t.project, "forwarding_rule_name": key.rule, "target_proxy_name": key.target, "url_map_name": key.urlMap,
			"backend_target_name": key.backend, "backend_target_type": "BACKEND_SERVICE", "backend_name": key.backend, "backend_type": "NETWORK_ENDPOINT_GROUP", "region": "global"}
		labels := map[string]string{"protocol": "HTTP/1.1", "cache_result": "DISABLED", "response_code": strconv.Itoa(key.status),
			"response_code_class": strconv.Itoa(key.status / 100 * 100), "scheme": key.scheme}
		add := func(metric string, count int64, d *Distribution) {
			samples = append(samples, Sample{Metric: "loadbalancing.googleapis.com/https/" + metric, MetricLabels: labels, ResourceLabels: resource, Start: t.begin, End: now, Count: count, Distribution: d})
		}
		add("request_count", s.count, nil)
		add("request_bytes_count", s.in, nil)
		add("response_bytes_count", s.out, nil)
		add("total_latencies", s.total.n, s.total.distribution())
		if s.backend.n > 0 {
			add("backend_latencies", s.backend.n, s.backend.distribution())
		}
	}
	if err := t.metrics.Write(t.project, samples); err != nil {
		t.logger.Error("write load balancer metrics", "err", err)
	}
	clear(t.series)
	t.begin = now
}

// histogram counts in Google's buckets; mean and deviation by Welford's method.
type histogram struct {
	n        int64
	mean, m2 float64
	buckets  [Buckets + 2]int64
}

func (h *histogram) add(v float64) {
	h.n++
	delta := v - h.mean
	h.mean += delta / float64(h.n)
	h.m2 += delta * (v - h.mean)
	i, bound := 0, Scale
	for v >= bound && i < Buckets+1 {
		bound *= Growth
		i++
	}
	h.buckets[i]++
}

func (h *histogram) distribution() *Distribution {
	last := len(h.buckets)
	for last > 0 && h.buckets[last-1] == 0 {
		last--
	}
	return &Distribution{Mean: h.mean, SumOfSquaredDeviation: h.m2, Buckets: append([]int64(nil), h.buckets[:last]...)}
}

type policyLog struct {
	Name             string `json:"name"`
	Priority         int64  `json:"priority"`
	ConfiguredAction string `json:"configuredAction"`
	Outcome          string `json:"outcome"`
}

func policyEntry(v *armor.Verdict) *policyLog {
	if v == nil {
		return nil
	}
	return &policyLog{v.Policy, v.Priority, v.Action, v.Outcome}
}

// logEntry is a request as Cloud Logging shows it.
func logEntry(project string, r *proxy.Record) (*logging.LogEntry, error) {
	payload := struct {
		Type     string     `json:"@type"`
		Details  string     `json:"statusDetails,omitempty"`
		RemoteIP string     `json:"remoteIp"`
		Cache    []string   `json:"cacheDecision"`
		Backend  string     `json:"backendTargetName,omitempty"`
		Enforced *policyLog `json:"enforcedSecurityPolicy,omitempty"`
		Preview  *policyLog `json:"previewSecurityPolicy,omitempty"`
	}{"type.googleapis.com/google.cloud.loadbalancing.type.LoadBalancerLogEntry", r.Detail, r.RemoteIP,
		[]string{}, r.Backend, policyEntry(r.Policy), nil}
	if r.Policy != nil {
		payload.Preview = policyEntry(r.Policy.Preview)
	}
	raw, err := json.Marshal(payload)
	if err != nil {
		return nil, err
	}
	severity := "INFO"
	if r.Status >= 400 || r.Status == 0 {
		severity = "WARNING"
	}
	request := &logging.HttpRequest{RequestMethod: r.Method, RequestUrl: r.URL(), RequestSize: r.RequestSize, Status: int64(r.Status), ResponseSize: r.ResponseSize,
		UserAgent: r.UserAgent, RemoteIp: r.RemoteIP, Referer: r.Referer, Latency: fmt.Sprintf("%.6fs", r.Latency.Seconds()), Protocol: r.Protocol}
	if endpoint, err := netip.ParseAddrPort(r.Endpoint); err == nil {
		request.ServerIp = endpoint.Addr().String()
	}
	return &logging.LogEntry{
		LogName: "projects/" + project + "/logs/requests", Timestamp: r.Start.UTC().Format(time.RFC3339Nano), Severity: severity,
		Trace: "projects/" + project + "/traces/" + r.TraceID(), SpanId: r.SpanID(), HttpRequest: request, JsonPayload: raw,
		Resource: &logging.MonitoredResource{Type: "http_load_balancer", Labels: map[string]string{"project_id": project, "forwarding_rule_name": r.ForwardingRule,
			"target_proxy_name": r.TargetProxy, "url_map_name": r.URLMap, "backend_service_name": r.Backend, "zone": "global"}},
	}, nil
}
