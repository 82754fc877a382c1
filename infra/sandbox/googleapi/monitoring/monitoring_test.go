package monitoring_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	dashboards "google.golang.org/api/monitoring/v1"
	api "google.golang.org/api/monitoring/v3"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/apitest"
	"patag/infra/sandbox/googleapi/monitoring"
	"patag/infra/sandbox/layout"
	"patag/infra/sandbox/series"
)

const base = "/monitoring/v3/projects/" + apitest.Project

func start(t *testing.T) *apitest.Server {
	t.Helper()
	var open *series.Store
	end := func() {
		if open != nil {
			if err := open.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(end)
	return apitest.Start(t, func(core *googleapi.Core, l layout.Layout) {
		end()
		var err error
		if open, err = series.Open(l.Series(), series.Options{}); err != nil {
			t.Fatal(err)
		}
		monitoring.Register(core, open)
	})
}

func TestResources(t *testing.T) {
	s := start(t)
	channel := s.Must("POST", base+"/notificationChannels", `{"type":"email","displayName":"on call","labels":{"email_address":"a@example.com"}}`).String("name")
	s.Must("POST", base+"/services?serviceId=web", `{"displayName":"web","custom":{}}`)
	condition := `{"displayName":"c","conditionThreshold":{"filter":"metric.type=\"x/y\"","comparison":"COMPARISON_GT","thresholdValue":5,"duration":"60s","aggregations":[{"alignmentPeriod":"60s","perSeriesAligner":"ALIGN_RATE"}]}}`
	for name, r := range map[string]apitest.Resource{
		"alert policy": {
			Collection: base + "/alertPolicies", List: "alertPolicies", Like: api.AlertPolicy{},
			Body:   `{"displayName":"p","combiner":"OR","conditions":[` + condition + `],"notificationChannels":["` + channel + `"],"documentation":{"content":"x"},"userLabels":{"a":"b"}}`,
			Want:   map[string]any{"enabled": true, "creationRecord.mutatedBy": apitest.Principal, "documentation.mimeType": "text/markdown", "notificationChannels": []string{channel}},
			Method: "PATCH", Mask: "enabled,displayName", Update: `{"displayName":"q","enabled":false}`, Updated: map[string]any{"enabled": false, "displayName": "q", "combiner": "OR"},
			Refused: []apitest.Refusal{
				{Body: `{"displayName":"p","conditions":[]}`, Code: 400, Want: "conditions"},
				{Body: `{"displayName":"p","conditions":[{"displayName":"c"}]}`, Code: 400, Want: "exactly one kind"},
				{Body: `{"displayName":"p","conditions":[` + condition + `],"notificationChannels":["projects/x/notificationChannels/1"]}`, Code: 404, Want: "notification channel"},
				{Body: `{"displayName":"p","combiner":"XOR","conditions":[` + condition + `]}`, Code: 400, Want: "combiner"},
			},
		},
		"notification channel": {
			Collection: base + "/notificationChannels", List: "notificationChannels", Like: api.NotificationChannel{},
			Body:   `{"type":"webhook_basicauth","displayName":"hook","labels":{"url":"http://x","username":"u","password":"secretsecret"}}`,
			Want:   map[string]any{"enabled": true, "labels.password": "********cret", "labels.username": "u"},
			Method: "PATCH", Mask: "display_name", Update: `{"displayName":"h2"}`, Updated: map[string]any{"displayName": "h2", "labels.password": "********cret", "type": "webhook_basicauth"},
			Refused: []apitest.Refusal{{Body: `{"type":"pigeon"}`, Code: 400, Want: "type"}, {Body: `{"type":"email"}`, Code: 400, Want: "email_address"}},
		},
		"uptime check": {
			Collection: base + "/uptimeCheckConfigs", List: "uptimeCheckConfigs", Like: api.UptimeCheckConfig{},
			Body:   `{"displayName":"Ad tag","timeout":"10s","period":"300s","monitoredResource":{"type":"uptime_url","labels":{"host":"ads.example.com"}},"httpCheck":{"useSsl":true,"validateSsl":true,"path":"/healthz","authInfo":{"username":"u","password":"p"}},"contentMatchers":[{"content":"ok"}]}`,
			Want:   map[string]any{"httpCheck.port": 443, "httpCheck.requestMethod": "GET", "checkerType": "STATIC_IP_CHECKERS", "monitoredResource.labels.project_id": apitest.Project, "httpCheck.authInfo.password": "******"},
			Method: "PATCH", Mask: "timeout", Update: `{"timeout":"5s"}`, Updated: map[string]any{"timeout": "5s", "period": "300s"},
			Refused: []apitest.Refusal{{Body: `{"displayName":"x","period":"7s"}`, Code: 400, Want: "period"}, {Body: `{"displayName":"x","timeout":"2m"}`, Code: 400, Want: "timeout"}, {Body: `{"displayName":"x"}`, Code: 400, Want: "http_check or tcp_check"}},
		},
		"service": {
			Collection: base + "/services", Query: "serviceId=tag", List: "services", Like: api.MService{}, ID: "tag",
			Body:   `{"displayName":"Tag","custom":{},"telemetry":{"resourceName":"//x"},"userLabels":{"a":"b"}}`,
			Want:   map[string]any{"name": "projects/" + apitest.Project + "/services/tag", "custom": map[string]any{}},
			Method: "PATCH", Mask: "displayName", Update: `{"displayName":"T"}`, Updated: map[string]any{"displayName": "T", "telemetry.resourceName": "//x"},
			Refused: []apitest.Refusal{{Query: "serviceId=a.b", Body: `{"custom":{}}`, Code: 400, Want: "serviceId"}, {Query: "serviceId=ab", Body: `{}`, Code: 400, Want: "exactly one kind"}},
		},
		"objective": {
			Collection: base + "/services/web/serviceLevelObjectives", Query: "serviceLevelObjectiveId=fast", List: "serviceLevelObjectives", Like: api.ServiceLevelObjective{}, ID: "fast",
			Body:   `{"goal":0.99,"rollingPeriod":"86400s","serviceLevelIndicator":{"requestBased":{"goodTotalRatio":{"goodServiceFilter":"a","totalServiceFilter":"b"}}}}`,
			Want:   map[string]any{"goal": 0.99, "rollingPeriod": "86400s"},
			Method: "PATCH", Mask: "goal", Update: `{"goal":0.9}`, Updated: map[string]any{"goal": 0.9},
			Refused: []apitest.Refusal{{Query: "serviceLevelObjectiveId=x", Body: `{"goal":1,"rollingPeriod":"86400s","serviceLevelIndicator":{"basicSli":{}}}`, Code: 400, Want: "goal"},
				{Query: "serviceLevelObjectiveId=x", Body: `{"goal":0.5,"rollingPeriod":"100s","serviceLevelIndicator":{"basicSli":{}}}`, Code: 400, Want: "rolling_period"}},
		},
		"dashboard": {
			Collection: "/monitoring/v1/projects/" + apitest.Project + "/dashboards", List: "dashboards", Like: dashboards.Dashboard{}, Etag: 409,
			Body:   `{"displayName":"d","gridLayout":{"columns":"2","widgets":[{"title":"t","text":{"content":"x"}}]}}`,
			Want:   map[string]any{"gridLayout.columns": "2"},
			Method: "PATCH", Update: `{"displayName":"e","mosaicLayout":{"columns":12}}`, Updated: map[string]any{"displayName": "e", "gridLayout": nil, "mosaicLayout.columns": 12},
			Refused: []apitest.Refusal{{Body: `{"displayName":"d","gridLayout":{},"mosaicLayout":{}}`, Code: 400, Want: "one layout"}, {Body: `{}`, Code: 400, Want: "display_name"}},
		},
	} {
		t.Run(name, func(t *testing.T) { s.Walk(t, r) })
	}
	s.Must("POST", base+"/alertPolicies", `{"displayName":"p","conditions":[`+condition+`],"notificationChannels":["`+channel+`"]}`)
	if code, d := s.Call("DELETE", "/monitoring/v3/"+channel, nil); code != 400 || !strings.Contains(d.String("error", "message"), "used by alert policy") {
		t.Errorf("deletion of a channel in use: %d %v", code, d)
	}
	s.Must("DELETE", "/monitoring/v3/"+channel+"?force=true", nil)
	if p := s.Must("GET", base+"/alertPolicies", nil).Docs("alertPolicies")[0]; len(p.Strings("notificationChannels")) != 0 {
		t.Errorf("the channel is still in %v", p)
	}
	if code, _ := s.Call("POST", base+"/services/none/serviceLevelObjectives", `{}`); code != 404 {
		t.Errorf("an objective without a service: %d", code)
	}
}

func TestTimeSeries(t *testing.T) {
	s := start(t)
	c, err := api.NewService(t.Context(), s.Client("monitoring/")...)
	if err != nil {
		t.Fatal(err)
	}
	project := "projects/" + apitest.Project
	now := time.Now().UTC().Truncate(time.Second)
	write := func(at time.Time, v float64, code string) error {
		_, err := c.Projects.TimeSeries.Create(project, &api.CreateTimeSeriesRequest{TimeSeries: []*api.TimeSeries{{
			Metric: &api.Metric{Type: "custom.googleapis.com/tag/latency", Labels: map[string]string{"code": code}}, Resource: &api.MonitoredResource{Type: "global"},
			Points: []*api.Point{{Interval: &api.TimeInterval{EndTime: at.Format(time.RFC3339)}, Value: &api.TypedValue{DoubleValue: &v}}}}}}).Do()
		return err
	}
	for i := range 6 {
		if err := write(now.Add(time.Duration(i-6)*time.Minute), float64(i), fmt.Sprint(200+i%2*300)); err != nil {
			t.Fatal(err)
		}
	}
	apitest.WantCode(t, write(now.Add(-time.Hour), 1, "200"), 400)
	s.Restart()
	if c, err = api.NewService(t.Context(), s.Client("monitoring/")...); err != nil {
		t.Fatal(err)
	}
	list := c.Projects.TimeSeries.List(project).Filter(`metric.type="custom.googleapis.com/tag/latency" AND metric.labels.code=starts_with("2")`).
		IntervalStartTime(now.Add(-time.Hour).Format(time.RFC3339)).IntervalEndTime(now.Format(time.RFC3339))
	got, err := list.Do()
	if err != nil || len(got.TimeSeries) != 1 || len(got.TimeSeries[0].Points) != 3 || *got.TimeSeries[0].Points[0].Value.DoubleValue != 4 {
		t.Fatalf("list: %v %+v", err, got)
	}
	got, err = list.Filter(`metric.type="custom.googleapis.com/tag/latency"`).AggregationAlignmentPeriod("3600s").AggregationPerSeriesAligner("ALIGN_MAX").AggregationCrossSeriesReducer("REDUCE_SUM").Do()
	if err != nil || len(got.TimeSeries) != 1 || *got.TimeSeries[0].Points[0].Value.DoubleValue != 9 {
		t.Errorf("aggregated: %v %+v", err, got)
	}
	_, err = list.Filter(`color="red"`).Do()
	apitest.WantCode(t, err, 400)
	_, err = list.Filter(`metric.type="x"`).AggregationPerSeriesAligner("ALIGN_STDDEV").Do()
	apitest.WantCode(t, err, 400)
	d, err := c.Projects.MetricDescriptors.List(project).Filter(`metric.type = starts_with("custom.")`).Do()
	if err != nil || len(d.MetricDescriptors) != 1 || d.MetricDescriptors[0].ValueType != "DOUBLE" {
		t.Errorf("descriptors: %v %+v", err, d)
	}
	one, err := c.Projects.MetricDescriptors.Get(project + "/metricDescriptors/loadbalancing.googleapis.com/https/request_count").Do()
	if err != nil || one.MetricKind != "DELTA" {
		t.Errorf("descriptor: %v %+v", err, one)
	}
	if code, d := s.Call("POST", base+"/timeSeries:query", `{}`); code != 501 || !strings.Contains(d.String("error", "message"), "timeSeries:query") {
		t.Errorf("MQL: %d %v", code, d)
	}
}
