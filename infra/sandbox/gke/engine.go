package gke

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/gke/cgroup"
	"patag/infra/sandbox/remains"
)

// Engine implements cluster.Engine.
type Engine struct {
	o Options
	// life ends with Stop.
	life context.Context
	end  context.CancelFunc

	mu       sync.Mutex
	clusters map[string]*run
}

var _ cluster.Engine = (*Engine)(nil)

// New checks that everything the engine needs is there.
func New(o Options) (*Engine, error) {
	if err := o.prepare(); err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.Background())
	return &Engine{o: o, life: life, end: end, clusters: map[string]*run{}}, nil
}

// Start removes what an earlier engine left in the kernel and brings all clusters back from disk. It returns when their
// nodes are Ready, or ctx ends: they go on coming up then. A cluster that does not come back is in the error, hinders no
// other, and is tried again from time to time.
func (e *Engine) Start(ctx context.Context) error {
	if err := e.sweep(); err != nil {
		return fmt.Errorf("clear away what the last run left: %w", err)
	}
	entries, err := os.ReadDir(e.o.Layout.Clusters())
	if err != nil {
		return err
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	for _, entry := range entries {
		wait.Go(func() {
			again, err := e.restore(ctx, entry.Name())
			if again {
				go e.retry(entry.Name())
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, fmt.Errorf("bring back cluster %s: %w", entry.Name(), err))
			}
		})
	}
	wait.Wait()
	return errors.Join(failed...)
}

// restore brings one cluster back; again tells that it does not run and may be tried again.
func (e *Engine) restore(ctx context.Context, id string) (again bool, err error) {
	f := folder(e.o.Layout.Cluster(id))
	if _, err := os.Stat(f.deleting()); err == nil {
		e.o.Logger.Info("finishing the deletion of a cluster", "cluster", id)
		return true, e.purge(f)
	}
	var spec cluster.Cluster
	err = load(f.spec(), &spec)
	if errors.Is(err, fs.ErrNotExist) {
		return false, e.purge(f) // its creation was never begun
	}
	if err != nil {
		return true, err
	}
	r, err := e.begin(spec)
	if err != nil {
		return true, err
	}
	if err := r.awaitStarted(ctx); err != nil {
		if ctx.Err() != nil {
			return false, err // it goes on starting
		}
		e.mu.Lock()
		if e.clusters[id] == r {
			delete(e.clusters, id)
		}
		e.mu.Unlock()
		r.stop()
		return true, err
	}
	return false, r.awaitNodes(ctx)
}

// retryAfter is the time between attempts to bring a cluster back.
const retryAfter = 15 * time.Second

// retry tries to bring a cluster back until it runs, is gone, or the engine stops.
func (e *Engine) retry(id string) {
	for {
		select {
		case <-e.life.Done():
			return
		case <-time.After(retryAfter):
		}
		if _, err := os.Stat(e.o.Layout.Cluster(id)); err != nil {
			return
		}
		again, err := e.restore(e.life, id)
		if !again {
			return
		}
		if err != nil && e.life.Err() == nil {
			e.o.Logger.Error("a cluster did not come back; it is tried again", "cluster", id, "error", err)
		}
	}
}

// sweep removes what is left in the kernel, processes included. There is one engine per instance number (the daemon's lock sees to it),
// so all of it is left over.
func (e *Engine) sweep() error { return remains.Remove(e.o.Settings.Name()) }

// Stop ends everything and leaves no process, mount, namespace or control group; the state stays.
func (e *Engine) Stop() error {
	e.end()
	e.mu.Lock()
	all := e.clusters
	e.clusters = map[string]*run{}
	e.mu.Unlock()
	var wait sync.WaitGroup
	for _, r := range all {
		wait.Go(r.stop)
	}
	wait.Wait()
	return e.sweep()
}

// begin makes the run of a cluster, or finds the one that is there.
func (e *Engine) begin(spec cluster.Cluster) (*run, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.life.Err() != nil {
		return nil, errors.New("the sandbox is stopping")
	}
	if r, ok := e.clusters[spec.ID]; ok {
		return r, nil
	}
	r, err := newRun(e, spec)
	if err != nil {
		return nil, err
	}
	e.clusters[spec.ID] = r
	go r.start()
	return r, nil
}

func (e *Engine) find(id string) (*run, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r, ok := e.clusters[id]; ok {
		return r, nil
	}
	return nil, fmt.Errorf("there is no cluster %q", id)
}

// CreateCluster is described in package cluster. For a cluster that runs, it changes whether NetworkPolicies take effect.
func (e *Engine) CreateCluster(ctx context.Context, spec cluster.Cluster) (cluster.Credentials, error) {
	if err := validate(spec); err != nil {
		return cluster.Credentials{}, fmt.Errorf("create cluster %q: %w", spec.Name, err)
	}
	f := folder(e.o.Layout.Cluster(spec.ID))
	if _, err := os.Stat(f.deleting()); err == nil {
		return cluster.Credentials{}, fmt.Errorf("create cluster %q: a cluster with this id is being deleted", spec.ID)
	}
	if err := save(f.spec(), spec); err != nil {
		return cluster.Credentials{}, fmt.Errorf("create cluster %q: %w", spec.Name, err)
	}
	r, err := e.begin(spec)
	if err == nil {
		r.policies.Store(spec.NetworkPolicy)
		err = r.awaitStarted(ctx)
	}
	if err != nil && ctx.Err() == nil && e.life.Err() == nil {
		// It failed, rather than that nobody waits for it any more: nothing of it may stay.
		err = errors.Join(err, e.DeleteCluster(context.WithoutCancel(ctx), spec.ID))
	}
	if err != nil {
		return cluster.Credentials{}, fmt.Errorf("create cluster %q: %w", spec.Name, err)
	}
	return cluster.Credentials{CACertificate: r.controlPlane.Keys().CA.CertPEM()}, nil
}

// DeleteCluster is described in package cluster.
func (e *Engine) DeleteCluster(_ context.Context, id string) error {
	f := folder(e.o.Layout.Cluster(id))
	if _, err := os.Stat(string(f)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := save(f.deleting(), time.Now()); err != nil {
		return fmt.Errorf("delete cluster %s: %w", id, err)
	}
	e.mu.Lock()
	r := e.clusters[id]
	delete(e.clusters, id)
	e.mu.Unlock()
	if r != nil {
		r.stop()
		r.forgetNodes()
	}
	if err := e.purge(f); err != nil {
		return fmt.Errorf("delete cluster %s: %w", id, err)
	}
	e.o.Logger.Info("cluster deleted", "cluster", id)
	return nil
}

// purge removes what is left of a cluster that does not run. The marker of the deletion goes last.
func (e *Engine) purge(f folder) error {
	id := filepath.Base(string(f))
	if err := cgroup.Remove(e.cgroup(id)); err != nil {
		return err
	}
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if path := filepath.Join(string(f), entry.Name()); path != f.deleting() {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(string(f))
}

func (e *Engine) cgroup(id string) string { return e.o.Settings.Name() + "/" + id }

// Running is described in package cluster.
func (e *Engine) Running() []cluster.Running {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []cluster.Running
	for _, r := range e.clusters {
		if r.isStarted() {
			all = append(all, r.running())
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Spec.ID < all[j].Spec.ID })
	return all
}
