package loadbalancer

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"

	"patag/infra/sandbox/loadbalancer/proxy"
)

// entry is one Ingress in a round.
type entry struct {
	key string
	ing *networkingv1.Ingress
	// want is nil if the Ingress could not be translated.
	want *desired
	// address is where it is served, "" if nowhere.
	address string
	err     error
}

// sync makes everything as the Ingresses say. Rounds are whole: what they work out is small, and nothing can be
// forgotten.
func (r *run) sync(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	all, err := r.view.ingresses.List(labels.Everything())
	if err != nil {
		r.logger.Error("list ingresses", "err", err)
		return
	}
	slices.SortFunc(all, func(a, b *networkingv1.Ingress) int {
		// The older Ingress has the better right to an address that two ask for.
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name))
	})
	r.seen = map[string]uint64{}
	services := map[string]*service{}
	var entries []*entry
	var leaving []*networkingv1.Ingress
	for _, ing := range all {
		if !ours(ing) || ing.DeletionTimestamp != nil {
			if slices.Contains(ing.Finalizers, finalizer) {
				leaving = append(leaving, ing)
			}
			continue
		}
		e := &entry{key: ing.Namespace + "/" + ing.Name, ing: ing}
		if err := r.addFinalizer(ctx, ing); err != nil {
			e.err = err
		} else if e.want, e.err = r.translate(ctx, ing, services); e.err != nil {
			r.warn(ing, "Translate", "Translation failed: "+e.err.Error())
		}
		entries = append(entries, e)
	}
	if err := r.recordAll(entries, services); err != nil {
		r.logger.Error("record the load balancers in Compute Engine", "err", err)
		r.failed = true
		return
	}
	r.applyBackends(services, entries)
	r.applyFrontends(ctx, entries)
	r.failed = false
	for _, e := range entries {
		if e.err != nil {
			r.failed = true
			if e.want != nil {
				r.warn(e.ing, "Sync", "Error syncing to GCP: "+e.err.Error())
			}
			continue
		}
		for _, note := range e.want.notes {
			r.warn(e.ing, "NotSimulated", note)
		}
		if err := r.writeBack(ctx, e, services); err != nil && ctx.Err() == nil {
			r.logger.Warn("write the state of an ingress", "ingress", e.key, "err", err)
			r.failed = true
		}
	}
	for _, ing := range leaving {
		if err := r.removeFinalizer(ctx, ing); err != nil && ctx.Err() == nil {
			r.logger.Warn("let go of an ingress", "ingress", ing.Namespace+"/"+ing.Name, "err", err)
			r.failed = true
		}
	}
}

// applyBackends hands the configuration to the data path. A backend that no Ingress names any more is closed after
// the frontends have let go of it.
func (r *run) applyBackends(services map[string]*service, entries []*entry) {
	for key, s := range services {
		b := r.backends[key]
		if b == nil {
			b = proxy.NewBackend(r.dial, r.logger, r.poke)
			r.backends[key] = b
		}
		b.Update(s.spec)
	}
	if slices.ContainsFunc(entries, func(e *entry) bool { return e.want == nil }) {
		return // an Ingress that cannot be translated goes on as it was, and so do its backends
	}
	for key := range maps.Keys(r.backends) {
		if services[key] != nil {
			continue
		}
		b := r.backends[key]
		delete(r.backends, key)
		delete(r.inferred, key)
		time.AfterFunc(farewell, b.Close)
	}
}

func (r *run) applyFrontends(ctx context.Context, entries []*entry) {
	live := map[string]bool{}
	for _, e := range entries {
		live[e.key] = true
		switch {
		case e.want == nil: // goes on as it was
		case e.err != nil:
			r.closeBalancers(ctx, func(key string) bool { return key == e.key })
		default:
			b := r.balancers[e.key]
			if b == nil {
				b = &balancer{}
				r.balancers[e.key] = b
			}
			if err := r.serve(ctx, b, e); err != nil {
				e.err = errors.Join(e.err, err)
			}
		}
	}
	r.closeBalancers(ctx, func(key string) bool { return !live[key] })
}
