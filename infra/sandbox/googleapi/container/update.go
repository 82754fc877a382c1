package container

import (
	"context"
	"maps"
	"slices"
	"strings"

	api "google.golang.org/api/container/v1beta1"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// changeCluster lets fn change a cluster's document and the engine's order for it. If fn says so the engine has work
// to do; else the operation is over at once.
func (s *Service) changeCluster(r *googleapi.Request, operationType string, fn func(tx store.Tx, d googleapi.Doc, spec *cluster.Cluster) (bool, error)) (any, error) {
	path := clusterPath(r)
	return s.order(func(tx store.Tx) (googleapi.Doc, error) {
		d, err := loadCluster(tx, path)
		if err != nil {
			return nil, err
		}
		if err := free(tx, path, ""); err != nil {
			return nil, err
		}
		if d.String("status") == "ERROR" {
			return nil, googleapi.FailedPrecondition("Cluster %s is in error and can only be deleted: %s", d.String("name"), d.String("statusMessage"))
		}
		var spec cluster.Cluster
		if _, err := tx.Get(specKey(path), &spec); err != nil {
			return nil, err
		}
		engine, err := fn(tx, d, &spec)
		if err != nil {
			return nil, err
		}
		if err := checkRecord(d); err != nil {
			return nil, err
		}
		w := work{}
		if engine {
			w = work{Type: changeCluster, Cluster: path}
			d["status"] = "RECONCILING"
		}
		delete(d, "etag")
		d["etag"] = googleapi.Fingerprint(d)
		if err := tx.Put(specKey(path), spec); err != nil {
			return nil, err
		}
		if err := tx.Put(key(path), d); err != nil {
			return nil, err
		}
		return s.operation(tx, operationType, path, w)
	})
}

// replaced are the fields of a ClusterUpdate that take the place of a field of the cluster; merged are those that
// change only the parts that they have.
var (
	replaced = map[string]string{
		"desiredLoggingConfig": "loggingConfig", "desiredMasterAuthorizedNetworksConfig": "masterAuthorizedNetworksConfig", "desiredReleaseChannel": "releaseChannel",
		"desiredShieldedNodes": "shieldedNodes", "desiredVerticalPodAutoscaling": "verticalPodAutoscaling", "desiredCostManagementConfig": "costManagementConfig",
		"desiredMeshCertificates": "meshCertificates", "desiredNotificationConfig": "notificationConfig", "desiredIdentityServiceConfig": "identityServiceConfig",
		"desiredAuthenticatorGroupsConfig": "authenticatorGroupsConfig", "desiredDefaultSnatStatus": "networkConfig.defaultSnatStatus",
		"desiredServiceExternalIpsConfig": "networkConfig.serviceExternalIpsConfig", "desiredGatewayApiConfig": "networkConfig.gatewayApiConfig",
		"desiredDnsConfig": "networkConfig.dnsConfig", "desiredPrivateIpv6GoogleAccess": "networkConfig.privateIpv6GoogleAccess",
		"desiredEnableFqdnNetworkPolicy": "networkConfig.enableFqdnNetworkPolicy", "desiredEnableCiliumClusterwideNetworkPolicy": "networkConfig.enableCiliumClusterwideNetworkPolicy",
		"desiredBinaryAuthorization": "binaryAuthorization", "desiredResourceUsageExportConfig": "resourceUsageExportConfig", "desiredClusterTelemetry": "clusterTelemetry",
		"desiredNodePoolAutoConfigNetworkTags": "nodePoolAutoConfig.networkTags", "desiredNodePoolLoggingConfig": "nodePoolDefaults.nodeConfigDefaults.loggingConfig",
		"desiredDatabaseEncryption": "databaseEncryption", "desiredSecretManagerConfig": "secretManagerConfig", "desiredPodSecurityPolicyConfig": "podSecurityPolicyConfig",
	}
	merged = map[string]string{
		"desiredMonitoringConfig": "monitoringConfig", "desiredAddonsConfig": "addonsConfig", "desiredPrivateClusterConfig": "privateClusterConfig",
		"desiredSecurityPostureConfig": "securityPostureConfig", "desiredProtectConfig": "protectConfig", "desiredClusterAutoscaling": "autoscaling",
	}
	// with are fields that go with another one.
	with = []string{"desiredNodePoolId", "desiredImageType", "etag"}
)

func (s *Service) updateCluster(_ context.Context, r *googleapi.Request) (any, error) {
	req, err := r.DecodeDoc(api.UpdateClusterRequest{})
	if err != nil {
		return nil, err
	}
	u := req.Doc("update")
	var fields []string
	for _, f := range slices.Sorted(maps.Keys(u)) {
		if u[f] != nil && !slices.Contains(with, f) {
			fields = append(fields, f)
		}
	}
	switch {
	case len(fields) == 0:
		return nil, googleapi.BadRequest("Must specify a field to update.")
	case len(fields) > 1:
		return nil, googleapi.BadRequest("Only one field can be updated at a time, got %s.", strings.Join(fields, ", "))
	}
	f := fields[0]
	if f == "desiredNodePoolAutoscaling" {
		pool := u.String("desiredNodePoolId")
		if pool == "" {
			return nil, googleapi.BadRequest("desired_node_pool_id is required with %s.", f)
		}
		return s.changeAutoscaling(r.With("pool", pool), u.Doc(f))
	}
	return s.changeCluster(r, map[bool]string{true: "UPGRADE_MASTER", false: "UPDATE_CLUSTER"}[f == "desiredMasterVersion"], func(tx store.Tx, d googleapi.Doc, spec *cluster.Cluster) (bool, error) {
		if e := u.String("etag"); e != "" && e != d.String("etag") {
			return false, googleapi.Aborted("The etag %q does not match the cluster's %q.", e, d.String("etag"))
		}
		engine, err := s.apply(tx, d, spec, f, u)
		if err != nil {
			return false, err
		}
		return engine, checkSupported(d, unsupported, "update")
	})
}

// apply changes one field.
func (s *Service) apply(tx store.Tx, d googleapi.Doc, spec *cluster.Cluster, f string, u googleapi.Doc) (bool, error) {
	if path := merged[f]; path != "" {
		sub := d.Sub(path)
		sub.Merge(u.Doc(f))
		if f == "desiredPrivateClusterConfig" {
			return false, checkPrivate(d, spec)
		}
		return false, nil
	}
	if path := replaced[f]; path != "" {
		names := strings.Split(path, ".")
		to := d
		for _, n := range names[:len(names)-1] {
			to = to.Sub(n)
		}
		to[names[len(names)-1]] = u[f]
		if f == "desiredMasterAuthorizedNetworksConfig" {
			if !u.Bool(f, "enabled") {
				d[path] = map[string]any{}
			}
			d.Sub(path).Default("gcpPublicCidrsAccessEnabled", !d.Bool("privateClusterConfig", "enablePrivateNodes"))
		}
		return false, nil
	}
	switch f {
	case "desiredLoggingService", "desiredMonitoringService":
		name := strings.ToLower(f[7:8]) + f[8:]
		return false, setService(d, name, u.String(f))
	case "desiredMasterVersion":
		return false, s.checkVersion("Master", u.String(f))
	case "desiredNodeVersion":
		if pool := u.String("desiredNodePoolId"); pool != "" && !tx.Has(key(specPath(*spec)+"/nodePools/"+pool)) {
			return false, notFound(specPath(*spec) + "/nodePools/" + pool)
		}
		return false, s.checkVersion("Node", u.String(f))
	case "desiredLocations":
		return false, setLocations(d, u.Strings(f))
	case "desiredIntraNodeVisibilityConfig":
		d.Sub("networkConfig")["enableIntraNodeVisibility"] = u.Bool(f, "enabled")
	case "desiredL4ilbSubsettingConfig":
		d.Sub("networkConfig")["enableL4ilbSubsetting"] = u.Bool(f, "enabled")
	case "desiredEnablePrivateEndpoint":
		d.Sub("privateClusterConfig")["enablePrivateEndpoint"] = u.Bool(f)
		return false, checkPrivate(d, spec)
	case "desiredWorkloadIdentityConfig":
		if pool := u.String(f, "workloadPool"); pool != spec.WorkloadPool {
			return false, googleapi.Unimplemented("The sandbox does not simulate a change of the workload pool of a running cluster (container.projects.locations.clusters.update with %s): create the cluster with it.", f)
		}
	case "desiredDatapathProvider":
		if u.String(f) != d.String("networkConfig", "datapathProvider") {
			return false, googleapi.BadRequest("The datapath provider of a cluster cannot be changed.")
		}
	default:
		return false, googleapi.Unimplemented("The sandbox does not simulate %s (container.projects.locations.clusters.update).", f)
	}
	return false, nil
}

func checkPrivate(d googleapi.Doc, spec *cluster.Cluster) error {
	p := d.Doc("privateClusterConfig")
	if p.Bool("enablePrivateEndpoint") && !p.Bool("enablePrivateNodes") {
		return googleapi.BadRequest("private_endpoint can only be enabled when private_nodes is enabled.")
	}
	if p.String("masterIpv4CidrBlock") != spec.MasterCIDR.String() {
		return googleapi.BadRequest("master_ipv4_cidr_block of a cluster cannot be changed.")
	}
	return nil
}

func setService(d googleapi.Doc, name, value string) error {
	want := strings.TrimSuffix(name, "Service") + ".googleapis.com/kubernetes"
	if value != "none" && value != want {
		return googleapi.BadRequest("Invalid %s %q: must be %q or \"none\".", name, value, want)
	}
	d[name] = value
	config := map[string]any{}
	if value != "none" {
		config["enableComponents"] = []any{"SYSTEM_COMPONENTS"}
		if name == "loggingService" {
			config["enableComponents"] = []any{"SYSTEM_COMPONENTS", "WORKLOADS"}
		}
	}
	d.Sub(strings.TrimSuffix(name, "Service") + "Config")["componentConfig"] = config
	return nil
}

// setLocations takes the locations that a cluster has; others would move its pools, which the sandbox does per pool.
func setLocations(d googleapi.Doc, given []string) error {
	zones, err := checkZones(given, d.String("location"))
	if err != nil {
		return err
	}
	if slices.Equal(zones, d.Strings("locations")) {
		return nil
	}
	return googleapi.Unimplemented("The sandbox does not simulate a change of a cluster's locations: set those of its node pools (container.projects.locations.clusters.nodePools.update).")
}

func (s *Service) setResourceLabels(_ context.Context, r *googleapi.Request) (any, error) {
	req, err := r.DecodeDoc(api.SetLabelsRequest{})
	if err != nil {
		return nil, err
	}
	return s.changeCluster(r, "SET_LABELS", func(_ store.Tx, d googleapi.Doc, _ *cluster.Cluster) (bool, error) {
		if req.String("labelFingerprint") != d.String("labelFingerprint") {
			return false, googleapi.ConditionNotMet("Labels could not be set due to fingerprint mismatch: got %q, the cluster's is %q.", req.String("labelFingerprint"), d.String("labelFingerprint"))
		}
		setOrDrop(d, "resourceLabels", req.Get("resourceLabels"))
		d["labelFingerprint"] = labelFingerprint(d)
		return false, nil
	})
}

func (s *Service) setMaintenancePolicy(_ context.Context, r *googleapi.Request) (any, error) {
	req, err := r.DecodeDoc(api.SetMaintenancePolicyRequest{})
	if err != nil {
		return nil, err
	}
	return s.changeCluster(r, "SET_MAINTENANCE_POLICY", func(_ store.Tx, d googleapi.Doc, _ *cluster.Cluster) (bool, error) {
		p := req.Doc("maintenancePolicy")
		if v, now := p.String("resourceVersion"), d.String("maintenancePolicy", "resourceVersion"); v != "" && v != now {
			return false, googleapi.ConditionNotMet("Maintenance policy resource version mismatch: got %q, the cluster's is %q.", v, now)
		}
		if p == nil {
			p = googleapi.Doc{}
		}
		p = p.Clone()
		p.DropNulls()
		d["maintenancePolicy"] = map[string]any(p)
		if err := checkMaintenance(p); err != nil {
			return false, err
		}
		setResourceVersion(d)
		return false, nil
	})
}

func (s *Service) setLegacyAbac(_ context.Context, r *googleapi.Request) (any, error) {
	req, err := r.DecodeDoc(api.SetLegacyAbacRequest{})
	if err != nil {
		return nil, err
	}
	if req.Bool("enabled") {
		return nil, googleapi.Unimplemented("The sandbox does not simulate legacy ABAC (container.projects.locations.clusters.setLegacyAbac).")
	}
	return s.changeCluster(r, "UPDATE_CLUSTER", func(store.Tx, googleapi.Doc, *cluster.Cluster) (bool, error) { return false, nil })
}

func (s *Service) setNetworkPolicy(_ context.Context, r *googleapi.Request) (any, error) {
	req, err := r.DecodeDoc(api.SetNetworkPolicyRequest{})
	if err != nil {
		return nil, err
	}
	return s.changeCluster(r, "SET_NETWORK_POLICY", func(_ store.Tx, d googleapi.Doc, spec *cluster.Cluster) (bool, error) {
		on := req.Bool("networkPolicy", "enabled")
		if on {
			d["networkPolicy"] = req["networkPolicy"]
		} else {
			delete(d, "networkPolicy")
		}
		before := spec.NetworkPolicy
		spec.NetworkPolicy = on || d.String("networkConfig", "datapathProvider") == "ADVANCED_DATAPATH"
		return before != spec.NetworkPolicy, nil
	})
}

func (s *Service) setLogging(_ context.Context, r *googleapi.Request) (any, error) {
	return s.setServiceCall(r, api.SetLoggingServiceRequest{}, "loggingService")
}

func (s *Service) setMonitoring(_ context.Context, r *googleapi.Request) (any, error) {
	return s.setServiceCall(r, api.SetMonitoringServiceRequest{}, "monitoringService")
}

func (s *Service) setServiceCall(r *googleapi.Request, like any, field string) (any, error) {
	req, err := r.DecodeDoc(like)
	if err != nil {
		return nil, err
	}
	return s.changeCluster(r, "UPDATE_CLUSTER", func(_ store.Tx, d googleapi.Doc, _ *cluster.Cluster) (bool, error) {
		return false, setService(d, field, req.String(field))
	})
}

func (s *Service) setAddons(_ context.Context, r *googleapi.Request) (any, error) {
	req, err := r.DecodeDoc(api.SetAddonsConfigRequest{})
	if err != nil {
		return nil, err
	}
	return s.changeCluster(r, "UPDATE_CLUSTER", func(_ store.Tx, d googleapi.Doc, _ *cluster.Cluster) (bool, error) {
		d.Sub("addonsConfig").Merge(req.Doc("addonsConfig"))
		return false, checkSupported(d, unsupported, "cluster")
	})
}

func (s *Service) setLocations(_ context.Context, r *googleapi.Request) (any, error) {
	req, err := r.DecodeDoc(api.SetLocationsRequest{})
	if err != nil {
		return nil, err
	}
	return s.changeCluster(r, "UPDATE_CLUSTER", func(_ store.Tx, d googleapi.Doc, _ *cluster.Cluster) (bool, error) {
		return false, setLocations(d, req.Strings("locations"))
	})
}

func (s *Service) updateMaster(_ context.Context, r *googleapi.Request) (any, error) {
	req, err := r.DecodeDoc(api.UpdateMasterRequest{})
	if err != nil {
		return nil, err
	}
	return s.changeCluster(r, "UPGRADE_MASTER", func(store.Tx, googleapi.Doc, *cluster.Cluster) (bool, error) {
		return false, s.checkVersion("Master", req.String("masterVersion"))
	})
}
