package artifactregistry_test

import (
	"context"
	"testing"
	"time"

	api "google.golang.org/api/artifactregistry/v1"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/apitest"
	"patag/infra/sandbox/googleapi/artifactregistry"
	"patag/infra/sandbox/googleapi/policy"
	"patag/infra/sandbox/layout"
)

type images struct{}

func (images) Images(context.Context, string, string, string) ([]artifactregistry.Image, error) {
	return []artifactregistry.Image{{Name: "tools/tag", Digest: "sha256:ab", URI: "europe-west1-docker.pkg.dev/p/r/tools/tag@sha256:ab", Tags: []string{"v1"}, SizeBytes: 7, Uploaded: time.Unix(1, 0)}}, nil
}

func TestRepository(t *testing.T) {
	s := apitest.Start(t, func(core *googleapi.Core, _ layout.Layout) {
		artifactregistry.Register(core, policy.New(core), images{})
	})
	parent := "projects/" + apitest.Project + "/locations/europe-west1"
	collection := "/artifactregistry/v1/" + parent + "/repositories"
	s.Walk(t, apitest.Resource{
		Collection: collection, Query: "repository_id=images", List: "repositories", Like: api.Repository{}, ID: "images", Operation: true,
		Body:   `{"format":"DOCKER","description":"x","labels":{"a":"b"},"dockerConfig":{"immutableTags":true},"cleanupPolicies":{"old":{"id":"old","action":"DELETE","condition":{"olderThan":"2592000s"}},"keep":{"action":"KEEP","mostRecentVersions":{"keepCount":5}}}}`,
		Want:   map[string]any{"mode": "STANDARD_REPOSITORY", "registryUri": "europe-west1-docker.pkg.dev/" + apitest.Project + "/images", "cleanupPolicies.keep.id": "keep", "cleanupPolicies.old.condition.tagState": "ANY"},
		Method: "PATCH", Mask: "description,cleanupPolicies", Update: `{"description":"y"}`, Updated: map[string]any{"description": "y", "cleanupPolicies": nil, "labels.a": "b"},
		Refused: []apitest.Refusal{{Query: "repositoryId=Images", Body: `{"format":"DOCKER"}`, Code: 400, Want: "repository ID"}, {Query: "repositoryId=images", Body: `{"format":"FLOPPY"}`, Code: 400, Want: "FLOPPY"},
			{Query: "repositoryId=images", Body: `{"format":"DOCKER","mode":"REMOTE_REPOSITORY"}`, Code: 501, Want: "REMOTE"}, {Query: "repositoryId=images", Body: `{"format":"DOCKER","cleanupPolicies":{"a":{"action":"DELETE"}}}`, Code: 400, Want: "either"}},
	})
	if code, _ := s.Call("GET", "/artifactregistry/v1/projects/"+apitest.Project+"/locations/mars/repositories", nil); code != 400 {
		t.Errorf("a location that does not exist: %d", code)
	}
	c, err := api.NewService(t.Context(), s.Client("artifactregistry/")...)
	if err != nil {
		t.Fatal(err)
	}
	if op, err := c.Projects.Locations.Repositories.Create(parent, &api.Repository{Format: "DOCKER"}).RepositoryId("images").Do(); err != nil || !op.Done {
		t.Fatalf("create: %v %+v", err, op)
	}
	name := parent + "/repositories/images"
	l, err := c.Projects.Locations.Repositories.DockerImages.List(name).Do()
	if err != nil || len(l.DockerImages) != 1 || l.DockerImages[0].ImageSizeBytes != 7 || l.DockerImages[0].Name != name+"/dockerImages/tools%2Ftag@sha256:ab" {
		t.Errorf("images: %v %+v", err, l)
	}
	if d := s.Must("GET", "/artifactregistry/v1/"+name+"/dockerImages/tools%2Ftag@sha256:ab", nil); d.Strings("tags")[0] != "v1" {
		t.Errorf("image: %v", d)
	}
	p, err := c.Projects.Locations.Repositories.GetIamPolicy(name).Do()
	if err != nil {
		t.Fatal(err)
	}
	p.Bindings = []*api.Binding{{Role: "roles/artifactregistry.reader", Members: []string{"user:a@example.com"}}}
	if _, err := c.Projects.Locations.Repositories.SetIamPolicy(name, &api.SetIamPolicyRequest{Policy: p}).Do(); err != nil {
		t.Error(err)
	}
	if _, err = c.Projects.Locations.Repositories.Delete(name).Do(); err != nil {
		t.Error(err)
	}
	_, err = c.Projects.Locations.Repositories.GetIamPolicy(name).Do()
	apitest.WantCode(t, err, 404)
}
