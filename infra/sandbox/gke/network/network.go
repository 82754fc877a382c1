// Package network lays the wires of a cluster inside network namespaces: the nodes' network as a bridge in the control
// plane's namespace, one veth to each node, and the routes between nodes, pods and services. Pod traffic between
// nodes is routed by the control plane's namespace, as Google's network routes alias ranges: a node needs no more than
// its default route, and adding one touches no other. The host's own namespace is not touched.
package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"patag/infra/sandbox/netns"
)

// Bridge is the name of the nodes' network in the control plane's namespace, MTU that of Google's networks.
const (
	Bridge = "lan0"
	MTU    = 1460
	uplink = "eth0"
)

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}

func sysctls(values map[string]string) error {
	for path, value := range values {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+path, []byte(value), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// SetUpControlPlane makes the bridge with the gateway's address (gateway.Bits is the nodes' network's length), and
// gives the namespace the API server's address.
func SetUpControlPlane(ns *netns.NS, gateway netip.Prefix, master netip.Addr) error {
	err := ns.Do(func() error {
		if err := sysctls(map[string]string{
			"ip_forward": "1",
			// Pods of two nodes meet here on one link: telling the nodes to talk to each other would be wrong.
			"conf/all/send_redirects": "0", "conf/default/send_redirects": "0",
			"conf/all/rp_filter": "0", "conf/default/rp_filter": "0",
		}); err != nil {
			return err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = Bridge, MTU
		// Set, or the bridge takes the lowest of its ports' addresses: then it changes when a node comes or goes, and
		// all others send to the gateway's old one until they ask again, half a minute later.
		attrs.HardwareAddr = hardwareAddress(gateway.Addr())
		bridge := &netlink.Bridge{LinkAttrs: attrs}
		if err := netlink.LinkAdd(bridge); err != nil {
			return fmt.Errorf("add bridge: %w", err)
		}
		if err := netlink.AddrAdd(bridge, &netlink.Addr{IPNet: ipNet(gateway)}); err != nil {
			return fmt.Errorf("set gateway address %s: %w", gateway, err)
		}
		if err := netlink.LinkSetUp(bridge); err != nil {
			return err
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(lo, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(master, 32))})
	})
	if err != nil {
		return fmt.Errorf("set up the network of %s: %w", ns.Name(), err)
	}
	return nil
}

// Node is how one node is wired.
type Node struct {
	// Link is its veth's name in the control plane's namespace, at most 15 bytes.
	Link string
	// Address is the node's, with the length of the nodes' network.
	Address netip.Prefix
	Gateway netip.Addr
	PodCIDR netip.Prefix
}

// Attach connects a node's namespace.
func Attach(controlPlane, node *netns.NS, n Node) error {
	if err := attach(controlPlane, node, n); err != nil {
		return fmt.Errorf("connect %s: %w", node.Name(), err)
	}
	return nil
}

func attach(controlPlane, node *netns.NS, n Node) error {
	peer, err := os.Open(node.Path())
	if err != nil {
		return err
	}
	defer peer.Close()
	err = controlPlane.Do(func() error {
		if err := removeLink(n.Link); err != nil { // of a node that died
			return err
		}
		bridge, err := netlink.LinkByName(Bridge)
		if err != nil {
			return fmt.Errorf("find %s: %w", Bridge, err)
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.MasterIndex = n.Link, MTU, bridge.Attrs().Index
		veth := &netlink.Veth{
			LinkAttrs: attrs, PeerName: uplink, PeerMTU: MTU, PeerHardwareAddr: hardwareAddress(n.Address.Addr()),
			PeerNamespace: netlink.NsFd(int(peer.Fd())),
		}
		if err := netlink.LinkAdd(veth); err != nil {
			return fmt.Errorf("add veth: %w", err)
		}
		return netlink.LinkSetUp(veth)
	})
	if err != nil {
		return err
	}
	err = node.Do(func() error {
		if err := sysctls(map[string]string{"ip_forward": "1", "conf/all/rp_filter": "0", "conf/default/rp_filter": "0"}); err != nil {
			return err
		}
		eth, err := netlink.LinkByName(uplink)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(eth, &netlink.Addr{IPNet: ipNet(n.Address)}); err != nil {
			return err
		}
		if err := netlink.LinkSetUp(eth); err != nil {
			return err
		}
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: n.Gateway.AsSlice()}); err != nil {
			return fmt.Errorf("add default route: %w", err)
		}
		// Addresses of pods that are not there end here: without this route they would go out and be sent back
		// by the gateway until their time is over, instead of being refused at once.
		return netlink.RouteAdd(&netlink.Route{Dst: ipNet(n.PodCIDR), Type: unix.RTN_UNREACHABLE, Priority: 4096})
	})
	if err != nil {
		return err
	}
	return controlPlane.Do(func() error {
		return netlink.RouteReplace(&netlink.Route{Dst: ipNet(n.PodCIDR), Gw: n.Address.Addr().AsSlice()})
	})
}

// hardwareAddress is the one that Compute Engine gives a machine with this address. That it follows from the address
// matters: a node with a dead one's address is reached at once, where others still know the dead one's.
func hardwareAddress(a netip.Addr) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x42, 0x01, b[0], b[1], b[2], b[3]}
}

// Detach removes what Attach put into the control plane's namespace.
func Detach(controlPlane *netns.NS, n Node) error {
	err := controlPlane.Do(func() error {
		err := netlink.RouteDel(&netlink.Route{Dst: ipNet(n.PodCIDR)})
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return removeLink(n.Link)
	})
	if err != nil {
		return fmt.Errorf("disconnect %s: %w", n.Link, err)
	}
	return nil
}

func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return err
	}
	return netlink.LinkDel(link)
}

// RouteServices makes service addresses reachable from the control plane's namespace: any of the nodes translates them.
func RouteServices(controlPlane *netns.NS, services netip.Prefix, nodes []netip.Addr) error {
	err := controlPlane.Do(func() error {
		route := &netlink.Route{Dst: ipNet(services)}
		if len(nodes) == 0 {
			if err := netlink.RouteDel(route); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
			return nil
		}
		for _, n := range nodes {
			route.MultiPath = append(route.MultiPath, &netlink.NexthopInfo{Gw: n.AsSlice()})
		}
		return netlink.RouteReplace(route)
	})
	if err != nil {
		return fmt.Errorf("route services %s: %w", services, err)
	}
	return nil
}
