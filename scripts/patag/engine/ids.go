package engine

import (
	"slices"
	"strings"
)

// The provider IDs that resources of a type will have, computed from the inputs. They let a run that was killed
// while creating something find it again. {…} is an input; {project} is the provider's when the input is not set.
//
// Absent on purpose: IAM members and enabled services (to add one that is there is no error), secret versions (a
// second one does no harm), and the types whose IDs the server chooses (notification channels, alert policies,
// uptime checks, dashboards), for which a left-over is reported.
var gcpIDs = map[string]string{
	"gcp:artifactregistry/repository:Repository":              "projects/{project}/locations/{location}/repositories/{repositoryId}",
	"gcp:certificatemanager/certificate:Certificate":          "projects/{project}/locations/{location|global}/certificates/{name}",
	"gcp:compute/address:Address":                             "projects/{project}/regions/{region}/addresses/{name}",
	"gcp:compute/disk:Disk":                                   "projects/{project}/zones/{zone}/disks/{name}",
	"gcp:compute/firewall:Firewall":                           "projects/{project}/global/firewalls/{name}",
	"gcp:compute/globalAddress:GlobalAddress":                 "projects/{project}/global/addresses/{name}",
	"gcp:compute/instance:Instance":                           "projects/{project}/zones/{zone}/instances/{name}",
	"gcp:compute/managedSslCertificate:ManagedSslCertificate": "projects/{project}/global/sslCertificates/{name}",
	"gcp:compute/network:Network":                             "projects/{project}/global/networks/{name}",
	"gcp:compute/resourcePolicy:ResourcePolicy":               "projects/{project}/regions/{region}/resourcePolicies/{name}",
	"gcp:compute/router:Router":                               "projects/{project}/regions/{region}/routers/{name}",
	"gcp:compute/routerNat:RouterNat":                         "{project}/{region}/{router}/{name}",
	"gcp:compute/sSLCertificate:SSLCertificate":               "projects/{project}/global/sslCertificates/{name}",
	"gcp:compute/sSLPolicy:SSLPolicy":                         "projects/{project}/global/sslPolicies/{name}",
	"gcp:compute/securityPolicy:SecurityPolicy":               "projects/{project}/global/securityPolicies/{name}",
	"gcp:compute/subnetwork:Subnetwork":                       "projects/{project}/regions/{region}/subnetworks/{name}",
	"gcp:container/cluster:Cluster":                           "projects/{project}/locations/{location}/clusters/{name}",
	"gcp:container/nodePool:NodePool":                         "projects/{project}/locations/{location}/clusters/{cluster}/nodePools/{name}",
	"gcp:dns/managedZone:ManagedZone":                         "projects/{project}/managedZones/{name}",
	"gcp:dns/recordSet:RecordSet":                             "projects/{project}/managedZones/{managedZone}/rrsets/{name}/{type}",
	"gcp:logging/metric:Metric":                               "{name}",
	"gcp:logging/projectSink:ProjectSink":                     "projects/{project}/sinks/{name}",
	"gcp:projects/iAMCustomRole:IAMCustomRole":                "projects/{project}/roles/{roleId}",
	"gcp:secretmanager/secret:Secret":                         "projects/{project}/secrets/{secretId}",
	"gcp:serviceaccount/account:Account":                      "projects/{project}/serviceAccounts/{accountId}@{project}.iam.gserviceaccount.com",
	"gcp:storage/bucket:Bucket":                               "{name}",
	"gcp:storage/bucketObject:BucketObject":                   "{bucket}-{name}",
}

// harmless types may be created a second time without leaving one behind.
var harmless = []string{
	"IAMMember", "IAMBinding", "IAMPolicy", "gcp:projects/service:Service", "gcp:secretmanager/secretVersion:SecretVersion",
	"gcp:serviceaccount/iAMMember", "random:", "tls:", "pulumi:providers:",
}

func isHarmless(kind string) bool {
	return slices.ContainsFunc(harmless, func(h string) bool { return strings.Contains(kind, h) })
}

// clusterScoped are the Kubernetes kinds without a namespace.
var clusterScoped = []string{
	"APIService", "ClusterRole", "ClusterRoleBinding", "CSIDriver", "CSINode", "CustomResourceDefinition", "IngressClass",
	"MutatingWebhookConfiguration", "Namespace", "Node", "PersistentVolume", "PriorityClass", "RuntimeClass", "StorageClass",
	"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration", "VolumeAttachment",
}

// guessID computes the ID that a resource has if its creation succeeded; false when it cannot be known.
func guessID(kind string, inputs map[string]any, defaults map[string]string) (string, bool) {
	if strings.HasPrefix(kind, "kubernetes:") {
		return kubernetesID(kind, inputs)
	}
	template, ok := gcpIDs[kind]
	if !ok {
		return "", false
	}
	var id strings.Builder
	for {
		before, rest, found := strings.Cut(template, "{")
		id.WriteString(before)
		if !found {
			return id.String(), true
		}
		name, after, _ := strings.Cut(rest, "}")
		name, fallback, _ := strings.Cut(name, "|")
		value, _ := inputs[name].(string)
		if value == "" {
			value = fallback
		}
		if value == "" {
			value = defaults[name]
		}
		if value == "" {
			return "", false
		}
		template = after
		// An input may name another resource by its whole path; an ID holds the last element. A bucket object's
		// name and a record's are not paths to other resources.
		if name != "name" && strings.Contains(value, "/") {
			value = value[strings.LastIndexByte(value, '/')+1:]
		}
		id.WriteString(value)
	}
}

func kubernetesID(kind string, inputs map[string]any) (string, bool) {
	metadata, _ := inputs["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	if name == "" {
		return "", false
	}
	if slices.Contains(clusterScoped, kind[strings.LastIndexByte(kind, ':')+1:]) {
		return name, true
	}
	namespace, _ := metadata["namespace"].(string)
	if namespace == "" {
		namespace = "default"
	}
	return namespace + "/" + name, true
}
