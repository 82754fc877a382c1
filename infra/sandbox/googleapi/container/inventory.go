package container

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/compute"
	"patag/infra/sandbox/store"
)

var _ cluster.Inventory = (*Service)(nil)

// baseName is what GKE puts before the names of what belongs to a pool: gke-CLUSTER-POOL-HASH, at most 58 characters.
func baseName(spec cluster.Cluster, pool string) string {
	sum := sha256.Sum256([]byte(spec.ID + "/" + pool))
	return fmt.Sprintf("gke-%s-%s-%x", strings.Trim(cut(spec.Name, 20), "-"), strings.Trim(cut(pool, 20), "-"), sum[:4])
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

func specPath(spec cluster.Cluster) string {
	return "projects/" + spec.Project + "/locations/" + spec.Location + "/clusters/" + spec.Name
}

func groupPath(spec cluster.Cluster, pool, zone string) string {
	return "projects/" + spec.Project + "/zones/" + zone + "/instanceGroupManagers/" + baseName(spec, pool) + "-grp"
}

// nodeTag is the network tag of all nodes of a cluster.
func nodeTag(spec cluster.Cluster) string {
	return "gke-" + strings.Trim(cut(spec.Name, 20), "-") + "-" + spec.ID[len(spec.ID)-8:] + "-node"
}

// putGroups writes the instance groups and their managers of a pool and returns the managers' links.
func (s *Service) putGroups(tx store.Tx, c googleapi.Doc, spec cluster.Cluster, pool string, zones []string) ([]any, error) {
	var links []any
	for _, zone := range zones {
		path := groupPath(spec, pool, zone)
		group := strings.Replace(path, "/instanceGroupManagers/", "/instanceGroups/", 1)
		template := "projects/" + spec.Project + "/global/instanceTemplates/" + baseName(spec, pool)
		err := s.compute.Materialise(tx, template, googleapi.Doc{"description": "", "properties": googleapi.Doc{"labels": clusterLabels(spec)}})
		if err != nil {
			return nil, err
		}
		err = s.compute.Materialise(tx, group, googleapi.Doc{"description": "This instance group is controlled by Instance Group Manager '" + compute.Base(path) + "'. To modify instances in this group, use the Instance Group Manager API.",
			"network": compute.Link(c.String("networkConfig", "network")), "subnetwork": compute.Link(c.String("networkConfig", "subnetwork")), "fingerprint": "42WmSpB8rSM="})
		if err != nil {
			return nil, err
		}
		err = s.compute.Materialise(tx, path, googleapi.Doc{"instanceGroup": compute.Link(group), "instanceTemplate": compute.Link(template), "baseInstanceName": baseName(spec, pool),
			"fingerprint": googleapi.Fingerprint(path), "versions": []any{googleapi.Doc{"instanceTemplate": compute.Link(template), "targetSize": googleapi.Doc{}}},
			"updatePolicy":                googleapi.Doc{"type": "OPPORTUNISTIC", "minimalAction": "REPLACE", "maxSurge": googleapi.Doc{"fixed": 1, "calculated": 1}, "maxUnavailable": googleapi.Doc{"fixed": 1, "calculated": 1}},
			"listManagedInstancesResults": "PAGELESS"})
		if err != nil {
			return nil, err
		}
		if err := tx.Put(groupKey(path), poolGroup{spec.ID, specPath(spec), pool}); err != nil {
			return nil, err
		}
		links = append(links, compute.Link(path))
	}
	return links, nil
}

func dropGroups(tx store.Tx, spec cluster.Cluster, pool string) error {
	for _, zone := range compute.Zones(regionOf(spec.Location)) {
		path := groupPath(spec, pool, zone)
		for _, p := range []string{path, strings.Replace(path, "/instanceGroupManagers/", "/instanceGroups/", 1)} {
			if err := compute.Remove(tx, p); err != nil {
				return err
			}
		}
		if err := tx.Delete(groupKey(path)); err != nil {
			return err
		}
	}
	return compute.Remove(tx, "projects/"+spec.Project+"/global/instanceTemplates/"+baseName(spec, pool))
}

// dropNodes removes the virtual machines of a pool, or of all pools, that the engine did not report as gone.
func dropNodes(tx store.Tx, spec cluster.Cluster, pool string) error {
	var paths []string
	prefix := "compute/projects/" + spec.Project + "/zones/"
	err := tx.List(prefix, func(k string, raw []byte) error {
		if parts := strings.Split(k[len(prefix):], "/"); len(parts) != 3 || parts[1] != "instances" {
			return nil
		}
		var d googleapi.Doc
		if err := json.Unmarshal(raw, &d); err != nil {
			return err
		}
		labels := d.StringMap("labels")
		if labels["goog-k8s-cluster-name"] == spec.Name && labels["goog-k8s-cluster-location"] == spec.Location && (pool == "" || labels["goog-k8s-node-pool-name"] == pool) {
			paths = append(paths, strings.TrimPrefix(k, "compute/"))
		}
		return nil
	})
	for _, p := range paths {
		if err == nil {
			err = removeNode(tx, p)
		}
	}
	return err
}

func removeNode(tx store.Tx, path string) error {
	if err := compute.Remove(tx, path); err != nil {
		return err
	}
	return compute.Remove(tx, strings.Replace(path, "/instances/", "/disks/", 1))
}

func clusterLabels(spec cluster.Cluster) googleapi.Doc {
	return googleapi.Doc{"goog-gke-node": "", "goog-k8s-cluster-name": spec.Name, "goog-k8s-cluster-location": spec.Location}
}

// poolGroup tells whose an instance group manager is.
type poolGroup struct{ ID, Cluster, Pool string }

func groupKey(path string) string { return "container-groups/" + path }

// groupSize is the wanted number of nodes of a pool in a zone, as the autoscaler left it. The engine is asked outside
// the transaction: it may be waiting to report a node.
func (s *Service) groupSize(path string) (int, bool) {
	var g poolGroup
	var n int
	sized := false
	err := s.core.Store().View(func(tx store.Tx) error {
		found, err := tx.Get(groupKey(path), &g)
		if err != nil || !found {
			return err
		}
		sized, err = tx.Get(sizeKey(g.Cluster, g.Pool), &n)
		return err
	})
	if err != nil || g.ID == "" {
		return 0, false
	}
	if s.engine != nil {
		if live, ok := s.engine.NodePoolSize(g.ID, g.Pool); ok {
			return live, true
		}
	}
	return n, sized
}

// NodeUp shows a node as a virtual machine with its boot disk.
func (s *Service) NodeUp(n cluster.Node) error {
	return s.core.Store().Update(func(tx store.Tx) error {
		var path string
		found, err := tx.Get(idKey(n.ClusterID), &path)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("node %s: cluster %s is not known", n.Name, n.ClusterID)
		}
		var spec cluster.Cluster
		if _, err := tx.Get(specKey(path), &spec); err != nil {
			return err
		}
		c, err := loadCluster(tx, path)
		if err != nil {
			return err
		}
		var pool googleapi.Doc
		if _, err := tx.Get(key(path+"/nodePools/"+n.Pool), &pool); err != nil {
			return err
		}
		labels := clusterLabels(spec)
		for k, v := range c.StringMap("resourceLabels") {
			labels[k] = v
		}
		labels["goog-k8s-node-pool-name"] = n.Pool
		zone := "projects/" + n.Project + "/zones/" + n.Zone
		instance, disk := zone+"/instances/"+n.Name, zone+"/disks/"+n.Name
		diskType := pool.String("config", "diskType")
		if diskType == "" {
			diskType = "pd-balanced"
		}
		err = s.compute.Materialise(tx, disk, googleapi.Doc{"sizeGb": fmt.Sprint(n.DiskGB), "type": compute.Link(zone + "/diskTypes/" + diskType), "status": "READY",
			"users": []any{compute.Link(instance)}, "labels": labels, "labelFingerprint": googleapi.Fingerprint(labels), "physicalBlockSizeBytes": "4096"})
		if err != nil {
			return err
		}
		return s.compute.Materialise(tx, instance, s.instanceDoc(n, c, pool, spec, labels))
	})
}

func (s *Service) instanceDoc(n cluster.Node, c, pool googleapi.Doc, spec cluster.Cluster, labels googleapi.Doc) googleapi.Doc {
	account := pool.String("config", "serviceAccount")
	if account == "" || account == "default" {
		account = googleapi.DefaultServiceAccount(n.Project)
	}
	tags := []any{nodeTag(spec)}
	for _, t := range pool.Strings("config", "tags") {
		tags = append(tags, t)
	}
	scheduling := googleapi.Doc{"onHostMaintenance": "MIGRATE", "automaticRestart": true, "preemptible": false, "provisioningModel": "STANDARD"}
	if n.Spot || n.Preemptible {
		scheduling = googleapi.Doc{"onHostMaintenance": "TERMINATE", "automaticRestart": false, "preemptible": true, "provisioningModel": "STANDARD"}
		if n.Spot {
			scheduling["provisioningModel"], scheduling["instanceTerminationAction"] = "SPOT", "DELETE"
		}
	}
	group := groupPath(spec, n.Pool, n.Zone)
	items := []any{
		googleapi.Doc{"key": "created-by", "value": strings.Replace(group, "projects/"+n.Project, "projects/"+googleapi.ProjectNumber(n.Project), 1)},
		googleapi.Doc{"key": "cluster-name", "value": spec.Name},
		googleapi.Doc{"key": "cluster-location", "value": spec.Location},
		googleapi.Doc{"key": "disable-legacy-endpoints", "value": "true"},
	}
	zone := "projects/" + n.Project + "/zones/" + n.Zone
	network := googleapi.Doc{"kind": "compute#networkInterface", "name": "nic0", "networkIP": n.InternalIP.String(), "stackType": "IPV4_ONLY",
		"network": compute.Link(c.String("networkConfig", "network")), "subnetwork": compute.Link(c.String("networkConfig", "subnetwork"))}
	return googleapi.Doc{
		"status": "RUNNING", "machineType": compute.Link(zone + "/machineTypes/" + n.MachineType), "canIpForward": true, "cpuPlatform": "Intel Broadwell",
		"networkInterfaces": []any{network}, "labels": labels, "labelFingerprint": googleapi.Fingerprint(labels),
		"tags":     googleapi.Doc{"items": tags, "fingerprint": googleapi.Fingerprint(tags)},
		"metadata": googleapi.Doc{"kind": "compute#metadata", "items": items, "fingerprint": googleapi.Fingerprint(items)},
		"disks": []any{googleapi.Doc{"kind": "compute#attachedDisk", "type": "PERSISTENT", "mode": "READ_WRITE", "boot": true, "autoDelete": true, "index": 0,
			"deviceName": "persistent-disk-0", "diskSizeGb": fmt.Sprint(n.DiskGB), "source": compute.Link(zone + "/disks/" + n.Name), "interface": "SCSI"}},
		"scheduling": scheduling, "serviceAccounts": []any{googleapi.Doc{"email": account, "scopes": pool.Get("config", "oauthScopes")}},
		"shieldedInstanceConfig": googleapi.Doc{"enableSecureBoot": false, "enableVtpm": true, "enableIntegrityMonitoring": true},
		"startRestricted":        false, "deletionProtection": false, "fingerprint": googleapi.Fingerprint(n), "lastStartTimestamp": googleapi.Timestamp(s.core.Now()),
	}
}

// NodeDown takes the virtual machine of a node away.
func (s *Service) NodeDown(n cluster.Node) error {
	return s.core.Store().Update(func(tx store.Tx) error {
		return removeNode(tx, "projects/"+n.Project+"/zones/"+n.Zone+"/instances/"+n.Name)
	})
}

// putFirewalls writes the rules that GKE makes for a cluster; they hold its network until the cluster is gone.
func (s *Service) putFirewalls(tx store.Tx, c googleapi.Doc, spec cluster.Cluster) error {
	all := []any{"tcp", "udp", "icmp", "esp", "ah", "sctp"}
	rule := func(protocols ...any) (out []any) {
		for _, p := range protocols {
			r := googleapi.Doc{"IPProtocol": p}
			if p == "tcp" || p == "udp" {
				r["ports"] = []any{"1-65535"}
			}
			out = append(out, r)
		}
		return out
	}
	everything := []any{}
	for _, p := range all {
		everything = append(everything, googleapi.Doc{"IPProtocol": p})
	}
	for name, f := range map[string]googleapi.Doc{
		"all":    {"allowed": everything, "sourceRanges": []any{spec.PodCIDR.String()}},
		"vms":    {"allowed": rule("icmp", "tcp", "udp"), "sourceRanges": []any{spec.NodeCIDR.String()}},
		"master": {"allowed": []any{googleapi.Doc{"IPProtocol": "tcp", "ports": []any{"443", "10250"}}}, "sourceRanges": []any{spec.MasterCIDR.String()}},
	} {
		f["network"], f["targetTags"] = compute.Link(c.String("networkConfig", "network")), []any{nodeTag(spec)}
		f["direction"], f["disabled"], f["priority"], f["logConfig"] = "INGRESS", false, 1000, googleapi.Doc{"enable": false}
		if err := s.compute.Materialise(tx, firewallPath(spec, name), f); err != nil {
			return err
		}
	}
	return nil
}

func firewallPath(spec cluster.Cluster, name string) string {
	return "projects/" + spec.Project + "/global/firewalls/" + strings.TrimSuffix(nodeTag(spec), "-node") + "-" + name
}

func (s *Service) dropFirewalls(tx store.Tx, spec cluster.Cluster) error {
	for _, name := range []string{"all", "vms", "master"} {
		if err := compute.Remove(tx, firewallPath(spec, name)); err != nil {
			return err
		}
	}
	return nil
}
