package loadbalancer

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// repeat is how long an event is not told again.
const repeat = 2 * time.Minute

// warn tells the Ingress's owner, once in a while, and the log.
func (r *run) warn(ing *networkingv1.Ingress, reason, text string) {
	key := string(ing.UID) + reason + text
	if t, ok := r.told[key]; ok && time.Since(t) < repeat {
		return
	}
	if len(r.told) > 1000 {
		clear(r.told)
	}
	r.told[key] = time.Now()
	r.logger.Warn("ingress", "ingress", ing.Namespace+"/"+ing.Name, "reason", reason, "message", text)
	r.events.Event(ing, corev1.EventTypeWarning, reason, text)
}

func (r *run) addFinalizer(ctx context.Context, ing *networkingv1.Ingress) error {
	if slices.Contains(ing.Finalizers, finalizer) {
		return nil
	}
	return r.setFinalizers(ctx, ing, append(slices.Clone(ing.Finalizers), finalizer))
}

func (r *run) removeFinalizer(ctx context.Context, ing *networkingv1.Ingress) error {
	rest := slices.DeleteFunc(slices.Clone(ing.Finalizers), func(f string) bool { return f == finalizer })
	err := r.setFinalizers(ctx, ing, rest)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (r *run) setFinalizers(ctx context.Context, ing *networkingv1.Ingress, finalizers []string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": finalizers, "resourceVersion": ing.ResourceVersion}})
	if err != nil {
		return err
	}
	_, err = r.view.client.NetworkingV1().Ingresses(ing.Namespace).Patch(ctx, ing.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("set the finalizers of ingress %s/%s: %w", ing.Namespace, ing.Name, err)
	}
	return nil
}

// writeBack writes the address into the Ingress's status, and into annotations what GKE's controller writes there.
func (r *run) writeBack(ctx context.Context, e *entry, services map[string]*service) error {
	ing := e.ing
	wanted := []networkingv1.IngressLoadBalancerIngress{{IP: e.address}}
	if len(ing.Status.LoadBalancer.Ingress) != 1 || ing.Status.LoadBalancer.Ingress[0].IP != e.address {
		patch, err := json.Marshal(map[string]any{"status": map[string]any{"loadBalancer": map[string]any{"ingress": wanted}}})
		if err != nil {
			return err
		}
		_, err = r.view.client.NetworkingV1().Ingresses(ing.Namespace).Patch(ctx, ing.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
		if err != nil {
			return fmt.Errorf("write its status: %w", err)
		}
		r.events.Event(ing, corev1.EventTypeNormal, "IPChanged", "IP is now "+e.address)
	}
	n := r.view.names
	name := func(on bool, part string) any {
		if !on {
			return nil
		}
		return n.frontend(part, ing.Namespace, ing.Name)
	}
	annotations := map[string]any{
		"ingress.kubernetes.io/backends":              r.healthOf(e.want, services),
		"ingress.kubernetes.io/forwarding-rule":       name(e.want.http, "fr"),
		"ingress.kubernetes.io/target-proxy":          name(e.want.http, "tp"),
		"ingress.kubernetes.io/https-forwarding-rule": name(e.want.https, "fs"),
		"ingress.kubernetes.io/https-target-proxy":    name(e.want.https, "ts"),
		"ingress.kubernetes.io/url-map":               name(true, "um"),
		"ingress.kubernetes.io/redirect-url-map":      name(e.want.redirect != 0, "rm"),
	}
	changed := false
	for k, v := range annotations {
		have, ok := ing.Annotations[k]
		if v == nil && ok || v != nil && have != v {
			changed = true
		}
	}
	if !changed {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err != nil {
		return err
	}
	_, err = r.view.client.NetworkingV1().Ingresses(ing.Namespace).Patch(ctx, ing.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("write its annotations: %w", err)
	}
	return nil
}

// healthOf is the annotation from which people read whether their backends are up.
func (r *run) healthOf(d *desired, services map[string]*service) string {
	keys := map[string]bool{}
	if d.fallback != "" {
		keys[d.fallback] = true
	}
	for _, h := range d.hosts {
		for _, p := range h.paths {
			keys[p.backend] = true
		}
	}
	out := map[string]string{}
	for key := range maps.Keys(keys) {
		state := "Unknown"
		for _, healthy := range r.backends[key].Health() {
			if healthy {
				state = "HEALTHY"
				break
			}
			state = "UNHEALTHY"
		}
		out[services[key].spec.Name] = state
	}
	raw, err := json.Marshal(out) // sorted by key
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// managedStatus tells in a ManagedCertificate that it is served.
func (r *run) managedStatus(ctx context.Context, object *unstructured.Unstructured, domains []string, certificate string) error {
	if state, _, _ := unstructured.NestedString(object.Object, "status", "certificateStatus"); state == "Active" {
		if have, _, _ := unstructured.NestedString(object.Object, "status", "certificateName"); have == certificate {
			return nil
		}
	}
	var list []any
	for _, d := range domains {
		list = append(list, map[string]any{"domain": d, "status": "Active"})
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"certificateName": certificate, "certificateStatus": "Active", "domainStatus": list}})
	if err != nil {
		return err
	}
	client := r.view.dynamic.Resource(managedCerts).Namespace(object.GetNamespace())
	_, err = client.Patch(ctx, object.GetName(), types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) { // the definition has no status subresource
		_, err = client.Patch(ctx, object.GetName(), types.MergePatchType, patch, metav1.PatchOptions{})
	}
	if err != nil {
		return fmt.Errorf("write the status of ManagedCertificate %s/%s: %w", object.GetNamespace(), object.GetName(), err)
	}
	return nil
}
