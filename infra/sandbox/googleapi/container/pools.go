package container

import (
	"context"
	"slices"
	"strings"

	api "google.golang.org/api/container/v1beta1"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/machine"
	"patag/infra/sandbox/store"
)

// unsupportedPool is the same as unsupported for a pool.
var unsupportedPool = map[string][]string{
	"autopilotConfig.enabled": nil, "placementPolicy.type": nil, "queuedProvisioning.enabled": nil, "networkConfig.createPodRange": nil,
	"config.sandboxConfig.type": nil, "config.sandboxConfig.sandboxType": nil, "config.localSsdCount": {"0"}, "config.confidentialNodes.enabled": nil,
	"config.ephemeralStorageConfig.localSsdCount": {"0"}, "config.ephemeralStorageLocalSsdConfig.localSsdCount": {"0"}, "config.localNvmeSsdBlockConfig.localSsdCount": {"0"},
	"config.bootDiskKmsKey": nil, "config.nodeGroup": nil, "config.minCpuPlatform": nil, "config.flexStart": nil, "config.gcfsConfig.enabled": nil, "config.fastSocket.enabled": nil,
	"config.advancedMachineFeatures.enableNestedVirtualization": nil, "config.linuxNodeConfig.cgroupMode": {"CGROUP_MODE_UNSPECIFIED"},
	"config.kubeletConfig.cpuManagerPolicy": {"none"}, "config.containerdConfig.privateRegistryAccessConfig.enabled": nil,
}

var defaultScopes = []any{"https://www.googleapis.com/auth/devstorage.read_only", "https://www.googleapis.com/auth/logging.write", "https://www.googleapis.com/auth/monitoring",
	"https://www.googleapis.com/auth/service.management.readonly", "https://www.googleapis.com/auth/servicecontrol", "https://www.googleapis.com/auth/trace.append"}

var imageTypes = []string{"COS_CONTAINERD", "UBUNTU_CONTAINERD"}

var diskTypes = []string{"pd-standard", "pd-balanced", "pd-ssd"}

// fillPool checks a node pool of cluster c that is ordered and completes its document as Google would.
func (s *Service) fillPool(tx store.Tx, c googleapi.Doc, project string, p googleapi.Doc) error {
	name := p.String("name")
	if !poolName.MatchString(name) {
		return googleapi.BadRequest("Invalid value for field \"node_pool.name\": %q. Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,38}[a-z0-9])?)' (only alphanumerics and '-' allowed, must start with a letter and end with an alphanumeric, and must be no longer than 40 characters).", name)
	}
	if err := checkSupported(p, unsupportedPool, "node_pool"); err != nil {
		return err
	}
	if len(p.Docs("config", "accelerators")) > 0 {
		return googleapi.Unimplemented("The sandbox does not simulate accelerators (container.projects.locations.clusters.nodePools).")
	}
	p.Drop("status", "statusMessage", "instanceGroupUrls", "conditions", "selfLink", "etag", "updateInfo", "podIpv4CidrSize")
	location := c.String("location")
	zones, err := poolZones(p.Strings("locations"), c)
	if err != nil {
		return err
	}
	p["locations"] = zones
	if n := p.Int("initialNodeCount"); n < 0 || n > 1000 {
		return googleapi.BadRequest("Invalid node_pool.initial_node_count %d: must be between 0 and 1000.", n)
	}
	if err := s.checkVersion("Node", p.String("version")); err != nil {
		return err
	}
	p["version"] = c["currentNodeVersion"]
	if err := fillAutoscaling(p); err != nil {
		return err
	}
	if err := fillConfig(tx, c, project, p.Sub("config")); err != nil {
		return err
	}
	if !p.Has("management") {
		p["management"] = map[string]any{"autoRepair": true, "autoUpgrade": true}
	}
	if err := checkManagement(c, p); err != nil {
		return err
	}
	if u := p.Sub("upgradeSettings"); len(u) == 0 || u.String("strategy") == "" || u.String("strategy") == "SURGE" {
		if !u.Has("maxSurge") && !u.Has("maxUnavailable") {
			u["maxSurge"] = 1
		}
		u["strategy"] = "SURGE"
		if u.Int("maxSurge")+u.Int("maxUnavailable") <= 0 || u.Int("maxSurge")+u.Int("maxUnavailable") > 20 {
			return googleapi.BadRequest("Invalid upgrade settings: max_surge plus max_unavailable must be between 1 and 20.")
		}
	}
	p.Sub("maxPodsConstraint").Default("maxPodsPerNode", c.String("defaultMaxPodsConstraint", "maxPodsPerNode"))
	if n := p.Int("maxPodsConstraint", "maxPodsPerNode"); n < 8 || n > 256 {
		return googleapi.BadRequest("Invalid node_pool.max_pods_constraint.max_pods_per_node %d: must be between 8 and 256.", n)
	}
	p["podIpv4CidrSize"] = podBits(p.Int("maxPodsConstraint", "maxPodsPerNode"))
	n := p.Sub("networkConfig")
	n.Default("podRange", c.String("ipAllocationPolicy", "clusterSecondaryRangeName"))
	if n.String("podRange") != c.String("ipAllocationPolicy", "clusterSecondaryRangeName") {
		return googleapi.Unimplemented("The sandbox does not simulate node_pool.network_config.pod_range other than the cluster's (container.projects.locations.clusters.nodePools).")
	}
	n["podIpv4CidrBlock"] = c.String("ipAllocationPolicy", "clusterIpv4CidrBlock")
	n.Default("enablePrivateNodes", c.Bool("privateClusterConfig", "enablePrivateNodes"))
	p["selfLink"] = selfLink("projects/" + project + "/locations/" + location + "/clusters/" + c.String("name") + "/nodePools/" + name)
	p["status"] = "PROVISIONING"
	p["etag"] = googleapi.Fingerprint(p)
	return nil
}

func poolZones(given []string, c googleapi.Doc) ([]any, error) {
	if len(given) == 0 {
		given = c.Strings("locations")
	}
	all := zonesOf(regionOf(c.String("location")))
	var zones []any
	given = slices.Clone(given)
	slices.Sort(given)
	for i, z := range given {
		if !slices.Contains(all, z) {
			return nil, googleapi.BadRequest("Location %q is not a zone of region %q.", z, regionOf(c.String("location")))
		}
		if i > 0 && given[i-1] == z {
			return nil, googleapi.BadRequest("Location %q is given twice.", z)
		}
		zones = append(zones, z)
	}
	return zones, nil
}

func fillAutoscaling(p googleapi.Doc) error {
	a := p.Doc("autoscaling")
	if !a.Bool("enabled") {
		delete(p, "autoscaling")
		return nil
	}
	total := a.Int("totalMinNodeCount") > 0 || a.Int("totalMaxNodeCount") > 0
	perZone := a.Int("minNodeCount") > 0 || a.Int("maxNodeCount") > 0
	if total && perZone {
		return googleapi.BadRequest("Autoscaling limits are either per zone (min_node_count, max_node_count) or in total (total_min_node_count, total_max_node_count).")
	}
	low, high := a.Int("minNodeCount"), a.Int("maxNodeCount")
	if total {
		low, high = a.Int("totalMinNodeCount"), a.Int("totalMaxNodeCount")
	}
	if high < 1 || low < 0 || low > high {
		return googleapi.BadRequest("Invalid autoscaling limits: the minimum %d must be at least 0 and at most the maximum %d, which must be at least 1.", low, high)
	}
	policy := "BALANCED"
	if p.Bool("config", "spot") || p.Bool("config", "preemptible") {
		policy = "ANY"
	}
	if v := a.String("locationPolicy"); v == "" || v == "LOCATION_POLICY_UNSPECIFIED" {
		a["locationPolicy"] = policy
	}
	return nil
}

func checkManagement(c, p googleapi.Doc) error {
	channel := c.String("releaseChannel", "channel")
	if channel == "" || channel == "UNSPECIFIED" {
		return nil
	}
	if !p.Bool("management", "autoUpgrade") {
		return googleapi.BadRequest("Auto_upgrade must be true when release_channel %s is set.", channel)
	}
	if !p.Bool("management", "autoRepair") {
		return googleapi.BadRequest("Auto_repair must be true when release_channel %s is set.", channel)
	}
	return nil
}

func fillConfig(tx store.Tx, c googleapi.Doc, project string, config googleapi.Doc) error {
	config.Default("machineType", "e2-medium")
	if _, err := machine.Lookup(config.String("machineType")); err != nil {
		return googleapi.BadRequest("Machine type with name %q does not exist in zone %q (%v).", config.String("machineType"), first(c.Strings("locations")...), err)
	}
	if config.Int("diskSizeGb") == 0 {
		config["diskSizeGb"] = 100
	}
	if n := config.Int("diskSizeGb"); n < 10 || n > 65536 {
		return googleapi.BadRequest("Invalid node_config.disk_size_gb %d: must be between 10 and 65536.", n)
	}
	config.Default("diskType", "pd-balanced")
	if t := config.String("diskType"); !slices.Contains(diskTypes, t) {
		return googleapi.BadRequest("Disk type with name %q does not exist; use one of %s.", t, strings.Join(diskTypes, ", "))
	}
	config.Default("imageType", "COS_CONTAINERD")
	config["imageType"] = strings.ToUpper(config.String("imageType"))
	if t := config.String("imageType"); !slices.Contains(imageTypes, t) {
		return googleapi.BadRequest("Image type %q is not supported; use one of %s.", t, strings.Join(imageTypes, ", "))
	}
	if config.Bool("spot") && config.Bool("preemptible") {
		return googleapi.BadRequest("Only one of spot and preemptible can be true.")
	}
	for _, f := range []string{"spot", "preemptible"} {
		if !config.Bool(f) {
			delete(config, f)
		}
	}
	if len(config.Strings("oauthScopes")) == 0 {
		config["oauthScopes"] = defaultScopes
	}
	config.Default("serviceAccount", "default")
	if err := checkAccount(tx, project, config.String("serviceAccount")); err != nil {
		return err
	}
	config.Sub("metadata").Default("disable-legacy-endpoints", "true")
	config.Sub("shieldedInstanceConfig").Default("enableIntegrityMonitoring", true)
	mode := config.String("workloadMetadataConfig", "mode")
	if identity := c.Has("workloadIdentityConfig", "workloadPool"); identity && (mode == "" || mode == "MODE_UNSPECIFIED") {
		config["workloadMetadataConfig"] = map[string]any{"mode": "GKE_METADATA"}
	} else if !identity && mode == "GKE_METADATA" {
		return googleapi.BadRequest("Workload metadata mode GKE_METADATA needs Workload Identity on the cluster.")
	}
	if !config.Has("loggingConfig") {
		config["loggingConfig"] = map[string]any{"variantConfig": map[string]any{"variant": "DEFAULT"}}
	}
	return checkTaints(config.Docs("taints"))
}

// checkAccount: the pool's service account must exist. The default one of Compute Engine always does.
func checkAccount(tx store.Tx, project, account string) error {
	if account == "default" || account == googleapi.DefaultServiceAccount(project) || tx.Has("iam/projects/"+project+"/serviceAccounts/"+account) {
		return nil
	}
	owner := project
	if _, domain, ok := strings.Cut(account, "@"); ok {
		owner = strings.TrimSuffix(domain, ".iam.gserviceaccount.com")
	}
	if tx.Has("iam/projects/" + owner + "/serviceAccounts/" + account) {
		return nil
	}
	return googleapi.BadRequest("Service account %q does not exist.", account)
}

var effects = map[string]string{"NO_SCHEDULE": "NoSchedule", "PREFER_NO_SCHEDULE": "PreferNoSchedule", "NO_EXECUTE": "NoExecute"}

func checkTaints(taints []googleapi.Doc) error {
	for _, t := range taints {
		if effects[t.String("effect")] == "" {
			return googleapi.BadRequest("Invalid taint effect %q: must be NO_SCHEDULE, PREFER_NO_SCHEDULE or NO_EXECUTE.", t.String("effect"))
		}
		if t.String("key") == "" || len(t.String("key")) > 253 {
			return googleapi.BadRequest("Invalid taint key %q.", t.String("key"))
		}
	}
	return nil
}

// putPool writes a new pool with its instance groups.
func (s *Service) putPool(tx store.Tx, c googleapi.Doc, spec cluster.Cluster, p googleapi.Doc) error {
	links, err := s.putGroups(tx, c, spec, p.String("name"), p.Strings("locations"))
	if err != nil {
		return err
	}
	p["instanceGroupUrls"] = links
	path := specPath(spec)
	size := p.Int("initialNodeCount")
	if a := p.Doc("autoscaling"); a.Bool("enabled") && a.Int("maxNodeCount") > 0 {
		size = min(max(size, a.Int("minNodeCount")), a.Int("maxNodeCount"))
	}
	if err := tx.Put(sizeKey(path, p.String("name")), size); err != nil {
		return err
	}
	return tx.Put(key(path+"/nodePools/"+p.String("name")), p)
}

// poolSpec is the engine's order for a pool, from its document and its last wanted size.
func (s *Service) poolSpec(tx store.Tx, path string, spec cluster.Cluster, name string) (cluster.NodePool, error) {
	var p googleapi.Doc
	found, err := tx.Get(key(path+"/nodePools/"+name), &p)
	if err != nil {
		return cluster.NodePool{}, err
	}
	if !found {
		return cluster.NodePool{}, notFound(path + "/nodePools/" + name)
	}
	var size int
	if _, err := tx.Get(sizeKey(path, name), &size); err != nil {
		return cluster.NodePool{}, err
	}
	config := p.Doc("config")
	out := cluster.NodePool{Cluster: spec.ID, Name: name, MachineType: config.String("machineType"), Spot: config.Bool("spot"), Preemptible: config.Bool("preemptible"),
		Labels: config.StringMap("labels"), Zones: p.Strings("locations"), Size: size, AutoRepair: p.Bool("management", "autoRepair"),
		DiskGB: config.Int("diskSizeGb"), DiskType: config.String("diskType"), ServiceAccount: config.String("serviceAccount"), Tags: config.Strings("tags")}
	if out.ServiceAccount == "default" {
		out.ServiceAccount = googleapi.DefaultServiceAccount(spec.Project)
	}
	for _, t := range config.Docs("taints") {
		out.Taints = append(out.Taints, cluster.Taint{Key: t.String("key"), Value: t.String("value"), Effect: effects[t.String("effect")]})
	}
	if a := p.Doc("autoscaling"); a.Bool("enabled") {
		out.Autoscaling = &cluster.Autoscaling{Min: int(a.Int("minNodeCount")), Max: int(a.Int("maxNodeCount")), TotalMin: int(a.Int("totalMinNodeCount")), TotalMax: int(a.Int("totalMaxNodeCount"))}
	}
	return out, nil
}

func (s *Service) registerPools() {
	const pools = locations + "/clusters/{cluster}/nodePools"
	s.handle("POST", pools, s.createPool)
	s.handle("GET", pools, func(_ context.Context, r *googleapi.Request) (any, error) {
		docs := []googleapi.Doc{}
		err := s.core.Store().View(func(tx store.Tx) error {
			if _, err := loadCluster(tx, clusterPath(r)); err != nil {
				return err
			}
			found, err := loadPools(tx, clusterPath(r))
			docs = append(docs, found...)
			return err
		})
		return googleapi.Doc{"nodePools": docs}, err
	})
	s.handle("GET", pools+"/{pool}", func(_ context.Context, r *googleapi.Request) (any, error) {
		var d googleapi.Doc
		err := s.core.Store().View(func(tx store.Tx) (err error) {
			d, err = loadPool(tx, r)
			return err
		})
		return d, err
	})
	s.handle("DELETE", pools+"/{pool}", s.deletePool)
	s.handle("PUT", pools+"/{pool}", s.updatePool)
	s.handle("POST", pools+"/{pool}/update", s.updatePool)
	for _, verb := range []string{":setSize", "/setSize"} {
		s.handle("POST", pools+"/{pool}"+verb, s.setSize)
	}
	for _, verb := range []string{":setManagement", "/setManagement"} {
		s.handle("POST", pools+"/{pool}"+verb, s.setManagement)
	}
	for _, verb := range []string{":setAutoscaling", "/autoscaling"} {
		s.handle("POST", pools+"/{pool}"+verb, s.setAutoscaling)
	}
}

func loadPool(tx store.Tx, r *googleapi.Request) (googleapi.Doc, error) {
	if _, err := loadCluster(tx, clusterPath(r)); err != nil {
		return nil, err
	}
	var d googleapi.Doc
	found, err := tx.Get(key(poolPath(r)), &d)
	if err == nil && !found {
		err = notFound(poolPath(r))
	}
	return d, err
}

func (s *Service) createPool(_ context.Context, r *googleapi.Request) (any, error) {
	req, err := r.DecodeDoc(api.CreateNodePoolRequest{})
	if err != nil {
		return nil, err
	}
	p := req.Doc("nodePool")
	if p == nil {
		return nil, googleapi.BadRequest("NodePool is a required field.")
	}
	p = p.Clone()
	p.DropNulls()
	path := clusterPath(r)
	return s.order(func(tx store.Tx) (googleapi.Doc, error) {
		c, err := loadCluster(tx, path)
		if err != nil {
			return nil, err
		}
		name := p.String("name")
		if tx.Has(key(path + "/nodePools/" + name)) {
			return nil, googleapi.AlreadyExists("Already exists: %s/nodePools/%s.", path, name)
		}
		if err := free(tx, path, name); err != nil {
			return nil, err
		}
		if c.String("status") == "ERROR" {
			return nil, googleapi.FailedPrecondition("Cluster %s is in error: %s", c.String("name"), c.String("statusMessage"))
		}
		if err := s.fillPool(tx, c, r.Var("project"), p); err != nil {
			return nil, err
		}
		var spec cluster.Cluster
		if _, err := tx.Get(specKey(path), &spec); err != nil {
			return nil, err
		}
		if err := s.putPool(tx, c, spec, p); err != nil {
			return nil, err
		}
		return s.operation(tx, "CREATE_NODE_POOL", path+"/nodePools/"+name, work{Type: createPool, Cluster: path, Pool: name})
	})
}

func (s *Service) deletePool(_ context.Context, r *googleapi.Request) (any, error) {
	return s.changePool(r, "DELETE_NODE_POOL", "STOPPING", deletePool, func(store.Tx, googleapi.Doc, googleapi.Doc) (bool, error) { return true, nil })
}
