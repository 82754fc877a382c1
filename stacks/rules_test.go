package stacks

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"patag/infra/pulumitest"
	"patag/stacks/config"
)

// TestRules holds every stack to what was decided for all resources.
func TestRules(t *testing.T) {
	for name, result := range cases(t) {
		t.Run(name, func(t *testing.T) {
			components := map[string]bool{}
			for _, c := range result.Components() {
				components[c.Key()] = true
				if !regexp.MustCompile(`^patag:[a-z]+:[A-Z][A-Za-z]*$`).MatchString(c.Type) {
					t.Errorf("component type %s is not patag:<package>:<Name>", c.Type)
				}
			}
			// The stack itself closes too.
			if got, want := result.OutputsRegistered, len(components)+1; got != want {
				t.Errorf("RegisterResourceOutputs was called %d times for %d components and the stack", got, len(components))
			}
			var cluster string
			for _, c := range result.OfType("gcp:container/cluster:Cluster") {
				cluster = c.Key()
			}
			for _, r := range result.Resources {
				if !r.Custom {
					continue
				}
				if !components[r.Parent] && !strings.HasPrefix(r.Type, "pulumi:providers:") {
					t.Errorf("%s has the parent %q, want a component", r.Key(), r.Parent)
				}
				if strings.HasPrefix(r.Type, "kubernetes:") {
					if r.DeletedWith != cluster {
						t.Errorf("%s is deleted with %q, want the cluster", r.Key(), r.DeletedWith)
					}
					if !r.HasProvider {
						t.Errorf("%s has no provider of its own: it would go to whatever cluster the operator's kubeconfig names", r.Key())
					}
				}
			}
		})
	}
}

func TestProtection(t *testing.T) {
	for _, r := range foundationRun(t).Resources {
		if !r.Protect && r.Type != "pulumi:pulumi:Stack" {
			t.Errorf("%s of the foundation is not protected", r.Key())
		}
	}
	want := map[string][]string{
		"production":          {"kubernetes:apps/v1:StatefulSet mongo", "kubernetes:core/v1:Namespace platform"},
		"production-ferretdb": {"kubernetes:apps/v1:StatefulSet mongo", "kubernetes:core/v1:Namespace platform"},
		"staging":             nil,
	}
	all := cases(t)
	for name, expected := range want {
		var got []string
		for _, r := range all[name].Resources {
			if r.Protect {
				got = append(got, r.Key())
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(expected) {
			t.Errorf("%s protects %v, want %v", name, got, expected)
		}
	}
	for _, r := range mustRun(t, "production", config.MongoDB, map[string]string{"patag:protectData": "false"}).Resources {
		if r.Protect {
			t.Errorf("%s is protected though protectData is false", r.Key())
		}
	}
	bucket := foundationRun(t).One(t, "gcp:storage/bucket:Bucket", "patag-backup")
	if bucket.At("forceDestroy") != false {
		t.Error("the backup bucket's forceDestroy is not set to false")
	}
}

func TestCluster(t *testing.T) {
	result := mustRun(t, "production", config.FerretDB, nil)
	c := result.One(t, "gcp:container/cluster:Cluster", "production")
	for path, want := range map[string]any{
		"deletionProtection": false, "removeDefaultNodePool": true, "datapathProvider": "ADVANCED_DATAPATH", "enableShieldedNodes": true,
		"privateClusterConfig.enablePrivateNodes": true, "releaseChannel.channel": "REGULAR", "location": "europe-west1-b",
		"workloadIdentityConfig.workloadPool":                    "patag-sandbox.svc.id.goog",
		"ipAllocationPolicy.clusterSecondaryRangeName":           "pods",
		"masterAuthorizedNetworksConfig.cidrBlocks[0].cidrBlock": "0.0.0.0/0",
	} {
		if got := c.At(path); got != want {
			t.Errorf("cluster's %s is %v, want %v", path, got, want)
		}
	}
	for _, absent := range []string{"name", "nodePools", "minMasterVersion", "nodeVersion"} {
		if c.At(absent) != nil {
			t.Errorf("the cluster has %s", absent)
		}
	}
	provider := result.One(t, "pulumi:providers:kubernetes", "production")
	if id, _ := provider.At("clusterIdentifier").(string); !strings.HasPrefix(id, "production-") {
		t.Errorf("the provider's clusterIdentifier is %q, want the cluster's auto-name", id)
	}
	if kubeconfig, _ := provider.At("kubeconfig").(string); !strings.Contains(kubeconfig, "gke-gcloud-auth-plugin") || !strings.Contains(kubeconfig, "https://198.51.100.1") {
		t.Errorf("the provider's kubeconfig is %q", kubeconfig)
	}
	regional := mustRun(t, "production", config.FerretDB, map[string]string{"patag:location": "europe-west1", "patag:nodeZones": `["europe-west1-b","europe-west1-c"]`})
	if got := fmt.Sprint(regional.One(t, "gcp:container/cluster:Cluster", "production").At("nodeLocations")); got != "[europe-west1-b europe-west1-c]" {
		t.Errorf("node locations of a regional cluster are %s", got)
	}
}

func TestPools(t *testing.T) {
	for name, want := range map[string]struct {
		result            *pulumitest.Result
		standard, highCPU string // machine type, initial and minimum, maximum, spot
	}{
		"production": {mustRun(t, "production", config.FerretDB, nil), "n1-standard-1 3 3 6 false", "n1-highcpu-2 2 2 10 false"},
		"staging":    {mustRun(t, "staging-acme", config.FerretDB, nil), "n1-standard-1 2 2 4 true", "n1-highcpu-2 2 2 3 true"},
		"chosen": {mustRun(t, "production", config.FerretDB, map[string]string{"patag:highCpuMachineType": "n2-highcpu-4", "patag:highCpuMin": "4", "patag:highCpuSpot": "true"}),
			"n1-standard-1 3 3 6 false", "n2-highcpu-4 4 4 10 true"},
	} {
		for role, expected := range map[string]string{poolStandard: want.standard, poolHighCPU: want.highCPU} {
			p := want.result.One(t, "gcp:container/nodePool:NodePool", role)
			got := fmt.Sprint(p.At("nodeConfig.machineType"), " ", p.At("initialNodeCount"), " ", p.At("autoscaling.minNodeCount"), " ", p.At("autoscaling.maxNodeCount"), " ", p.At("nodeConfig.spot"))
			if got != expected {
				t.Errorf("%s: pool %s is %q, want %q", name, role, got, expected)
			}
			if p.At("nodeCount") != nil {
				t.Errorf("%s: pool %s has nodeCount beside autoscaling", name, role)
			}
			if p.At("name") != nil {
				t.Errorf("%s: pool %s has a name of its own: it could not be made before the old one goes", name, role)
			}
			if fmt.Sprint(p.IgnoreChanges) != "[initialNodeCount]" {
				t.Errorf("%s: pool %s ignores changes of %v", name, role, p.IgnoreChanges)
			}
			if tainted := p.At("nodeConfig.taints") != nil; tainted != (role == poolHighCPU) {
				t.Errorf("%s: pool %s tainted: %v", name, role, tainted)
			}
		}
	}
}

func TestNoReplicasUnderAutoscaler(t *testing.T) {
	for name, result := range cases(t) {
		for _, hpa := range result.OfType("kubernetes:autoscaling/v2:HorizontalPodAutoscaler") {
			target := hpa.At("spec.scaleTargetRef.name")
			for _, d := range result.OfType("kubernetes:apps/v1:Deployment") {
				if d.At("metadata.name") == target && d.At("spec.replicas") != nil {
					t.Errorf("%s: %s has replicas, which the autoscaler owns", name, d.Key())
				}
			}
		}
	}
}

// TestSecretsStaySecret: what is secret is marked so wherever it goes.
func TestSecretsStaySecret(t *testing.T) {
	for name, result := range cases(t) {
		for _, r := range result.OfType("kubernetes:core/v1:Secret") {
			for key := range r.Inputs["stringData"].(map[string]any) {
				if !marked(r, "stringData."+key) && !marked(r, "stringData") {
					t.Errorf("%s: %s of %s is not marked secret (%v)", name, key, r.Key(), r.Secrets)
				}
			}
		}
		for _, r := range result.OfType("gcp:secretmanager/secretVersion:SecretVersion") {
			if !marked(r, "secretData") {
				t.Errorf("%s: %s is not marked secret", name, r.Key())
			}
			if fmt.Sprint(r.IgnoreChanges) != "[secretData]" {
				t.Errorf("%s: %s is generated, and would be another in each run", name, r.Key())
			}
		}
	}
}

func marked(r pulumitest.Resource, path string) bool {
	for _, s := range r.Secrets {
		if s == path {
			return true
		}
	}
	return false
}

// TestGivenSecret: a secret that the operator gave is kept and follows the configuration.
func TestGivenSecret(t *testing.T) {
	values := configOf(t, "foundation", "")
	values["patag:tagKey"] = strings.Repeat("ab", 32)
	result, err := pulumitest.Run(pulumitest.Input{Stack: "foundation", Config: values, Secret: []string{"patag:tagKey"}}, Run)
	if err != nil {
		t.Fatal(err)
	}
	version := result.One(t, "gcp:secretmanager/secretVersion:SecretVersion", "patag-tag-key")
	if version.At("secretData") != values["patag:tagKey"] || len(version.IgnoreChanges) > 0 || !marked(version, "secretData") {
		t.Errorf("the given secret is not kept as given: ignores %v, secrets %v", version.IgnoreChanges, version.Secrets)
	}
}

// TestAddress: production takes the foundation's address, a staging has its own.
func TestAddress(t *testing.T) {
	if n := len(mustRun(t, "production", config.FerretDB, nil).OfType("gcp:compute/globalAddress:GlobalAddress")); n != 0 {
		t.Errorf("production makes %d addresses, want the foundation's", n)
	}
	staging := mustRun(t, "staging-acme", config.FerretDB, nil)
	record := staging.One(t, "gcp:dns/recordSet:RecordSet", "staging-acme")
	if got, want := record.At("name"), "acme.staging.patag.example.com."; got != want {
		t.Errorf("the staging's record is %v, want %s", got, want)
	}
	ingress := staging.One(t, "kubernetes:networking.k8s.io/v1:Ingress", "edge")
	for annotation, prefix := range map[string]string{
		"kubernetes.io/ingress.class": "gce", "kubernetes.io/ingress.global-static-ip-name": "staging-acme-", "ingress.gcp.kubernetes.io/pre-shared-cert": "staging-acme-",
	} {
		if got, _ := ingress.At(fmt.Sprintf("metadata.annotations[%q]", annotation)).(string); !strings.HasPrefix(got, prefix) {
			t.Errorf("annotation %s is %q, want %s…", annotation, got, prefix)
		}
	}
	if ingress.At("spec.ingressClassName") != nil {
		t.Error("the Ingress has ingressClassName, which GKE's controller does not look at")
	}
}
