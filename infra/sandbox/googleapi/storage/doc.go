// Package storage is Cloud Storage: buckets, objects with generations, uploads of every kind, IAM, retention and
// lifecycle. Metadata are in the resource store, contents in files: a content is written to a temporary file, synced, renamed
// into place and only then named by the metadata, so an object that was acknowledged survives a kill at any moment and one that
// was not leaves at most a file that the next start removes. Access control lists, notifications, soft-deleted objects'
// restoration and customer-supplied keys are not simulated.
package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/policy"
)

// Server holds what the handlers share.
type Server struct {
	core     *googleapi.Core
	policies *policy.Policies
	files    *files
	uploads  sync.Map // upload id → *sync.Mutex: chunks of one upload come one by one
}

// Register opens the contents' folder (layout.Objects) and serves under storage, upload, resumable and download, which are the paths that
// Google's clients derive from the one endpoint they are given.
func Register(core *googleapi.Core, policies *policy.Policies, folder string) (*Server, error) {
	fs, err := openFiles(folder)
	if err != nil {
		return nil, fmt.Errorf("open the object store: %w", err)
	}
	s := &Server{core: core, policies: policies, files: fs}
	if err := s.removeOrphans(); err != nil {
		return nil, fmt.Errorf("open the object store: %w", err)
	}
	api := core.Service("storage")
	for _, base := range []string{"storage/v1", "v1"} { // the second is where STORAGE_EMULATOR_HOST leads
		s.handleBuckets(api, base)
		s.handleObjects(api, base)
	}
	s.handleUploads(api, "upload/storage/v1/b/{bucket}/o")
	s.handleUploads(api, "resumable/upload/storage/v1/b/{bucket}/o")
	s.handleUploads(core.Service("upload"), "storage/v1/b/{bucket}/o")
	s.handleUploads(core.Service("resumable"), "upload/storage/v1/b/{bucket}/o")
	api.Handle("GET", "download/storage/v1/b/{bucket}/o/{object*}", s.download)
	core.Service("download").Handle("GET", "storage/v1/b/{bucket}/o/{object*}", s.download)
	api.Handle("GET", "{bucket}/{object**}", s.download) // the XML API's read, which Google's Go client prefers
	return s, nil
}

// Storage's errors differ from other services' in their older reasons.
func notFound(format string, args ...any) *googleapi.Error {
	return googleapi.NotFound(format, args...)
}

func conflict(format string, args ...any) *googleapi.Error {
	return &googleapi.Error{Code: http.StatusConflict, Status: "ALREADY_EXISTS", Reason: "conflict", Message: fmt.Sprintf(format, args...)}
}

func required(format string, args ...any) *googleapi.Error {
	return &googleapi.Error{Code: http.StatusBadRequest, Status: "INVALID_ARGUMENT", Reason: "required", Message: fmt.Sprintf(format, args...)}
}

func conditionNotMet() *googleapi.Error {
	return googleapi.ConditionNotMet("At least one of the pre-conditions you specified did not hold.")
}

func notModified() *googleapi.Raw { return &googleapi.Raw{Status: http.StatusNotModified} }

// sweep is one turn of Run.
func (s *Server) sweep(ctx context.Context) {
	if err := s.Sweep(ctx, s.core.Now()); err != nil && !errors.Is(err, context.Canceled) {
		s.core.Logger().Error("storage lifecycle", slog.Any("error", err))
	}
}

func ensureDir(parts ...string) error { return os.MkdirAll(filepath.Join(parts...), 0o700) }
