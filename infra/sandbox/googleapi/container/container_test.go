package container

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	capi "google.golang.org/api/compute/v0.beta"
	api "google.golang.org/api/container/v1beta1"
	gapi "google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/compute"
	"patag/infra/sandbox/googleapi/serviceusage"
	"patag/infra/sandbox/layout"
	"patag/infra/sandbox/store"
)

const (
	project = googleapi.DefaultProject
	region  = "europe-west1"
	parent  = "projects/" + project + "/locations/" + region
)

// engine is a stand-in for the real one, which needs root and minutes: it keeps the orders and reports nodes.
type engine struct {
	mu       sync.Mutex
	orders   []string
	clusters map[string]cluster.Cluster
	pools    map[string]cluster.NodePool
	live     map[string]int
	fail     error
	hold     chan struct{} // while open, orders wait
	nodes    cluster.Inventory
}

func newEngine() *engine {
	return &engine{clusters: map[string]cluster.Cluster{}, pools: map[string]cluster.NodePool{}, live: map[string]int{}}
}

func (e *engine) wait(ctx context.Context, order string) error {
	e.mu.Lock()
	e.orders = append(e.orders, order)
	hold, fail := e.hold, e.fail
	e.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fail
}

func (e *engine) CreateCluster(ctx context.Context, c cluster.Cluster) (cluster.Credentials, error) {
	if err := e.wait(ctx, "create "+c.Name); err != nil {
		return cluster.Credentials{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clusters[c.ID] = c
	return cluster.Credentials{CACertificate: []byte("CA of " + c.Name)}, nil
}

func (e *engine) DeleteCluster(ctx context.Context, id string) error {
	return e.wait(ctx, "delete "+e.clusters[id].Name)
}

func (e *engine) SetNodePool(ctx context.Context, p cluster.NodePool) error {
	if err := e.wait(ctx, "pool "+p.Name); err != nil {
		return err
	}
	e.mu.Lock()
	c := e.clusters[p.Cluster]
	e.pools[p.Name] = p
	e.live[p.Name] = p.Size
	nodes := e.nodes
	e.mu.Unlock()
	for z, zone := range p.Zones {
		for i := range p.Size {
			n := cluster.Node{ClusterID: p.Cluster, Project: c.Project, Zone: zone, Pool: p.Name, Name: fmt.Sprintf("gke-%s-%s-%d%d", c.Name, p.Name, z, i),
				MachineType: p.MachineType, Spot: p.Spot, InternalIP: netip.MustParseAddr("10.0.0.9"), DiskGB: p.DiskGB}
			if err := nodes.NodeUp(n); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *engine) DeleteNodePool(ctx context.Context, _, name string) error {
	defer func() { e.mu.Lock(); delete(e.live, name); e.mu.Unlock() }()
	return e.wait(ctx, "drop "+name)
}

func (e *engine) NodePoolSize(_, name string) (int, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, ok := e.live[name]
	return n, ok
}

func (e *engine) Preempt(context.Context, string) error { return nil }
func (e *engine) Running() []cluster.Running            { return nil }

func (e *engine) done() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.orders)
}

type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

type world struct {
	*api.Service
	compute *capi.Service
	service *Service
	store   *store.Store
	url     string
	stop    func()
}

func open(t *testing.T, dir string, e *engine) *world {
	t.Helper()
	st, err := store.Open(filepath.Join(dir, "api.db"))
	if err != nil {
		t.Fatal(err)
	}
	core, err := googleapi.New(googleapi.Options{Store: st, Settings: layout.Settings{Instance: 9, API: "127.0.0.1:1"},
		Authenticator: googleapi.AuthenticatorFunc(func(string) (string, error) { return "admin@example.com", nil })})
	if err != nil {
		t.Fatal(err)
	}
	s := Register(core, Options{Engine: e, Compute: compute.Register(core, compute.Options{})})
	serviceusage.Register(core) // gcloud asks whether GKE is enabled
	e.nodes = s
	ctx, cancel := context.WithCancel(context.Background())
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(core)
	client := &http.Client{Transport: bearer("good")}
	a, err := api.NewService(ctx, option.WithEndpoint(srv.URL+"/container/"), option.WithHTTPClient(client))
	if err != nil {
		t.Fatal(err)
	}
	c, err := capi.NewService(ctx, option.WithEndpoint(srv.URL+"/compute/compute/beta/"), option.WithHTTPClient(client))
	if err != nil {
		t.Fatal(err)
	}
	return &world{a, c, s, st, srv.URL, func() { srv.Close(); cancel(); s.Wait(); st.Close() }}
}

// newWorld has a network "vpc" with a subnetwork "nodes" and ranges "pods" and "services".
func newWorld(t *testing.T, e *engine) *world {
	w := open(t, t.TempDir(), e)
	t.Cleanup(w.stop)
	w.vpc(t)
	return w
}

func (w *world) vpc(t *testing.T) {
	t.Helper()
	if _, err := w.compute.Networks.Insert(project, &capi.Network{Name: "vpc", ForceSendFields: []string{"AutoCreateSubnetworks"}}).Do(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.compute.Subnetworks.Insert(project, region, &capi.Subnetwork{Name: "nodes", Network: "global/networks/vpc", IpCidrRange: "10.0.0.0/20",
		SecondaryIpRanges: []*capi.SubnetworkSecondaryRange{{RangeName: "pods", IpCidrRange: "10.4.0.0/16"}, {RangeName: "services", IpCidrRange: "10.8.0.0/20"}}}).Do(); err != nil {
		t.Fatal(err)
	}
}

// production is the cluster as the provider orders it for the programs.
func production(name string) *api.Cluster {
	return &api.Cluster{
		Name: name, InitialNodeCount: 1, Network: "projects/" + project + "/global/networks/vpc", Subnetwork: "projects/" + project + "/regions/" + region + "/subnetworks/nodes",
		Locations:                      []string{"europe-west1-b"},
		IpAllocationPolicy:             &api.IPAllocationPolicy{UseIpAliases: true, ClusterSecondaryRangeName: "pods", ServicesSecondaryRangeName: "services", StackType: "IPV4"},
		PrivateClusterConfig:           &api.PrivateClusterConfig{EnablePrivateNodes: true, MasterIpv4CidrBlock: "172.16.0.16/28"},
		MasterAuthorizedNetworksConfig: &api.MasterAuthorizedNetworksConfig{Enabled: true, CidrBlocks: []*api.CidrBlock{{CidrBlock: "0.0.0.0/0", DisplayName: "all"}}},
		ReleaseChannel:                 &api.ReleaseChannel{Channel: "REGULAR"},
		WorkloadIdentityConfig:         &api.WorkloadIdentityConfig{WorkloadPool: project + ".svc.id.goog"},
		NetworkConfig:                  &api.NetworkConfig{DatapathProvider: "ADVANCED_DATAPATH", DefaultSnatStatus: &api.DefaultSnatStatus{ForceSendFields: []string{"Disabled"}}},
		AddonsConfig:                   &api.AddonsConfig{HttpLoadBalancing: &api.HttpLoadBalancing{ForceSendFields: []string{"Disabled"}}, GcePersistentDiskCsiDriverConfig: &api.GcePersistentDiskCsiDriverConfig{Enabled: true}},
		LoggingConfig:                  &api.LoggingConfig{ComponentConfig: &api.LoggingComponentConfig{EnableComponents: []string{"SYSTEM_COMPONENTS", "WORKLOADS"}}},
		MonitoringConfig:               &api.MonitoringConfig{ComponentConfig: &api.MonitoringComponentConfig{EnableComponents: []string{"SYSTEM_COMPONENTS"}}},
		MaintenancePolicy: &api.MaintenancePolicy{Window: &api.MaintenanceWindow{RecurringWindow: &api.RecurringTimeWindow{Recurrence: "FREQ=WEEKLY;BYDAY=TU,WE",
			Window: &api.TimeWindow{StartTime: "2024-01-02T02:00:00Z", EndTime: "2024-01-02T06:00:00Z"}}}},
		ResourceLabels: map[string]string{"app": "tag"}, ShieldedNodes: &api.ShieldedNodes{Enabled: true}, LegacyAbac: &api.LegacyAbac{ForceSendFields: []string{"Enabled"}},
		Autopilot: &api.Autopilot{ForceSendFields: []string{"Enabled"}}, MasterAuth: &api.MasterAuth{ClientCertificateConfig: &api.ClientCertificateConfig{}},
	}
}

func pool(name string) *api.NodePool {
	return &api.NodePool{Name: name, InitialNodeCount: 1, Locations: []string{"europe-west1-b"}, Autoscaling: &api.NodePoolAutoscaling{Enabled: true, MinNodeCount: 1, MaxNodeCount: 4},
		Management: &api.NodeManagement{AutoRepair: true, AutoUpgrade: true},
		Config: &api.NodeConfig{MachineType: "n1-highcpu-2", Spot: true, DiskSizeGb: 50, DiskType: "pd-standard", Labels: map[string]string{"role": "tag"},
			Taints: []*api.NodeTaint{{Key: "role", Value: "tag", Effect: "NO_SCHEDULE"}}, OauthScopes: []string{"https://www.googleapis.com/auth/cloud-platform"},
			WorkloadMetadataConfig: &api.WorkloadMetadataConfig{Mode: "GKE_METADATA"}, ShieldedInstanceConfig: &api.ShieldedInstanceConfig{EnableSecureBoot: true, EnableIntegrityMonitoring: true}},
		UpgradeSettings: &api.UpgradeSettings{MaxSurge: 1, Strategy: "SURGE"}}
}

func (w *world) finish(t *testing.T) func(*api.Operation, error) *api.Operation {
	return func(op *api.Operation, err error) *api.Operation {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); op.Status != "DONE"; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("operation %+v does not end", op)
			}
			if op, err = w.Projects.Locations.Operations.Get("projects/" + project + "/locations/" + op.Location + "/operations/" + op.Name).Do(); err != nil {
				t.Fatal(err)
			}
		}
		return op
	}
}

func (w *world) ok(t *testing.T) func(*api.Operation, error) {
	return func(op *api.Operation, err error) {
		t.Helper()
		if op = w.finish(t)(op, err); op.StatusMessage != "" || op.Error != nil {
			t.Fatalf("operation failed: %+v", op)
		}
	}
}

func refused(t *testing.T, err error, code int, text string) {
	t.Helper()
	var e *gapi.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, text) {
		t.Fatalf("error %v, want %d with %q", err, code, text)
	}
}

// TestLifeAsTheProviderLeadsIt follows the official provider: cluster with a default pool, default pool away, two
// pools at once, changes, and down again.
func TestLifeAsTheProviderLeadsIt(t *testing.T) {
	e := newEngine()
	w := newWorld(t, e)
	clusters := w.Projects.Locations.Clusters
	w.ok(t)(clusters.Create(parent, &api.CreateClusterRequest{Cluster: production("prod")}).Do())
	name := parent + "/clusters/prod"
	c, err := clusters.Get(name).Do()
	if err != nil {
		t.Fatal(err)
	}
	ca, _ := base64.StdEncoding.DecodeString(c.MasterAuth.ClusterCaCertificate)
	for what, ok := range map[string]bool{
		"status": c.Status == "RUNNING", "endpoint": c.Endpoint == "127.9.1.1", "ca": string(ca) == "CA of prod", "network": c.Network == "vpc",
		"network path": c.NetworkConfig.Network == "projects/"+project+"/global/networks/vpc", "pods": c.ClusterIpv4Cidr == "10.4.0.0/16",
		"services": c.IpAllocationPolicy.ServicesIpv4CidrBlock == "10.8.0.0/20", "private endpoint": c.PrivateClusterConfig.PrivateEndpoint == "172.16.0.17",
		"legacy abac": c.LegacyAbac != nil, "self link": c.SelfLink == "https://container.googleapis.com/v1beta1/"+name, "default pool": len(c.NodePools) == 1 && c.NodePools[0].Name == "default-pool",
		"max pods": c.DefaultMaxPodsConstraint.MaxPodsPerNode == 110, "label fingerprint": len(c.LabelFingerprint) == 8, "telemetry": c.ClusterTelemetry.Type == "ENABLED",
		"maintenance": c.MaintenancePolicy.ResourceVersion != "" && c.MaintenancePolicy.Window.RecurringWindow != nil, "prometheus": c.MonitoringConfig.ManagedPrometheusConfig.Enabled,
		"newer form":    c.ControlPlaneEndpointsConfig.IpEndpointsConfig.PublicEndpoint == c.Endpoint && c.NetworkConfig.DefaultEnablePrivateNodes,
		"initial count": c.InitialNodeCount == 1,
		"authorized":    c.MasterAuthorizedNetworksConfig.Enabled && len(c.MasterAuthorizedNetworksConfig.CidrBlocks) == 1, "nodes": c.CurrentNodeCount == 1, "version": c.CurrentMasterVersion == DefaultVersion,
	} {
		if !ok {
			t.Errorf("%s is not as at Google", what)
		}
	}
	w.ok(t)(clusters.NodePools.Delete(name + "/nodePools/default-pool").Do())
	if c, _ := clusters.Get(name).Do(); c.InitialNodeCount != 1 || len(c.NodePools) != 0 || c.NodeConfig != nil {
		t.Errorf("without its default pool: %+v", c)
	}
	_, err = w.compute.Subnetworks.Delete(project, region, "nodes").Do()
	refused(t, err, 400, "already being used by '"+name+"'")
	a, err := clusters.NodePools.Create(name, &api.CreateNodePoolRequest{NodePool: pool("high-cpu")}).Do()
	b, err2 := clusters.NodePools.Create(name, &api.CreateNodePoolRequest{NodePool: pool("standard")}).Do()
	w.ok(t)(a, err)
	w.ok(t)(b, err2)
	p, err := clusters.NodePools.Get(name + "/nodePools/high-cpu").Do()
	if err != nil {
		t.Fatal(err)
	}
	for what, ok := range map[string]bool{
		"status": p.Status == "RUNNING", "image": p.Config.ImageType == "COS_CONTAINERD", "account": p.Config.ServiceAccount == "default", "metadata": p.Config.Metadata["disable-legacy-endpoints"] == "true",
		"logging": p.Config.LoggingConfig.VariantConfig.Variant == "DEFAULT", "policy": p.Autoscaling.LocationPolicy == "ANY", "max pods": p.MaxPodsConstraint.MaxPodsPerNode == 110 && p.PodIpv4CidrSize == 24,
		"ranges": p.NetworkConfig.PodRange == "pods" && p.NetworkConfig.PodIpv4CidrBlock == "10.4.0.0/16", "groups": len(p.InstanceGroupUrls) == 1, "version": p.Version == DefaultVersion,
		"spec": e.pools["high-cpu"].Spot && e.pools["high-cpu"].MachineType == "n1-highcpu-2" && e.pools["high-cpu"].Taints[0].Effect == "NoSchedule" && e.pools["high-cpu"].Autoscaling.Max == 4,
	} {
		if !ok {
			t.Errorf("pool: %s is not as at Google: %+v", what, p)
		}
	}
	// What flattenNodePool does.
	group := strings.Split(p.InstanceGroupUrls[0], "/")
	igm, err := w.compute.InstanceGroupManagers.Get(project, group[8], group[10]).Do()
	if err != nil || igm.TargetSize != 1 || igm.InstanceGroup == "" {
		t.Fatalf("group manager %+v, %v (%s)", igm, err, p.InstanceGroupUrls[0])
	}
	e.mu.Lock()
	e.live["high-cpu"] = 3 // the autoscaler
	e.mu.Unlock()
	if igm, _ = w.compute.InstanceGroupManagers.Get(project, group[8], group[10]).Do(); igm.TargetSize != 3 {
		t.Errorf("target size %d after the autoscaler made it 3", igm.TargetSize)
	}
	vms, err := w.compute.Instances.List(project, "europe-west1-b").Do()
	if err != nil || len(vms.Items) != 2 || vms.Items[0].Scheduling.ProvisioningModel != "SPOT" || vms.Items[0].Labels["goog-k8s-cluster-name"] != "prod" {
		t.Errorf("machines %+v, %v", vms, err)
	}

	// Labels and taints keep the autoscaler's size.
	w.ok(t)(clusters.NodePools.Update(name+"/nodePools/high-cpu", &api.UpdateNodePoolRequest{Labels: &api.NodeLabels{Labels: map[string]string{"role": "x"}}}).Do())
	w.ok(t)(clusters.NodePools.Update(name+"/nodePools/high-cpu", &api.UpdateNodePoolRequest{Taints: &api.NodeTaints{Taints: []*api.NodeTaint{}, ForceSendFields: []string{"Taints"}}}).Do())
	if got := e.pools["high-cpu"]; got.Size != 3 || got.Labels["role"] != "x" || len(got.Taints) != 0 {
		t.Errorf("after the update: %+v", got)
	}
	w.ok(t)(clusters.NodePools.SetSize(name+"/nodePools/high-cpu", &api.SetNodePoolSizeRequest{NodeCount: 2}).Do())
	if got := e.pools["high-cpu"]; got.Size != 2 {
		t.Errorf("after setSize: %+v", got)
	}
	w.ok(t)(clusters.Update(name, &api.UpdateClusterRequest{Update: &api.ClusterUpdate{DesiredNodePoolId: "high-cpu", DesiredNodePoolAutoscaling: &api.NodePoolAutoscaling{Enabled: true, MinNodeCount: 3, MaxNodeCount: 5}}}).Do())
	if got := e.pools["high-cpu"]; got.Size != 3 || got.Autoscaling.Max != 5 {
		t.Errorf("after the limits changed: %+v", got)
	}
	_, err = clusters.NodePools.SetManagement(name+"/nodePools/high-cpu", &api.SetNodePoolManagementRequest{Management: &api.NodeManagement{AutoUpgrade: true, ForceSendFields: []string{"AutoRepair"}}}).Do()
	refused(t, err, 400, "Auto_repair")

	w.ok(t)(clusters.Update(name, &api.UpdateClusterRequest{Update: &api.ClusterUpdate{DesiredMonitoringConfig: &api.MonitoringConfig{ComponentConfig: &api.MonitoringComponentConfig{EnableComponents: []string{"SYSTEM_COMPONENTS", "POD"}}}}}).Do())
	w.ok(t)(clusters.SetResourceLabels(name, &api.SetLabelsRequest{LabelFingerprint: c.LabelFingerprint, ResourceLabels: map[string]string{"app": "y"}}).Do())
	_, err = clusters.SetResourceLabels(name, &api.SetLabelsRequest{LabelFingerprint: c.LabelFingerprint, ResourceLabels: map[string]string{"app": "z"}}).Do()
	refused(t, err, 412, "fingerprint")
	_, err = clusters.SetMaintenancePolicy(name, &api.SetMaintenancePolicyRequest{MaintenancePolicy: &api.MaintenancePolicy{ResourceVersion: "00000000"}}).Do()
	refused(t, err, 412, "mismatch")
	w.ok(t)(clusters.SetMaintenancePolicy(name, &api.SetMaintenancePolicyRequest{MaintenancePolicy: &api.MaintenancePolicy{ResourceVersion: c.MaintenancePolicy.ResourceVersion}}).Do())
	d, _ := clusters.Get(name).Do()
	if len(d.MonitoringConfig.ComponentConfig.EnableComponents) != 2 || !d.MonitoringConfig.ManagedPrometheusConfig.Enabled || d.ResourceLabels["app"] != "y" || d.MaintenancePolicy.Window != nil || d.Etag == c.Etag || d.Id != c.Id {
		t.Errorf("after the updates: %+v", d)
	}
	_, err = clusters.Update(name, &api.UpdateClusterRequest{Update: &api.ClusterUpdate{DesiredStackType: "IPV4_IPV6"}}).Do()
	refused(t, err, 501, "desiredStackType")

	_, err = w.compute.Networks.Delete(project, "vpc").Do()
	refused(t, err, 400, "already being used")
	w.ok(t)(clusters.Delete(name).Do())
	_, err = clusters.Get(name).Do()
	refused(t, err, 404, "Not found: "+name)
	for _, left := range []string{"compute/projects/" + project + "/zones/", "container-specs/", "container-ids/", "container-sizes/", "container-groups/", "container-work/", "addresses/", "compute/projects/" + project + "/global/firewalls"} {
		w.store.View(func(tx store.Tx) error {
			return tx.List(left, func(k string, _ []byte) error {
				if !strings.Contains(k, "/operations/") {
					t.Errorf("left behind: %s", k)
				}
				return nil
			})
		})
	}
	if _, err := w.compute.Subnetworks.Delete(project, region, "nodes").Do(); err != nil {
		t.Error(err)
	}
	if _, err := w.compute.Networks.Delete(project, "vpc").Do(); err != nil {
		t.Error(err)
	}
}

func TestRefusedBeforeAnythingChanges(t *testing.T) {
	e := newEngine()
	w := newWorld(t, e)
	w.ok(t)(w.Projects.Locations.Clusters.Create(parent, &api.CreateClusterRequest{Cluster: production("first")}).Do())
	orders := len(e.done())
	for _, c := range []struct {
		what   string
		change func(*api.Cluster)
		code   int
		text   string
	}{
		{"name", func(c *api.Cluster) { c.Name = strings.Repeat("a", 41) }, 400, "40 characters"},
		{"taken", func(c *api.Cluster) { c.Name = "first" }, 409, "Already exists: " + parent + "/clusters/first"},
		{"network", func(c *api.Cluster) { c.Network = "nope" }, 400, `has no network named "nope"`},
		{"subnetwork", func(c *api.Cluster) { c.Subnetwork = "nope" }, 400, "does not exist in network"},
		{"pods", func(c *api.Cluster) { c.IpAllocationPolicy.ClusterSecondaryRangeName = "nope" }, 400, `Pod secondary range "nope" does not exist in network "vpc", subnetwork "nodes"`},
		{"same range", func(c *api.Cluster) { c.IpAllocationPolicy.ServicesSecondaryRangeName = "pods" }, 400, "different"},
		{"master size", func(c *api.Cluster) { c.PrivateClusterConfig.MasterIpv4CidrBlock = "172.16.0.0/24" }, 400, "/28"},
		{"master in subnetwork", func(c *api.Cluster) { c.PrivateClusterConfig.MasterIpv4CidrBlock = "10.0.0.0/28" }, 400, "conflicts with existing subnetwork 'nodes'"},
		{"master of another", func(c *api.Cluster) {}, 400, "the control plane of cluster 'first'"},
		{"zone", func(c *api.Cluster) { c.Locations = []string{"us-central1-a"} }, 400, "not a zone of region"},
		{"version", func(c *api.Cluster) { c.InitialClusterVersion = "1.99" }, 400, `"1.99" is unsupported`},
		{"workload pool", func(c *api.Cluster) { c.WorkloadIdentityConfig.WorkloadPool = "x.svc.id.goog" }, 400, project + ".svc.id.goog"},
		{"no pool", func(c *api.Cluster) { c.InitialNodeCount = 0 }, 400, "initial_node_count must be greater than zero"},
		{"both pools", func(c *api.Cluster) { c.NodePools = []*api.NodePool{pool("a")} }, 400, "Cannot specify both"},
		{"machine type", func(c *api.Cluster) { c.NodeConfig = &api.NodeConfig{MachineType: "huge-1"} }, 400, `Machine type with name "huge-1"`},
		{"account", func(c *api.Cluster) { c.NodeConfig = &api.NodeConfig{ServiceAccount: "a@b.iam.gserviceaccount.com"} }, 400, "does not exist"},
		{"autopilot", func(c *api.Cluster) { c.Autopilot.Enabled = true }, 501, "autopilot.enabled"},
		{"channel", func(c *api.Cluster) { c.ReleaseChannel.Channel = "WEEKLY" }, 400, "release channel"},
		{"window", func(c *api.Cluster) {
			c.MaintenancePolicy.Window.RecurringWindow.Window.EndTime = "2024-01-02T03:00:00Z"
		}, 400, "4 hours"},
	} {
		t.Run(c.what, func(t *testing.T) {
			x := production("second")
			if c.what != "master of another" {
				x.PrivateClusterConfig.MasterIpv4CidrBlock = "172.16.1.0/28"
			}
			c.change(x)
			_, err := w.Projects.Locations.Clusters.Create(parent, &api.CreateClusterRequest{Cluster: x}).Do()
			refused(t, err, c.code, c.text)
		})
	}
	for _, c := range []struct {
		what   string
		change func(*api.NodePool)
		code   int
		text   string
	}{
		{"name", func(p *api.NodePool) { p.Name = "Bad_" }, 400, "node_pool.name"},
		{"zone", func(p *api.NodePool) { p.Locations = []string{"europe-west3-a"} }, 400, "not a zone of region"},
		{"limits", func(p *api.NodePool) { p.Autoscaling.MinNodeCount = 9 }, 400, "autoscaling limits"},
		{"both limits", func(p *api.NodePool) { p.Autoscaling.TotalMaxNodeCount = 9 }, 400, "either per zone"},
		{"taint", func(p *api.NodePool) { p.Config.Taints[0].Effect = "NEVER" }, 400, "taint effect"},
		{"disk", func(p *api.NodePool) { p.Config.DiskType = "floppy" }, 400, "Disk type"},
		{"spot", func(p *api.NodePool) { p.Config.Preemptible = true }, 400, "Only one of spot and preemptible"},
		{"management", func(p *api.NodePool) { p.Management = &api.NodeManagement{AutoRepair: true} }, 400, "Auto_upgrade must be true"},
		{"gpu", func(p *api.NodePool) {
			p.Config.Accelerators = []*api.AcceleratorConfig{{AcceleratorType: "t4", AcceleratorCount: 1}}
		}, 501, "accelerators"},
	} {
		t.Run("pool "+c.what, func(t *testing.T) {
			p := pool("extra")
			c.change(p)
			_, err := w.Projects.Locations.Clusters.NodePools.Create(parent+"/clusters/first", &api.CreateNodePoolRequest{NodePool: p}).Do()
			refused(t, err, c.code, c.text)
		})
	}
	if got := len(e.done()); got != orders {
		t.Errorf("the engine got %d orders for refused requests", got-orders)
	}
	list, err := w.Projects.Locations.Clusters.List("projects/" + project + "/locations/-").Do()
	if err != nil || len(list.Clusters) != 1 || len(list.Clusters[0].NodePools) != 1 {
		t.Errorf("clusters %+v, %v", list, err)
	}
}

func TestFailureIsShown(t *testing.T) {
	e := newEngine()
	e.fail = errors.New("no space left on device")
	w := newWorld(t, e)
	op := w.finish(t)(w.Projects.Locations.Clusters.Create(parent, &api.CreateClusterRequest{Cluster: production("prod")}).Do())
	if !strings.Contains(op.StatusMessage, "no space left") || op.Error == nil {
		t.Errorf("operation %+v", op)
	}
	c, err := w.Projects.Locations.Clusters.Get(parent + "/clusters/prod").Do()
	if err != nil || c.Status != "ERROR" || !strings.Contains(c.StatusMessage, "no space left") {
		t.Errorf("cluster %s %q, %v", c.Status, c.StatusMessage, err)
	}
	_, err = w.Projects.Locations.Clusters.NodePools.Create(parent+"/clusters/prod", &api.CreateNodePoolRequest{NodePool: pool("p")}).Do()
	refused(t, err, 400, "in error")
	e.mu.Lock()
	e.fail = nil
	e.mu.Unlock()
	w.ok(t)(w.Projects.Locations.Clusters.Delete(parent + "/clusters/prod").Do())
}

func TestOneOperationAtATime(t *testing.T) {
	e := newEngine()
	e.hold = make(chan struct{})
	w := newWorld(t, e)
	clusters := w.Projects.Locations.Clusters
	op, err := clusters.Create(parent, &api.CreateClusterRequest{Cluster: production("prod")}).Do()
	if err != nil || op.Status != "RUNNING" || op.OperationType != "CREATE_CLUSTER" {
		t.Fatalf("%+v, %v", op, err)
	}
	if c, _ := clusters.Get(parent + "/clusters/prod").Do(); c.Status != "PROVISIONING" || c.Endpoint != "" {
		t.Errorf("while it is made: %s %s", c.Status, c.Endpoint)
	}
	_, err = clusters.Delete(parent + "/clusters/prod").Do()
	refused(t, err, 400, "Cluster is running incompatible operation "+op.Name)
	var ge *gapi.Error
	if errors.As(err, &ge); ge.Errors[0].Reason != "failedPrecondition" {
		t.Errorf("reason %q", ge.Errors[0].Reason)
	}
	// Cancelled, it is in error and can be deleted.
	if _, err := w.Projects.Locations.Operations.Cancel(parent+"/operations/"+op.Name, &api.CancelOperationRequest{}).Do(); err != nil {
		t.Fatal(err)
	}
	if op = w.finish(t)(op, nil); !strings.Contains(op.StatusMessage, "cancelled") {
		t.Errorf("operation %+v", op)
	}
	close(e.hold)
	w.ok(t)(clusters.Delete(parent + "/clusters/prod").Do())
}

func TestInterruptedWorkIsDoneAfterARestart(t *testing.T) {
	dir := t.TempDir()
	e := newEngine()
	e.hold = make(chan struct{})
	w := open(t, dir, e)
	w.vpc(t)
	op, err := w.Projects.Locations.Clusters.Create(parent, &api.CreateClusterRequest{Cluster: production("prod")}).Do()
	if err != nil {
		t.Fatal(err)
	}
	for len(e.done()) == 0 {
		time.Sleep(time.Millisecond)
	}
	w.stop()

	e2 := newEngine()
	w = open(t, dir, e2)
	defer w.stop()
	w.ok(t)(w.Projects.Locations.Operations.Get(parent + "/operations/" + op.Name).Do())
	c, err := w.Projects.Locations.Clusters.Get(parent + "/clusters/prod").Do()
	if err != nil || c.Status != "RUNNING" || c.Endpoint != "127.9.1.1" {
		t.Errorf("%+v, %v", c, err)
	}
	if got := e2.done(); !reflect.DeepEqual(got, []string{"create prod", "pool default-pool"}) {
		t.Errorf("orders after the restart: %v", got)
	}
}

func TestRangesArePicked(t *testing.T) {
	e := newEngine()
	w := newWorld(t, e)
	zone := "projects/" + project + "/locations/europe-west1-c"
	w.ok(t)(w.Projects.Locations.Clusters.Create(zone, &api.CreateClusterRequest{Cluster: &api.Cluster{Name: "small", InitialNodeCount: 1, Network: "vpc", Subnetwork: "nodes",
		IpAllocationPolicy: &api.IPAllocationPolicy{UseIpAliases: true, ClusterIpv4CidrBlock: "/17", ServicesIpv4CidrBlock: "/22"}}}).Do())
	c, err := w.Projects.Locations.Clusters.Get(zone + "/clusters/small").Do()
	if err != nil || c.ClusterIpv4Cidr != "10.0.128.0/17" || !strings.HasSuffix(c.ServicesIpv4Cidr, "/22") || c.SelfLink != "https://container.googleapis.com/v1beta1/projects/"+project+"/zones/europe-west1-c/clusters/small" {
		t.Fatalf("cluster %s %s %s, %v", c.ClusterIpv4Cidr, c.ServicesIpv4Cidr, c.SelfLink, err)
	}
	legacy, err := w.Projects.Zones.Clusters.Get(project, "europe-west1-c", "small").Do()
	if err != nil || legacy.Id != c.Id {
		t.Errorf("by its zone: %+v, %v", legacy, err)
	}
	s, _ := w.compute.Subnetworks.Get(project, region, "nodes").Do()
	if len(s.SecondaryIpRanges) != 4 {
		t.Errorf("ranges %+v", s.SecondaryIpRanges)
	}
	w.ok(t)(w.Projects.Locations.Clusters.Delete(zone + "/clusters/small").Do())
	if s, _ = w.compute.Subnetworks.Get(project, region, "nodes").Do(); len(s.SecondaryIpRanges) != 2 {
		t.Errorf("ranges left: %+v", s.SecondaryIpRanges)
	}
}

// TestStoredDocumentsConform: what is answered must fit Google's types, field by field.
func TestStoredDocumentsConform(t *testing.T) {
	e := newEngine()
	w := newWorld(t, e)
	w.ok(t)(w.Projects.Locations.Clusters.Create(parent, &api.CreateClusterRequest{Cluster: production("prod")}).Do())
	n := 0
	err := w.store.View(func(tx store.Tx) error {
		return tx.List("", func(k string, raw []byte) error {
			var like any
			switch {
			case strings.HasPrefix(k, "container/") && strings.Contains(k, "/nodePools/"):
				like = api.NodePool{}
			case strings.HasPrefix(k, "container/") && strings.Contains(k, "/clusters/"):
				like = api.Cluster{}
			case strings.HasPrefix(k, "container/"):
				like = api.Operation{}
			case strings.HasPrefix(k, "compute/") && strings.Contains(k, "/instances/"):
				like = capi.Instance{}
			case strings.HasPrefix(k, "compute/") && strings.Contains(k, "/disks/"):
				like = capi.Disk{}
			case strings.Contains(k, "/instanceGroupManagers/") && strings.HasPrefix(k, "compute/"):
				like = capi.InstanceGroupManager{}
			case strings.Contains(k, "/instanceGroups/") && strings.HasPrefix(k, "compute/"):
				like = capi.InstanceGroup{}
			case strings.Contains(k, "/firewalls/"):
				like = capi.Firewall{}
			default:
				return nil
			}
			n++
			if _, err := googleapi.DecodeDoc(raw, like, ""); err != nil {
				t.Errorf("%s: %v", k, err)
			}
			return nil
		})
	})
	if err != nil || n < 9 {
		t.Errorf("%d documents, %v", n, err)
	}
	cfg, err := w.Projects.Locations.GetServerConfig(parent).Do()
	if err != nil || cfg.DefaultClusterVersion != DefaultVersion || len(cfg.Channels) != 3 {
		t.Errorf("server config %+v, %v", cfg, err)
	}
}
