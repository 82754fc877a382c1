package app

import (
	"context"
	"strings"

	"patag/scripts/patag/engine"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/google"
)

// Locks reads who has the stack's state, where it lies.
func (s *Session) Locks(ctx context.Context) ([]engine.Lock, error) {
	if strings.HasPrefix(s.Cloud.Backend, "file://") {
		return engine.FileLocks(s.Cloud.Backend, s.Project.Name, s.Stack)
	}
	rest, ok := strings.CutPrefix(s.Cloud.Backend, bucketScheme)
	if !ok {
		return nil, exit.New(exit.Usage, "patag cannot read the locks of the state in %s", s.Cloud.Backend).WithHint("eval \"$(patag env %s)\"; pulumi cancel", s.Stack)
	}
	bucket, folder, _ := strings.Cut(rest, "/")
	api, err := google.New(ctx, s.Cloud)
	if err != nil {
		return nil, err
	}
	if folder = strings.Trim(folder, "/"); folder != "" {
		folder += "/"
	}
	objects, err := api.Objects(ctx, bucket, folder+engine.LockPrefix(s.Project.Name, s.Stack))
	if err != nil {
		return nil, exit.New(exit.Failed, "read the locks of stack %s in %s: %w", s.Stack, s.Cloud.Backend, err)
	}
	var locks []engine.Lock
	for _, raw := range objects {
		locks = append(locks, engine.ParseLock(raw))
	}
	return locks, nil
}

const bucketScheme = "gs://"
