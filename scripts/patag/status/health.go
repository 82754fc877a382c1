package status

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"patag/scripts/patag/app"
	"patag/scripts/patag/engine"
	"patag/scripts/patag/google"
	"patag/scripts/patag/kube"
)

// Types of what is compared.
const (
	poolType        = "gcp:container/nodePool:NodePool"
	deploymentType  = "kubernetes:apps/v1:Deployment"
	statefulSetType = "kubernetes:apps/v1:StatefulSet"
	addressType     = "gcp:compute/globalAddress:GlobalAddress"
)

// look compares what the stack's state says with what is there. What cannot be read is a problem too.
func look(ctx context.Context, s *app.Session, sum engine.Summary, st *Status) {
	asleep, _ := sum.Outputs["asleep"].(bool)
	name, _ := sum.Outputs["clusterName"].(string)
	clusters := sum.IDs[app.ClusterType]
	if name == "" && len(clusters) == 0 {
		addresses(ctx, s, sum, st)
		return
	}
	api, err := google.New(ctx, s.Cloud)
	if err != nil {
		st.problem("%v", err)
		return
	}
	for _, path := range clusters {
		cl, err := api.Cluster(ctx, path)
		switch {
		case google.NotFound(err):
			st.problem("cluster %s is gone; `patag rebuild %s` makes a new one", last(path), s.Stack)
			continue
		case err != nil:
			st.problem("cluster %s: %v", last(path), err)
			continue
		case cl.Status != "RUNNING":
			st.problem("cluster %s is %s", cl.Name, cl.Status)
		}
		for _, pool := range sum.IDs[poolType] {
			if !slices.ContainsFunc(cl.NodePools, func(p struct{ Name string }) bool { return p.Name == last(pool) }) {
				st.problem("node pool %s is gone; `patag up %s --refresh` makes it anew", last(pool), s.Stack)
			}
		}
	}
	if len(st.Problems) == 0 || name != "" {
		within(ctx, s, sum, st, asleep)
	}
	if !asleep {
		way(ctx, s, api, sum, st)
	}
}

// within looks at what runs in the cluster.
func within(ctx context.Context, s *app.Session, sum engine.Summary, st *Status, asleep bool) {
	c, path, err := s.Cluster(ctx, sum.Outputs)
	if errors.Is(err, kube.ErrNoCluster) || google.NotFound(err) {
		return // told already, or not up yet
	}
	if err != nil {
		st.problem("%v", err)
		return
	}
	st.Kubeconfig = path
	k, err := c.Summary(ctx)
	if err != nil {
		st.problem("the cluster does not answer: %v", err)
		return
	}
	st.Cluster = &k
	namespace, _ := sum.Outputs["namespace"].(string)
	if namespace == "" || asleep {
		return
	}
	ready := map[string]int{}
	for _, n := range k.Nodes {
		if n.Ready {
			ready[n.Pool]++
		} else {
			st.problem("node %s is not ready", n.Name)
		}
	}
	for _, pool := range sum.IDs[poolType] {
		if ready[last(pool)] == 0 {
			st.problem("node pool %s has no node that is ready", last(pool))
		}
	}
	if st.Workloads, err = c.Workloads(ctx, namespace); err != nil {
		st.problem("%v", err)
		return
	}
	st.compare(sum, s.Stack)
}

// compare tells which workloads of the state are missing and which are not whole.
func (st *Status) compare(sum engine.Summary, stack string) {
	there := map[string]bool{}
	for _, w := range st.Workloads {
		there[w.Kind+" "+w.Namespace+"/"+w.Name] = true
		if !w.Whole && !w.Unawaited {
			st.problem("%s: %s", w, w.Why)
		}
	}
	for kind, ids := range map[string][]string{"Deployment": sum.IDs[deploymentType], "StatefulSet": sum.IDs[statefulSetType]} {
		for _, id := range ids {
			if !there[kind+" "+id] {
				st.problem("%s %s is gone; `patag up %s --refresh` makes it anew", kind, id, stack)
			}
		}
	}
}

// way looks from outside: whether the address leads anywhere, and to an ad.
func way(ctx context.Context, s *app.Session, api *google.Client, sum engine.Summary, st *Status) {
	if address, _ := sum.Outputs["address"].(string); address != "" {
		rules, err := api.List(ctx, "global/forwardingRules")
		if err != nil {
			st.problem("list the forwarding rules: %v", err)
		} else if !slices.ContainsFunc(rules, func(r map[string]any) bool { return r["IPAddress"] == address }) {
			st.problem("no forwarding rule leads from the address %s to the cluster: its Ingress is missing, or GKE is still working on it", address)
		}
	}
	if url, ok := s.Probe(sum.Outputs); ok {
		if err := s.Served(ctx, url, 3*time.Second); err != nil {
			st.problem("no ad at %s: %v", url, err)
		}
	}
}

// addresses looks after those of a stack without a cluster: the foundation's, which production needs.
func addresses(ctx context.Context, s *app.Session, sum engine.Summary, st *Status) {
	ids := sum.IDs[addressType]
	if len(ids) == 0 {
		return
	}
	api, err := google.New(ctx, s.Cloud)
	if err != nil {
		st.problem("%v", err)
		return
	}
	for _, id := range ids {
		var found struct{ Address string }
		switch err := api.Get(ctx, api.Compute("global/addresses/"+last(id)), &found); {
		case google.NotFound(err):
			st.problem("address %s is gone; another one would have to be put into DNS", last(id))
		case err != nil:
			st.problem("address %s: %v", last(id), err)
		}
	}
}

func last(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }
