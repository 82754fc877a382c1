package kube

import (
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// PodSecurity is the pod's half of the restricted Pod Security Standard. Volumes belong to the group of the user.
func PodSecurity(uid int) *corev1.PodSecurityContextArgs {
	return &corev1.PodSecurityContextArgs{
		RunAsNonRoot:        pulumi.Bool(true),
		RunAsUser:           pulumi.Int(uid),
		RunAsGroup:          pulumi.Int(uid),
		FsGroup:             pulumi.Int(uid),
		FsGroupChangePolicy: pulumi.String("OnRootMismatch"),
		SeccompProfile:      &corev1.SeccompProfileArgs{Type: pulumi.String("RuntimeDefault")},
	}
}

// ContainerSecurity is the container's half, and a root file system that cannot be written.
func ContainerSecurity() *corev1.SecurityContextArgs {
	return &corev1.SecurityContextArgs{
		AllowPrivilegeEscalation: pulumi.Bool(false),
		ReadOnlyRootFilesystem:   pulumi.Bool(true),
		RunAsNonRoot:             pulumi.Bool(true),
		Capabilities:             &corev1.CapabilitiesArgs{Drop: pulumi.StringArray{pulumi.String("ALL")}},
	}
}

// Size is what a container asks for and what it may take, in Kubernetes' notation.
type Size struct{ CPU, Memory, CPULimit, MemoryLimit string }

// Resources of a container of the size.
func Resources(s Size) *corev1.ResourceRequirementsArgs {
	return &corev1.ResourceRequirementsArgs{
		Requests: pulumi.StringMap{"cpu": pulumi.String(s.CPU), "memory": pulumi.String(s.Memory)},
		Limits:   pulumi.StringMap{"cpu": pulumi.String(s.CPULimit), "memory": pulumi.String(s.MemoryLimit)},
	}
}

// Probe asks every period seconds and gives up after so many failures in a row.
func Probe(period, failures int) *corev1.ProbeArgs {
	return &corev1.ProbeArgs{PeriodSeconds: pulumi.Int(period), TimeoutSeconds: pulumi.Int(max(1, period)), FailureThreshold: pulumi.Int(failures)}
}

// TCPProbe succeeds when the port accepts a connection.
func TCPProbe(port string, period, failures int) *corev1.ProbeArgs {
	p := Probe(period, failures)
	p.TcpSocket = &corev1.TCPSocketActionArgs{Port: pulumi.String(port)}
	return p
}

// HTTPProbe succeeds when the path answers with 2xx or 3xx.
func HTTPProbe(port, path string, period, failures int) *corev1.ProbeArgs {
	p := Probe(period, failures)
	p.HttpGet = &corev1.HTTPGetActionArgs{Port: pulumi.String(port), Path: pulumi.String(path)}
	return p
}

// ExecProbe succeeds when the command exits with 0.
func ExecProbe(period, failures int, command ...string) *corev1.ProbeArgs {
	p := Probe(period, failures)
	p.TimeoutSeconds = pulumi.Int(max(2, period)) // starting a process takes its time on a busy node
	p.Exec = &corev1.ExecActionArgs{Command: pulumi.ToStringArray(command)}
	return p
}

// SpreadOverNodes keeps the pods of a part on different nodes as far as there are enough: with fewer nodes, service
// comes before spread. Pods of a Deployment's earlier version do not count: a rolling restart, which ends them, could
// otherwise leave all new ones on one node, and the service would go with it.
func SpreadOverNodes(part string) corev1.TopologySpreadConstraintArray {
	return corev1.TopologySpreadConstraintArray{&corev1.TopologySpreadConstraintArgs{
		MaxSkew: pulumi.Int(1), TopologyKey: pulumi.String("kubernetes.io/hostname"), WhenUnsatisfiable: pulumi.String("ScheduleAnyway"), LabelSelector: Selector(part),
		MatchLabelKeys: pulumi.StringArray{pulumi.String("pod-template-hash")},
	}}
}

// ApartOnNodes is SpreadOverNodes for a part that must not stand on one node while others are there or can come: a pod
// that finds too few nodes waits for one, and the autoscaler sees it wait and makes one. That is so on GKE as in the
// sandbox: when a pool comes back from nothing, its nodes come one after the other, and a soft spread puts all pods on
// the first, where they stay. leastNodes is how many nodes the pool has at least; with one there is nothing to spread over.
//
// Nodes that are about to go count neither as places nor as empty ones: a pod would wait for one that takes none.
func ApartOnNodes(part string, leastNodes int) corev1.TopologySpreadConstraintArray {
	if leastNodes < 2 {
		return SpreadOverNodes(part)
	}
	return corev1.TopologySpreadConstraintArray{&corev1.TopologySpreadConstraintArgs{
		MaxSkew: pulumi.Int(1), TopologyKey: pulumi.String("kubernetes.io/hostname"), WhenUnsatisfiable: pulumi.String("DoNotSchedule"), LabelSelector: Selector(part),
		MatchLabelKeys: pulumi.StringArray{pulumi.String("pod-template-hash")}, MinDomains: pulumi.Int(2), NodeTaintsPolicy: pulumi.String("Honor"),
	}}
}

// Scratch is a volume that lives as long as the pod, in memory or on the node's disk, and its size limit.
func Scratch(name, size string, inMemory bool) *corev1.VolumeArgs {
	empty := &corev1.EmptyDirVolumeSourceArgs{SizeLimit: pulumi.String(size)}
	if inMemory {
		empty.Medium = pulumi.String("Memory")
	}
	return &corev1.VolumeArgs{Name: pulumi.String(name), EmptyDir: empty}
}

// Mount of a volume.
func Mount(volume, path string, readOnly bool) *corev1.VolumeMountArgs {
	m := &corev1.VolumeMountArgs{Name: pulumi.String(volume), MountPath: pulumi.String(path)}
	if readOnly {
		m.ReadOnly = pulumi.Bool(true)
	}
	return m
}

// Claim is the template of a StatefulSet's disk.
func Claim(name, class string, gib int) *corev1.PersistentVolumeClaimTypeArgs {
	return &corev1.PersistentVolumeClaimTypeArgs{
		Metadata: metadataName(name),
		Spec: &corev1.PersistentVolumeClaimSpecArgs{
			AccessModes:      pulumi.StringArray{pulumi.String("ReadWriteOnce")},
			StorageClassName: pulumi.String(class),
			Resources:        &corev1.VolumeResourceRequirementsArgs{Requests: pulumi.StringMap{"storage": pulumi.Sprintf("%dGi", gib)}},
		},
	}
}
