package policy

import (
	"fmt"
	"strings"
	"time"

	"patag/stacks/config"
)

const (
	clusterType  = "gcp:container/cluster:Cluster"
	nodePoolType = "gcp:container/nodePool:NodePool"
	bucketType   = "gcp:storage/bucket:Bucket"
)

func publicBuckets(_ Stack, r Resource) (found []finding) {
	if !strings.HasPrefix(r.Type, "gcp:storage/") {
		return nil
	}
	in := inputs(r)
	if r.Type == bucketType {
		if p := in.at("publicAccessPrevention"); !p.unknown && p.text() != "enforced" {
			found = append(found, finding{fmt.Sprintf("publicAccessPrevention is %q, so that one grant could open it to everybody", p.text()), `set it to "enforced"`})
		}
		if u := in.at("uniformBucketLevelAccess"); !u.is() {
			found = append(found, finding{"uniformBucketLevelAccess is off, so that each object can be opened by itself", "set it to true"})
		}
	}
	for _, who := range append(in.at("members").list(), in.at("member"), in.at("entity")) {
		if everybody(who.text()) {
			found = append(found, finding{"it is given to " + who.text(), "give it to a service account or a group"})
		}
	}
	for _, entry := range in.at("roleEntities").list() {
		if _, who, _ := strings.Cut(entry.text(), ":"); everybody(who) {
			found = append(found, finding{"it is given to " + who, "give it to a service account or a group"})
		}
	}
	if acl := in.at("predefinedAcl").text(); strings.HasPrefix(acl, "public") || strings.HasPrefix(acl, "authenticated") {
		found = append(found, finding{fmt.Sprintf("predefinedAcl is %q", acl), "leave it out, and grant access with an IAM member"})
	}
	return found
}

func everybody(who string) bool { return who == "allUsers" || who == "allAuthenticatedUsers" }

func accountKeys(_ Stack, r Resource) []finding {
	switch r.Type {
	case "gcp:serviceaccount/key:Key", "gcp:storage/hmacKey:HmacKey":
		return because("use Workload Identity (infra/workloadidentity), or impersonation for people", "a key works for whoever has a copy, from everywhere and for years")
	}
	return nil
}

func publicNodes(_ Stack, r Resource) (found []finding) {
	in := inputs(r)
	switch r.Type {
	case clusterType:
		if !in.at("privateClusterConfig", "enablePrivateNodes").is() {
			return because("set privateClusterConfig.enablePrivateNodes", "its nodes would have addresses of the internet")
		}
	case nodePoolType:
		if private := in.at("networkConfig", "enablePrivateNodes"); !private.absent() && !private.is() {
			return because("leave networkConfig.enablePrivateNodes out, or true", "its nodes would have addresses of the internet")
		}
	case "gcp:compute/instance:Instance", "gcp:compute/instanceTemplate:InstanceTemplate", "gcp:compute/regionInstanceTemplate:RegionInstanceTemplate":
		for _, nic := range in.at("networkInterfaces").list() {
			if len(nic.at("accessConfigs").list())+len(nic.at("ipv6AccessConfigs").list()) > 0 {
				found = append(found, finding{"a network interface has accessConfigs, and thus an address of the internet", "leave accessConfigs out: Cloud NAT lets it out, IAP lets people in"})
			}
		}
	}
	return found
}

func stagingOnSpot(s Stack, r Resource) []finding {
	if s.Kind != config.Staging {
		return nil
	}
	in := inputs(r)
	const dear = "it is paid in full, some four times the price of a spot machine"
	switch r.Type {
	case nodePoolType:
		if node := in.at("nodeConfig"); !node.at("spot").is() && !node.at("preemptible").is() {
			return because("set nodeConfig.spot (patag:standardSpot, patag:highCpuSpot)", "%s", dear)
		}
	case clusterType:
		// The default pool is made first, and removed.
		if node := in.at("nodeConfig"); !in.at("removeDefaultNodePool").is() && !node.at("spot").is() && !node.at("preemptible").is() {
			return because("set removeDefaultNodePool, and make pools of their own", "its default pool stays, and %s", dear)
		}
	case "gcp:compute/instance:Instance", "gcp:compute/instanceTemplate:InstanceTemplate", "gcp:compute/regionInstanceTemplate:RegionInstanceTemplate":
		how := in.at("scheduling")
		if model := how.at("provisioningModel"); !how.at("preemptible").is() && !model.unknown && model.text() != "SPOT" {
			return because(`set scheduling.provisioningModel to "SPOT"`, "%s", dear)
		}
	}
	return nil
}

// labelTime is stacks.LabelTime, which the programs write.
const labelTime = "20060102t150405z"

func stagingExpires(s Stack, r Resource) []finding {
	if s.Kind != config.Staging || r.Type != clusterType {
		return nil
	}
	const do = "make it with `patag staging create`, or set patag:owner and patag:expiresAt"
	labels := inputs(r).at("resourceLabels")
	if owner := labels.at("owner"); !owner.unknown && owner.text() == "" {
		return because(do, "it has no label owner: nobody could be asked whether it is still needed")
	}
	until := labels.at("expires-at")
	if until.unknown {
		return nil
	}
	if until.text() == "" {
		return because(do, "it has no label expires-at: it would run, and cost, until somebody remembers it")
	}
	if _, err := time.Parse(labelTime, until.text()); err != nil {
		return because(do, "its label expires-at is %q, not a time such as %s", until.text(), labelTime)
	}
	return nil
}

// holdsData names what only a restore would bring back.
func holdsData(r Resource) bool {
	switch r.Type {
	case bucketType, "kubernetes:core/v1:Namespace":
		return true
	case "kubernetes:apps/v1:StatefulSet":
		// Redis' counters live minutes; Mongo's data is what backups are made of.
		return r.Name == "mongo"
	}
	return false
}

func protection(s Stack, r Resource) []finding {
	switch {
	case r.Protect, strings.HasPrefix(r.Type, "pulumi:"):
		return nil
	case s.Kind == config.Foundation:
		return because("make it with pulumi.Protect(true), as the foundation's other resources", "it is not protected, and outlives clusters: a slip could delete it")
	case s.Kind == config.Production && s.ProtectData && holdsData(r):
		return because("make it with pulumi.Protect(true); to let it go on purpose: patag:protectData=false, or `patag down`", "it holds data and is not protected")
	}
	return nil
}
