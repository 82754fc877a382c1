package daemon

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"patag/infra/sandbox/client"
	"patag/infra/sandbox/cluster"
)

// describe shows the running clusters and their nodes as Kubernetes sees them.
func describe(ctx context.Context, running []cluster.Running) []client.Cluster {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	all := []client.Cluster{}
	for _, r := range running {
		c := client.Cluster{Name: r.Spec.Name, Project: r.Spec.Project, Location: r.Spec.Location, ID: r.Spec.ID,
			Endpoint: r.Spec.Endpoint.String(), Status: "RUNNING"}
		nodes, err := nodesOf(ctx, r)
		if err != nil {
			c.Status = "DEGRADED: " + err.Error()
		}
		c.Nodes = nodes
		all = append(all, c)
	}
	return all
}

func nodesOf(ctx context.Context, r cluster.Running) ([]client.Node, error) {
	api, err := kubernetes.NewForConfig(r.Config)
	if err != nil {
		return nil, err
	}
	list, err := api.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var nodes []client.Node
	for _, n := range list.Items {
		node := client.Node{
			Name: n.Name, Pool: n.Labels["cloud.google.com/gke-nodepool"], Zone: n.Labels[corev1.LabelTopologyZone],
			Spot: n.Labels["cloud.google.com/gke-spot"] == "true" || n.Labels["cloud.google.com/gke-preemptible"] == "true",
			CPU:  n.Status.Allocatable.Cpu().String(), Memory: n.Status.Allocatable.Memory().String(),
		}
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady {
				node.Ready = c.Status == corev1.ConditionTrue
			}
		}
		nodes = append(nodes, node)
	}
	return nodes, nil
}
