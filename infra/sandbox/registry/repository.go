package registry

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"patag/infra/sandbox/store"
)

// Repository is one Artifact Registry repository.
type Repository struct{ Project, Location, Name string }

func (r Repository) key() string {
	return "artifactregistry/projects/" + r.Project + "/locations/" + r.Location + "/repositories/" + r.Name
}

// document is the part of the repository's resource that matters here.
type document struct {
	Format       string `json:"format"`
	CreateTime   string `json:"createTime"`
	DockerConfig *struct {
		ImmutableTags bool `json:"immutableTags"`
	} `json:"dockerConfig"`
}

// generation tells a repository from one of the same name that was deleted before it: the images of the deleted one
// are not the new one's.
func (d document) generation() string {
	h := fnv.New64a()
	h.Write([]byte(d.CreateTime))
	return fmt.Sprintf("%016x", h.Sum64())
}

var gcrLocations = map[string]string{"gcr.io": "us", "us.gcr.io": "us", "eu.gcr.io": "europe", "asia.gcr.io": "asia"}

// find tells which repository the name means. The location is in the host name (europe-west1-docker.pkg.dev); on the
// sandbox's own port, where it is not, the repository's name must be the only one of the project.
func (r *Registry) find(host string, name []string) (Repository, string, error) {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if location, ok := gcrLocations[host]; ok {
		if len(name) < 2 {
			return Repository{}, "", &Error{http.StatusNotFound, "NAME_UNKNOWN", "an image name on " + host + " is PROJECT/IMAGE"}
		}
		repo := Repository{name[0], location, host}
		_, err := r.document(repo)
		return repo, strings.Join(name[1:], "/"), err
	}
	if len(name) < 3 {
		return Repository{}, "", &Error{http.StatusNotFound, "NAME_UNKNOWN", fmt.Sprintf("an image name is PROJECT/REPOSITORY/IMAGE, %q is too short", strings.Join(name, "/"))}
	}
	repo, image := Repository{Project: name[0], Name: name[1]}, strings.Join(name[2:], "/")
	location, ok := strings.CutSuffix(host, "-docker.pkg.dev")
	if ok {
		repo.Location = location
		_, err := r.document(repo)
		return repo, image, err
	}
	var found []string
	err := r.Store.View(func(tx store.Tx) error {
		prefix := "artifactregistry/projects/" + repo.Project + "/locations/"
		return tx.List(prefix, func(key string, _ []byte) error {
			parts := strings.Split(strings.TrimPrefix(key, prefix), "/")
			if len(parts) == 3 && parts[1] == "repositories" && parts[2] == repo.Name {
				found = append(found, parts[0])
			}
			return nil
		})
	})
	switch {
	case err != nil:
		return repo, "", err
	case len(found) == 0:
		repo.Location = "any location"
		return repo, "", notFound(repo)
	case len(found) > 1:
		return repo, "", &Error{http.StatusNotFound, "NAME_UNKNOWN", fmt.Sprintf(
			"repository %q of project %q is in several locations (%s); use the host name LOCATION-docker.pkg.dev", repo.Name, repo.Project, strings.Join(found, ", "))}
	}
	repo.Location = found[0]
	_, err = r.document(repo)
	return repo, image, err
}

func notFound(repo Repository) error {
	return &Error{http.StatusNotFound, "NAME_UNKNOWN", fmt.Sprintf("Repository %q not found in project %q, %s; create it in Artifact Registry first", repo.Name, repo.Project, repo.Location)}
}

func (r *Registry) document(repo Repository) (document, error) {
	var d document
	found, err := r.Store.Get(repo.key(), &d)
	if err != nil {
		return d, err
	}
	if !found {
		return d, notFound(repo)
	}
	if d.Format != "" && d.Format != "DOCKER" {
		return d, &Error{http.StatusBadRequest, "UNSUPPORTED", fmt.Sprintf("repository %q has the format %s, not DOCKER", repo.Name, d.Format)}
	}
	return d, nil
}

// folder is where the repository's links, manifests and tags lie.
func (r *Registry) folder(repo Repository) (string, document, error) {
	d, err := r.document(repo)
	if err != nil {
		return "", d, err
	}
	return filepath.Join(r.Dir, "repositories", repo.Project, repo.Location, repo.Name, d.generation()), d, nil
}

// imageFolder is the folder of one image: its name may have slashes, the folder's has none.
func imageFolder(repoFolder, image string) string {
	return filepath.Join(repoFolder, "images", url.PathEscape(image))
}

// stored is what is kept of a manifest beside its content, which is a blob.
type stored struct {
	MediaType string `json:"mediaType"`
	// Uploaded is when the manifest was pushed, RFC 3339.
	Uploaded string `json:"uploaded"`
	Size     int64  `json:"size"`
}

func (r *Registry) stored(imageDir, hex string) (stored, error) {
	var s stored
	raw, err := readFile(filepath.Join(imageDir, "manifests", hex))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(raw, &s)
}
