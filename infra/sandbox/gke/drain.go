package gke

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
)

// podsOn lists the pods of a node.
func (r *run) podsOn(ctx context.Context, node string) ([]corev1.Pod, error) {
	list, err := r.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String()})
	if err != nil {
		return nil, fmt.Errorf("list the pods of node %s: %w", node, err)
	}
	return list.Items, nil
}

// movable tells whether a pod is to leave its node before it goes: not one of a DaemonSet, which would come back.
func movable(p *corev1.Pod) bool {
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return false
	}
	owner := metav1.GetControllerOf(p)
	return owner == nil || owner.Kind != "DaemonSet"
}

// cordon keeps new pods off a node.
func (r *run) cordon(ctx context.Context, node string) error {
	_, err := r.client.CoreV1().Nodes().Patch(ctx, node, types.StrategicMergePatchType, []byte(`{"spec":{"unschedulable":true}}`), metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// drain moves pods off a node, one disruption budget after the other, until there are none or ctx ends.
func (r *run) drain(ctx context.Context, node string) error {
	if err := r.cordon(ctx, node); err != nil {
		return fmt.Errorf("cordon node %s: %w", node, err)
	}
	for {
		pods, err := r.podsOn(ctx, node)
		if err != nil {
			return err
		}
		left := 0
		for i := range pods {
			p := &pods[i]
			if !movable(p) {
				continue
			}
			left++
			if p.DeletionTimestamp != nil {
				continue
			}
			err := r.client.PolicyV1().Evictions(p.Namespace).Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace}})
			// Too many requests is a disruption budget's answer: later, perhaps.
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsTooManyRequests(err) {
				return fmt.Errorf("evict pod %s/%s: %w", p.Namespace, p.Name, err)
			}
		}
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d pods are left on node %s: %w", left, node, ctx.Err())
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// forgetNode removes a dead node from the API. Its pods are removed by force first: they have ended with it, and a
// StatefulSet makes no new one while the old one may still run.
func (r *run) forgetNode(ctx context.Context, node string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := r.cordon(ctx, node); err != nil {
		return fmt.Errorf("cordon node %s: %w", node, err)
	}
	pods, err := r.podsOn(ctx, node)
	if err != nil {
		return err
	}
	now := int64(0)
	for i := range pods {
		p := &pods[i]
		err := r.client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(p.UID))})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("remove pod %s/%s of node %s: %w", p.Namespace, p.Name, node, err)
		}
	}
	err = r.client.CoreV1().Nodes().Delete(ctx, node, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove node %s: %w", node, err)
	}
	return nil
}

// patchNode changes fields of a Node object; null removes one.
func (r *run) patchNode(ctx context.Context, node string, patch any) error {
	raw, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	_, err = r.client.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, raw, metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("change node %s: %w", node, err)
	}
	return nil
}
