package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sort"
	"strings"
	"time"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// work is what the engine has still to do for an operation. It lies in the store until it is done, and while it does
// the cluster (or the pool) is taken.
type work struct {
	Operation string `json:"operation"` // path
	Type      string `json:"type"`
	Cluster   string `json:"cluster"` // path
	Pool      string `json:"pool,omitempty"`
}

const workPrefix = "container-work/"

const (
	createCluster = "createCluster"
	deleteCluster = "deleteCluster"
	changeCluster = "changeCluster"
	createPool    = "createPool"
	changePool    = "changePool"
	resizePool    = "resizePool"
	deletePool    = "deletePool"
)

func allWork(tx store.Tx) ([]work, error) {
	var all []work
	err := tx.List(workPrefix, func(_ string, raw []byte) error {
		var w work
		if err := json.Unmarshal(raw, &w); err != nil {
			return err
		}
		all = append(all, w)
		return nil
	})
	return all, err
}

// free refuses an order for a cluster, or for one of its pools, that is being worked on. Different pools do not hinder
// each other.
func free(tx store.Tx, clusterPath, pool string) error {
	all, err := allWork(tx)
	for _, w := range all {
		if w.Cluster == clusterPath && (w.Pool == "" || pool == "" || w.Pool == pool) {
			return googleapi.FailedPrecondition("Cluster is running incompatible operation %s.", w.Operation[strings.LastIndex(w.Operation, "/")+1:])
		}
	}
	return err
}

// operation writes a new operation: one with work to do, or one that is done with w.Type empty.
func (s *Service) operation(tx store.Tx, operationType, target string, w work) (googleapi.Doc, error) {
	n, err := tx.Next()
	if err != nil {
		return nil, err
	}
	now := s.core.Now()
	parts := strings.Split(target, "/")
	name := fmt.Sprintf("operation-%d-%08x", now.UnixMilli(), uint32(n))
	path := strings.Join(parts[:4], "/") + "/operations/" + name
	op := googleapi.Doc{"name": name, "zone": parts[3], "location": parts[3], "operationType": operationType, "status": "RUNNING",
		"selfLink": selfLink(path), "targetLink": selfLink(target), "startTime": googleapi.Timestamp(now)}
	if w.Type == "" {
		op["status"], op["endTime"] = "DONE", googleapi.Timestamp(now)
	} else {
		w.Operation = path
		if err := tx.Put(workPrefix+path, w); err != nil {
			return nil, err
		}
	}
	return op, tx.Put(key(path), op)
}

// order runs fn in one transaction and then starts the work of the operation that it returns.
func (s *Service) order(fn func(tx store.Tx) (googleapi.Doc, error)) (any, error) {
	var op googleapi.Doc
	err := s.core.Store().Update(func(tx store.Tx) (err error) {
		op, err = fn(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	var w work
	path := strings.TrimPrefix(op.String("selfLink"), linkBase)
	path = strings.Replace(path, "/zones/", "/locations/", 1)
	if found, err := s.core.Store().Get(workPrefix+path, &w); err != nil {
		return nil, err
	} else if found {
		s.launch(w)
	}
	return op, nil
}

// launch starts a work, unless the service has not been started: then Start will.
func (s *Service) launch(w work) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil || s.ctx.Err() != nil || s.running[w.Operation] != nil {
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.running[w.Operation] = cancel
	s.group.Add(1)
	go func() {
		defer s.group.Done()
		defer cancel()
		start := time.Now()
		err := s.safely(ctx, w)
		s.mu.Lock()
		delete(s.running, w.Operation)
		stopping := s.ctx.Err() != nil
		s.mu.Unlock()
		if err != nil && stopping {
			return // interrupted by the end of the process, not failed: Start takes it up again
		}
		if errors.Is(err, context.Canceled) {
			err = errors.New("the operation was cancelled")
		}
		if err != nil {
			s.log.Error("GKE operation failed", "operation", w.Operation, "type", w.Type, "cluster", w.Cluster, "pool", w.Pool, "error", err)
		} else {
			s.log.Info("GKE operation done", "type", w.Type, "cluster", w.Cluster, "pool", w.Pool, "seconds", time.Since(start).Seconds())
		}
		if err := s.core.Store().Update(func(tx store.Tx) error { return s.finish(tx, w, err) }); err != nil {
			s.log.Error("GKE operation's end could not be written", "operation", w.Operation, "error", err)
		}
	}()
}

// safely turns a bug in one work into its failure: a panic here would take every cluster along.
func (s *Service) safely(ctx context.Context, w work) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("GKE operation panics", "operation", w.Operation, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("internal error: %v", p)
		}
	}()
	if s.engine == nil {
		return errors.New("this sandbox runs without an engine for clusters")
	}
	return s.do(ctx, w)
}

// finish writes the outcome into the operation, and a failure into the cluster or pool.
func (s *Service) finish(tx store.Tx, w work, failure error) error {
	op := googleapi.Doc{}
	if _, err := tx.Get(key(w.Operation), &op); err != nil {
		return err
	}
	op["status"], op["endTime"] = "DONE", googleapi.Timestamp(s.core.Now())
	if failure != nil {
		op["statusMessage"] = failure.Error()
		op["error"] = googleapi.Doc{"code": 13, "message": failure.Error()}
		target := w.Cluster
		if w.Pool != "" {
			target += "/nodePools/" + w.Pool
		}
		d := googleapi.Doc{}
		if found, err := tx.Get(key(target), &d); err != nil {
			return err
		} else if found {
			d["status"], d["statusMessage"] = "ERROR", failure.Error()
			if w.Type == changePool || w.Type == resizePool || w.Type == changeCluster {
				// What ran before goes on running; the operation tells what did not work.
				d["status"] = map[string]string{changePool: "RUNNING_WITH_ERROR", resizePool: "RUNNING_WITH_ERROR", changeCluster: "DEGRADED"}[w.Type]
			}
			d["conditions"] = []any{googleapi.Doc{"message": failure.Error(), "canonicalCode": "INTERNAL"}}
			if err := tx.Put(key(target), d); err != nil {
				return err
			}
		}
	}
	if err := tx.Delete(workPrefix + w.Operation); err != nil {
		return err
	}
	if err := s.forget(tx, w.Operation[:strings.LastIndex(w.Operation, "/")+1]); err != nil {
		return err
	}
	return tx.Put(key(w.Operation), op)
}

// kept is how many operations of a location are remembered.
const kept = 500

func (s *Service) forget(tx store.Tx, prefix string) error {
	var keys []string
	if err := tx.List(key(prefix), func(k string, _ []byte) error { keys = append(keys, k); return nil }); err != nil {
		return err
	}
	for i := 0; i < len(keys)-kept; i++ { // names begin with the time
		if tx.Has(workPrefix + strings.TrimPrefix(keys[i], "container/")) {
			continue
		}
		if err := tx.Delete(keys[i]); err != nil {
			return err
		}
	}
	return nil
}

// healthy clears the error of what works again.
func healthy(d googleapi.Doc) { d["status"] = "RUNNING"; d.Drop("statusMessage", "conditions") }

func (s *Service) registerOperations() {
	list := func(_ context.Context, r *googleapi.Request) (any, error) {
		ops := []googleapi.Doc{}
		err := s.eachIn(r, "operations", func(_ store.Tx, _ string, d googleapi.Doc) error {
			ops = append(ops, d)
			return nil
		})
		sort.SliceStable(ops, func(i, j int) bool { return ops[i].String("startTime") < ops[j].String("startTime") })
		return googleapi.Doc{"operations": ops}, err
	}
	path := func(r *googleapi.Request) string { return place(r) + "/operations/" + r.Var("operation") }
	s.handle("GET", locations+"/operations", list)
	s.handle("GET", locations+"/operations/{operation}", func(_ context.Context, r *googleapi.Request) (any, error) {
		var op googleapi.Doc
		found, err := s.core.Store().Get(key(path(r)), &op)
		if err == nil && !found {
			err = notFound(path(r))
		}
		return op, err
	})
	s.handle("POST", locations+"/operations/{operation}:cancel", func(_ context.Context, r *googleapi.Request) (any, error) {
		var w work
		if found, err := s.core.Store().Get(workPrefix+path(r), &w); err != nil {
			return nil, err
		} else if !found {
			return nil, googleapi.FailedPrecondition("Operation %s is not running.", r.Var("operation"))
		}
		if !slices.Contains([]string{createCluster, createPool, changePool, resizePool}, w.Type) {
			return nil, googleapi.FailedPrecondition("Operation %s cannot be cancelled.", r.Var("operation"))
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if cancel := s.running[w.Operation]; cancel != nil {
			cancel()
		}
		return nil, nil
	})
}

// eachIn visits the documents of a collection at the call's location, at all locations for "-".
func (s *Service) eachIn(r *googleapi.Request, collection string, fn func(tx store.Tx, path string, d googleapi.Doc) error) error {
	location := r.Var("location")
	if location != "-" && zonesOf(location) == nil {
		return badLocation(location)
	}
	prefix := "container/projects/" + r.Var("project") + "/locations/"
	return s.core.Store().View(func(tx store.Tx) error {
		return tx.List(prefix, func(k string, raw []byte) error {
			parts := strings.Split(k[len(prefix):], "/")
			if len(parts) != 3 || parts[1] != collection || location != "-" && parts[0] != location {
				return nil
			}
			var d googleapi.Doc
			if err := json.Unmarshal(raw, &d); err != nil {
				return err
			}
			return fn(tx, strings.TrimPrefix(k, "container/"), d)
		})
	})
}

func badLocation(location string) error {
	return googleapi.BadRequest("Location %q does not exist.", location)
}
