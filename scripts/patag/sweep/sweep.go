// Package sweep deletes what GKE leaves behind when a cluster is deleted with its Ingresses and claims still in it:
// forwarding rules, proxies, URL maps, backend services, health checks, endpoint groups, firewall rules, disks. They
// cost money, hold the static address, and keep the network from being deleted.
package sweep

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"patag/scripts/patag/google"
)

// Footprint is where a stack's clusters were: what is left of them is found by it.
type Footprint struct {
	// Networks are names of the stack's own networks. Nothing else is in them.
	Networks []string `json:"networks"`
	// Clusters are projects/P/locations/L/clusters/C.
	Clusters []string `json:"clusters"`
}

// Add joins another one.
func (f *Footprint) Add(o Footprint) {
	f.Networks = union(f.Networks, o.Networks)
	f.Clusters = union(f.Clusters, o.Clusters)
}

func union(a, b []string) []string {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// Empty is true when there is nothing to look for.
func (f Footprint) Empty() bool { return len(f.Networks) == 0 && len(f.Clusters) == 0 }

// Sweep deletes what is left. It does nothing while one of the clusters exists: what it finds is in use then.
func Sweep(ctx context.Context, c *google.Client, f Footprint, say func(string)) (deleted int, err error) {
	for _, path := range f.Clusters {
		_, err := c.Cluster(ctx, path)
		if err == nil {
			return 0, nil
		}
		if !google.NotFound(err) {
			return 0, fmt.Errorf("look whether %s is gone: %w", path, err)
		}
	}
	links, err := find(ctx, c, f)
	if err != nil {
		return 0, err
	}
	for i, link := range links {
		say(fmt.Sprintf("%s (%d of %d)", short(link), i+1, len(links)))
		if err := c.DeleteCompute(ctx, link); err != nil {
			return deleted, fmt.Errorf("delete %s, which a deleted cluster left: %w", short(link), err)
		}
		deleted++
	}
	return deleted, nil
}

// short is collection/name of a link.
func short(link string) string {
	parts := strings.Split(link, "/")
	return strings.Join(parts[max(0, len(parts)-2):], "/")
}

func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

// find lists the left-overs, each before what it refers to. The endpoint groups, which are found by their network,
// come last, so that a sweep that was cut off finds the rest of the chain again.
func find(ctx context.Context, c *google.Client, f Footprint) (links []string, err error) {
	ours := func(r map[string]any) bool { return slices.Contains(f.Networks, last(text(r, "network"))) }
	var groups, services, checks, maps, proxies, rules []string
	// Each level refers to the one before it.
	levels := []struct {
		path string
		into *[]string
		keep func(map[string]any) bool
	}{
		{"aggregated/networkEndpointGroups", &groups, func(r map[string]any) bool { return ours(r) && made(r) }},
		{"global/backendServices", &services, func(r map[string]any) bool { return made(r) && (refers(r, groups) || named(r, groups)) }},
		{"global/healthChecks", &checks, func(r map[string]any) bool { return made(r) && named(r, groups) }},
		{"global/urlMaps", &maps, func(r map[string]any) bool { return made(r) && refers(r, services) }},
		{"global/targetHttpProxies", &proxies, func(r map[string]any) bool { return made(r) && refers(r, maps) }},
		{"global/targetHttpsProxies", &proxies, func(r map[string]any) bool { return made(r) && refers(r, maps) }},
		{"global/forwardingRules", &rules, func(r map[string]any) bool { return made(r) && refers(r, proxies) }},
	}
	for _, level := range levels {
		found, err := c.List(ctx, level.path)
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			if level.keep(r) {
				*level.into = append(*level.into, text(r, "selfLink"))
			}
		}
	}
	firewalls, err := c.List(ctx, "global/firewalls")
	if err != nil {
		return nil, err
	}
	links = slices.Concat(rules, proxies, maps, services, checks, groups)
	for _, r := range firewalls {
		if ours(r) && made(r) {
			links = append(links, text(r, "selfLink"))
		}
	}
	disks, err := c.List(ctx, "aggregated/disks")
	if err != nil {
		return nil, err
	}
	for _, d := range disks {
		users, _ := d["users"].([]any)
		labels, _ := d["labels"].(map[string]any)
		if len(users) == 0 && slices.ContainsFunc(f.Clusters, func(path string) bool { return last(path) == text(labels, "goog-k8s-cluster-name") }) {
			links = append(links, text(d, "selfLink"))
		}
	}
	return links, nil
}

func last(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// made is true for what GKE makes: its names begin so. A person's own things in the network are left alone.
func made(r map[string]any) bool {
	name := text(r, "name")
	return strings.HasPrefix(name, "k8s") || strings.HasPrefix(name, "gke-")
}

// named: a backend service and a health check bear the name of their endpoint group.
func named(r map[string]any, links []string) bool {
	return slices.ContainsFunc(links, func(l string) bool { return last(l) == text(r, "name") })
}

// refers tells whether a resource names one of the links anywhere in it, whatever the host and version of the link.
func refers(r map[string]any, links []string) bool {
	raw, err := json.Marshal(r)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(links, func(l string) bool {
		i := strings.Index(l, "/projects/")
		return i >= 0 && strings.Contains(string(raw), l[i:]+`"`)
	})
}
