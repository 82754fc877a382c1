package gke

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"patag/infra/sandbox/cluster"
)

// Compute Engine gives a preempted machine 30 s; GKE's kubelets leave pods up to 25 s of them.
const (
	preemptionNotice = 30 * time.Second
	preemptionGrace  = 25 * time.Second
)

// Preempt is described in package cluster. Once the notice is given the machine goes, also when ctx ends, as Compute
// Engine takes nothing back.
func (e *Engine) Preempt(ctx context.Context, node string) error {
	e.mu.Lock()
	var r *run
	var n *nodeRun
	for _, c := range e.clusters {
		c.mu.Lock()
		if found := c.nodes[node]; found != nil {
			r, n = c, found
		}
		c.mu.Unlock()
	}
	e.mu.Unlock()
	if n == nil {
		return fmt.Errorf("preempt node %q: %w", node, cluster.ErrNoNode)
	}
	rec := n.record()
	if !rec.Spot && !rec.Preemptible {
		return fmt.Errorf("preempt node %q: it is neither a spot nor a preemptible node, which Compute Engine does not take away", node)
	}
	if err := r.awaitStarted(ctx); err != nil {
		return fmt.Errorf("preempt node %q: %w", node, err)
	}
	gone := time.Now().Add(preemptionNotice)
	done := make(chan error, 1)
	go func() { done <- n.preempt(gone) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("preempt node %q: the notice is given and it goes in %s: %w", node, time.Until(gone).Round(time.Second), ctx.Err())
	}
}

// preempt gives notice, takes the node away, and returns when it is gone.
func (n *nodeRun) preempt(gone time.Time) error {
	r, node, ctx := n.r, n.rec.Name, n.r.life
	if tell := r.e.o.OnPreempt; tell != nil {
		tell(node)
	}
	if err := r.announce(ctx, node); err != nil {
		// As with Compute Engine, the machine goes whether the notice is heard or not.
		r.logger.Warn("not all pods were told of the preemption", "node", node, "error", err)
	}
	stopped := fmt.Errorf("preempt node %q: the cluster was stopped meanwhile", node)
	select {
	case <-ctx.Done():
		return stopped
	case <-n.gone: // removed for another reason
		return nil
	case <-time.After(time.Until(gone)):
	}
	if err := n.dismiss(false); err != nil {
		return fmt.Errorf("preempt node %q: %w", node, err)
	}
	select {
	case <-ctx.Done():
		return stopped
	case <-n.gone:
		return nil
	}
}

// announce does what GKE's node does on notice: no new pods, and the end for those that are there, within the grace.
func (r *run) announce(ctx context.Context, node string) error {
	if err := r.cordon(ctx, node); err != nil {
		return err
	}
	o, err := r.client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	taints := append(o.Spec.Taints, corev1.Taint{Key: "cloud.google.com/impending-node-termination", Effect: corev1.TaintEffectNoSchedule})
	if err := r.patchNode(ctx, node, map[string]any{"spec": map[string]any{"taints": taints}}); err != nil {
		return err
	}
	pods, err := r.podsOn(ctx, node)
	if err != nil {
		return err
	}
	for i := range pods {
		p := &pods[i]
		if !movable(p) {
			continue
		}
		grace := int64(preemptionGrace.Seconds())
		if own := p.Spec.TerminationGracePeriodSeconds; own != nil {
			grace = min(grace, *own)
		}
		err := r.client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &grace})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}
