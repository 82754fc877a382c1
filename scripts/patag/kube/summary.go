package kube

import (
	"context"
	"fmt"
	"net/url"
	"sort"
)

// Summary is what runs in a cluster, in numbers.
type Summary struct {
	Nodes []Node      `json:"nodes"`
	Pods  []Workloads `json:"pods"`
}

// Node is one machine.
type Node struct {
	Name        string `json:"name"`
	Pool        string `json:"pool"`
	Zone        string `json:"zone"`
	MachineType string `json:"machineType"`
	Spot        bool   `json:"spot"`
	Ready       bool   `json:"ready"`
	CPU         string `json:"cpu"`
	Memory      string `json:"memory"`
}

// Workloads counts the pods of one namespace. NotReady names the ones that should be ready and are not.
type Workloads struct {
	Namespace string   `json:"namespace"`
	Ready     int      `json:"ready"`
	Total     int      `json:"total"`
	NotReady  []string `json:"notReady,omitempty"`
}

type condition struct{ Type, Status string }

func ready(conditions []condition) bool {
	for _, c := range conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

type metadata struct {
	Name, Namespace string
	Labels          map[string]string
}

// Summary reads nodes and pods.
func (c *Cluster) Summary(ctx context.Context) (Summary, error) {
	var nodes struct {
		Items []struct {
			Metadata metadata
			Status   struct {
				Conditions  []condition
				Allocatable map[string]string
			}
		}
	}
	if err := get(ctx, c.http, c.Server+"/api/v1/nodes", c.token, &nodes); err != nil {
		return Summary{}, fmt.Errorf("list the nodes of %s: %w", c.Name, err)
	}
	sum := Summary{Nodes: []Node{}, Pods: []Workloads{}}
	for _, n := range nodes.Items {
		l := n.Metadata.Labels
		sum.Nodes = append(sum.Nodes, Node{
			Name: n.Metadata.Name, Pool: l["cloud.google.com/gke-nodepool"], Zone: l["topology.kubernetes.io/zone"],
			MachineType: l["node.kubernetes.io/instance-type"], Spot: l["cloud.google.com/gke-spot"] == "true" || l["cloud.google.com/gke-preemptible"] == "true",
			Ready: ready(n.Status.Conditions), CPU: n.Status.Allocatable["cpu"], Memory: n.Status.Allocatable["memory"],
		})
	}
	var pods struct {
		Items []struct {
			Metadata metadata
			Status   struct {
				Phase      string
				Conditions []condition
			}
		}
	}
	running := url.Values{"fieldSelector": {"status.phase!=Succeeded"}}
	if err := get(ctx, c.http, c.Server+"/api/v1/pods?"+running.Encode(), c.token, &pods); err != nil {
		return Summary{}, fmt.Errorf("list the pods of %s: %w", c.Name, err)
	}
	by := map[string]*Workloads{}
	for _, p := range pods.Items {
		w := by[p.Metadata.Namespace]
		if w == nil {
			w = &Workloads{Namespace: p.Metadata.Namespace}
			by[p.Metadata.Namespace] = w
		}
		w.Total++
		if ready(p.Status.Conditions) {
			w.Ready++
		} else {
			w.NotReady = append(w.NotReady, fmt.Sprintf("%s (%s)", p.Metadata.Name, p.Status.Phase))
		}
	}
	for _, w := range by {
		sum.Pods = append(sum.Pods, *w)
	}
	sort.Slice(sum.Pods, func(i, j int) bool { return sum.Pods[i].Namespace < sum.Pods[j].Namespace })
	return sum, nil
}
