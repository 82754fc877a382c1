package container

import (
	"context"
	"sort"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/compute"
	"patag/infra/sandbox/store"
)

func (s *Service) registerClusters() {
	const clusters = locations + "/clusters"
	s.handle("POST", clusters, s.create)
	s.handle("GET", clusters, s.list)
	s.handle("GET", clusters+"/{cluster}", func(_ context.Context, r *googleapi.Request) (any, error) {
		var d googleapi.Doc
		err := s.core.Store().View(func(tx store.Tx) (err error) {
			if d, err = loadCluster(tx, clusterPath(r)); err != nil {
				return err
			}
			return s.assemble(tx, clusterPath(r), d)
		})
		return s.counted(d), err
	})
	s.handle("DELETE", clusters+"/{cluster}", s.remove)
	s.handle("PUT", clusters+"/{cluster}", s.updateCluster)
	for verb, h := range map[string]googleapi.Handler{
		"setResourceLabels": s.setResourceLabels, "setMaintenancePolicy": s.setMaintenancePolicy, "setLegacyAbac": s.setLegacyAbac,
		"setNetworkPolicy": s.setNetworkPolicy, "setLogging": s.setLogging, "setMonitoring": s.setMonitoring, "setAddons": s.setAddons,
		"setLocations": s.setLocations, "updateMaster": s.updateMaster,
	} {
		s.handle("POST", clusters+"/{cluster}:"+verb, h)
	}
	for name, h := range map[string]googleapi.Handler{"resourceLabels": s.setResourceLabels, "legacyAbac": s.setLegacyAbac, "logging": s.setLogging,
		"monitoring": s.setMonitoring, "addons": s.setAddons, "locations": s.setLocations, "master": s.updateMaster} {
		s.handle("POST", clusters+"/{cluster}/"+name, h)
	}
	for _, name := range []string{"/serverConfig", "/serverconfig"} {
		s.handle("GET", locations+name, func(_ context.Context, r *googleapi.Request) (any, error) {
			if zonesOf(r.Var("location")) == nil {
				return nil, badLocation(r.Var("location"))
			}
			return s.serverConfig(), nil
		})
	}
}

func (s *Service) serverConfig() googleapi.Doc {
	all := []any{s.version}
	var channels []any
	for _, c := range []string{"RAPID", "REGULAR", "STABLE"} {
		channels = append(channels, googleapi.Doc{"channel": c, "defaultVersion": s.version, "validVersions": all})
	}
	images := []any{}
	for _, t := range imageTypes {
		images = append(images, t)
	}
	return googleapi.Doc{"defaultClusterVersion": s.version, "validMasterVersions": all, "validNodeVersions": all, "defaultImageType": "COS_CONTAINERD", "validImageTypes": images, "channels": channels}
}

// assemble completes a cluster with what comes from its pools.
func (s *Service) assemble(tx store.Tx, path string, d googleapi.Doc) error {
	pools, err := loadPools(tx, path)
	if err != nil {
		return err
	}
	fillEndpoints(d)
	var groups, list []any
	for _, p := range pools {
		list = append(list, map[string]any(p))
		for _, g := range p.Strings("instanceGroupUrls") {
			groups = append(groups, g)
		}
	}
	if len(list) > 0 {
		d["nodePools"], d["instanceGroupUrls"] = list, groups
		// The deprecated fields repeat the first pool, as Google's do.
		d["nodeConfig"] = googleapi.Doc(pools[0]).Doc("config").Clone()
	}
	return nil
}

// counted adds the number of nodes, which the engine knows.
func (s *Service) counted(d googleapi.Doc) googleapi.Doc {
	if d == nil {
		return nil
	}
	total := 0
	for _, g := range d.Strings("instanceGroupUrls") {
		if n, ok := s.groupSize(compute.Path(g)); ok {
			total += n
		}
	}
	if total > 0 {
		d["currentNodeCount"] = total
	}
	return d
}

func (s *Service) list(_ context.Context, r *googleapi.Request) (any, error) {
	clusters := []googleapi.Doc{}
	err := s.eachIn(r, "clusters", func(tx store.Tx, path string, d googleapi.Doc) error {
		clusters = append(clusters, d)
		return s.assemble(tx, path, d)
	})
	for _, d := range clusters {
		s.counted(d)
	}
	sort.Slice(clusters, func(i, j int) bool { return clusters[i].String("name") < clusters[j].String("name") })
	return googleapi.Doc{"clusters": clusters}, err
}

func (s *Service) remove(_ context.Context, r *googleapi.Request) (any, error) {
	path := clusterPath(r)
	return s.order(func(tx store.Tx) (googleapi.Doc, error) {
		d, err := loadCluster(tx, path)
		if err != nil {
			return nil, err
		}
		if err := free(tx, path, ""); err != nil {
			return nil, err
		}
		d["status"] = "STOPPING"
		d.Drop("statusMessage", "conditions")
		if err := tx.Put(key(path), d); err != nil {
			return nil, err
		}
		return s.operation(tx, "DELETE_CLUSTER", path, work{Type: deleteCluster, Cluster: path})
	})
}
