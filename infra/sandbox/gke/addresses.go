package gke

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"patag/infra/sandbox/cluster"
)

// podBits is the length of the range of pods that GKE gives each node.
const podBits = 24

// Google keeps the first two and the last two addresses of a subnetwork.
const firstNode, lastKept = 2, 2

func nth(p netip.Prefix, n uint32) netip.Addr {
	a := p.Masked().Addr().As4()
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])+n)
	return netip.AddrFrom4(a)
}

func size(p netip.Prefix) uint32 { return 1 << (32 - p.Bits()) }

// gateway is the address that Google's networks route at, and that the control plane's namespace has.
func gateway(c cluster.Cluster) netip.Addr { return nth(c.NodeCIDR, 1) }

// master is the API server's address: the first host of its range.
func master(c cluster.Cluster) netip.Addr { return nth(c.MasterCIDR, 1) }

// validate refuses a cluster that cannot be laid out.
func validate(c cluster.Cluster) error {
	if c.ID == "" || c.Name == "" || c.Project == "" || c.Location == "" || len(c.Zones) == 0 {
		return errors.New("the cluster lacks an id, name, project, location or zone")
	}
	if !c.Endpoint.IsLoopback() {
		return fmt.Errorf("the endpoint %s is not a loopback address", c.Endpoint)
	}
	ranges := map[string]netip.Prefix{"nodes": c.NodeCIDR, "pods": c.PodCIDR, "services": c.ServiceCIDR, "control plane": c.MasterCIDR}
	smallest := map[string]int{"nodes": 29, "pods": podBits, "services": 27, "control plane": 28}
	for name, p := range ranges {
		if !p.IsValid() || !p.Addr().Is4() {
			return fmt.Errorf("the range of %s (%s) is not an IPv4 range", name, p)
		}
		if p.Bits() > smallest[name] {
			return fmt.Errorf("the range of %s, %s, is too small: at least a /%d is needed", name, p, smallest[name])
		}
		for other, q := range ranges {
			if name != other && p.Overlaps(q) {
				return fmt.Errorf("the ranges of %s (%s) and %s (%s) overlap", name, p, other, q)
			}
		}
	}
	return nil
}

// allocate finds the lowest free address for a node and the lowest free range for its pods.
func allocate(c cluster.Cluster, taken []nodeRecord) (netip.Addr, netip.Prefix, error) {
	addresses, pods := map[netip.Addr]bool{}, map[netip.Prefix]bool{}
	for _, n := range taken {
		addresses[n.Address], pods[n.PodCIDR] = true, true
	}
	address, err := lowest(size(c.NodeCIDR)-lastKept, firstNode, func(i uint32) (netip.Addr, bool) {
		a := nth(c.NodeCIDR, i)
		return a, !addresses[a]
	})
	if err != nil {
		return netip.Addr{}, netip.Prefix{}, fmt.Errorf("the range of nodes %s is used up (%d nodes); use a larger subnetwork", c.NodeCIDR, len(taken))
	}
	block, err := lowest(size(c.PodCIDR)>>(32-podBits), 0, func(i uint32) (netip.Prefix, bool) {
		p := netip.PrefixFrom(nth(c.PodCIDR, i<<(32-podBits)), podBits)
		return p, !pods[p]
	})
	if err != nil {
		return netip.Addr{}, netip.Prefix{}, fmt.Errorf("the range of pods %s is used up: each of %d nodes has a /%d of it; use a larger secondary range", c.PodCIDR, len(taken), podBits)
	}
	return address, block, nil
}

func lowest[T any](end, start uint32, at func(uint32) (T, bool)) (T, error) {
	for i := start; i < end; i++ {
		if v, free := at(i); free {
			return v, nil
		}
	}
	var none T
	return none, errors.New("none is free")
}

// linkName is the name of a node's end in the control plane's namespace: at most 15 bytes, so made from its address.
func linkName(a netip.Addr) string {
	b := a.As4()
	return fmt.Sprintf("node%02x%02x%02x%02x", b[0], b[1], b[2], b[3])
}
