package gke

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/machine"
)

// poolTimeout is how long a pool may take to get one step further, on a busy machine, before the caller is told.
const poolTimeout = 5 * time.Minute

// troubleTimeout is how long when it is known what is in the way: it may still pass, but not for long.
const troubleTimeout = 30 * time.Second

// SetNodePool is described in package cluster.
func (e *Engine) SetNodePool(ctx context.Context, p cluster.NodePool) error {
	r, err := e.find(p.Cluster)
	if err == nil {
		err = r.awaitStarted(ctx)
	}
	if err == nil {
		err = r.setPool(p)
	}
	if err == nil {
		err = r.awaitPool(ctx, p.Name)
	}
	if err != nil {
		return fmt.Errorf("set node pool %q: %w", p.Name, err)
	}
	return nil
}

// DeleteNodePool is described in package cluster.
func (e *Engine) DeleteNodePool(ctx context.Context, clusterID, name string) error {
	r, err := e.find(clusterID)
	if err == nil {
		err = r.awaitStarted(ctx)
	}
	if err == nil {
		err = r.deletePool(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("delete node pool %q: %w", name, err)
	}
	return nil
}

// NodePoolSize is described in package cluster. Zones may differ by what the autoscaler did; it answers for the mean.
func (e *Engine) NodePoolSize(clusterID, name string) (int, bool) {
	r, err := e.find(clusterID)
	if err != nil {
		return 0, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.pools[name]
	if !ok || len(p.Zones) == 0 {
		return 0, false
	}
	total := 0
	for _, n := range p.Sizes {
		total += n
	}
	return (total + len(p.Zones) - 1) / len(p.Zones), true
}

func checkPool(c cluster.Cluster, p cluster.NodePool) error {
	if p.Name == "" || len(p.Zones) == 0 {
		return errors.New("it lacks a name or zones")
	}
	if _, err := machine.Lookup(p.MachineType); err != nil {
		return err
	}
	if p.Size < 0 {
		return fmt.Errorf("its size %d is negative", p.Size)
	}
	for _, z := range p.Zones {
		if !slices.Contains(c.Zones, z) {
			return fmt.Errorf("its zone %q is not one of the cluster's (%v)", z, c.Zones)
		}
	}
	for _, t := range p.Taints {
		if t.Effect != "NoSchedule" && t.Effect != "PreferNoSchedule" && t.Effect != "NoExecute" {
			return fmt.Errorf("the effect %q of taint %q is not NoSchedule, PreferNoSchedule or NoExecute", t.Effect, t.Key)
		}
	}
	return nil
}

// sizesOf merges a new order with what the autoscaler made of the last one: a size that was not changed by the order
// stays the autoscaler's, within the limits.
func sizesOf(p cluster.NodePool, before *poolRecord) map[string]int {
	sizes := map[string]int{}
	for _, z := range p.Zones {
		sizes[z] = p.Size
		if before == nil || p.Autoscaling == nil {
			continue
		}
		if n, ok := before.Sizes[z]; ok && before.Size == p.Size {
			sizes[z] = n
		}
	}
	a := p.Autoscaling
	if a == nil {
		return sizes
	}
	total := 0
	for _, z := range p.Zones {
		if a.TotalMax == 0 {
			sizes[z] = min(max(sizes[z], a.Min), a.Max)
		}
		total += sizes[z]
	}
	for i := 0; a.TotalMax > 0 && total < a.TotalMin; i, total = i+1, total+1 {
		sizes[p.Zones[i%len(p.Zones)]]++
	}
	for i := 0; a.TotalMax > 0 && total > a.TotalMax; i++ {
		if z := p.Zones[i%len(p.Zones)]; sizes[z] > 0 {
			sizes[z]--
			total--
		}
	}
	return sizes
}

func (r *run) setPool(p cluster.NodePool) error {
	if err := checkPool(r.spec, p); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.pools[p.Name]
	if before != nil && before.Deleting {
		return errors.New("it is being deleted")
	}
	rec := &poolRecord{NodePool: p, Sizes: sizesOf(p, before)}
	if err := save(r.folder.pool(p.Name), rec); err != nil {
		return err
	}
	r.pools[p.Name] = rec
	delete(r.troubles, p.Name)
	r.wake()
	return nil
}

// awaitPool waits until the pool is what is wanted: every node made as the pool says, Ready, and none too many.
func (r *run) awaitPool(ctx context.Context, name string) error {
	last, progress := "", time.Now()
	for {
		state, settled := r.poolState(name)
		if settled {
			r.trouble(name, nil)
			return nil
		}
		// What is in the way may be told in other words each time; that is no progress.
		if counts, _, _ := strings.Cut(state, ":"); counts != last {
			last, progress = counts, time.Now()
		}
		limit := poolTimeout
		if r.inTrouble(name) {
			limit = troubleTimeout
		}
		if time.Since(progress) > limit {
			return fmt.Errorf("no progress for %s: %s", limit, state)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%s)", ctx.Err(), state)
		case <-r.life.Done():
			return errors.New("the cluster was stopped or deleted meanwhile")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// poolState says in words how far a pool is.
func (r *run) poolState(name string) (state string, settled bool) {
	ready := r.readyNodes()
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.pools[name]
	if !ok {
		return "it was deleted", false
	}
	want, have, readies, going := 0, 0, 0, 0
	for _, n := range p.Sizes {
		want += n
	}
	template := templateOf(p.NodePool)
	for nodeName, n := range r.nodes {
		rec := n.record()
		switch {
		case rec.Pool != name:
		case rec.Removing:
			going++
		case rec.Template != template:
			going++
		default:
			have++
			if ready[nodeName] {
				readies++
			}
		}
	}
	state = fmt.Sprintf("%d of %d nodes are Ready, %d more are going", readies, want, going)
	if t := r.troubles[name]; t != nil {
		state += ": " + t.Error()
	}
	return state, have == want && readies == want && going == 0
}

// awaitNodes waits for all pools.
func (r *run) awaitNodes(ctx context.Context) error {
	r.mu.Lock()
	var names []string
	for name, p := range r.pools {
		if !p.Deleting {
			names = append(names, name)
		}
	}
	r.mu.Unlock()
	for _, name := range names {
		if err := r.awaitPool(ctx, name); err != nil {
			return fmt.Errorf("wait for node pool %q: %w", name, err)
		}
	}
	return nil
}

func (r *run) deletePool(ctx context.Context, name string) error {
	r.mu.Lock()
	p, ok := r.pools[name]
	if ok && !p.Deleting {
		rec := *p
		rec.Deleting = true
		if err := save(r.folder.pool(name), &rec); err != nil {
			r.mu.Unlock()
			return err
		}
		r.pools[name] = &rec
	}
	r.mu.Unlock()
	r.wake()
	for {
		r.mu.Lock()
		_, ok := r.pools[name]
		r.mu.Unlock()
		if !ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.life.Done():
			return errors.New("the cluster was stopped or deleted meanwhile")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// trouble notes why a pool is not yet what is wanted; nil is that it is.
func (r *run) trouble(pool string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		delete(r.troubles, pool)
		return
	}
	r.troubles[pool] = err
}

func (r *run) inTrouble(pool string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.troubles[pool] != nil
}

// dropPool forgets a deleted pool without nodes. r.mu is held.
func (r *run) dropPool(name string) {
	if err := os.Remove(r.folder.pool(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.troubles[name] = err
		return
	}
	delete(r.pools, name)
	delete(r.troubles, name)
	r.logger.Info("node pool deleted", "pool", name)
}
