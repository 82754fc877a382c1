package gke

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/gke/node"
	"patag/infra/sandbox/machine"
)

// templateOf names what a node cannot change without being made anew.
func templateOf(p cluster.NodePool) string {
	raw, err := json.Marshal([]any{p.MachineType, p.Spot, p.Preemptible, p.DiskGB, p.DiskType, p.ServiceAccount, p.Tags})
	if err != nil {
		panic(err) // strings, booleans and numbers
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

// maxNamePart is how much of the names of cluster and pool GKE takes into a node's name.
const maxNamePart = 20

func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.TrimRight(s, "-")
}

// nodeName is gke-<cluster>-<pool>-<8 hex digits of the instance group>-<4 characters>.
func nodeName(c cluster.Cluster, pool, zone string) string {
	group := sha256.Sum256([]byte(c.ID + "/" + pool + "/" + zone))
	const letters = "0123456789bcdfghjklmnpqrstvwxz"
	random := make([]byte, 4)
	if _, err := rand.Read(random); err != nil {
		panic(err) // the system has no randomness
	}
	for i, b := range random {
		random[i] = letters[int(b)%len(letters)]
	}
	return fmt.Sprintf("gke-%s-%s-%s-%s", clip(c.Name, maxNamePart), clip(pool, maxNamePart), hex.EncodeToString(group[:4]), random)
}

// nodeLabels are those GKE gives the nodes of a pool, and the pool's own.
func nodeLabels(c cluster.Cluster, p cluster.NodePool, zone string, t machine.Type) map[string]string {
	region := zone[:max(0, strings.LastIndexByte(zone, '-'))]
	family, _, _ := strings.Cut(p.MachineType, "-")
	disk := p.DiskType
	if disk == "" {
		disk = "pd-balanced"
	}
	labels := map[string]string{
		"beta.kubernetes.io/instance-type":             p.MachineType,
		"cloud.google.com/gke-boot-disk":               disk,
		"cloud.google.com/gke-container-runtime":       "containerd",
		"cloud.google.com/gke-cpu-scaling-level":       strconv.Itoa(t.VCPU),
		"cloud.google.com/gke-logging-variant":         "DEFAULT",
		"cloud.google.com/gke-max-pods-per-node":       "110",
		"cloud.google.com/gke-memory-gb-scaling-level": strconv.FormatInt(t.MemoryMiB/1024, 10),
		"cloud.google.com/gke-nodepool":                p.Name,
		"cloud.google.com/gke-os-distribution":         "cos",
		"cloud.google.com/gke-provisioning":            "standard",
		"cloud.google.com/gke-stack-type":              "IPV4",
		"cloud.google.com/machine-family":              family,
		"failure-domain.beta.kubernetes.io/region":     region,
		"failure-domain.beta.kubernetes.io/zone":       zone,
		"node.kubernetes.io/instance-type":             p.MachineType,
		"topology.gke.io/zone":                         zone,
		"topology.kubernetes.io/region":                region,
		"topology.kubernetes.io/zone":                  zone,
	}
	if c.WorkloadPool != "" {
		labels["iam.gke.io/gke-metadata-server-enabled"] = "true"
	}
	if p.Spot {
		labels["cloud.google.com/gke-spot"] = "true"
		labels["cloud.google.com/gke-provisioning"] = "spot"
	}
	if p.Preemptible {
		labels["cloud.google.com/gke-preemptible"] = "true"
		labels["cloud.google.com/gke-provisioning"] = "preemptible"
	}
	maps.Copy(labels, p.Labels)
	return labels
}

const gib = 1 << 30

// defaultDiskGB is the boot disk of a pool that does not say.
const defaultDiskGB = 100

func diskBytes(gb int64) int64 {
	if gb == 0 {
		gb = defaultDiskGB
	}
	return gb * gib
}

// reservedDisk is what GKE keeps of a boot disk: the least of half of it, 6 GiB and 35 % of it, and 100 GiB, and 10 % as
// the eviction threshold. Source: "Plan GKE node sizes".
func reservedDisk(bytes int64) int64 {
	return min(bytes/2, 6*gib+bytes*35/100, 100*gib) + bytes/10
}

func reservedOf(t machine.Type, gb int64) node.Reserved {
	return node.Reserved{
		MilliCPU:    int64(t.VCPU)*1000 - t.AllocatableMilliCPU(),
		MemoryMiB:   t.ReservedMiB(),
		EvictionMiB: machine.EvictionMiB,
		DiskBytes:   reservedDisk(diskBytes(gb)),
	}
}

// allocatableOf is what pods get of an empty node.
func allocatableOf(t machine.Type, gb int64) corev1.ResourceList {
	disk := diskBytes(gb)
	return corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewMilliQuantity(t.AllocatableMilliCPU(), resource.DecimalSI),
		corev1.ResourceMemory:           *resource.NewQuantity(t.AllocatableMiB()<<20, resource.BinarySI),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(disk-reservedDisk(disk), resource.BinarySI),
		corev1.ResourcePods:             *resource.NewQuantity(110, resource.DecimalSI),
	}
}

// version is the cluster's as Kubernetes writes it.
func version(c cluster.Cluster) string {
	if c.Version == "" {
		return ""
	}
	return "v" + c.Version
}

// userOf is the user that a control plane's or a node's programs run as: far above the numbers that systems give to
// people and services.
func userOf(id string) uint32 {
	const first, count = 1_900_000_000, 100_000_000
	sum := sha256.Sum256([]byte(id))
	return first + binary.BigEndian.Uint32(sum[:4])%count
}

// machineID is stable for a node's name and looks like a system UUID.
func machineID(nodeName string) string {
	h := hex.EncodeToString(func() []byte { s := sha256.Sum256([]byte(nodeName)); return s[:16] }())
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// registryHosts are the names under which images are pulled from the sandbox: Artifact Registry's in every location.
func registryHosts() []string {
	var hosts []string
	for _, location := range strings.Fields(`us europe asia
		africa-south1 asia-east1 asia-east2 asia-northeast1 asia-northeast2 asia-northeast3 asia-south1 asia-south2
		asia-southeast1 asia-southeast2 australia-southeast1 australia-southeast2 europe-central2 europe-north1 europe-north2
		europe-southwest1 europe-west1 europe-west2 europe-west3 europe-west4 europe-west6 europe-west8 europe-west9
		europe-west10 europe-west12 me-central1 me-central2 me-west1 northamerica-northeast1 northamerica-northeast2
		northamerica-south1 southamerica-east1 southamerica-west1 us-central1 us-central2 us-east1 us-east4 us-east5
		us-south1 us-west1 us-west2 us-west3 us-west4`) {
		hosts = append(hosts, location+"-docker.pkg.dev")
	}
	return hosts
}
