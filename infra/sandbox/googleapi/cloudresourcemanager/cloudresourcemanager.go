// Package cloudresourcemanager is the Resource Manager: the projects that the sandbox has, read-only, in the forms of version 1 and 3,
// and their IAM policies.
package cloudresourcemanager

import (
	"context"
	"strings"
	"time"

	api "google.golang.org/api/cloudresourcemanager/v1"
	v3 "google.golang.org/api/cloudresourcemanager/v3"

	"patag/infra/sandbox/filter"
	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/policy"
	"patag/infra/sandbox/store"
)

// created is when the projects were made, which nothing depends on; it must only never change.
var created = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Format("2006-01-02T15:04:05.000Z")

type server struct{ core *googleapi.Core }

// Register serves Resource Manager.
func Register(core *googleapi.Core, policies *policy.Policies) {
	s := &server{core}
	svc := core.Service("cloudresourcemanager")
	for version, form := range map[string]func(string) googleapi.Doc{"v1": asV1, "v3": asV3} {
		svc.Handle("GET", version+"/projects/{project}", s.get(form))
		svc.Handle("GET", version+"/projects", s.list(form))
	}
	svc.Handle("GET", "v3/projects:search", s.list(asV3))
	exists := func(_ store.Tx, r *googleapi.Request) error { _, err := s.project(r); return err }
	policies.Handle(svc, policy.Target{Pattern: "v1/projects/{project}", GetMethod: "POST", Request: api.SetIamPolicyRequest{}, Exists: exists, Default: defaultPolicy})
	policies.Handle(svc, policy.Target{Pattern: "v3/projects/{project}", GetMethod: "POST", Request: v3.SetIamPolicyRequest{}, Exists: exists, Default: defaultPolicy})
	svc.Handle("POST", "v1/projects/{project}:getAncestry", s.ancestry)
}

func (s *server) project(r *googleapi.Request) (string, error) {
	id, ok := s.core.Project(r.Var("project"))
	if !ok { // Google does not tell a project that is not there from one that one may not see
		return "", googleapi.PermissionDenied("The caller does not have permission, or the project %s does not exist.", r.Var("project"))
	}
	return id, nil
}

func asV1(id string) googleapi.Doc {
	return googleapi.Doc{"projectNumber": googleapi.ProjectNumber(id), "projectId": id, "lifecycleState": "ACTIVE", "name": id, "createTime": created}
}

func asV3(id string) googleapi.Doc {
	return googleapi.Doc{"name": "projects/" + googleapi.ProjectNumber(id), "projectId": id, "displayName": id, "state": "ACTIVE", "createTime": created, "updateTime": created,
		"etag": `W/"` + strings.TrimRight(googleapi.Fingerprint(id), "=") + `"`}
}

// defaultPolicy: the caller owns the project, and the accounts that Google makes have the roles that Google gives them.
func defaultPolicy(r *googleapi.Request) googleapi.Doc {
	id := r.Var("project")
	number := googleapi.ProjectNumber(id)
	owner := r.Principal
	if !strings.Contains(owner, ":") {
		owner = "user:" + owner
	}
	return googleapi.Doc{"version": 1, "etag": "BwXhqDVKoTA=", "bindings": []any{
		map[string]any{"role": "roles/compute.serviceAgent", "members": []any{"serviceAccount:service-" + number + "@compute-system.iam.gserviceaccount.com"}},
		map[string]any{"role": "roles/container.serviceAgent", "members": []any{"serviceAccount:service-" + number + "@container-engine-robot.iam.gserviceaccount.com"}},
		map[string]any{"role": "roles/editor", "members": []any{"serviceAccount:" + googleapi.DefaultServiceAccount(id)}},
		map[string]any{"role": "roles/owner", "members": []any{owner}},
	}}
}

func (s *server) get(form func(string) googleapi.Doc) googleapi.Handler {
	return func(_ context.Context, r *googleapi.Request) (any, error) {
		id, err := s.project(r)
		if err != nil {
			return nil, err
		}
		return form(id), nil
	}
}

func (s *server) list(form func(string) googleapi.Doc) googleapi.Handler {
	return func(_ context.Context, r *googleapi.Request) (any, error) {
		text := r.Query("filter")
		if text == "" {
			text = r.Query("query")
		}
		f, err := filter.Parse(text, filter.Dialect{Text: true, FoldCase: true})
		if err != nil {
			return nil, googleapi.InvalidArgument("Invalid filter: %v", err)
		}
		var all []googleapi.Doc
		for _, id := range s.core.Projects() {
			if d := form(id); f.Match(alias(d)) {
				all = append(all, d)
			}
		}
		page, err := googleapi.Paginate(r, all, func(d googleapi.Doc) string { return d.String("projectId") }, 500)
		if err != nil {
			return nil, err
		}
		out := googleapi.Doc{}
		if len(page.Items) > 0 {
			out["projects"] = page.Items
		}
		if page.Next != "" {
			out["nextPageToken"] = page.Next
		}
		return out, nil
	}
}

// alias adds the short names that project filters use.
func alias(d googleapi.Doc) googleapi.Doc {
	d = d.Clone()
	d["id"] = d["projectId"]
	return d
}

func (s *server) ancestry(_ context.Context, r *googleapi.Request) (any, error) {
	id, err := s.project(r)
	return googleapi.Doc{"ancestor": []any{googleapi.Doc{"resourceId": googleapi.Doc{"type": "project", "id": id}}}}, err
}
