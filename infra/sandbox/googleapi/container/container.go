// Package container is GKE's API (container.googleapis.com, v1 and v1beta1) in the sandbox: clusters, node pools and
// operations. It checks an order completely before anything changes, writes the wanted state and the work to do into
// the store, has the engine (cluster.Engine) do it in the background, and shows the outcome in the operation, the
// cluster and the pool. Work that a stop of the process interrupts is done at the next start. It also keeps what GKE
// makes in Compute Engine: instance groups, firewall rules, and the nodes' virtual machines (cluster.Inventory).
package container

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/compute"
	"patag/infra/sandbox/store"
)

// DefaultVersion is the Kubernetes version that the sandbox runs, as GKE writes it.
const DefaultVersion = "1.34.4-gke.1"

// Service is GKE.
type Service struct {
	core    *googleapi.Core
	api     *googleapi.Service
	engine  cluster.Engine
	compute *compute.Service
	version string
	log     *slog.Logger

	mu      sync.Mutex
	ctx     context.Context // nil until Start
	running map[string]context.CancelFunc
	group   sync.WaitGroup
}

// Options are what GKE needs.
type Options struct {
	// Engine runs the clusters. It may be set later, before Start, with SetEngine.
	Engine cluster.Engine
	// Compute is Compute Engine.
	Compute *compute.Service
	// Version is the one version offered ("1.34.4-gke.1"); DefaultVersion if empty.
	Version string
}

// Register adds GKE to the core. Orders are accepted at once and carried out after Start.
func Register(core *googleapi.Core, o Options) *Service {
	s := &Service{core: core, api: core.Service("container"), engine: o.Engine, compute: o.Compute, version: o.Version,
		log: core.Logger(), running: map[string]context.CancelFunc{}}
	if s.version == "" {
		s.version = DefaultVersion
	}
	s.compute.SetGroupSize(s.groupSize)
	s.registerClusters()
	s.registerPools()
	s.registerOperations()
	return s
}

// SetEngine is for an engine that needs this service as its Inventory.
func (s *Service) SetEngine(e cluster.Engine) { s.engine = e }

// Start carries out the work that was interrupted, and from now on every order. It ends with ctx; Wait waits for that.
func (s *Service) Start(ctx context.Context) error {
	s.mu.Lock()
	s.ctx = ctx
	s.mu.Unlock()
	var open []work
	err := s.core.Store().View(func(tx store.Tx) (err error) {
		open, err = allWork(tx)
		return err
	})
	if err != nil {
		return fmt.Errorf("read the interrupted GKE operations: %w", err)
	}
	for _, w := range open {
		s.log.Info("resume GKE operation", "operation", w.Operation, "type", w.Type, "cluster", w.Cluster, "pool", w.Pool)
		s.launch(w)
	}
	return nil
}

// Wait returns when no work runs any more, after the context of Start has ended.
func (s *Service) Wait() { s.group.Wait() }

const (
	versions  = "{version=v1|v1beta1}/"
	locations = versions + "projects/{project}/{places=locations|zones}/{location}"
)

// handle registers a call; links in its answer get the version of the call, and v1 loses what only v1beta1 has.
func (s *Service) handle(method, pattern string, h googleapi.Handler) {
	s.api.Handle(method, pattern, func(ctx context.Context, r *googleapi.Request) (any, error) {
		if _, ok := s.core.Project(r.Var("project")); !ok {
			return nil, googleapi.PermissionDenied("Permission denied on resource project %s (or it may not exist).", r.Var("project"))
		}
		v, err := h(ctx, r)
		if err != nil {
			return nil, err
		}
		return forVersion(v, r.Var("version")), nil
	})
}

// linkBase is how links of this API are stored.
const linkBase = "https://container.googleapis.com/v1/"

// betaOnly are fields of a cluster that only v1beta1 has.
var betaOnly = []string{"clusterTelemetry", "protectConfig", "master", "masterIpv4CidrBlock", "privateCluster", "podSecurityPolicyConfig", "workloadAltsConfig"}

func forVersion(v any, version string) any {
	d, ok := v.(googleapi.Doc)
	if !ok {
		return v
	}
	docs := append([]googleapi.Doc{d}, d.Docs("clusters")...)
	docs = append(docs, d.Docs("nodePools")...)
	docs = append(docs, d.Docs("operations")...)
	for _, c := range d.Docs("clusters") {
		docs = append(docs, c.Docs("nodePools")...)
	}
	for _, x := range docs {
		if version == "v1" {
			x.Drop(betaOnly...)
			continue
		}
		for _, f := range []string{"selfLink", "targetLink"} {
			if rest, ok := strings.CutPrefix(x.String(f), linkBase); ok {
				x[f] = strings.Replace(linkBase, "/v1/", "/"+version+"/", 1) + rest
			}
		}
	}
	return d
}

// selfLink is the link of a path: zonal clusters have theirs under zones.
func selfLink(path string) string {
	parts := strings.Split(path, "/")
	if _, zonal := compute.RegionOf(parts[3]); zonal {
		parts[2] = "zones"
	}
	return linkBase + strings.Join(parts, "/")
}

// place is the path of a location, whichever form the call has.
func place(r *googleapi.Request) string {
	return "projects/" + r.Var("project") + "/locations/" + r.Var("location")
}

func clusterPath(r *googleapi.Request) string { return place(r) + "/clusters/" + r.Var("cluster") }

func poolPath(r *googleapi.Request) string { return clusterPath(r) + "/nodePools/" + r.Var("pool") }

func key(path string) string { return "container/" + path }

func notFound(path string) error { return googleapi.NotFound("Not found: %s.", path) }

func loadCluster(tx store.Tx, path string) (googleapi.Doc, error) {
	var d googleapi.Doc
	found, err := tx.Get(key(path), &d)
	if err == nil && !found {
		err = notFound(path)
	}
	return d, err
}

func loadPools(tx store.Tx, clusterPath string) ([]googleapi.Doc, error) {
	return googleapi.Children(tx, key(clusterPath)+"/nodePools")
}

// zonesOf resolves a location to its zones; none if there is no such location.
func zonesOf(location string) []string {
	if _, ok := compute.RegionOf(location); ok {
		return []string{location}
	}
	return compute.Zones(location)
}

func regionOf(location string) string {
	if r, ok := compute.RegionOf(location); ok {
		return r
	}
	return location
}
