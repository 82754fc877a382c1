// Package logging is Cloud Logging: entries written and read through the store of package logs, log-based metrics and sinks. Metrics and
// sinks are kept as configuration; the sandbox does not count entries into metrics nor export them to sinks' destinations.
package logging

import (
	"context"
	"net/url"
	"regexp"
	"strings"

	api "google.golang.org/api/logging/v2"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/collection"
	"patag/infra/sandbox/logs"
	"patag/infra/sandbox/store"
)

type server struct {
	core *googleapi.Core
	log  *logs.Log
}

// Register serves Cloud Logging.
func Register(core *googleapi.Core, log *logs.Log) {
	s := &server{core, log}
	svc := core.Service("logging")
	project := func(_ store.Tx, r *googleapi.Request) error { return s.project(r.Var("project")) }
	collection.Handle(svc, collection.Type{
		Pattern: "v2/projects/{project}/metrics", Like: api.LogMetric{}, List: "metrics", Kind: "Metric", Limit: 1000, Put: true,
		Output: []string{"createTime", "updateTime", "resourceName", "version"},
		Name:   func(_ *googleapi.Request, _, id string) string { return id }, ID: metricID, Fill: fillMetric, Parent: project,
		NotFound: func(path string) error { return googleapi.NotFound("Metric %s does not exist", last(path)) },
		Exists:   func(name string) error { return googleapi.AlreadyExists("Metric %s already exists", name) },
	})
	collection.Handle(svc, collection.Type{
		Pattern: "v2/projects/{project}/sinks", Like: api.LogSink{}, List: "sinks", Kind: "Sink", Limit: 1000, Put: true,
		Output: []string{"createTime", "updateTime", "writerIdentity", "resourceName"},
		Name:   func(_ *googleapi.Request, _, id string) string { return id }, ID: sinkID, Fill: fillSink, Parent: project, Default: defaultSinks,
		Deleting: func(c *collection.Change) error {
			if c.Old.String("name") == "_Required" {
				return googleapi.InvalidArgument("Sink _Required cannot be deleted.")
			}
			if c.Old.String("name") == "_Default" {
				return googleapi.Unimplemented("The sandbox does not simulate the deletion of the sink _Default; disable it.")
			}
			return nil
		},
		NotFound: func(path string) error { return googleapi.NotFound("Sink %s does not exist", last(path)) },
		Exists:   func(name string) error { return googleapi.AlreadyExists("Sink %s already exists", name) },
	})
	svc.Handle("POST", "v2/entries:write", s.write)
	svc.Handle("POST", "v2/entries:list", s.list)
	svc.Handle("GET", "v2/projects/{project}/logs", s.names)
	svc.Handle("DELETE", "v2/projects/{project}/logs/{log*}", s.deleteLog)
}

func last(path string) string { return path[strings.LastIndex(path, "/")+1:] }

func (s *server) project(id string) error {
	if _, ok := s.core.Project(id); !ok {
		return googleapi.PermissionDenied("Permission denied on resource project %s, or it may not exist.", id)
	}
	return nil
}

var metricName = regexp.MustCompile(`^[A-Za-z0-9_\-.,+!*',()%/]{1,100}$`)

func metricID(c *collection.Change) (string, error) {
	id := c.New.String("name")
	if !metricName.MatchString(id) || strings.HasPrefix(id, "/") {
		return "", googleapi.InvalidArgument("Invalid metric name %q.", id)
	}
	return id, nil
}

func checkFilter(text string) error {
	if _, err := logs.Parse(text); err != nil {
		return googleapi.InvalidArgument("Unparseable filter: %v", err)
	}
	return nil
}

func fillMetric(c *collection.Change) error {
	d := c.New
	if c.Old != nil && d.String("name") != c.Old.String("name") {
		return googleapi.InvalidArgument("A metric's name cannot be changed.")
	}
	if d.String("filter") == "" {
		return googleapi.InvalidArgument("A log-based metric needs a filter.")
	}
	if err := checkFilter(d.String("filter")); err != nil {
		return err
	}
	name := d.String("name")
	typ := "logging.googleapis.com/user/" + name
	m := d.Sub("metricDescriptor")
	m.Default("metricKind", "DELTA")
	m.Default("valueType", "INT64")
	m.Default("unit", "1")
	m["name"] = "projects/" + c.Project() + "/metricDescriptors/" + typ
	m["type"] = typ
	if d.Has("description") {
		m["description"] = d["description"]
	}
	if m["metricKind"] != "DELTA" || m["valueType"] != "INT64" && m["valueType"] != "DISTRIBUTION" {
		return googleapi.InvalidArgument("A log-based metric is a DELTA of INT64 or DISTRIBUTION, not a %v of %v.", m["metricKind"], m["valueType"])
	}
	if (m["valueType"] == "DISTRIBUTION") != d.Has("valueExtractor") {
		return googleapi.InvalidArgument("valueExtractor goes with DISTRIBUTION metrics, and they need it.")
	}
	for _, l := range m.Docs("labels") {
		l.Default("valueType", "STRING")
	}
	if m["valueType"] == "DISTRIBUTION" && !d.Has("bucketOptions") {
		d["bucketOptions"] = googleapi.Doc{"exponentialBuckets": googleapi.Doc{"numFiniteBuckets": 64, "growthFactor": 2, "scale": 0.01}}
	}
	d["resourceName"] = "projects/" + c.Project() + "/metrics/" + url.PathEscape(name)
	now := googleapi.Timestamp(c.Now)
	d["updateTime"] = now
	if c.Old == nil {
		d["createTime"] = now
	}
	return nil
}

var sinkName = regexp.MustCompile(`^[A-Za-z0-9_\-.]{1,100}$`)

func sinkID(c *collection.Change) (string, error) {
	id := c.New.String("name")
	if !sinkName.MatchString(id) {
		return "", googleapi.InvalidArgument("Invalid sink name %q.", id)
	}
	return id, nil
}

var destination = regexp.MustCompile(`^(storage\.googleapis\.com/[a-z0-9._-]+|bigquery\.googleapis\.com/projects/[^/]+/datasets/[^/]+|pubsub\.googleapis\.com/projects/[^/]+/topics/[^/]+|logging\.googleapis\.com/projects/[^/]+(/locations/[^/]+/buckets/[^/]+)?)$`)

func fillSink(c *collection.Change) error {
	d := c.New
	if !destination.MatchString(d.String("destination")) {
		return googleapi.InvalidArgument("Invalid sink destination %q.", d.String("destination"))
	}
	if b, ok := strings.CutPrefix(d.String("destination"), "storage.googleapis.com/"); ok && !c.Tx.Has("storage/b/"+b) {
		return googleapi.NotFound("The sink's destination bucket %s does not exist.", b)
	}
	if err := checkFilter(d.String("filter")); err != nil {
		return err
	}
	for _, e := range d.Docs("exclusions") {
		if err := checkFilter(e.String("filter")); err != nil {
			return err
		}
	}
	if strings.HasPrefix(d.String("destination"), "logging.googleapis.com/projects/"+c.Project()+"/") {
		d.Drop("writerIdentity") // within the project none is needed
	} else if !d.Has("writerIdentity") {
		d["writerIdentity"] = "serviceAccount:service-" + googleapi.ProjectNumber(c.Project()) + "@gcp-sa-logging.iam.gserviceaccount.com"
	}
	if strings.HasPrefix(d.String("destination"), "bigquery") {
		d.Sub("bigqueryOptions")["usesTimestampColumnPartitioning"] = true
	}
	d["resourceName"] = "projects/" + c.Project() + "/sinks/" + d.String("name")
	now := googleapi.Timestamp(c.Now)
	d["updateTime"] = now
	if c.Old == nil {
		d["createTime"] = now
	}
	return nil
}

// defaultSinks are those that every project has.
func defaultSinks(r *googleapi.Request) map[string]googleapi.Doc {
	bucket := "logging.googleapis.com/projects/" + r.Var("project") + "/locations/global/buckets/"
	audit := `LOG_ID("cloudaudit.googleapis.com/activity") OR LOG_ID("externalaudit.googleapis.com/activity") OR LOG_ID("cloudaudit.googleapis.com/system_event") OR LOG_ID("externalaudit.googleapis.com/system_event") OR LOG_ID("cloudaudit.googleapis.com/access_transparency") OR LOG_ID("externalaudit.googleapis.com/access_transparency")`
	rest := "NOT " + strings.ReplaceAll(audit, " OR ", " AND NOT ")
	return map[string]googleapi.Doc{
		"_Required": {"name": "_Required", "destination": bucket + "_Required", "filter": audit, "resourceName": "projects/" + r.Var("project") + "/sinks/_Required"},
		"_Default":  {"name": "_Default", "destination": bucket + "_Default", "filter": rest, "resourceName": "projects/" + r.Var("project") + "/sinks/_Default"},
	}
}

func (s *server) names(_ context.Context, r *googleapi.Request) (any, error) {
	if err := s.project(r.Var("project")); err != nil {
		return nil, err
	}
	page, err := googleapi.Paginate(r, s.log.Names(r.Var("project")), func(n string) string { return n }, 1000)
	if err != nil {
		return nil, err
	}
	out := googleapi.Doc{}
	if len(page.Items) > 0 {
		out["logNames"] = page.Items
	}
	if page.Next != "" {
		out["nextPageToken"] = page.Next
	}
	return out, nil
}

func (s *server) deleteLog(_ context.Context, r *googleapi.Request) (any, error) {
	if err := s.project(r.Var("project")); err != nil {
		return nil, err
	}
	name := "projects/" + r.Var("project") + "/logs/" + url.PathEscape(r.Var("log"))
	found, err := s.log.Delete(r.Var("project"), name)
	if err == nil && !found {
		err = googleapi.NotFound("Log %s does not exist", name)
	}
	return nil, err
}
