package iam_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	crm "google.golang.org/api/cloudresourcemanager/v1"
	crm3 "google.golang.org/api/cloudresourcemanager/v3"
	api "google.golang.org/api/iam/v1"
	credentials "google.golang.org/api/iamcredentials/v1"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/apitest"
	"patag/infra/sandbox/googleapi/cloudresourcemanager"
	"patag/infra/sandbox/googleapi/iam"
	"patag/infra/sandbox/googleapi/policy"
	"patag/infra/sandbox/layout"
)

// tokens is the smallest token maker: what it makes says whose it is.
type tokens struct{}

func (tokens) Access(email string, _ []string, valid time.Duration) (string, time.Time) {
	return "tok-" + email, time.Now().Add(valid)
}

func (tokens) Identity(email, audience string, _ bool) (string, error) {
	return email + "." + audience, nil
}

func (tokens) Describe(token string) (iam.Token, error) {
	email, ok := strings.CutPrefix(token, "tok-")
	if !ok {
		return iam.Token{}, errors.New("not mine")
	}
	return iam.Token{Principal: "serviceAccount:" + email, Scopes: []string{"a", "b"}, Expires: time.Now().Add(time.Hour)}, nil
}

func start(t *testing.T) *apitest.Server {
	t.Helper()
	return apitest.Start(t, func(core *googleapi.Core, _ layout.Layout) {
		p := policy.New(core)
		iam.Register(core, p, tokens{})
		cloudresourcemanager.Register(core, p)
	})
}

const project = "projects/" + apitest.Project

func client(t *testing.T, s *apitest.Server) *api.Service {
	t.Helper()
	c, err := api.NewService(t.Context(), s.Client("iam/")...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestServiceAccount(t *testing.T) {
	s := start(t)
	c := client(t, s)
	sa, err := c.Projects.ServiceAccounts.Create(project, &api.CreateServiceAccountRequest{AccountId: "tag-server", ServiceAccount: &api.ServiceAccount{DisplayName: "Tag", Description: "d"}}).Do()
	email := "tag-server@" + apitest.Project + ".iam.gserviceaccount.com"
	if err != nil || sa.Email != email || sa.Name != project+"/serviceAccounts/"+email || len(sa.UniqueId) != 21 || sa.Oauth2ClientId != sa.UniqueId || sa.Etag == "" || sa.DisplayName != "Tag" {
		t.Fatalf("create: %v %+v", err, sa)
	}
	_, err = c.Projects.ServiceAccounts.Create(project, &api.CreateServiceAccountRequest{AccountId: "tag-server"}).Do()
	apitest.WantCode(t, err, 409)
	for _, bad := range []string{"", "short", "Upper-case", "ends-with-dash-", strings.Repeat("a", 31)} {
		_, err = c.Projects.ServiceAccounts.Create(project, &api.CreateServiceAccountRequest{AccountId: bad}).Do()
		apitest.WantCode(t, err, 400)
	}
	s.Restart()
	c = client(t, s)
	for _, name := range []string{sa.Name, "projects/-/serviceAccounts/" + email, project + "/serviceAccounts/" + sa.UniqueId} {
		if got, err := c.Projects.ServiceAccounts.Get(name).Do(); err != nil || got.UniqueId != sa.UniqueId {
			t.Errorf("get %s: %v %+v", name, err, got)
		}
	}
	if got, err := c.Projects.ServiceAccounts.Patch(sa.Name, &api.PatchServiceAccountRequest{ServiceAccount: &api.ServiceAccount{DisplayName: "T2", Description: "not in the mask"}, UpdateMask: "displayName"}).Do(); err != nil || got.DisplayName != "T2" || got.Description != "d" {
		t.Errorf("patch: %v %+v", err, got)
	}
	_, err = c.Projects.ServiceAccounts.Patch(sa.Name, &api.PatchServiceAccountRequest{ServiceAccount: &api.ServiceAccount{Email: "x"}, UpdateMask: "email"}).Do()
	apitest.WantCode(t, err, 400)
	_, err = c.Projects.ServiceAccounts.Patch(sa.Name, &api.PatchServiceAccountRequest{ServiceAccount: &api.ServiceAccount{DisplayName: "x", Etag: sa.Etag}, UpdateMask: "displayName"}).Do()
	apitest.WantCode(t, err, 409)
	if _, err := c.Projects.ServiceAccounts.Disable(sa.Name, &api.DisableServiceAccountRequest{}).Do(); err != nil {
		t.Error(err)
	}
	if got, err := c.Projects.ServiceAccounts.Get(sa.Name).Do(); err != nil || !got.Disabled {
		t.Errorf("disable: %v %+v", err, got)
	}
	if _, err := c.Projects.ServiceAccounts.Enable(sa.Name, &api.EnableServiceAccountRequest{}).Do(); err != nil {
		t.Error(err)
	}
	l, err := c.Projects.ServiceAccounts.List(project).Do()
	if err != nil || len(l.Accounts) != 2 {
		t.Errorf("list: %v %+v", err, l)
	}
	_, err = c.Projects.ServiceAccounts.Keys.Create(sa.Name, &api.CreateServiceAccountKeyRequest{}).Do()
	apitest.WantCode(t, err, 400)
	if !strings.Contains(err.Error(), "constraints/iam.disableServiceAccountKeyCreation") {
		t.Errorf("keys.create: %v", err)
	}
	if r, err := c.Roles.Get("roles/logging.logWriter").Do(); err != nil || r.Title != "Logs Writer" {
		t.Errorf("role: %v %+v", err, r)
	}
	if _, err := c.Projects.ServiceAccounts.Delete(sa.Name).Do(); err != nil {
		t.Error(err)
	}
	_, err = c.Projects.ServiceAccounts.Get(sa.Name).Do()
	apitest.WantCode(t, err, 404)
	again, err := c.Projects.ServiceAccounts.Create(project, &api.CreateServiceAccountRequest{AccountId: "tag-server"}).Do()
	if err != nil || again.UniqueId == sa.UniqueId {
		t.Errorf("made anew: %v, the same unique id", err)
	}
}

func TestPolicies(t *testing.T) {
	s := start(t)
	c := client(t, s)
	sa, err := c.Projects.ServiceAccounts.Create(project, &api.CreateServiceAccountRequest{AccountId: "tag-server"}).Do()
	if err != nil {
		t.Fatal(err)
	}
	member := "serviceAccount:" + apitest.Project + ".svc.id.goog[ads/tag]"
	bind := func() (*api.Policy, error) {
		p, err := c.Projects.ServiceAccounts.GetIamPolicy(sa.Name).OptionsRequestedPolicyVersion(3).Do()
		if err != nil {
			t.Fatal(err)
		}
		p.Bindings = append(p.Bindings, &api.Binding{Role: "roles/iam.workloadIdentityUser", Members: []string{member}})
		return c.Projects.ServiceAccounts.SetIamPolicy(sa.Name, &api.SetIamPolicyRequest{Policy: p}).Do()
	}
	_, err = bind() // no cluster has made the pool yet
	apitest.WantCode(t, err, 400)
	if !strings.Contains(err.Error(), "Identity Pool does not exist") {
		t.Errorf("pool: %v", err)
	}
	if err := s.Core.Store().Put("container/projects/"+apitest.Project+"/locations/l/clusters/c", googleapi.Doc{"workloadIdentityConfig": googleapi.Doc{"workloadPool": apitest.Project + ".svc.id.goog"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := bind(); err != nil {
		t.Errorf("with a cluster: %v", err)
	}
	if err := s.Core.Store().Delete("container/projects/" + apitest.Project + "/locations/l/clusters/c"); err != nil {
		t.Fatal(err)
	}
	if p, err := bind(); err != nil || len(p.Bindings) != 1 || len(p.Bindings[0].Members) != 1 {
		t.Errorf("the pool outlives the cluster: %v %+v", err, p)
	}
	r, err := crm.NewService(t.Context(), s.Client("cloudresourcemanager/")...)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Projects.GetIamPolicy(apitest.Project, &crm.GetIamPolicyRequest{Options: &crm.GetPolicyOptions{RequestedPolicyVersion: 3}}).Do()
	if err != nil || len(p.Bindings) != 4 {
		t.Fatalf("project policy: %v %+v", err, p)
	}
	first := p.Etag
	p.Bindings = append(p.Bindings, &crm.Binding{Role: "roles/logging.logWriter", Members: []string{"serviceAccount:" + sa.Email}},
		&crm.Binding{Role: "roles/viewer", Members: []string{"user:a@example.com"}, Condition: &crm.Expr{Title: "t", Expression: "true"}})
	p.Version = 3
	if p, err = r.Projects.SetIamPolicy(apitest.Project, &crm.SetIamPolicyRequest{Policy: p}).Do(); err != nil || p.Version != 3 || len(p.Bindings) != 6 {
		t.Fatalf("set: %v %+v", err, p)
	}
	p.Etag = first
	_, err = r.Projects.SetIamPolicy(apitest.Project, &crm.SetIamPolicyRequest{Policy: p}).Do()
	apitest.WantCode(t, err, 409)
	p.Etag = ""
	for _, bad := range []crm.Binding{{Role: "roles/viewer", Members: []string{"a@example.com"}}, {Role: "roles/viewer", Members: []string{"robot:a@example.com"}}, {Role: "viewer", Members: []string{"user:a@example.com"}},
		{Role: "roles/viewer", Members: []string{"serviceAccount:none@" + apitest.Project + ".iam.gserviceaccount.com"}}} {
		_, err = r.Projects.SetIamPolicy(apitest.Project, &crm.SetIamPolicyRequest{Policy: &crm.Policy{Bindings: []*crm.Binding{&bad}}}).Do()
		apitest.WantCode(t, err, 400)
	}
	_, err = r.Projects.SetIamPolicy(apitest.Project, &crm.SetIamPolicyRequest{Policy: &crm.Policy{Version: 1, Bindings: p.Bindings}}).Do()
	apitest.WantCode(t, err, 400)
	_, err = r.Projects.GetIamPolicy("other", &crm.GetIamPolicyRequest{}).Do()
	apitest.WantCode(t, err, 403)
}

func TestProjects(t *testing.T) {
	s := start(t)
	r, err := crm.NewService(t.Context(), s.Client("cloudresourcemanager/")...)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Projects.Get(apitest.Project).Do()
	if err != nil || p.LifecycleState != "ACTIVE" || p.ProjectNumber < 1e11 {
		t.Fatalf("get: %v %+v", err, p)
	}
	if l, err := r.Projects.List().Filter("id:" + apitest.Project).Do(); err != nil || len(l.Projects) != 1 {
		t.Errorf("list: %v %+v", err, l)
	}
	_, err = r.Projects.Get("other").Do()
	apitest.WantCode(t, err, 403)
	v3, err := crm3.NewService(t.Context(), s.Client("cloudresourcemanager/")...)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := v3.Projects.Get(project).Do(); err != nil || p.State != "ACTIVE" || p.ProjectId != apitest.Project {
		t.Errorf("v3: %v %+v", err, p)
	}
	if l, err := v3.Projects.Search().Do(); err != nil || len(l.Projects) != 1 {
		t.Errorf("v3 search: %v %+v", err, l)
	}
	if p, err := v3.Projects.GetIamPolicy(project, &crm3.GetIamPolicyRequest{}).Do(); err != nil || len(p.Bindings) != 4 {
		t.Errorf("v3 policy: %v %+v", err, p)
	}
}

func TestTokens(t *testing.T) {
	s := start(t)
	c := client(t, s)
	sa, err := c.Projects.ServiceAccounts.Create(project, &api.CreateServiceAccountRequest{AccountId: "tag-server"}).Do()
	if err != nil {
		t.Fatal(err)
	}
	cr, err := credentials.NewService(t.Context(), s.Client("iamcredentials/")...)
	if err != nil {
		t.Fatal(err)
	}
	name := "projects/-/serviceAccounts/" + sa.Email
	tok, err := cr.Projects.ServiceAccounts.GenerateAccessToken(name, &credentials.GenerateAccessTokenRequest{Scope: []string{"s"}, Lifetime: "60s"}).Do()
	if err != nil || tok.AccessToken != "tok-"+sa.Email {
		t.Fatalf("access token: %v %+v", err, tok)
	}
	for _, bad := range []*credentials.GenerateAccessTokenRequest{{}, {Scope: []string{"s"}, Lifetime: "7200s"}} {
		_, err = cr.Projects.ServiceAccounts.GenerateAccessToken(name, bad).Do()
		apitest.WantCode(t, err, 400)
	}
	if id, err := cr.Projects.ServiceAccounts.GenerateIdToken(name, &credentials.GenerateIdTokenRequest{Audience: "x"}).Do(); err != nil || id.Token != sa.Email+".x" {
		t.Errorf("identity token: %v %+v", err, id)
	}
	info := s.Must("GET", "/oauth2/v3/tokeninfo?access_token="+tok.AccessToken, nil)
	if info["email"] != sa.Email || info["scope"] != "a b" {
		t.Errorf("tokeninfo: %v", info)
	}
	if code, _ := s.Call("GET", "/oauth2/v3/tokeninfo?access_token=bad", nil); code != 400 {
		t.Errorf("tokeninfo of a bad token: %d", code)
	}
	if u := s.Must("GET", "/oauth2/v2/userinfo", nil); u["email"] != apitest.Principal {
		t.Errorf("userinfo: %v", u)
	}
	if _, err := c.Projects.ServiceAccounts.Disable(sa.Name, &api.DisableServiceAccountRequest{}).Do(); err != nil {
		t.Fatal(err)
	}
	_, err = cr.Projects.ServiceAccounts.GenerateAccessToken(name, &credentials.GenerateAccessTokenRequest{Scope: []string{"s"}}).Do()
	apitest.WantCode(t, err, 400)
}
