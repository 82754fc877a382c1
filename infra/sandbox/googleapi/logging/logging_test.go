package logging_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	api "google.golang.org/api/logging/v2"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/apitest"
	"patag/infra/sandbox/googleapi/logging"
	"patag/infra/sandbox/layout"
	"patag/infra/sandbox/logs"
)

func start(t *testing.T) *apitest.Server {
	t.Helper()
	var open *logs.Log
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
		if open, err = logs.Open(l.Entries(), logs.Options{}); err != nil {
			t.Fatal(err)
		}
		logging.Register(core, open)
	})
}

const base = "/logging/v2/projects/" + apitest.Project

func TestResources(t *testing.T) {
	s := start(t)
	for name, r := range map[string]apitest.Resource{
		"metric": {
			Collection: base + "/metrics", List: "metrics", Like: api.LogMetric{}, ID: "ads/errors",
			Body:   `{"name":"ads/errors","filter":"severity>=ERROR","description":"x","labelExtractors":{"a":"EXTRACT(jsonPayload.a)"},"metricDescriptor":{"metricKind":"DELTA","valueType":"INT64","labels":[{"key":"a"}]}}`,
			Want:   map[string]any{"name": "ads/errors", "metricDescriptor.type": "logging.googleapis.com/user/ads/errors", "metricDescriptor.unit": "1"},
			Method: "PUT", Update: `{"name":"ads/errors","filter":"severity>=CRITICAL"}`, Updated: map[string]any{"filter": "severity>=CRITICAL", "description": nil, "metricDescriptor.valueType": "INT64"},
			Refused: []apitest.Refusal{{Body: `{"name":"x"}`, Code: 400, Want: "filter"}, {Body: `{"name":"x","filter":"colour=red"}`, Code: 400, Want: "colour"}, {Body: `{"name":"","filter":"a"}`, Code: 400, Want: "name"},
				{Body: `{"name":"x","filter":"a","metricDescriptor":{"metricKind":"GAUGE"}}`, Code: 400, Want: "GAUGE"}, {Body: `{"name":"x","filter":"a","valueExtractor":"EXTRACT(x)"}`, Code: 400, Want: "valueExtractor"}},
		},
		"sink": {
			Collection: base + "/sinks", List: "sinks", Like: api.LogSink{}, ID: "topic", Query: "uniqueWriterIdentity=true",
			Body:   `{"name":"topic","destination":"pubsub.googleapis.com/projects/p/topics/t","filter":"severity>=ERROR"}`,
			Want:   map[string]any{"writerIdentity": "serviceAccount:service-" + googleapi.ProjectNumber(apitest.Project) + "@gcp-sa-logging.iam.gserviceaccount.com"},
			Method: "PATCH", Mask: "filter", Update: `{"filter":"severity>=INFO"}`, Updated: map[string]any{"filter": "severity>=INFO", "destination": "pubsub.googleapis.com/projects/p/topics/t"},
			Refused: []apitest.Refusal{{Body: `{"name":"x","destination":"ftp://x"}`, Code: 400, Want: "destination"}, {Body: `{"name":"x","destination":"storage.googleapis.com/none"}`, Code: 404, Want: "none"}, {Body: `{"name":"_Default","destination":"pubsub.googleapis.com/projects/p/topics/t"}`, Code: 409, Want: "_Default"}},
		},
	} {
		t.Run(name, func(t *testing.T) { s.Walk(t, r) })
	}
	if n := len(s.Must("GET", base+"/sinks", nil).Docs("sinks")); n != 2 {
		t.Errorf("%d sinks, want _Required and _Default", n)
	}
	if d := s.Must("PATCH", base+"/sinks/_Default?updateMask=disabled", `{"disabled":true}`); !d.Bool("disabled") {
		t.Errorf("_Default was not disabled: %v", d)
	}
	if n := len(s.Must("GET", base+"/sinks", nil).Docs("sinks")); n != 2 {
		t.Errorf("%d sinks after a change of _Default", n)
	}
	if code, _ := s.Call("DELETE", base+"/sinks/_Required", nil); code != 400 {
		t.Errorf("_Required was deleted: %d", code)
	}
}

func TestEntries(t *testing.T) {
	s := start(t)
	client := func() *api.Service {
		c, err := api.NewService(t.Context(), s.Client("logging/")...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := client()
	name := "projects/" + apitest.Project + "/logs/requests"
	now := time.Now().UTC()
	var entries []*api.LogEntry
	for i := range 5 {
		entries = append(entries, &api.LogEntry{Severity: []string{"INFO", "error"}[i%2], Timestamp: now.Add(time.Duration(i-10) * time.Second).Format(time.RFC3339Nano),
			HttpRequest: &api.HttpRequest{Status: int64(200 + i), RemoteIp: "192.0.2.1", Latency: "0.01s"}, JsonPayload: []byte(fmt.Sprintf(`{"n":%d}`, i))})
	}
	_, err := c.Entries.Write(&api.WriteLogEntriesRequest{LogName: name, Resource: &api.MonitoredResource{Type: "http_load_balancer"}, Labels: map[string]string{"l": "v"}, Entries: entries}).Do()
	if err != nil {
		t.Fatal(err)
	}
	s.Restart()
	c = client()
	list := func(filter string, size int64) *api.ListLogEntriesResponse {
		t.Helper()
		r, err := c.Entries.List(&api.ListLogEntriesRequest{ResourceNames: []string{"projects/" + apitest.Project}, Filter: filter, OrderBy: "timestamp desc", PageSize: size}).Do()
		if err != nil {
			t.Fatalf("%s: %v", filter, err)
		}
		return r
	}
	r := list(`logName="`+name+`" AND resource.type="http_load_balancer" AND severity>=ERROR`, 1)
	if len(r.Entries) != 1 || r.NextPageToken == "" || r.Entries[0].HttpRequest.Status != 203 || r.Entries[0].Labels["l"] != "v" || r.Entries[0].Resource.Labels["project_id"] != apitest.Project || r.Entries[0].InsertId == "" {
		t.Errorf("errors: %+v", r)
	}
	if r := list(`jsonPayload.n=2 OR httpRequest.status=200`, 0); len(r.Entries) != 2 {
		t.Errorf("%d entries, want 2", len(r.Entries))
	}
	if l, err := c.Projects.Logs.List("projects/" + apitest.Project).Do(); err != nil || len(l.LogNames) != 1 || l.LogNames[0] != name {
		t.Errorf("logs: %v %+v", err, l)
	}
	for what, req := range map[string]*api.WriteLogEntriesRequest{
		"no log":      {Resource: &api.MonitoredResource{Type: "global"}, Entries: []*api.LogEntry{{TextPayload: "x"}}},
		"no resource": {LogName: name, Entries: []*api.LogEntry{{TextPayload: "x"}}},
		"severity":    {LogName: name, Resource: &api.MonitoredResource{Type: "global"}, Entries: []*api.LogEntry{{TextPayload: "x", Severity: "BAD"}}},
		"payloads":    {LogName: name, Resource: &api.MonitoredResource{Type: "global"}, Entries: []*api.LogEntry{{TextPayload: "x", JsonPayload: []byte(`{}`)}}},
		"project":     {LogName: "projects/other/logs/x", Resource: &api.MonitoredResource{Type: "global"}, Entries: []*api.LogEntry{{TextPayload: "x"}}},
		"empty":       {LogName: name},
	} {
		_, err := c.Entries.Write(req).Do()
		t.Log(what)
		apitest.WantCode(t, err, 400)
	}
	_, err = c.Entries.List(&api.ListLogEntriesRequest{ResourceNames: []string{"projects/" + apitest.Project}, Filter: "SAMPLE(insertId, 0.1)"}).Do()
	apitest.WantCode(t, err, 400)
	if !strings.Contains(err.Error(), "SAMPLE") {
		t.Errorf("the error does not name the function: %v", err)
	}
	_, err = c.Entries.List(&api.ListLogEntriesRequest{ResourceNames: []string{"folders/1"}}).Do()
	apitest.WantCode(t, err, 400)
	if _, err := c.Projects.Logs.Delete(name).Do(); err != nil {
		t.Error(err)
	}
	if r := list("", 0); len(r.Entries) != 0 {
		t.Errorf("%d entries after the deletion", len(r.Entries))
	}
	_, err = c.Projects.Logs.Delete(name).Do()
	apitest.WantCode(t, err, 404)
}
