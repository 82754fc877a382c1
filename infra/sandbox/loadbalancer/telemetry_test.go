package loadbalancer

import (
	"encoding/json"
	"log/slog"
	"math"
	"testing"
	"time"

	"patag/infra/sandbox/loadbalancer/armor"
	"patag/infra/sandbox/loadbalancer/proxy"
	"patag/infra/sandbox/logs"
)

func sample() *proxy.Record {
	return &proxy.Record{Start: time.Now(), Latency: 12 * time.Millisecond, BackendLatency: 10 * time.Millisecond, Method: "GET", Host: "ads.example.com", RequestURI: "/v1/ad?placement=1",
		Scheme: "https", Protocol: "HTTP/2.0", RemoteIP: "127.0.0.1", UserAgent: "test", Status: 403, RequestSize: 300, ResponseSize: 900, ForwardingRule: "fs", TargetProxy: "ts",
		URLMap: "um", Backend: "k8s1-x", Endpoint: "10.8.0.5:8080", Detail: "denied_by_security_policy", LogRate: 1,
		Policy: &armor.Verdict{Policy: "edge", Priority: 10, Action: "DENY", Outcome: "DENY", Preview: &armor.Verdict{Policy: "edge", Priority: 5, Action: "DENY", Outcome: "DENY"}}}
}

func TestLogEntryForm(t *testing.T) {
	e, err := logEntry("p", sample())
	if err != nil {
		t.Fatal(err)
	}
	var payload map[string]any
	if err := json.Unmarshal(e.JsonPayload, &payload); err != nil {
		t.Fatal(err)
	}
	enforced, _ := payload["enforcedSecurityPolicy"].(map[string]any)
	preview, _ := payload["previewSecurityPolicy"].(map[string]any)
	if payload["statusDetails"] != "denied_by_security_policy" || enforced["name"] != "edge" || enforced["priority"] != 10.0 || preview["priority"] != 5.0 {
		t.Errorf("payload %s", e.JsonPayload)
	}
	if h := e.HttpRequest; e.Severity != "WARNING" || h.RequestUrl != "https://ads.example.com/v1/ad?placement=1" || h.Latency != "0.012000s" || h.ServerIp != "10.8.0.5" || h.ResponseSize != 900 {
		t.Errorf("request %+v", h)
	}
}

type kept struct{ samples []Sample }

func (k *kept) Write(_ string, s []Sample) error {
	k.samples = append(k.samples, s...)
	return nil
}

func TestMetrics(t *testing.T) {
	m := &kept{}
	sink := newTelemetry("p", nil, m, slog.New(slog.DiscardHandler))
	for i := range 100 {
		r := sample()
		r.Latency = time.Duration(i+1) * time.Millisecond
		sink.Record(r)
	}
	sink.close()
	for _, s := range m.samples {
		if s.Count != 100 && s.Distribution == nil && s.Metric == "loadbalancing.googleapis.com/https/request_count" {
			t.Errorf("%s = %d", s.Metric, s.Count)
		}
		if s.Metric != "loadbalancing.googleapis.com/https/total_latencies" {
			continue
		}
		var n int64
		for _, b := range s.Distribution.Buckets {
			n += b
		}
		if n != 100 || math.Abs(s.Distribution.Mean-50.5) > 1e-9 || math.Abs(s.Distribution.SumOfSquaredDeviation-83325) > 1e-6 || s.MetricLabels["response_code_class"] != "400" {
			t.Errorf("latencies: %d in buckets, %+v, %v", n, s.Distribution, s.MetricLabels)
		}
	}
	if len(m.samples) != 5 {
		t.Errorf("%d samples, want 5", len(m.samples))
	}
}

// BenchmarkRequestLog is what a request's log entry and metrics cost beside the request path.
func BenchmarkRequestLog(b *testing.B) {
	l, err := logs.Open(b.TempDir(), logs.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	sink := newTelemetry("p", l, &kept{}, slog.New(slog.DiscardHandler))
	r := sample()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		sink.take(r)
	}
	b.StopTimer()
	sink.close()
}
