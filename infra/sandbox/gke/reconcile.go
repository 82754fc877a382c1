package gke

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sort"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/machine"
)

// repairAfter is how long a node may be not Ready, though its program runs, before auto-repair replaces it.
const repairAfter = 3 * time.Minute

// loop brings nodes to what is wanted, whenever something changes and every few seconds.
func (r *run) loop() {
	tick := time.NewTicker(3 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-r.life.Done():
			return
		case <-r.kick:
		case <-tick.C:
		}
		r.reconcile()
	}
}

func (r *run) reconcile() {
	objects, err := r.nodeObjects.List(labels.Everything())
	if err != nil {
		r.logger.Warn("the nodes were not listed", "error", err)
		return
	}
	ready := map[string]bool{}
	for _, o := range objects {
		ready[o.Name] = isReady(o)
	}
	r.mu.Lock()
	for _, name := range slices.Sorted(maps.Keys(r.pools)) {
		r.reconcilePool(r.pools[name], ready)
	}
	r.mu.Unlock()
	r.updateRoutes(ready)
	for _, o := range objects {
		r.reconcileObject(o)
	}
	r.repair(objects)
}

func (r *run) readyNodes() map[string]bool {
	ready := map[string]bool{}
	objects, err := r.nodeObjects.List(labels.Everything())
	if err != nil {
		return ready
	}
	for _, o := range objects {
		ready[o.Name] = isReady(o)
	}
	return ready
}

// reconcilePool makes and dismisses nodes of one pool. r.mu is held.
func (r *run) reconcilePool(p *poolRecord, ready map[string]bool) {
	template := templateOf(p.NodePool)
	all, zones := 0, map[string][]*nodeRun{}
	stale := []*nodeRun{}
	fresh, freshReady := 0, 0
	for name, n := range r.nodes {
		rec := n.record()
		if rec.Pool != p.Name {
			continue
		}
		all++
		if rec.Removing {
			continue
		}
		if p.Deleting || !slices.Contains(p.Zones, rec.Zone) {
			r.dismiss(n)
			continue
		}
		zones[rec.Zone] = append(zones[rec.Zone], n)
		if rec.Template != template {
			stale = append(stale, n)
			continue
		}
		fresh++
		if ready[name] {
			freshReady++
		}
	}
	if p.Deleting {
		if all == 0 {
			r.dropPool(p.Name)
		}
		return
	}
	for _, zone := range p.Zones {
		for range p.Sizes[zone] - len(zones[zone]) {
			if err := r.addNode(p, zone); err != nil {
				r.troubles[p.Name] = err
				r.logger.Error("a node was not made", "pool", p.Name, "error", err)
				return
			}
		}
		r.shrink(zones[zone], len(zones[zone])-p.Sizes[zone], template, ready)
	}
	r.replaceStale(p, stale, fresh, freshReady, zones)
}

// shrink dismisses nodes of a zone that are too many: stale ones first, then those that are not Ready, then the newest.
func (r *run) shrink(nodes []*nodeRun, by int, template string, ready map[string]bool) {
	if by <= 0 {
		return
	}
	rank := func(n *nodeRun) (int, int64) {
		rec := n.record()
		switch {
		case rec.Template != template:
			return 0, -rec.Created
		case !ready[rec.Name]:
			return 1, -rec.Created
		}
		return 2, -rec.Created
	}
	sort.Slice(nodes, func(i, j int) bool {
		a, x := rank(nodes[i])
		b, y := rank(nodes[j])
		return a < b || a == b && x < y
	})
	for _, n := range nodes[:by] {
		r.dismiss(n)
	}
}

// replaceStale makes nodes anew, one by one: a new one comes first (one more than the pool's size, as GKE's surge
// upgrade), and once all new ones are Ready an old one goes (shrink sees that the zone has one too many).
func (r *run) replaceStale(p *poolRecord, stale []*nodeRun, fresh, freshReady int, zones map[string][]*nodeRun) {
	if len(stale) == 0 || freshReady < fresh {
		return
	}
	for _, n := range stale {
		rec := n.record()
		if len(zones[rec.Zone]) > p.Sizes[rec.Zone] {
			return // the next round removes it
		}
	}
	if err := r.addNode(p, stale[0].record().Zone); err != nil {
		r.troubles[p.Name] = err
	}
}

func (r *run) dismiss(n *nodeRun) {
	if err := n.dismiss(true); err != nil {
		r.logger.Error("a node could not be dismissed", "node", n.rec.Name, "error", err)
	}
}

// addNode records a new node and starts its life. r.mu is held.
func (r *run) addNode(p *poolRecord, zone string) error {
	t, err := machine.Lookup(p.MachineType)
	if err != nil {
		return err
	}
	taken := make([]nodeRecord, 0, len(r.nodes))
	for _, n := range r.nodes {
		taken = append(taken, n.record())
	}
	address, pods, err := allocate(r.spec, taken)
	if err != nil {
		return err
	}
	name := nodeName(r.spec, p.Name, zone)
	for r.nodes[name] != nil {
		name = nodeName(r.spec, p.Name, zone)
	}
	n := newNodeRun(r, nodeRecord{})
	rec := nodeRecord{
		Name: name, Pool: p.Name, Zone: zone, MachineType: p.MachineType, DiskGB: p.DiskGB,
		Template: templateOf(p.NodePool), Spot: p.Spot, Preemptible: p.Preemptible,
		Address: address, PodCIDR: pods,
		Labels: nodeLabels(r.spec, p.NodePool, zone, t), Taints: p.Taints, Created: time.Now().UnixNano(),
	}
	if err := save(r.folder.record(name), rec); err != nil {
		return fmt.Errorf("record node %s: %w", name, err)
	}
	n.rec = rec
	r.nodes[name] = n
	r.logger.Info("making a node", "node", name, "pool", p.Name, "machineType", p.MachineType, "zone", zone)
	r.tasks.Go(n.run)
	return nil
}

// reconcileObject gives a Node object what the cloud gives it: the pool's labels and taints, and the range of its pods.
func (r *run) reconcileObject(o *corev1.Node) {
	r.mu.Lock()
	n := r.nodes[o.Name]
	var p *poolRecord
	if n != nil {
		p = r.pools[n.record().Pool]
	}
	r.mu.Unlock()
	if n == nil || p == nil || n.record().Removing {
		return
	}
	rec := n.record()
	t, err := machine.Lookup(rec.MachineType)
	if err != nil {
		return
	}
	wantLabels, wantTaints := nodeLabels(r.spec, p.NodePool, rec.Zone, t), p.Taints
	if !maps.Equal(rec.Labels, wantLabels) || !slices.Equal(rec.Taints, wantTaints) {
		old := rec
		if err := n.change(func(rec *nodeRecord) { rec.Labels, rec.Taints = wantLabels, wantTaints }); err != nil {
			r.logger.Error("new labels of a node were not noted", "node", o.Name, "error", err)
			return
		}
		n.tellInventory(true)
		r.patchObject(o, objectPatch(o, old.Labels, wantLabels, old.Taints, wantTaints, rec.PodCIDR.String()))
		return
	}
	r.patchObject(o, objectPatch(o, nil, wantLabels, nil, wantTaints, rec.PodCIDR.String()))
}

func (r *run) patchObject(o *corev1.Node, patch map[string]any) {
	if len(patch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(r.life, 10*time.Second)
	defer cancel()
	if err := r.patchNode(ctx, o.Name, patch); err != nil && r.life.Err() == nil {
		r.logger.Warn("a node's labels were not set; it is tried again", "node", o.Name, "error", err)
	}
}

// objectPatch is the merge patch that brings a Node object to the wanted labels, taints and pod range, removing those
// of the old labels and taints that are not wanted; empty if there is nothing to do. Others' labels and taints stay.
func objectPatch(o *corev1.Node, oldLabels, labels map[string]string, oldTaints, taints []cluster.Taint, podCIDR string) map[string]any {
	patch := map[string]any{}
	changed := map[string]any{}
	for k, v := range labels {
		if have, ok := o.Labels[k]; !ok || have != v {
			changed[k] = v
		}
	}
	for k := range oldLabels {
		if _, wanted := labels[k]; !wanted {
			changed[k] = nil
		}
	}
	if len(changed) > 0 {
		patch["metadata"] = map[string]any{"labels": changed}
	}
	spec := map[string]any{}
	if o.Spec.PodCIDR == "" {
		spec["podCIDR"], spec["podCIDRs"] = podCIDR, []string{podCIDR}
	}
	merged := []corev1.Taint{}
	for _, t := range o.Spec.Taints {
		ours := cluster.Taint{Key: t.Key, Value: t.Value, Effect: string(t.Effect)}
		sameKey := func(w cluster.Taint) bool { return w.Key == ours.Key && w.Effect == ours.Effect }
		if !slices.Contains(oldTaints, ours) && !slices.ContainsFunc(taints, sameKey) {
			merged = append(merged, t)
		}
	}
	for _, t := range taints {
		merged = append(merged, corev1.Taint{Key: t.Key, Value: t.Value, Effect: corev1.TaintEffect(t.Effect)})
	}
	if !sameTaints(o.Spec.Taints, merged) {
		spec["taints"] = merged
		// Taints come and go by others' hands too: not over a newer version of the object.
		meta, _ := patch["metadata"].(map[string]any)
		if meta == nil {
			meta = map[string]any{}
			patch["metadata"] = meta
		}
		meta["resourceVersion"] = o.ResourceVersion
	}
	if len(spec) > 0 {
		patch["spec"] = spec
	}
	return patch
}

func sameTaints(a, b []corev1.Taint) bool {
	key := func(ts []corev1.Taint) map[string]string {
		m := map[string]string{}
		for _, t := range ts {
			m[t.Key+"/"+string(t.Effect)] = t.Value
		}
		return m
	}
	return len(a) == len(b) && reflect.DeepEqual(key(a), key(b))
}

// repair replaces, one at a time, a node whose program runs but which has not been Ready for long.
func (r *run) repair(objects []*corev1.Node) {
	for _, o := range objects {
		if isReady(o) {
			continue
		}
		r.mu.Lock()
		n := r.nodes[o.Name]
		var p *poolRecord
		if n != nil {
			p = r.pools[n.record().Pool]
		}
		r.mu.Unlock()
		if n == nil || p == nil || !p.AutoRepair || n.record().Removing {
			continue
		}
		since := time.Unix(0, n.up.Load())
		for _, c := range o.Status.Conditions {
			if c.Type == corev1.NodeReady && c.LastTransitionTime.After(since) {
				since = c.LastTransitionTime.Time
			}
		}
		if n.up.Load() == 0 || time.Since(since) < repairAfter {
			continue
		}
		r.logger.Warn("a node is not Ready for long and is replaced", "node", o.Name, "since", since)
		if err := n.dismiss(false); err != nil {
			r.logger.Error("a node could not be dismissed", "node", o.Name, "error", err)
		}
		return
	}
}
