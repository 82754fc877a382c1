package compute

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	api "google.golang.org/api/compute/v0.beta"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// Compute Engine's timestamps are in Pacific time, with milliseconds.
func timestamp(t time.Time) string {
	return t.In(time.FixedZone("", -8*3600)).Format("2006-01-02T15:04:05.000-07:00")
}

// newID is an unsigned 64-bit number of 19 digits, as a string, never given before.
func newID(tx store.Tx, core *googleapi.Core) (string, error) {
	n, err := tx.Next()
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(core.Now().UnixMilli()*1_000_000+int64(n%1_000_000), 10), nil
}

// operation records that work on a resource is done and returns the operation. Compute Engine in the sandbox does its
// work within the call, so that an operation is DONE from its beginning and none is ever interrupted.
func (s *Service) operation(tx store.Tx, r *googleapi.Request, operationType, path, targetID string) (googleapi.Doc, error) {
	id, err := newID(tx, s.core)
	if err != nil {
		return nil, err
	}
	parts := strings.Split(path, "/")
	scope := strings.Join(parts[:3], "/")
	if parts[2] != "global" {
		scope = strings.Join(parts[:4], "/")
	}
	now := s.core.Now()
	name := fmt.Sprintf("operation-%d-%s", now.UnixMilli(), id)
	op := googleapi.Doc{
		"operationType": operationType, "targetLink": Link(path), "targetId": targetID, "status": "DONE", "progress": 100,
		"user": r.Principal, "insertTime": timestamp(now), "startTime": timestamp(now), "endTime": timestamp(now),
	}
	opPath := scope + "/operations/" + name
	if err := stamp(tx, s.core, op, "compute#operation", opPath); err != nil {
		return nil, err
	}
	delete(op, "creationTimestamp")
	op["id"] = id
	if now.UnixMilli()%64 == 0 {
		if err := s.forget(tx, scope+"/operations/", now.Add(-14*24*time.Hour)); err != nil {
			return nil, err
		}
	}
	return op, tx.Put("compute/"+opPath, op)
}

// forget removes operations older than Google keeps them.
func (s *Service) forget(tx store.Tx, prefix string, before time.Time) error {
	var old []string
	err := tx.List("compute/"+prefix, func(key string, raw []byte) error {
		var op struct{ EndTime string }
		if err := json.Unmarshal(raw, &op); err != nil {
			return err
		}
		if end, err := time.Parse(time.RFC3339, op.EndTime); err == nil && end.Before(before) {
			old = append(old, key)
		}
		return nil
	})
	for _, key := range old {
		if err == nil {
			err = tx.Delete(key)
		}
	}
	return err
}

func (s *Service) registerOperations() {
	k := &kind{collection: "operations", kind: "compute#operation", list: "compute#operationList", scopes: []string{"global", "regions", "zones"}, like: api.Operation{}}
	for _, scope := range k.scopes {
		base := scopePattern(scope) + "/operations"
		s.handle("GET", base, func(_ context.Context, r *googleapi.Request) (any, error) { return s.list(r, k) })
		s.handle("GET", base+"/{name}", func(_ context.Context, r *googleapi.Request) (any, error) { return s.get(r, k) })
		s.handle("POST", base+"/{name}/wait", func(_ context.Context, r *googleapi.Request) (any, error) {
			return s.getPath(strings.TrimSuffix(restPath(r), "/wait"), k)
		})
		s.handle("DELETE", base+"/{name}", func(_ context.Context, r *googleapi.Request) (any, error) {
			return nil, s.core.Store().Delete("compute/" + restPath(r))
		})
	}
	s.handle("GET", "projects/{project}/aggregated/operations", func(_ context.Context, r *googleapi.Request) (any, error) { return s.aggregated(r, k) })
}
