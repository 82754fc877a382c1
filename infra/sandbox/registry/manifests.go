package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// maxManifest is Google's limit, and the protocol's recommendation.
const maxManifest = 4 << 20

func (r *Registry) manifest(w http.ResponseWriter, req *http.Request, q request) error {
	folder, doc, err := r.folder(q.repo)
	if err != nil {
		return err
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		return r.getManifest(w, req, q, folder)
	case http.MethodPut:
		return r.putManifest(w, req, q, folder, doc)
	case http.MethodDelete:
		return r.deleteManifest(w, q, folder, doc)
	default:
		return methodNotAllowed(w, "GET, HEAD, PUT, DELETE")
	}
}

// resolve turns a tag or digest into the digest's hexadecimal part.
func (r *Registry) resolve(imageDir string, q request) (string, error) {
	unknown := &Error{http.StatusNotFound, "MANIFEST_UNKNOWN", fmt.Sprintf("there is no manifest %s of %s", q.ref, q.path())}
	if hex, err := parseDigest(q.ref); err == nil {
		if !exists(filepath.Join(imageDir, "manifests", hex)) {
			return "", unknown
		}
		return hex, nil
	}
	if !tagName.MatchString(q.ref) {
		return "", &Error{http.StatusBadRequest, "TAG_INVALID", fmt.Sprintf("%q is neither a tag nor a digest", q.ref)}
	}
	raw, err := readFile(filepath.Join(imageDir, "tags", q.ref))
	if errors.Is(err, fs.ErrNotExist) {
		return "", unknown
	}
	if err != nil {
		return "", err
	}
	return parseDigest(string(raw))
}

func (r *Registry) getManifest(w http.ResponseWriter, req *http.Request, q request, folder string) error {
	imageDir := imageFolder(folder, q.image)
	hex, err := r.resolve(imageDir, q)
	if err != nil {
		return err
	}
	meta, err := r.stored(imageDir, hex)
	if err != nil {
		return fmt.Errorf("read manifest %s: %w", q.ref, err)
	}
	content, err := readFile(r.blobFile(hex))
	if err != nil {
		return fmt.Errorf("read manifest %s: %w", q.ref, err)
	}
	w.Header().Set("Content-Type", meta.MediaType)
	w.Header().Set("Docker-Content-Digest", "sha256:"+hex)
	w.Header().Set("Etag", `"sha256:`+hex+`"`)
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	if req.Method == http.MethodGet {
		w.Write(content)
	}
	return nil
}

func (r *Registry) putManifest(w http.ResponseWriter, req *http.Request, q request, folder string, doc document) error {
	content, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxManifest))
	if err != nil {
		return &Error{http.StatusRequestEntityTooLarge, "MANIFEST_INVALID", fmt.Sprintf("the manifest could not be read, or is larger than %d bytes: %v", maxManifest, err)}
	}
	hex, err := digestOf(bytes.NewReader(content))
	if err != nil {
		return err
	}
	tag := q.ref
	if want, err := parseDigest(q.ref); err == nil {
		if want != hex {
			return &Error{http.StatusBadRequest, "DIGEST_INVALID", fmt.Sprintf("the manifest has the digest sha256:%s, not %s", hex, q.ref)}
		}
		tag = ""
	} else if !tagName.MatchString(tag) {
		return &Error{http.StatusBadRequest, "TAG_INVALID", fmt.Sprintf("%q is not a valid tag", tag)}
	}
	imageDir := imageFolder(folder, q.image)
	parsed, err := r.check(content, req.Header.Get("Content-Type"), folder, imageDir)
	if err != nil {
		return err
	}
	meta, err := json.Marshal(stored{MediaType: parsed.mediaType, Uploaded: time.Now().UTC().Format(time.RFC3339Nano), Size: parsed.size + int64(len(content))})
	if err != nil {
		return err
	}
	if !exists(r.blobFile(hex)) {
		if err := writeFile(r.blobFile(hex), content); err != nil {
			return fmt.Errorf("keep the manifest: %w", err)
		}
	}
	r.tags.Lock()
	defer r.tags.Unlock()
	if old, err := readFile(filepath.Join(imageDir, "tags", tag)); tag != "" && err == nil && doc.immutable() && string(old) != "sha256:"+hex {
		return &Error{http.StatusBadRequest, "TAG_INVALID", fmt.Sprintf("the repository has enabled tag immutability: tag %q already points to %s", tag, old)}
	}
	if file := filepath.Join(imageDir, "manifests", hex); !exists(file) {
		if err := writeFile(file, meta); err != nil {
			return fmt.Errorf("keep the manifest: %w", err)
		}
	}
	if tag != "" {
		if err := writeFile(filepath.Join(imageDir, "tags", tag), []byte("sha256:"+hex)); err != nil {
			return fmt.Errorf("keep the tag: %w", err)
		}
	}
	r.Logger.Info("image pushed", "repository", q.repo.Name, "image", q.image, "tag", tag, "digest", "sha256:"+hex, "by", q.principal)
	if parsed.subject != "" {
		w.Header().Set("OCI-Subject", parsed.subject)
	}
	w.Header().Set("Location", "/v2/"+q.path()+"/manifests/sha256:"+hex)
	w.Header().Set("Docker-Content-Digest", "sha256:"+hex)
	w.WriteHeader(http.StatusCreated)
	return nil
}

func (d document) immutable() bool { return d.DockerConfig != nil && d.DockerConfig.ImmutableTags }

type parsed struct {
	mediaType, subject string
	// size is that of the config and layers.
	size int64
}

// check refuses a manifest whose parts have not been pushed: it could never be pulled.
func (r *Registry) check(content []byte, contentType, folder, imageDir string) (parsed, error) {
	var m struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Config        *v1.Descriptor  `json:"config"`
		Layers        []v1.Descriptor `json:"layers"`
		Manifests     []v1.Descriptor `json:"manifests"`
		Subject       *v1.Descriptor  `json:"subject"`
	}
	if err := json.Unmarshal(content, &m); err != nil {
		return parsed{}, &Error{http.StatusBadRequest, "MANIFEST_INVALID", "the manifest is not valid: " + err.Error()}
	}
	p := parsed{mediaType: m.MediaType}
	if p.mediaType == "" {
		p.mediaType = contentType
	}
	mt := types.MediaType(p.mediaType)
	switch {
	case m.SchemaVersion != 2:
		return p, &Error{http.StatusBadRequest, "MANIFEST_INVALID", fmt.Sprintf("the manifest's schemaVersion is %d; only 2 is taken", m.SchemaVersion)}
	case mt.IsIndex():
		for _, d := range m.Manifests {
			if !exists(filepath.Join(imageDir, "manifests", d.Digest.Hex)) {
				return p, &Error{http.StatusNotFound, "MANIFEST_UNKNOWN", "the index names a manifest that was not pushed: " + d.Digest.String()}
			}
		}
	case mt.IsImage():
		if m.Config == nil {
			return p, &Error{http.StatusBadRequest, "MANIFEST_INVALID", "the manifest has no config"}
		}
		for _, d := range append([]v1.Descriptor{*m.Config}, m.Layers...) {
			p.size += d.Size
			if !d.MediaType.IsDistributable() {
				continue
			}
			if !exists(linkFile(folder, d.Digest.Hex)) || !exists(r.blobFile(d.Digest.Hex)) {
				return p, &Error{http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN", "the manifest names a blob that was not pushed: " + d.Digest.String()}
			}
		}
	default:
		return p, &Error{http.StatusBadRequest, "MANIFEST_INVALID", fmt.Sprintf("the media type %q is not that of an image or index", p.mediaType)}
	}
	if m.Subject != nil {
		p.subject = m.Subject.Digest.String()
	}
	return p, nil
}

func (r *Registry) deleteManifest(w http.ResponseWriter, q request, folder string, doc document) error {
	imageDir := imageFolder(folder, q.image)
	r.tags.Lock()
	defer r.tags.Unlock()
	hex, err := r.resolve(imageDir, q)
	if err != nil {
		return err
	}
	if doc.immutable() {
		return &Error{http.StatusBadRequest, "DENIED", "the repository has enabled tag immutability: tags and tagged images cannot be deleted"}
	}
	if _, err := parseDigest(q.ref); err != nil { // a tag
		if err := os.Remove(filepath.Join(imageDir, "tags", q.ref)); err != nil {
			return err
		}
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
	tags, err := tagsOf(imageDir)
	if err != nil {
		return err
	}
	for tag, digest := range tags {
		if digest == q.ref {
			return &Error{http.StatusConflict, "DENIED", fmt.Sprintf("manifest %s is still referenced by the tag %q; delete the tag first", q.ref, tag)}
		}
	}
	if err := os.Remove(filepath.Join(imageDir, "manifests", hex)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// tagsOf reads every tag of an image with the digest it points to.
func tagsOf(imageDir string) (map[string]string, error) {
	tags := map[string]string{}
	entries, err := os.ReadDir(filepath.Join(imageDir, "tags"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if !tagName.MatchString(e.Name()) {
			continue // a temporary file
		}
		raw, err := readFile(filepath.Join(imageDir, "tags", e.Name()))
		if err != nil {
			return nil, err
		}
		tags[e.Name()] = string(raw)
	}
	return tags, nil
}

func (r *Registry) listTags(w http.ResponseWriter, req *http.Request, q request) error {
	if req.Method != http.MethodGet {
		return methodNotAllowed(w, "GET")
	}
	folder, _, err := r.folder(q.repo)
	if err != nil {
		return err
	}
	imageDir := imageFolder(folder, q.image)
	if !exists(imageDir) {
		return &Error{http.StatusNotFound, "NAME_UNKNOWN", "there is no image " + q.path()}
	}
	byTag, err := tagsOf(imageDir)
	if err != nil {
		return err
	}
	tags := make([]string, 0, len(byTag))
	for tag := range byTag {
		if tag > req.URL.Query().Get("last") {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	if n := req.URL.Query().Get("n"); n != "" {
		limit, err := strconv.Atoi(n)
		if err != nil || limit < 0 {
			return &Error{http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", fmt.Sprintf("n=%q is not a number", n)}
		}
		if limit < len(tags) {
			tags = tags[:limit]
			if limit > 0 {
				w.Header().Set("Link", fmt.Sprintf(`</v2/%s/tags/list?n=%d&last=%s>; rel="next"`, q.path(), limit, tags[limit-1]))
			}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(map[string]any{"name": q.path(), "tags": tags})
}

// referrers lists the manifests of the image whose subject is the given one.
func (r *Registry) referrers(w http.ResponseWriter, req *http.Request, q request) error {
	if req.Method != http.MethodGet {
		return methodNotAllowed(w, "GET")
	}
	if _, err := parseDigest(q.ref); err != nil {
		return err
	}
	folder, _, err := r.folder(q.repo)
	if err != nil {
		return err
	}
	imageDir := imageFolder(folder, q.image)
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	err = r.eachManifest(imageDir, func(hex string, meta stored, content []byte) error {
		var m v1.Manifest
		if err := json.Unmarshal(content, &m); err != nil || m.Subject == nil || m.Subject.Digest.String() != q.ref {
			return nil
		}
		artifact := m.ArtifactType
		if artifact == "" {
			artifact = string(m.Config.MediaType)
		}
		index.Manifests = append(index.Manifests, v1.Descriptor{MediaType: types.MediaType(meta.MediaType), Size: int64(len(content)),
			Digest: v1.Hash{Algorithm: "sha256", Hex: hex}, ArtifactType: artifact, Annotations: m.Annotations})
		return nil
	})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", string(types.OCIImageIndex))
	return json.NewEncoder(w).Encode(index)
}

// eachManifest calls fn for every manifest of an image; none if the image is not there.
func (r *Registry) eachManifest(imageDir string, fn func(hex string, meta stored, content []byte) error) error {
	entries, err := os.ReadDir(filepath.Join(imageDir, "manifests"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, err := parseDigest("sha256:" + e.Name()); err != nil {
			continue // a temporary file
		}
		meta, err := r.stored(imageDir, e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return err
		}
		content, err := readFile(r.blobFile(e.Name()))
		if err != nil {
			return err
		}
		if err := fn(e.Name(), meta, content); err != nil {
			return err
		}
	}
	return nil
}
