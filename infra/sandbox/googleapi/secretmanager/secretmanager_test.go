package secretmanager_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	api "google.golang.org/api/secretmanager/v1"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/apitest"
	"patag/infra/sandbox/googleapi/policy"
	"patag/infra/sandbox/googleapi/secretmanager"
	"patag/infra/sandbox/layout"
)

func start(t *testing.T) (*apitest.Server, func() layout.Layout) {
	t.Helper()
	var at layout.Layout
	s := apitest.Start(t, func(core *googleapi.Core, l layout.Layout) {
		at = l
		if err := secretmanager.Register(core, policy.New(core), l.SecretsKey()); err != nil {
			t.Fatal(err)
		}
	})
	return s, func() layout.Layout { return at }
}

func TestSecret(t *testing.T) {
	s, _ := start(t)
	s.Walk(t, apitest.Resource{
		Collection: "/secretmanager/v1/projects/" + apitest.Project + "/secrets", Query: "secretId=mongo", List: "secrets", Like: api.Secret{}, ID: "mongo", Etag: 409,
		Body:   `{"replication":{"automatic":{}},"labels":{"a":"b"}}`,
		Want:   map[string]any{"name": "projects/" + googleapi.ProjectNumber(apitest.Project) + "/secrets/mongo", "replication": map[string]any{"automatic": map[string]any{}}},
		Method: "PATCH", Mask: "labels", Update: `{"labels":{"c":"d"}}`, Updated: map[string]any{"labels": map[string]any{"c": "d"}},
		Refused: []apitest.Refusal{{Query: "secretId=a.b", Body: `{"replication":{"automatic":{}}}`, Code: 400, Want: "Secret ID"}, {Query: "secretId=ab", Body: `{}`, Code: 400, Want: "replication is required"},
			{Query: "secretId=ab", Body: `{"replication":{"automatic":{}},"ttl":"60s"}`, Code: 501, Want: "ttl"}, {Query: "secretId=ab", Body: `{"replication":{"userManaged":{}}}`, Code: 400, Want: "at least one replica"}},
	})
}

func TestVersions(t *testing.T) {
	s, at := start(t)
	c, err := api.NewService(t.Context(), s.Client("secretmanager/")...)
	if err != nil {
		t.Fatal(err)
	}
	parent := "projects/" + apitest.Project
	if _, err := c.Projects.Secrets.Create(parent, &api.Secret{Replication: &api.Replication{Automatic: &api.Automatic{}}}).SecretId("mongo").Do(); err != nil {
		t.Fatal(err)
	}
	name := parent + "/secrets/mongo"
	payload := "a very secret payload"
	add := func(data string) (*api.SecretVersion, error) {
		return c.Projects.Secrets.AddVersion(name, &api.AddSecretVersionRequest{Payload: &api.SecretPayload{Data: base64.StdEncoding.EncodeToString([]byte(data))}}).Do()
	}
	for i, p := range []string{payload, "second"} {
		v, err := add(p)
		if err != nil || v.State != "ENABLED" || !strings.HasSuffix(v.Name, "/versions/"+string(rune('1'+i))) || v.ReplicationStatus.Automatic == nil {
			t.Fatalf("add %d: %v %+v", i, err, v)
		}
	}
	s.Restart()
	if c, err = api.NewService(t.Context(), s.Client("secretmanager/")...); err != nil {
		t.Fatal(err)
	}
	versions := c.Projects.Secrets.Versions
	access := func(v string) (string, error) {
		r, err := versions.Access(name + "/versions/" + v).Do()
		if err != nil {
			return "", err
		}
		raw, err := base64.StdEncoding.DecodeString(r.Payload.Data)
		return string(raw), err
	}
	if got, err := access("1"); err != nil || got != payload {
		t.Errorf("access 1: %q %v", got, err)
	}
	if got, err := access("latest"); err != nil || got != "second" {
		t.Errorf("access latest: %q %v", got, err)
	}
	v, err := versions.Disable(name+"/versions/1", &api.DisableSecretVersionRequest{}).Do()
	if err != nil || v.State != "DISABLED" {
		t.Errorf("disable: %v %+v", err, v)
	}
	_, err = access("1")
	apitest.WantCode(t, err, 400)
	_, err = versions.Enable(name+"/versions/1", &api.EnableSecretVersionRequest{Etag: `"stale"`}).Do()
	apitest.WantCode(t, err, 409)
	if _, err = versions.Enable(name+"/versions/1", &api.EnableSecretVersionRequest{}).Do(); err != nil {
		t.Error(err)
	}
	if v, err = versions.Destroy(name+"/versions/2", &api.DestroySecretVersionRequest{}).Do(); err != nil || v.State != "DESTROYED" || v.DestroyTime == "" {
		t.Errorf("destroy: %v %+v", err, v)
	}
	if got, err := access("latest"); err != nil || got != payload {
		t.Errorf("latest after destroying 2: %q %v", got, err)
	}
	_, err = versions.Enable(name+"/versions/2", &api.EnableSecretVersionRequest{}).Do()
	apitest.WantCode(t, err, 400)
	if v, err := add("third"); err != nil || !strings.HasSuffix(v.Name, "/versions/3") {
		t.Errorf("a number was used again: %v %+v", err, v)
	}
	if l, err := versions.List(name).Filter("state:ENABLED").Do(); err != nil || len(l.Versions) != 2 || !strings.HasSuffix(l.Versions[0].Name, "/3") {
		t.Errorf("list: %v %+v", err, l)
	}
	_, err = c.Projects.Secrets.AddVersion(name, &api.AddSecretVersionRequest{Payload: &api.SecretPayload{Data: "AA==", DataCrc32c: 5}}).Do()
	apitest.WantCode(t, err, 400)
	p, err := c.Projects.Secrets.GetIamPolicy(name).OptionsRequestedPolicyVersion(3).Do()
	if err != nil || p.Etag != "ACAB" {
		t.Errorf("policy: %v %+v", err, p)
	}
	set, err := c.Projects.Secrets.SetIamPolicy(name, &api.SetIamPolicyRequest{Policy: &api.Policy{Etag: p.Etag, Bindings: []*api.Binding{{Role: "roles/secretmanager.secretAccessor", Members: []string{"user:a@example.com", "user:a@example.com"}}}}}).Do()
	if err != nil || len(set.Bindings[0].Members) != 1 {
		t.Errorf("set policy: %v %+v", err, set)
	}
	_, err = c.Projects.Secrets.SetIamPolicy(name, &api.SetIamPolicyRequest{Policy: p}).Do()
	apitest.WantCode(t, err, 409)
	// At rest nothing shows the payload, and the key is the owner's alone.
	raw, err := os.ReadFile(filepath.Join(at().Root, "api.db"))
	if err != nil || bytes.Contains(raw, []byte(payload)) || bytes.Contains(raw, []byte(base64.StdEncoding.EncodeToString([]byte(payload)))) {
		t.Errorf("the store shows the payload (%v)", err)
	}
	if info, err := os.Stat(at().SecretsKey()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v %v", err, info.Mode())
	}
	if _, err := c.Projects.Secrets.Delete(name).Do(); err != nil {
		t.Error(err)
	}
	_, err = versions.Get(name + "/versions/1").Do()
	apitest.WantCode(t, err, 404)
}
