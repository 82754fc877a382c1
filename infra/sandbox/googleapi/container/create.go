package container

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"

	api "google.golang.org/api/container/v1beta1"

	"patag/infra/sandbox/addresses"
	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

var clusterName, poolName = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$`), regexp.MustCompile(`^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$`)

// unsupported are settings of a cluster that Google has and the sandbox does not; any value but the given ones (and
// absent, false, empty) is answered with 501.
var unsupported = map[string][]string{
	"autopilot.enabled": nil, "enableTpu": nil, "tpuConfig.enabled": nil, "enableKubernetesAlpha": nil, "confidentialNodes.enabled": nil,
	"fleet.project": nil, "databaseEncryption.state": {"DECRYPTED"}, "binaryAuthorization.enabled": nil,
	"binaryAuthorization.evaluationMode": {"DISABLED", "EVALUATION_MODE_UNSPECIFIED"}, "autoscaling.enableNodeAutoprovisioning": nil,
	"networkConfig.enableMultiNetworking": nil, "networkConfig.dnsConfig.clusterDns": {"PROVIDER_UNSPECIFIED", "PLATFORM_DEFAULT", "KUBE_DNS"},
	"networkConfig.gatewayApiConfig.channel": {"CHANNEL_UNSPECIFIED", "CHANNEL_DISABLED"}, "ipAllocationPolicy.useRoutes": nil,
	"ipAllocationPolicy.stackType": {"IPV4", "STACK_TYPE_UNSPECIFIED"}, "ipAllocationPolicy.createSubnetwork": nil, "legacyAbac.enabled": nil,
	"masterAuth.clientCertificateConfig.issueClientCertificate": nil, "masterAuth.username": nil, "resourceUsageExportConfig.bigqueryDestination.datasetId": nil,
	"userManagedKeysConfig.clusterCa": nil, "addonsConfig.cloudRunConfig.disabled": {"true"}, "addonsConfig.istioConfig.disabled": {"true"},
	"addonsConfig.configConnectorConfig.enabled": nil, "addonsConfig.gcpFilestoreCsiDriverConfig.enabled": nil, "addonsConfig.gcsFuseCsiDriverConfig.enabled": nil,
	"addonsConfig.gkeBackupAgentConfig.enabled": nil, "addonsConfig.rayOperatorConfig.enabled": nil, "addonsConfig.statefulHaConfig.enabled": nil,
	"addonsConfig.kalmConfig.enabled": nil, "identityServiceConfig.enabled": nil, "meshCertificates.enableCertificates": nil,
	"podSecurityPolicyConfig.enabled": nil, "notificationConfig.pubsub.enabled": nil, "secretManagerConfig.enabled": nil,
}

func checkSupported(d googleapi.Doc, table map[string][]string, what string) error {
	for path, fine := range table {
		v := d.Get(strings.Split(path, ".")...)
		text := fmt.Sprint(v)
		if v == nil || v == false || v == "" || slices.Contains(fine, text) {
			continue
		}
		return googleapi.Unimplemented("The sandbox does not simulate %s.%s = %s (container.projects.locations.clusters).", what, path, text)
	}
	return nil
}

func (s *Service) create(_ context.Context, r *googleapi.Request) (any, error) {
	req, err := r.DecodeDoc(api.CreateClusterRequest{})
	if err != nil {
		return nil, err
	}
	d := req.Doc("cluster")
	if d == nil {
		return nil, googleapi.BadRequest("Cluster is a required field.")
	}
	d = d.Clone()
	d.DropNulls()
	location := r.Var("location")
	if zonesOf(location) == nil {
		return nil, badLocation(location)
	}
	name := d.String("name")
	if !clusterName.MatchString(name) {
		return nil, googleapi.BadRequest("Invalid value for field \"cluster.name\": %q. Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,38}[a-z0-9])?)' (only alphanumerics and '-' allowed, must start with a letter and end with an alphanumeric, and must be no longer than 40 characters).", name)
	}
	if err := checkSupported(d, unsupported, "cluster"); err != nil {
		return nil, err
	}
	path := place(r) + "/clusters/" + name
	return s.order(func(tx store.Tx) (googleapi.Doc, error) {
		if tx.Has(key(path)) {
			return nil, googleapi.AlreadyExists("Already exists: %s.", path)
		}
		spec, pools, err := s.plan(tx, r.Var("project"), location, path, d)
		if err != nil {
			return nil, err
		}
		for k, v := range map[string]any{key(path): d, specKey(path): spec, idKey(spec.ID): path} {
			if err := tx.Put(k, v); err != nil {
				return nil, err
			}
		}
		if err := s.putFirewalls(tx, d, spec); err != nil {
			return nil, err
		}
		for _, p := range pools {
			if err := s.putPool(tx, d, spec, p); err != nil {
				return nil, err
			}
		}
		return s.operation(tx, "CREATE_CLUSTER", path, work{Type: createCluster, Cluster: path})
	})
}

// plan checks a cluster that is ordered, completes its document as Google would, and makes the engine's order of it
// and the documents of its pools. What it writes is the allotted address and ranges, in the caller's transaction.
func (s *Service) plan(tx store.Tx, project, location, path string, d googleapi.Doc) (spec cluster.Cluster, pools []googleapi.Doc, err error) {
	wanted := d.Docs("nodePools")
	initial := d.Int("initialNodeCount")
	switch {
	case len(wanted) > 0 && initial > 0:
		return spec, nil, googleapi.BadRequest("Cannot specify both Cluster.initial_node_count and Cluster.node_pools.")
	case len(wanted) == 0 && initial <= 0:
		return spec, nil, googleapi.BadRequest("Cluster.initial_node_count must be greater than zero.")
	case len(wanted) == 0:
		config := d.Doc("nodeConfig")
		if config == nil {
			config = googleapi.Doc{}
		}
		wanted = []googleapi.Doc{{"name": "default-pool", "initialNodeCount": d["initialNodeCount"], "config": map[string]any(config)}}
	}
	zones, err := checkZones(d.Strings("locations"), location)
	if err != nil {
		return spec, nil, err
	}
	id := make([]byte, 32)
	if _, err := rand.Read(id); err != nil {
		return spec, nil, err
	}
	spec = cluster.Cluster{ID: d.String("name") + "-" + hex.EncodeToString(id[:4]), Project: project, Location: location, Name: d.String("name"), Zones: zones}
	d["id"], d["location"], d["zone"], d["selfLink"], d["status"] = hex.EncodeToString(id), location, location, selfLink(path), "PROVISIONING"
	list := []any{}
	for _, z := range zones {
		list = append(list, z)
	}
	d["locations"] = list
	if err := s.setVersion(d, &spec); err != nil {
		return spec, nil, err
	}
	takeEndpoints(d)
	if err := s.setNetwork(tx, d, &spec); err != nil {
		return spec, nil, err
	}
	if err := setWorkloadPool(d, &spec); err != nil {
		return spec, nil, err
	}
	spec.NetworkPolicy = d.String("networkConfig", "datapathProvider") == "ADVANCED_DATAPATH" || d.Bool("networkPolicy", "enabled")
	if spec.Endpoint, err = addresses.AllocateEndpoint(tx, s.core.Settings(), "container/"+spec.ID); err != nil {
		return spec, nil, googleapi.PermissionDenied("Insufficient quota to satisfy the request: %v", err)
	}
	if err := checkRecord(d); err != nil {
		return spec, nil, err
	}
	fillCluster(d, project)
	d["createTime"] = s.core.Now().UTC().Format("2006-01-02T15:04:05+00:00")
	seen := map[string]bool{}
	for _, p := range wanted {
		if seen[p.String("name")] {
			return spec, nil, googleapi.BadRequest("Node pool names must be unique: %q.", p.String("name"))
		}
		seen[p.String("name")] = true
		if err := s.fillPool(tx, d, project, p); err != nil {
			return spec, nil, err
		}
		pools = append(pools, p)
	}
	d.Drop("nodePools", "nodeConfig")
	return spec, pools, nil
}

// checkZones checks node locations against the cluster's location and fills Google's default.
func checkZones(given []string, location string) ([]string, error) {
	if len(given) == 0 {
		return zonesOf(location)[:min(3, len(zonesOf(location)))], nil
	}
	all := zonesOf(regionOf(location))
	for i, z := range given {
		if !slices.Contains(all, z) {
			return nil, googleapi.BadRequest("Location %q is not a zone of region %q.", z, regionOf(location))
		}
		if slices.Index(given, z) != i {
			return nil, googleapi.BadRequest("Location %q is given twice.", z)
		}
	}
	if len(zonesOf(location)) == 1 && !slices.Contains(given, location) {
		return nil, googleapi.BadRequest("Locations must contain the cluster's own zone %q.", location)
	}
	slices.Sort(given)
	return given, nil
}

func setWorkloadPool(d googleapi.Doc, spec *cluster.Cluster) error {
	spec.WorkloadPool = d.String("workloadIdentityConfig", "workloadPool")
	if spec.WorkloadPool == "" {
		delete(d, "workloadIdentityConfig")
		return nil
	}
	if want := spec.Project + ".svc.id.goog"; spec.WorkloadPool != want {
		return googleapi.BadRequest("Workload Identity is only supported with the identity namespace %q, got %q.", want, spec.WorkloadPool)
	}
	return nil
}
