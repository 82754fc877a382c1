// Package artifactregistry is Artifact Registry: repositories, their IAM policies, and the images in them as the sandbox's own
// registry has them.
package artifactregistry

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	api "google.golang.org/api/artifactregistry/v1"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/collection"
	"patag/infra/sandbox/googleapi/policy"
	"patag/infra/sandbox/store"
)

// Image is one image of a repository.
type Image struct {
	// Name is the image's path in the repository, URI what to pull.
	Name, Digest, URI, MediaType string
	Tags                         []string
	SizeBytes                    int64
	Uploaded, Built              time.Time
}

// Images reads what a repository holds.
type Images interface {
	Images(ctx context.Context, project, location, repository string) ([]Image, error)
}

type server struct {
	core   *googleapi.Core
	svc    *googleapi.Service
	images Images
}

// Register serves Artifact Registry.
func Register(core *googleapi.Core, policies *policy.Policies, images Images) {
	s := &server{core, core.Service("artifactregistry"), images}
	parent := "{version=v1|v1beta2}/projects/{project}/locations/{location}"
	s.svc.HandleOperations("{version=v1|v1beta2}/projects/{project}/locations/{location}")
	collection.Handle(s.svc, collection.Type{
		Pattern: parent + "/repositories", Like: api.Repository{}, List: "repositories", Kind: "Repository", Limit: 1000,
		Output: []string{"createTime", "updateTime", "satisfiesPzs", "satisfiesPzi", "sizeBytes", "registryUri"},
		ID:     s.id, Fill: fill, Wrap: s.wrap,
		Parent:   func(_ store.Tx, r *googleapi.Request) error { return s.parent(r) },
		Deleting: func(c *collection.Change) error { return policies.Delete(c.Tx, c.Key) },
		View:     s.view,
		NotFound: func(string) error { return googleapi.NotFound("Requested entity was not found.") },
		Exists:   func(string) error { return googleapi.AlreadyExists("the repository already exists") },
	})
	repository := parent + "/repositories/{id}"
	policies.Handle(s.svc, policy.Target{Pattern: repository, GetMethod: "GET", Request: api.SetIamPolicyRequest{},
		Exists: func(tx store.Tx, r *googleapi.Request) error { _, err := s.repository(tx, r); return err }})
	s.svc.Handle("GET", repository+"/dockerImages", s.listImages)
	s.svc.Handle("GET", repository+"/dockerImages/{image*}", s.getImage)
	s.svc.Handle("GET", parent, s.location)
	s.svc.Handle("GET", "{version=v1|v1beta2}/projects/{project}/locations", s.locations)
}

var multiRegions = []string{"us", "europe", "asia"}

// regions are those that a sandbox's programs are likely to name; Google has some more.
var regions = []string{"africa-south1", "asia-east1", "asia-east2", "asia-northeast1", "asia-northeast2", "asia-northeast3", "asia-south1", "asia-south2", "asia-southeast1", "asia-southeast2",
	"australia-southeast1", "australia-southeast2", "europe-central2", "europe-north1", "europe-north2", "europe-southwest1", "europe-west1", "europe-west10", "europe-west12", "europe-west2", "europe-west3",
	"europe-west4", "europe-west6", "europe-west8", "europe-west9", "me-central1", "me-central2", "me-west1", "northamerica-northeast1", "northamerica-northeast2", "northamerica-south1", "southamerica-east1",
	"southamerica-west1", "us-central1", "us-east1", "us-east4", "us-east5", "us-south1", "us-west1", "us-west2", "us-west3", "us-west4"}

func (s *server) parent(r *googleapi.Request) error {
	if _, ok := s.core.Project(r.Var("project")); !ok {
		return googleapi.PermissionDenied("Permission denied on resource project %s.", r.Var("project"))
	}
	if l := r.Var("location"); !slices.Contains(regions, l) && !slices.Contains(multiRegions, l) {
		return googleapi.InvalidArgument("Location %q is not a valid location for Artifact Registry.", l)
	}
	return nil
}

var repositoryID = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (s *server) id(c *collection.Change) (string, error) {
	id := c.Request.Query("repositoryId")
	if id == "" {
		id = c.Request.Query("repository_id") // as the official plugin spells it
	}
	if !repositoryID.MatchString(id) {
		return "", googleapi.InvalidArgument("Invalid repository ID %q: it must begin with a lowercase letter, have lowercase letters, digits and dashes, end with a letter or digit, and have at most 63 characters.", id)
	}
	return id, nil
}

var formats = []string{"DOCKER", "MAVEN", "NPM", "APT", "YUM", "PYTHON", "GO", "KFP", "GENERIC", "RUBY"}

func fill(c *collection.Change) error {
	d := c.New
	now := stamp(c.Now)
	d["updateTime"] = now
	if c.Old == nil {
		d["createTime"] = now
		d.Default("mode", "STANDARD_REPOSITORY")
		if d["mode"] == "MODE_UNSPECIFIED" {
			d["mode"] = "STANDARD_REPOSITORY"
		}
	}
	switch {
	case !slices.Contains(formats, d.String("format")):
		return googleapi.InvalidArgument("The format %q of the repository is not supported.", d.String("format"))
	case c.Old != nil && (c.Old["format"] != d["format"] || c.Old["mode"] != d["mode"]):
		return googleapi.InvalidArgument("A repository's format and mode cannot be changed.")
	case d["mode"] != "STANDARD_REPOSITORY":
		return googleapi.Unimplemented("The sandbox does not simulate repositories of mode %v; standard ones only.", d["mode"])
	}
	for id, p := range policiesOf(d) {
		if a := p.String("action"); a != "DELETE" && a != "KEEP" {
			return googleapi.InvalidArgument("Cleanup policy %q has the action %q; DELETE and KEEP are possible.", id, a)
		}
		if p.Has("condition") == p.Has("mostRecentVersions") {
			return googleapi.InvalidArgument("Cleanup policy %q needs either a condition or mostRecentVersions.", id)
		}
		p["id"] = id
		if p.Has("condition") {
			p.Doc("condition").Default("tagState", "ANY")
		}
	}
	if c.Old == nil {
		d.Default("vulnerabilityScanningConfig", googleapi.Doc{"enablementState": "SCANNING_DISABLED", "enablementStateReason": "API containerscanning.googleapis.com is not enabled.", "lastEnableTime": nil})
		d.Doc("vulnerabilityScanningConfig").Drop("lastEnableTime")
	}
	return nil
}

func policiesOf(d googleapi.Doc) map[string]googleapi.Doc {
	m := map[string]googleapi.Doc{}
	for id := range d.Doc("cleanupPolicies") {
		m[id] = d.Doc("cleanupPolicies", id)
	}
	return m
}

// stamp has microseconds, as Artifact Registry's times do.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// view adds what follows from the name. registryUri follows the production form, because the programs name images by it.
func (s *server) view(d googleapi.Doc) googleapi.Doc {
	parts := strings.Split(d.String("name"), "/")
	if len(parts) == 6 && d["format"] == "DOCKER" {
		d["registryUri"] = fmt.Sprintf("%s-docker.pkg.dev/%s/%s", parts[3], parts[1], parts[5])
	}
	return d
}

// wrap answers creation and deletion with an operation, a change with the repository itself.
func (s *server) wrap(c *collection.Change, verb string, d googleapi.Doc) (any, error) {
	parent := "projects/" + c.Project() + "/locations/" + c.Request.Var("location")
	switch verb {
	case "create":
		return s.svc.DoneOperation(c.Tx, parent, "google.devtools.artifactregistry.v1.OperationMetadata", googleapi.Doc{}, "google.devtools.artifactregistry.v1.Repository", d)
	case "delete":
		return s.svc.DoneOperation(c.Tx, parent, "google.devtools.artifactregistry.v1.OperationMetadata", googleapi.Doc{}, "", nil)
	}
	return d, nil
}

func (s *server) repository(tx store.Tx, r *googleapi.Request) (googleapi.Doc, error) {
	var d googleapi.Doc
	found, err := tx.Get("artifactregistry/projects/"+r.Var("project")+"/locations/"+r.Var("location")+"/repositories/"+r.Var("id"), &d)
	if err == nil && !found {
		err = googleapi.NotFound("Requested entity was not found.")
	}
	return d, err
}

func (s *server) all(ctx context.Context, r *googleapi.Request) ([]googleapi.Doc, error) {
	err := s.core.Store().View(func(tx store.Tx) error { _, err := s.repository(tx, r); return err })
	if err != nil {
		return nil, err
	}
	images, err := s.images.Images(ctx, r.Var("project"), r.Var("location"), r.Var("id"))
	if err != nil {
		return nil, err
	}
	parent := "projects/" + r.Var("project") + "/locations/" + r.Var("location") + "/repositories/" + r.Var("id")
	var docs []googleapi.Doc
	for _, i := range images {
		d := googleapi.Doc{"name": parent + "/dockerImages/" + strings.ReplaceAll(i.Name, "/", "%2F") + "@" + i.Digest, "uri": i.URI, "mediaType": i.MediaType,
			"imageSizeBytes": strconv.FormatInt(i.SizeBytes, 10), "uploadTime": stamp(i.Uploaded), "updateTime": stamp(i.Uploaded)}
		if len(i.Tags) > 0 {
			d["tags"] = i.Tags
		}
		if !i.Built.IsZero() {
			d["buildTime"] = stamp(i.Built)
		}
		docs = append(docs, d)
	}
	return docs, nil
}

func (s *server) listImages(ctx context.Context, r *googleapi.Request) (any, error) {
	docs, err := s.all(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := collection.Order(docs, r.Query("orderBy")); err != nil {
		return nil, err
	}
	page, err := googleapi.Paginate(r, docs, func(d googleapi.Doc) string { return d.String("name") }, 1000)
	if err != nil {
		return nil, err
	}
	out := googleapi.Doc{}
	if len(page.Items) > 0 {
		out["dockerImages"] = page.Items
	}
	if page.Next != "" {
		out["nextPageToken"] = page.Next
	}
	return out, nil
}

func (s *server) getImage(ctx context.Context, r *googleapi.Request) (any, error) {
	docs, err := s.all(ctx, r)
	if err != nil {
		return nil, err
	}
	for _, d := range docs {
		if strings.HasSuffix(d.String("name"), "/dockerImages/"+strings.ReplaceAll(r.Var("image"), "/", "%2F")) {
			return d, nil
		}
	}
	return nil, googleapi.NotFound("Requested entity was not found.")
}

func location(project, id string) googleapi.Doc {
	return googleapi.Doc{"name": "projects/" + project + "/locations/" + id, "locationId": id, "displayName": id}
}

func (s *server) location(_ context.Context, r *googleapi.Request) (any, error) {
	if err := s.parent(r); err != nil {
		return nil, err
	}
	return location(r.Var("project"), r.Var("location")), nil
}

func (s *server) locations(_ context.Context, r *googleapi.Request) (any, error) {
	var docs []googleapi.Doc
	for _, id := range append(slices.Clone(multiRegions), regions...) {
		docs = append(docs, location(r.Var("project"), id))
	}
	slices.SortFunc(docs, func(a, b googleapi.Doc) int { return strings.Compare(a.String("name"), b.String("name")) })
	page, err := googleapi.Paginate(r, docs, func(d googleapi.Doc) string { return d.String("name") }, 500)
	return googleapi.Doc{"locations": page.Items, "nextPageToken": page.Next}, err
}
