// Package cluster is the contract between the sandbox's Google API, which takes orders for GKE clusters, the
// engine that runs them as real Kubernetes (package gke), and the controllers that do for a running cluster what
// Google does from outside it (load balancer, disks, node growth, metadata). It holds types only.
package cluster

import (
	"context"
	"errors"
	"net/netip"

	"k8s.io/client-go/rest"

	"patag/infra/sandbox/netns"
)

// ErrNoNode says that no cluster has a node of that name.
var ErrNoNode = errors.New("there is no such node")

// Cluster is what the engine must know to run one. Everything is final but Labels and NetworkPolicy.
type Cluster struct {
	// ID names the cluster for ever and its folder: the name and eight hex digits. A cluster made anew under
	// an old name has another ID, so nothing of the old one is taken for the new one's.
	ID string `json:"id"`
	// Project, Location (a region or zone) and Name are Google's.
	Project, Location, Name string
	// Zones are the node locations, at least one.
	Zones []string
	// Version is the Kubernetes version shown ("1.34.4-gke.1").
	Version string
	// NodeCIDR, PodCIDR, ServiceCIDR come from the subnetwork's ranges, MasterCIDR (a /28) from the cluster.
	NodeCIDR, PodCIDR, ServiceCIDR, MasterCIDR netip.Prefix
	// Endpoint is the loopback address on the host at which port 443 reaches the API server.
	Endpoint netip.Addr
	// WorkloadPool is "<project>.svc.id.goog", or empty without Workload Identity.
	WorkloadPool string
	// NetworkPolicy is true when NetworkPolicies take effect (Dataplane V2 or the network policy add-on).
	NetworkPolicy bool
}

// NodePool is the wanted state of one pool.
type NodePool struct {
	// Cluster is the ID of the cluster.
	Cluster string
	Name    string
	// MachineType is a name from package machine ("n1-standard-1").
	MachineType       string
	Spot, Preemptible bool
	Labels            map[string]string
	Taints            []Taint
	// Zones are the pool's locations, a part of the cluster's.
	Zones []string
	// Size is the wanted number of nodes in each zone; the autoscaler changes it between the limits.
	Size           int
	Autoscaling    *Autoscaling
	AutoRepair     bool
	DiskGB         int64
	DiskType       string
	ServiceAccount string
	Tags           []string
}

// Taint has the effect in Kubernetes' spelling (NoSchedule, PreferNoSchedule, NoExecute).
type Taint struct{ Key, Value, Effect string }

// Autoscaling limits nodes per zone, or in all when the Total fields are set.
type Autoscaling struct{ Min, Max, TotalMin, TotalMax int }

// Credentials are what the API hands out in masterAuth.
type Credentials struct {
	// CACertificate is PEM.
	CACertificate []byte
}

// Engine runs clusters. Each call blocks until the order is carried out or ctx ends; each may be called again
// after an interruption and then finishes the work. Wanted state is on disk before a call starts working.
type Engine interface {
	// CreateCluster returns when the control plane answers and its add-ons are installed.
	CreateCluster(ctx context.Context, c Cluster) (Credentials, error)
	// DeleteCluster leaves no process, namespace, cgroup or folder of it. Disks stay: they are the API's.
	DeleteCluster(ctx context.Context, id string) error
	// SetNodePool makes or changes a pool and returns when its nodes are Ready. Labels and taints change in
	// place, everything else but Size and Autoscaling replaces nodes one by one.
	SetNodePool(ctx context.Context, p NodePool) error
	// DeleteNodePool drains and removes its nodes.
	DeleteNodePool(ctx context.Context, clusterID, name string) error
	// NodePoolSize is the number of nodes per zone as the autoscaler left it.
	NodePoolSize(clusterID, name string) (int, bool)
	// Preempt takes a spot or preemptible node away as Compute Engine does: 30 s notice, then gone, replaced later. The
	// error wraps ErrNoNode when there is no such node.
	Preempt(ctx context.Context, node string) error
	// Running lists the clusters that serve.
	Running() []Running
}

// Inventory is told of the machines and disks that exist, so that the Google API can show them. Calls are
// idempotent and are repeated at each start of the engine.
type Inventory interface {
	NodeUp(n Node) error
	NodeDown(n Node) error
}

// Node is one virtual machine of a pool.
type Node struct {
	ClusterID, Project, Zone, Pool, Name string
	MachineType                          string
	Spot, Preemptible                    bool
	InternalIP                           netip.Addr
	Labels                               map[string]string
	DiskGB                               int64
}

// Running is a cluster whose API server answers.
type Running struct {
	Spec Cluster
	// Config reaches the API server from the host as cluster administrator.
	Config *rest.Config
	// ControlPlane is the namespace with the API server and the bridge of the nodes' network; pods and services
	// can be reached from it by their own addresses. Gateway is its address on the nodes' network.
	ControlPlane *netns.NS
	Gateway      netip.Addr
	// NodeNS is the network namespace of a node, by its name.
	NodeNS func(node string) (*netns.NS, bool)
}

// Controller does one outside job for one running cluster until ctx ends. The engine starts each of its
// controllers for each cluster that runs, and again, with back-off, if it returns early.
type Controller interface {
	// Name appears in logs.
	Name() string
	Run(ctx context.Context, c Running) error
}
