package kube

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"
)

// Workload is a Deployment or StatefulSet, and how far it is.
type Workload struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Ready     int    `json:"ready"`
	Want      int    `json:"want"`
	// Whole is true when all pods are ready and of the newest revision.
	Whole bool `json:"whole"`
	// Why says what is missing, by pod where it is one; "" when Whole.
	Why string `json:"why,omitempty"`
	// Hopeless is true for what does not pass by itself: an image that cannot be pulled, a program that ends again and again.
	Hopeless bool `json:"hopeless,omitempty"`
	// Unawaited is true where the program says that nobody is to wait for it: a canary, a tag server without a catalogue.
	Unawaited bool `json:"unawaited,omitempty"`
}

// String is "StatefulSet patag/redis".
func (w Workload) String() string { return w.Kind + " " + w.Namespace + "/" + w.Name }

// workload is what the API server says of either kind.
type workload struct {
	Metadata struct {
		Name, Namespace string
		Generation      int
		Annotations     map[string]string
	}
	Spec struct {
		Replicas       *int
		Selector       struct{ MatchLabels map[string]string }
		UpdateStrategy struct {
			Type          string
			RollingUpdate struct{ Partition int }
		}
	}
	Status struct {
		ObservedGeneration                                            int
		Replicas, ReadyReplicas, UpdatedReplicas, UnavailableReplicas int
		CurrentRevision, UpdateRevision                               string
		Conditions                                                    []struct{ Type, Status, Reason, Message string }
	}
}

// Workloads lists the Deployments and StatefulSets of a namespace by name. Those that are not whole say why.
func (c *Cluster) Workloads(ctx context.Context, namespace string) ([]Workload, error) {
	var all []Workload
	for _, kind := range []string{"Deployment", "StatefulSet"} {
		var list struct{ Items []workload }
		plural := strings.ToLower(kind) + "s"
		if err := c.do(ctx, http.MethodGet, "/apis/apps/v1/namespaces/"+namespace+"/"+plural, nil, &list); err != nil {
			return nil, fmt.Errorf("list %s in %s: %w", plural, namespace, err)
		}
		for _, item := range list.Items {
			w := item.state(kind)
			if !w.Whole {
				if err := c.explain(ctx, item, &w); err != nil {
					return nil, err
				}
			}
			all = append(all, w)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all, nil
}

// state is what `kubectl rollout status` would say. The provider's own wait takes the counts of an object whose change the controller
// has not seen yet for those after it, and ends before a StatefulSet has begun to roll.
func (item workload) state(kind string) Workload {
	want, st := 1, item.Status
	if item.Spec.Replicas != nil {
		want = *item.Spec.Replicas
	}
	w := Workload{Kind: kind, Namespace: item.Metadata.Namespace, Name: item.Metadata.Name, Want: want, Ready: st.ReadyReplicas,
		Unawaited: item.Metadata.Annotations["pulumi.com/skipAwait"] == "true"}
	fresh := want // how many pods must be of the newest revision
	if kind == "StatefulSet" {
		fresh -= item.Spec.UpdateStrategy.RollingUpdate.Partition
		if item.Spec.UpdateStrategy.Type == "OnDelete" || st.CurrentRevision == st.UpdateRevision {
			fresh = 0 // updatedReplicas counts nothing when there is nothing to update
		}
	}
	switch {
	case st.ObservedGeneration < item.Metadata.Generation:
		w.Why = "Kubernetes has not looked at its last change yet"
	case st.UpdatedReplicas < fresh:
		w.Why = fmt.Sprintf("%d of %d pods are of the newest revision", st.UpdatedReplicas, fresh)
	case st.Replicas > want:
		w.Why = fmt.Sprintf("%d pods of an older revision are still there", st.Replicas-want)
	case st.ReadyReplicas < want || kind == "Deployment" && st.UnavailableReplicas > 0:
		w.Why = fmt.Sprintf("%d of %d pods are ready", st.ReadyReplicas, want)
	default:
		w.Whole = true
	}
	return w
}

// explain adds the pods in trouble, else what Kubernetes says of the workload itself, such as a quota that no pod gets past.
func (c *Cluster) explain(ctx context.Context, item workload, w *Workload) error {
	var labels []string
	for k, v := range item.Spec.Selector.MatchLabels {
		labels = append(labels, k+"="+v)
	}
	slices.Sort(labels)
	pods, err := c.Pods(ctx, w.Namespace, strings.Join(labels, ","))
	if err != nil {
		return err
	}
	var troubles []string
	for _, p := range pods {
		if !p.Ready && !p.Leaving && p.Trouble != "" {
			troubles = append(troubles, p.Name+": "+p.Trouble)
			w.Hopeless = w.Hopeless || p.Hopeless
		}
	}
	if len(troubles) == 0 {
		for _, cond := range item.Status.Conditions {
			if cond.Type == "ReplicaFailure" && cond.Status == "True" {
				troubles = append(troubles, cond.Message)
			}
		}
	}
	if len(troubles) == 0 && len(pods) < w.Want {
		warning, err := c.warning(ctx, *w)
		if err != nil {
			return err
		}
		if warning != "" {
			troubles = append(troubles, warning)
		}
	}
	if len(troubles) > 0 {
		w.Why += "; " + strings.Join(troubles, "; ")
	}
	return nil
}

// warning is the last one among the events of a workload.
func (c *Cluster) warning(ctx context.Context, w Workload) (string, error) {
	var list struct {
		Items []struct{ Message, LastTimestamp string }
	}
	query := url.Values{"fieldSelector": {"type=Warning,involvedObject.kind=" + w.Kind + ",involvedObject.name=" + w.Name}}
	if err := c.do(ctx, http.MethodGet, "/api/v1/namespaces/"+w.Namespace+"/events?"+query.Encode(), nil, &list); err != nil {
		return "", fmt.Errorf("list the events of %s: %w", w, err)
	}
	last, at := "", ""
	for _, e := range list.Items {
		if e.LastTimestamp >= at {
			last, at = e.Message, e.LastTimestamp
		}
	}
	return last, nil
}
