package container

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/compute"
	"patag/infra/sandbox/store"
)

// managedServices is the range that GKE gives to Services when none is asked for.
var managedServices = netip.MustParsePrefix("34.118.224.0/20")

// setNetwork resolves the network, the subnetwork and all ranges, and refuses what does not exist or overlaps.
func (s *Service) setNetwork(tx store.Tx, d googleapi.Doc, spec *cluster.Cluster) error {
	network := d.String("network")
	if n := d.String("networkConfig", "network"); network == "" {
		network = n
	}
	if network == "" {
		network = "default"
	}
	networkPath := compute.Path(network)
	if networkPath == "" {
		networkPath = "projects/" + spec.Project + "/global/networks/" + compute.Base(network)
	}
	if !tx.Has("compute/" + networkPath) {
		return googleapi.BadRequest("Project %q has no network named %q.", spec.Project, compute.Base(networkPath))
	}
	subnetwork := d.String("subnetwork")
	if n := d.String("networkConfig", "subnetwork"); subnetwork == "" {
		subnetwork = n
	}
	if subnetwork == "" { // a network of auto mode has one of its own name
		subnetwork = compute.Base(networkPath)
	}
	subPath := compute.Path(subnetwork)
	if subPath == "" {
		subPath = "projects/" + spec.Project + "/regions/" + regionOf(spec.Location) + "/subnetworks/" + compute.Base(subnetwork)
	}
	var sub googleapi.Doc
	found, err := tx.Get("compute/"+subPath, &sub)
	if err != nil {
		return err
	}
	if !found || sub.String("network") != compute.Link(networkPath) {
		return googleapi.BadRequest("Subnetwork %q does not exist in network %q.", subPath, networkPath)
	}
	if region := compute.Base(sub.String("region")); region != regionOf(spec.Location) {
		return googleapi.BadRequest("Subnetwork %q is in region %q, the cluster is in %q.", subPath, region, spec.Location)
	}
	d["network"], d["subnetwork"] = compute.Base(networkPath), compute.Base(subPath)
	c := d.Sub("networkConfig")
	c["network"], c["subnetwork"] = networkPath, subPath
	if spec.NodeCIDR, err = netip.ParsePrefix(sub.String("ipCidrRange")); err != nil {
		return err
	}
	used, err := rangesOfNetwork(tx, networkPath)
	if err != nil {
		return err
	}
	if err := s.setPodRanges(tx, d, spec, sub, &used); err != nil {
		return err
	}
	return setMasterRange(d, spec, used)
}

type usedRange struct {
	prefix netip.Prefix
	owner  string
}

// rangesOfNetwork are all ranges taken in a network: of its subnetworks, and of the control planes of its clusters.
func rangesOfNetwork(tx store.Tx, networkPath string) ([]usedRange, error) {
	var used []usedRange
	add := func(cidr, owner string) {
		if p, err := netip.ParsePrefix(cidr); err == nil {
			used = append(used, usedRange{p, owner})
		}
	}
	prefix := "compute/" + strings.Join(strings.Split(networkPath, "/")[:2], "/") + "/regions/"
	err := tx.List(prefix, func(k string, raw []byte) error {
		if parts := strings.Split(k[len(prefix):], "/"); len(parts) != 3 || parts[1] != "subnetworks" {
			return nil
		}
		var d googleapi.Doc
		if err := json.Unmarshal(raw, &d); err != nil {
			return err
		}
		if d.String("network") != compute.Link(networkPath) {
			return nil
		}
		owner := "subnetwork '" + d.String("name") + "' in region '" + compute.Base(d.String("region")) + "'"
		add(d.String("ipCidrRange"), owner)
		for _, r := range d.Docs("secondaryIpRanges") {
			add(r.String("ipCidrRange"), owner)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	clusters := "container/" + strings.Join(strings.Split(networkPath, "/")[:2], "/") + "/locations/"
	err = tx.List(clusters, func(k string, raw []byte) error {
		if parts := strings.Split(k[len(clusters):], "/"); len(parts) != 3 || parts[1] != "clusters" {
			return nil
		}
		var d googleapi.Doc
		if err := json.Unmarshal(raw, &d); err != nil {
			return err
		}
		if d.String("networkConfig", "network") == networkPath {
			add(d.String("privateClusterConfig", "masterIpv4CidrBlock"), "the control plane of cluster '"+d.String("name")+"'")
		}
		return nil
	})
	return used, err
}

func overlap(p netip.Prefix, used []usedRange) string {
	for _, u := range used {
		if p.Overlaps(u.prefix) {
			return u.owner
		}
	}
	return ""
}

func (s *Service) setPodRanges(tx store.Tx, d googleapi.Doc, spec *cluster.Cluster, sub googleapi.Doc, used *[]usedRange) error {
	a := d.Sub("ipAllocationPolicy")
	a["useIpAliases"] = true
	a.Drop("createSubnetwork", "useRoutes")
	find := func(kind, name string) (netip.Prefix, error) {
		for _, r := range sub.Docs("secondaryIpRanges") {
			if r.String("rangeName") == name {
				return netip.ParsePrefix(r.String("ipCidrRange"))
			}
		}
		return netip.Prefix{}, googleapi.BadRequest("%s secondary range %q does not exist in network %q, subnetwork %q.", kind, name, d.String("network"), d.String("subnetwork"))
	}
	var err error
	pods, services := a.String("clusterSecondaryRangeName"), a.String("servicesSecondaryRangeName")
	if pods != "" && pods == services {
		return googleapi.BadRequest("Pod and services secondary ranges must be different, both are %q.", pods)
	}
	if pods != "" {
		if a.Has("clusterIpv4CidrBlock") || a.Has("clusterIpv4Cidr") || d.Has("clusterIpv4Cidr") {
			return googleapi.BadRequest("Only one of cluster_secondary_range_name and cluster_ipv4_cidr_block can be specified.")
		}
		if spec.PodCIDR, err = find("Pod", pods); err != nil {
			return err
		}
	} else {
		want := first(a.String("clusterIpv4CidrBlock"), a.String("clusterIpv4Cidr"), d.String("clusterIpv4Cidr"), "/14")
		if spec.PodCIDR, err = pick("cluster_ipv4_cidr_block", want, *used); err != nil {
			return err
		}
		*used = append(*used, usedRange{spec.PodCIDR, "the cluster's pods"})
		pods = "gke-" + strings.Trim(cut(spec.Name, 20), "-") + "-pods-" + spec.ID[len(spec.ID)-8:]
		if err := addRange(tx, sub, pods, spec.PodCIDR); err != nil {
			return err
		}
		a["clusterSecondaryRangeName"] = pods
	}
	if services != "" {
		if a.Has("servicesIpv4CidrBlock") || a.Has("servicesIpv4Cidr") {
			return googleapi.BadRequest("Only one of services_secondary_range_name and services_ipv4_cidr_block can be specified.")
		}
		if spec.ServiceCIDR, err = find("Services", services); err != nil {
			return err
		}
	} else if want := first(a.String("servicesIpv4CidrBlock"), a.String("servicesIpv4Cidr")); want == "" {
		spec.ServiceCIDR = managedServices
	} else {
		if spec.ServiceCIDR, err = pick("services_ipv4_cidr_block", want, *used); err != nil {
			return err
		}
		*used = append(*used, usedRange{spec.ServiceCIDR, "the cluster's services"})
		services = "gke-" + strings.Trim(cut(spec.Name, 20), "-") + "-services-" + spec.ID[len(spec.ID)-8:]
		if err := addRange(tx, sub, services, spec.ServiceCIDR); err != nil {
			return err
		}
		a["servicesSecondaryRangeName"] = services
	}
	if spec.PodCIDR.Bits() > 24 {
		return googleapi.BadRequest("The pod range %s is too small: a node takes a /24 of it.", spec.PodCIDR)
	}
	if spec.ServiceCIDR.Bits() > 27 {
		return googleapi.BadRequest("The services range %s is too small: it must be a /27 or larger.", spec.ServiceCIDR)
	}
	for _, f := range []string{"clusterIpv4Cidr", "clusterIpv4CidrBlock"} {
		a[f] = spec.PodCIDR.String()
	}
	for _, f := range []string{"servicesIpv4Cidr", "servicesIpv4CidrBlock"} {
		a[f] = spec.ServiceCIDR.String()
	}
	a.Default("stackType", "IPV4")
	a.Sub("podCidrOverprovisionConfig")
	d["clusterIpv4Cidr"], d["servicesIpv4Cidr"] = spec.PodCIDR.String(), spec.ServiceCIDR.String()
	return nil
}

// setMasterRange takes the control plane's /28, or picks one in 172.16.0.0/16.
func setMasterRange(d googleapi.Doc, spec *cluster.Cluster, used []usedRange) error {
	p := d.Sub("privateClusterConfig")
	if p.Bool("enablePrivateEndpoint") && !p.Bool("enablePrivateNodes") {
		return googleapi.BadRequest("private_endpoint can only be enabled when private_nodes is enabled.")
	}
	used = append(used, usedRange{spec.ServiceCIDR, "the cluster's services"})
	if given := p.String("masterIpv4CidrBlock"); given != "" {
		if !p.Bool("enablePrivateNodes") {
			return googleapi.BadRequest("master_ipv4_cidr_block can only be set if enable_private_nodes is true.")
		}
		m, err := netip.ParsePrefix(given)
		if err != nil || !m.Addr().Is4() || m.Masked() != m || m.Bits() != 28 {
			return googleapi.BadRequest("Invalid master_ipv4_cidr_block %q: must be a /28 written with its first address.", given)
		}
		if owner := overlap(m, used); owner != "" {
			return googleapi.BadRequest("Conflicting IP cidr range: Invalid IPCidrRange: %s conflicts with existing %s.", given, owner)
		}
		spec.MasterCIDR = m
		return nil
	}
	for n := range 4096 {
		m := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(n >> 4), byte(n << 4)}), 28)
		if overlap(m, used) == "" {
			spec.MasterCIDR = m
			p["masterIpv4CidrBlock"] = m.String()
			return nil
		}
	}
	return googleapi.BadRequest("There is no free /28 in 172.16.0.0/16 for the control plane; give master_ipv4_cidr_block.")
}

// pick takes a range as asked for: whole, or by its size only ("/14"), then the first free one in 10.0.0.0/8.
func pick(field, want string, used []usedRange) (netip.Prefix, error) {
	if size, ok := strings.CutPrefix(want, "/"); ok {
		bits, err := strconv.Atoi(size)
		if err != nil || bits < 9 || bits > 28 {
			return netip.Prefix{}, googleapi.BadRequest("Invalid %s %q.", field, want)
		}
		for n := uint32(0); n < 1<<(bits-8); n++ {
			base := uint32(10)<<24 | n<<(32-bits)
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(base >> 24), byte(base >> 16), byte(base >> 8), byte(base)}), bits)
			if overlap(p, used) == "" {
				return p, nil
			}
		}
		return netip.Prefix{}, googleapi.BadRequest("There is no free range of size %s in 10.0.0.0/8 for %s.", want, field)
	}
	p, err := netip.ParsePrefix(want)
	if err != nil || !p.Addr().Is4() || p.Masked() != p {
		return p, googleapi.BadRequest("Invalid %s %q: must be an IPv4 range written with its first address.", field, want)
	}
	if owner := overlap(p, used); owner != "" {
		return p, googleapi.BadRequest("Conflicting IP cidr range: Invalid IPCidrRange: %s conflicts with existing %s.", want, owner)
	}
	return p, nil
}

// addRange makes the secondary range that GKE makes when a cluster names none.
func addRange(tx store.Tx, sub googleapi.Doc, name string, p netip.Prefix) error {
	ranges, _ := sub["secondaryIpRanges"].([]any)
	sub["secondaryIpRanges"] = append(ranges, map[string]any{"rangeName": name, "ipCidrRange": p.String()})
	return putSubnetwork(tx, sub)
}

func putSubnetwork(tx store.Tx, sub googleapi.Doc) error {
	delete(sub, "fingerprint")
	sub["fingerprint"] = googleapi.Fingerprint(sub)
	return tx.Put("compute/"+compute.Path(sub.String("selfLink")), sub)
}

// dropRanges removes such ranges with their cluster.
func (s *Service) dropRanges(tx store.Tx, path string) error {
	d, err := loadCluster(tx, path)
	if err != nil {
		return err
	}
	var sub googleapi.Doc
	if found, err := tx.Get("compute/"+d.String("networkConfig", "subnetwork"), &sub); err != nil || !found {
		return err
	}
	suffix := "-" + d.String("id")[:8]
	var left []any
	for _, r := range sub.Docs("secondaryIpRanges") {
		name := r.String("rangeName")
		if strings.HasPrefix(name, "gke-") && strings.HasSuffix(name, suffix) {
			continue
		}
		left = append(left, map[string]any(r))
	}
	if len(left) == len(sub.Docs("secondaryIpRanges")) {
		return nil
	}
	sub["secondaryIpRanges"] = left
	if len(left) == 0 {
		delete(sub, "secondaryIpRanges")
	}
	return putSubnetwork(tx, sub)
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
