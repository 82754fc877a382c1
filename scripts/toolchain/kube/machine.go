package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	cadvisorv1 "github.com/google/cadvisor/info/v1"
	cadvisorv2 "github.com/google/cadvisor/info/v2"
	"golang.org/x/sys/unix"
	"k8s.io/kubernetes/pkg/kubelet/cadvisor"
)

// machineShape is the virtual machine that a kubelet is to see.
type machineShape struct {
	VCPU        int    `json:"vcpu"`
	MemoryBytes uint64 `json:"memoryBytes"`
	DiskBytes   uint64 `json:"diskBytes"`
	// ID stands for the machine id and the system UUID, which each machine of a cluster has its own of.
	ID string `json:"id"`
}

func parseMachineShape(raw string) (machineShape, error) {
	var m machineShape
	d := json.NewDecoder(strings.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, err
	}
	if m.VCPU < 1 || m.MemoryBytes == 0 || m.DiskBytes == 0 || m.ID == "" {
		return m, fmt.Errorf("%q lacks vcpu, memoryBytes, diskBytes or id", raw)
	}
	return m, nil
}

// shapedMachine is cAdvisor with the machine's size replaced, and the node's control group in place of the root's,
// so that what `kubectl top node` and the eviction thresholds see is this node's use and not the whole computer's.
type shapedMachine struct {
	cadvisor.Interface
	shape  machineShape
	cgroup string
	root   string
}

func (m *shapedMachine) MachineInfo() (*cadvisorv1.MachineInfo, error) {
	real, err := m.Interface.MachineInfo()
	if err != nil {
		return nil, err
	}
	info := *real
	info.NumCores, info.NumPhysicalCores, info.NumSockets = m.shape.VCPU, m.shape.VCPU, 1
	info.MemoryCapacity, info.SwapCapacity = m.shape.MemoryBytes, 0
	info.MachineID, info.SystemUUID = strings.ReplaceAll(m.shape.ID, "-", ""), m.shape.ID
	return &info, nil
}

func (m *shapedMachine) ContainerInfoV2(name string, o cadvisorv2.RequestOptions) (map[string]cadvisorv2.ContainerInfo, error) {
	if name != "/" || o.Recursive {
		return m.Interface.ContainerInfoV2(name, o)
	}
	infos, err := m.Interface.ContainerInfoV2(m.cgroup, o)
	if err != nil {
		return nil, err
	}
	info, ok := infos[m.cgroup]
	if !ok {
		return nil, fmt.Errorf("no statistics of the node's control group %s", m.cgroup)
	}
	if info.Spec.HasMemory {
		info.Spec.Memory.Limit = m.shape.MemoryBytes
	}
	return map[string]cadvisorv2.ContainerInfo{"/": info}, nil
}

// The nodes of all clusters share the computer's disk: a node's own is as large as its machine says, and has what is
// free of both.

func (m *shapedMachine) GetDirFsInfo(path string) (cadvisorv2.FsInfo, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return cadvisorv2.FsInfo{}, fmt.Errorf("statfs %s: %w", path, err)
	}
	available := min(st.Bavail*uint64(st.Bsize), m.shape.DiskBytes)
	inodes, free := st.Files, st.Ffree
	return cadvisorv2.FsInfo{
		Timestamp:  time.Now(),
		Device:     "/dev/sda1",
		Mountpoint: "/",
		Capacity:   m.shape.DiskBytes,
		Available:  available,
		Usage:      m.shape.DiskBytes - available,
		Inodes:     &inodes,
		InodesFree: &free,
	}, nil
}

func (m *shapedMachine) RootFsInfo() (cadvisorv2.FsInfo, error) { return m.GetDirFsInfo(m.root) }

func (m *shapedMachine) ImagesFsInfo(context.Context) (cadvisorv2.FsInfo, error) {
	return m.GetDirFsInfo(m.root)
}

func (m *shapedMachine) ContainerFsInfo(context.Context) (cadvisorv2.FsInfo, error) {
	return m.GetDirFsInfo(m.root)
}
