package registry

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

func (r *Registry) blob(w http.ResponseWriter, req *http.Request, q request) error {
	hex, err := parseDigest(q.ref)
	if err != nil {
		return err
	}
	folder, _, err := r.folder(q.repo)
	if err != nil {
		return err
	}
	unknown := &Error{http.StatusNotFound, "BLOB_UNKNOWN", "blob " + q.ref + " is not in the repository"}
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		if !exists(linkFile(folder, hex)) {
			return unknown
		}
		f, err := os.Open(r.blobFile(hex))
		if errors.Is(err, fs.ErrNotExist) {
			return unknown
		}
		if err != nil {
			return err
		}
		defer f.Close()
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Docker-Content-Digest", q.ref)
		w.Header().Set("Etag", `"`+q.ref+`"`)
		http.ServeContent(w, req, "", time.Time{}, f) // ranges, and sendfile
		return nil
	case http.MethodDelete:
		if err := os.Remove(linkFile(folder, hex)); errors.Is(err, fs.ErrNotExist) {
			return unknown
		} else if err != nil {
			return err
		}
		w.WriteHeader(http.StatusAccepted)
		return nil
	default:
		return methodNotAllowed(w, "GET, HEAD, DELETE")
	}
}

func (r *Registry) upload(w http.ResponseWriter, req *http.Request, q request) error {
	if q.ref == "" {
		if req.Method != http.MethodPost {
			return methodNotAllowed(w, "POST")
		}
		return r.beginUpload(w, req, q)
	}
	file := filepath.Join(r.Dir, "uploads", q.ref)
	if !isUploadID(q.ref) || !exists(file) {
		return &Error{http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "there is no such upload; it may have ended with a restart: start it again"}
	}
	lock, _ := r.uploads.LoadOrStore(q.ref, new(sync.Mutex))
	lock.(*sync.Mutex).Lock()
	defer lock.(*sync.Mutex).Unlock()
	switch req.Method {
	case http.MethodGet:
		return uploadStatus(w, req, q, file, http.StatusNoContent)
	case http.MethodPatch:
		if err := appendTo(file, req); err != nil {
			return err
		}
		return uploadStatus(w, req, q, file, http.StatusAccepted)
	case http.MethodPut:
		digest := req.URL.Query().Get("digest")
		if _, err := parseDigest(digest); err != nil {
			return err
		}
		if err := appendTo(file, req); err != nil {
			return err
		}
		if err := r.finish(file, digest, q); err != nil {
			return err
		}
		r.uploads.Delete(q.ref)
		return created(w, q, digest)
	case http.MethodDelete:
		r.uploads.Delete(q.ref)
		if err := os.Remove(file); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	default:
		return methodNotAllowed(w, "GET, PATCH, PUT, DELETE")
	}
}

func (r *Registry) beginUpload(w http.ResponseWriter, req *http.Request, q request) error {
	query := req.URL.Query()
	if mount := query.Get("mount"); mount != "" {
		done, err := r.mount(req, q, mount, query.Get("from"))
		if err != nil {
			return err
		}
		if done {
			return created(w, q, mount)
		}
	}
	id := rand.Text()
	file := filepath.Join(r.Dir, "uploads", id)
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("begin an upload: %w", err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	q.ref = id
	if digest := query.Get("digest"); digest != "" { // all in one request
		defer os.Remove(file)
		if _, err := parseDigest(digest); err != nil {
			return err
		}
		if err := appendTo(file, req); err != nil {
			return err
		}
		if err := r.finish(file, digest, q); err != nil {
			return err
		}
		return created(w, q, digest)
	}
	return uploadStatus(w, req, q, file, http.StatusAccepted)
}

// mount takes a blob over from another repository on which the caller may read; false if it is not there.
func (r *Registry) mount(req *http.Request, q request, digest, from string) (bool, error) {
	hex, err := parseDigest(digest)
	if err != nil {
		return false, err
	}
	source := q.repo
	if from != "" {
		host := req.URL.Query().Get("ns")
		if host == "" {
			host = req.Host
		}
		if source, _, err = r.find(host, strings.Split(from, "/")); err != nil {
			return false, nil // the protocol then wants an upload begun instead
		}
	}
	if r.Authorize != nil && r.Authorize(q.principal, source, false) != nil {
		return false, nil
	}
	sourceFolder, _, err := r.folder(source)
	if err != nil {
		return false, nil
	}
	if !exists(linkFile(sourceFolder, hex)) || !exists(r.blobFile(hex)) {
		return false, nil
	}
	folder, _, err := r.folder(q.repo)
	if err != nil {
		return false, err
	}
	return true, link(folder, hex)
}

// finish checks the digest and makes the upload a blob of the repository.
func (r *Registry) finish(file, digest string, q request) error {
	hex, err := parseDigest(digest)
	if err != nil {
		return err
	}
	folder, _, err := r.folder(q.repo)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := digestOf(f)
	if err != nil {
		return err
	}
	if got != hex {
		return &Error{http.StatusBadRequest, "DIGEST_INVALID", fmt.Sprintf("the content has the digest sha256:%s, not %s", got, digest)}
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write the blob to disk: %w", err)
	}
	if err := r.adopt(file, hex); err != nil {
		return fmt.Errorf("keep the blob: %w", err)
	}
	return link(folder, hex)
}

// appendTo adds the request's body to the upload, which must be as long as Content-Range says.
func appendTo(file string, req *http.Request) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if cr := req.Header.Get("Content-Range"); cr != "" {
		first, _, _ := strings.Cut(strings.TrimPrefix(cr, "bytes "), "-")
		start, err := strconv.ParseInt(first, 10, 64)
		if err != nil || start != info.Size() {
			return &Error{http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID", fmt.Sprintf("the range %q does not begin at byte %d, where the upload stands", cr, info.Size())}
		}
	}
	if _, err := io.Copy(f, req.Body); err != nil {
		// A chunk that broke off must not stay: the client sends it again from its beginning.
		return errors.Join(&Error{http.StatusBadRequest, "BLOB_UPLOAD_INVALID", "the upload broke off: " + err.Error()}, f.Truncate(info.Size()))
	}
	return nil
}

func uploadStatus(w http.ResponseWriter, _ *http.Request, q request, file string, status int) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/v2/"+q.path()+"/blobs/uploads/"+q.ref)
	w.Header().Set("Docker-Upload-Uuid", q.ref)
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(info.Size()-1, 0)))
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(status)
	return nil
}

func created(w http.ResponseWriter, q request, digest string) error {
	w.Header().Set("Location", "/v2/"+q.path()+"/blobs/"+digest)
	w.Header().Set("Docker-Content-Digest", digest)
	w.WriteHeader(http.StatusCreated)
	return nil
}

// path is the image's name as the client wrote it.
func (q request) path() string {
	if _, ok := gcrLocations[q.repo.Name]; ok {
		return q.repo.Project + "/" + q.image
	}
	return q.repo.Project + "/" + q.repo.Name + "/" + q.image
}

func isUploadID(s string) bool {
	for _, c := range s {
		if !(c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') {
			return false
		}
	}
	return s != ""
}
