package logging

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	api "google.golang.org/api/logging/v2"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/logs"
)

func (s *server) write(_ context.Context, r *googleapi.Request) (any, error) {
	var body api.WriteLogEntriesRequest
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if len(body.Entries) == 0 {
		return nil, googleapi.InvalidArgument("entries must not be empty.")
	}
	projects := map[string]bool{}
	for i, e := range body.Entries {
		if err := s.prepare(&body, e); err != nil {
			return nil, googleapi.InvalidArgument("entries[%d]: %v", i, err)
		}
	}
	if body.DryRun {
		return nil, nil
	}
	for i, e := range body.Entries {
		project, err := logs.ProjectOf(e.LogName)
		if err != nil {
			return nil, googleapi.InvalidArgument("entries[%d]: %v", i, err)
		}
		if err := s.log.Append(project, e); err != nil {
			return nil, err
		}
		projects[project] = true
	}
	for p := range projects { // what is acknowledged survives a kill
		if err := s.log.Flush(p); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// prepare completes an entry from what the request says of all of them, and checks it.
func (s *server) prepare(body *api.WriteLogEntriesRequest, e *api.LogEntry) error {
	if e.LogName == "" {
		e.LogName = body.LogName
	}
	if e.Resource == nil {
		e.Resource = body.Resource
	}
	for k, v := range body.Labels {
		if e.Labels == nil {
			e.Labels = map[string]string{}
		}
		if _, ok := e.Labels[k]; !ok {
			e.Labels[k] = v
		}
	}
	project, err := logs.ProjectOf(e.LogName)
	if err != nil {
		return err
	}
	id, ok := s.core.Project(project)
	if !ok {
		return errors.New("the project of log " + e.LogName + " does not exist")
	}
	_, log, ok := strings.Cut(e.LogName, "/logs/")
	if !ok || log == "" {
		return errors.New("logName must be projects/PROJECT/logs/LOG, not " + e.LogName)
	}
	// An ID with a slash is escaped in the name; clients do it or leave it to the server.
	if strings.Contains(log, "/") {
		log = url.PathEscape(log)
	}
	e.LogName = "projects/" + id + "/logs/" + log
	if e.Resource == nil || e.Resource.Type == "" {
		return errors.New("a monitored resource is required")
	}
	if e.Resource.Labels["project_id"] == "" {
		labels := map[string]string{"project_id": id}
		for k, v := range e.Resource.Labels {
			if k != "project_id" {
				labels[k] = v
			}
		}
		e.Resource = &api.MonitoredResource{Type: e.Resource.Type, Labels: labels}
	}
	if e.Severity != "" {
		e.Severity = strings.ToUpper(e.Severity)
		if !slices.Contains(logs.Severities, e.Severity) {
			return errors.New("unknown severity " + e.Severity)
		}
	}
	n := 0
	for _, has := range []bool{e.TextPayload != "", len(e.JsonPayload) > 0, len(e.ProtoPayload) > 0} {
		if has {
			n++
		}
	}
	if n > 1 {
		return errors.New("an entry has one payload: text, JSON or protocol buffer")
	}
	e.ReceiveTimestamp = ""
	return nil
}

func (s *server) list(ctx context.Context, r *googleapi.Request) (any, error) {
	var body api.ListLogEntriesRequest
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	q := logs.Query{Filter: body.Filter, Size: int(body.PageSize), Token: body.PageToken}
	switch body.OrderBy {
	case "", "timestamp", "timestamp asc":
	case "timestamp desc":
		q.Descending = true
	default:
		return nil, googleapi.InvalidArgument("Invalid orderBy %q: timestamp asc and timestamp desc are possible.", body.OrderBy)
	}
	if body.PageSize < 0 {
		return nil, googleapi.InvalidArgument("page_size must not be negative.")
	}
	names := body.ResourceNames
	for _, p := range body.ProjectIds {
		names = append(names, "projects/"+p)
	}
	if len(names) == 0 {
		return nil, googleapi.InvalidArgument("resource_names is required: at least one parent resource.")
	}
	for _, name := range names {
		project, err := logs.ProjectOf(name)
		if err != nil {
			return nil, googleapi.InvalidArgument("%v", err)
		}
		id, ok := s.core.Project(project)
		if !ok {
			return nil, s.project(project)
		}
		if !slices.Contains(q.Projects, id) {
			q.Projects = append(q.Projects, id)
		}
	}
	entries, next, err := s.log.List(ctx, q)
	if errors.Is(err, logs.ErrQuery) {
		return nil, googleapi.InvalidArgument("%v", err)
	}
	if err != nil {
		return nil, err
	}
	out := googleapi.Doc{}
	if len(entries) > 0 {
		out["entries"] = entries
	}
	if next != "" {
		out["nextPageToken"] = next
	}
	return out, nil
}
