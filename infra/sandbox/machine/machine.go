// Package machine is the table of Compute Engine machine types that the sandbox offers, with what a GKE node of
// each type has (capacity) and leaves to pods (allocatable).
package machine

import (
	"fmt"
	"sort"
	"strings"
)

// Type is one machine type. Source of the shapes: Google's "Machine families resource and comparison guide".
type Type struct {
	Name        string
	VCPU        int
	MemoryMiB   int64
	Description string
}

const gib = 1024

var types = []Type{
	{"n1-standard-1", 1, 3840, "1 vCPU, 3.75 GB RAM"},
	{"n1-standard-2", 2, 7680, "2 vCPUs, 7.5 GB RAM"},
	{"n1-standard-4", 4, 15360, "4 vCPUs, 15 GB RAM"},
	{"n1-standard-8", 8, 30720, "8 vCPUs, 30 GB RAM"},
	{"n1-highcpu-2", 2, 1843, "2 vCPUs, 1.8 GB RAM"},
	{"n1-highcpu-4", 4, 3686, "4 vCPUs, 3.6 GB RAM"},
	{"n1-highcpu-8", 8, 7373, "8 vCPUs, 7.2 GB RAM"},
	{"n1-highmem-2", 2, 13312, "2 vCPUs, 13 GB RAM"},
	{"n1-highmem-4", 4, 26624, "4 vCPUs, 26 GB RAM"},
	{"e2-medium", 2, 4 * gib, "Efficient Instance, 2 vCPU (1 shared core), 4 GB RAM"},
	{"e2-standard-2", 2, 8 * gib, "Efficient Instance, 2 vCPUs, 8 GB RAM"},
	{"e2-standard-4", 4, 16 * gib, "Efficient Instance, 4 vCPUs, 16 GB RAM"},
	{"e2-highcpu-2", 2, 2 * gib, "Efficient Instance, 2 vCPUs, 2 GB RAM"},
	{"e2-highcpu-4", 4, 4 * gib, "Efficient Instance, 4 vCPUs, 4 GB RAM"},
	{"n2-standard-2", 2, 8 * gib, "2 vCPUs, 8 GB RAM"},
	{"n2-standard-4", 4, 16 * gib, "4 vCPUs, 16 GB RAM"},
	{"n2-highcpu-2", 2, 2 * gib, "2 vCPUs, 2 GB RAM"},
	{"n2-highcpu-4", 4, 4 * gib, "4 vCPUs, 4 GB RAM"},
}

// Lookup finds a type by name; the error lists the names.
func Lookup(name string) (Type, error) {
	for _, t := range types {
		if t.Name == name {
			return t, nil
		}
	}
	return Type{}, fmt.Errorf("machine type %q is not offered; use one of %s", name, strings.Join(Names(), ", "))
}

// All lists the types by name.
func All() []Type {
	all := append([]Type(nil), types...)
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}

// Names lists the names in order.
func Names() []string {
	var names []string
	for _, t := range All() {
		names = append(names, t.Name)
	}
	return names
}

// AllocatableMilliCPU is what GKE leaves to pods, in thousandths of a vCPU: it keeps 6 % of the first core, 1 % of
// the second, 0.5 % of the third and fourth, 0.25 % of each more; 1060 thousandths of a shared-core machine. Source:
// "Plan GKE node sizes".
func (t Type) AllocatableMilliCPU() int64 {
	if t.SharedCore() {
		return int64(t.VCPU)*1000 - 1060
	}
	reserved := 0.0
	for core := 1; core <= t.VCPU; core++ {
		switch {
		case core == 1:
			reserved += 60
		case core == 2:
			reserved += 10
		case core <= 4:
			reserved += 5
		default:
			reserved += 2.5
		}
	}
	return int64(t.VCPU)*1000 - int64(reserved)
}

// SharedCore tells whether the machine has a part of a core's time only. e2-medium is here because GKE makes a
// pool of it when no machine type is given.
func (t Type) SharedCore() bool { return t.Name == "e2-medium" }

// EvictionMiB is the free memory below which a GKE node evicts pods.
const EvictionMiB = 100

// AllocatableMiB is what GKE leaves to pods: it keeps 25 % of the first 4 GiB, 20 % of the next 4, 10 % of the next
// 8, 6 % of the next 112, 2 % of the rest (255 MiB of a machine under 1 GiB), and the eviction threshold.
func (t Type) AllocatableMiB() int64 { return t.MemoryMiB - t.ReservedMiB() - EvictionMiB }

// ReservedMiB is what GKE reserves for the system, without the eviction threshold.
func (t Type) ReservedMiB() int64 {
	if t.MemoryMiB < gib {
		return 255
	}
	left, reserved := t.MemoryMiB, 0.0
	for _, step := range []struct {
		size  int64
		share float64
	}{{4 * gib, 0.25}, {4 * gib, 0.20}, {8 * gib, 0.10}, {112 * gib, 0.06}, {1 << 40, 0.02}} {
		part := min(left, step.size)
		reserved += float64(part) * step.share
		left -= part
	}
	return int64(reserved)
}
