package container

import (
	"context"
	"slices"
	"strings"

	api "google.golang.org/api/container/v1beta1"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// changePool lets fn change a pool's document; if it says so the engine has work to do, and the pool has status until
// that is done.
func (s *Service) changePool(r *googleapi.Request, operationType, status, workType string, fn func(tx store.Tx, c, p googleapi.Doc) (bool, error)) (any, error) {
	path, name := clusterPath(r), r.Var("pool")
	return s.order(func(tx store.Tx) (googleapi.Doc, error) {
		p, err := loadPool(tx, r)
		if err != nil {
			return nil, err
		}
		if err := free(tx, path, name); err != nil {
			return nil, err
		}
		c, err := loadCluster(tx, path)
		if err != nil {
			return nil, err
		}
		engine, err := fn(tx, c, p)
		if err != nil {
			return nil, err
		}
		w := work{}
		if engine {
			w = work{Type: workType, Cluster: path, Pool: name}
			p["status"] = status
		}
		delete(p, "etag")
		p["etag"] = googleapi.Fingerprint(p)
		if err := tx.Put(key(poolPath(r)), p); err != nil {
			return nil, err
		}
		return s.operation(tx, operationType, poolPath(r), w)
	})
}

// recorded are fields of an UpdateNodePoolRequest that are kept in the pool and that no node shows.
var recorded = map[string]string{"workloadMetadataConfig": "config.workloadMetadataConfig", "loggingConfig": "config.loggingConfig",
	"resourceManagerTags": "config.resourceManagerTags", "gvnic": "config.gvnic"}

// effective are those that nodes show: a change of one goes to the engine.
var effective = map[string]string{"machineType": "config.machineType", "diskType": "config.diskType", "diskSizeGb": "config.diskSizeGb", "imageType": "config.imageType"}

var requestNames = []string{"name", "projectId", "zone", "clusterId", "nodePoolId", "etag"}

func (s *Service) updatePool(_ context.Context, r *googleapi.Request) (any, error) {
	req, err := r.DecodeDoc(api.UpdateNodePoolRequest{})
	if err != nil {
		return nil, err
	}
	req.DropNulls()
	return s.changePool(r, "UPGRADE_NODES", "RECONCILING", changePool, func(tx store.Tx, c, p googleapi.Doc) (engine bool, err error) {
		if e := req.String("etag"); e != "" && e != p.String("etag") {
			return false, googleapi.Aborted("The etag %q does not match the node pool's %q.", e, p.String("etag"))
		}
		before := p.Clone()
		config := p.Sub("config")
		for f, v := range req {
			switch {
			case slices.Contains(requestNames, f):
			case recorded[f] != "":
				config[strings.TrimPrefix(recorded[f], "config.")] = v
			case effective[f] != "":
				if f == "diskSizeGb" { // 64 bits in the request, 32 in the pool
					v = req.Int(f)
				}
				config[strings.TrimPrefix(effective[f], "config.")] = v
			default:
				if err := s.updateField(f, v, req, p); err != nil {
					return false, err
				}
			}
		}
		if err := fillConfig(tx, c, r.Var("project"), config); err != nil {
			return false, err
		}
		zones, err := poolZones(p.Strings("locations"), c)
		if err != nil {
			return false, err
		}
		p["locations"] = zones
		if !googleapi.Equal(before["locations"], p["locations"]) {
			if err := s.moveGroups(tx, c, before, p); err != nil {
				return false, err
			}
		}
		for _, f := range []string{"labels", "taints", "tags", "machineType", "diskType", "diskSizeGb", "imageType"} {
			engine = engine || !googleapi.Equal(before.Get("config", f), p.Get("config", f))
		}
		return engine || !googleapi.Equal(before["locations"], p["locations"]), nil
	})
}

func (s *Service) updateField(f string, v any, req, p googleapi.Doc) error {
	config := p.Sub("config")
	switch f {
	case "nodeVersion":
		return s.checkVersion("Node", req.String(f))
	case "labels":
		setOrDrop(config, "labels", req.Doc("labels").Get("labels"))
	case "taints":
		if err := checkTaints(req.Docs("taints", "taints")); err != nil {
			return err
		}
		setOrDrop(config, "taints", req.Get("taints", "taints"))
	case "tags":
		setOrDrop(config, "tags", req.Get("tags", "tags"))
	case "resourceLabels":
		setOrDrop(config, "resourceLabels", req.Get("resourceLabels", "labels"))
	case "locations":
		p["locations"] = v
	case "upgradeSettings":
		p.Sub("upgradeSettings").Merge(req.Doc(f))
	case "nodeNetworkConfig":
		if e, ok := req.Get(f, "enablePrivateNodes").(bool); ok {
			p.Sub("networkConfig")["enablePrivateNodes"] = e
		}
	case "confidentialNodes", "queuedProvisioning", "gcfsConfig", "fastSocket":
		if req.Bool(f, "enabled") {
			return googleapi.Unimplemented("The sandbox does not simulate %s (container.projects.locations.clusters.nodePools.update).", f)
		}
	case "linuxNodeConfig", "kubeletConfig", "windowsNodeConfig":
		if len(req.Doc(f)) > 0 {
			return googleapi.Unimplemented("The sandbox does not simulate %s (container.projects.locations.clusters.nodePools.update).", f)
		}
	default:
		return googleapi.Unimplemented("The sandbox does not simulate %s (container.projects.locations.clusters.nodePools.update).", f)
	}
	return nil
}

func setOrDrop(d googleapi.Doc, name string, v any) {
	m, isMap := v.(map[string]any)
	l, isList := v.([]any)
	if v == nil || isMap && len(m) == 0 || isList && len(l) == 0 {
		delete(d, name)
		return
	}
	d[name] = v
}

// moveGroups makes and removes instance groups as a pool's zones change.
func (s *Service) moveGroups(tx store.Tx, c, before, p googleapi.Doc) error {
	path := strings.TrimPrefix(c.String("selfLink"), linkBase)
	path = strings.Replace(path, "/zones/", "/locations/", 1)
	var spec cluster.Cluster
	if _, err := tx.Get(specKey(path), &spec); err != nil {
		return err
	}
	if err := dropGroups(tx, spec, p.String("name")); err != nil {
		return err
	}
	links, err := s.putGroups(tx, c, spec, p.String("name"), p.Strings("locations"))
	p["instanceGroupUrls"] = links
	return err
}

func (s *Service) setSize(_ context.Context, r *googleapi.Request) (any, error) {
	req, err := r.DecodeDoc(api.SetNodePoolSizeRequest{})
	if err != nil {
		return nil, err
	}
	n := req.Int("nodeCount")
	if n < 0 || n > 1000 {
		return nil, googleapi.BadRequest("Invalid node_count %d: must be between 0 and 1000.", n)
	}
	return s.changePool(r, "SET_NODE_POOL_SIZE", "RECONCILING", resizePool, func(tx store.Tx, _, _ googleapi.Doc) (bool, error) {
		return true, tx.Put(sizeKey(clusterPath(r), r.Var("pool")), n)
	})
}

func (s *Service) setManagement(_ context.Context, r *googleapi.Request) (any, error) {
	req, err := r.DecodeDoc(api.SetNodePoolManagementRequest{})
	if err != nil {
		return nil, err
	}
	return s.changePool(r, "SET_NODE_POOL_MANAGEMENT", "RECONCILING", changePool, func(_ store.Tx, c, p googleapi.Doc) (bool, error) {
		before := p.Bool("management", "autoRepair")
		m := p.Sub("management")
		for _, f := range []string{"autoRepair", "autoUpgrade"} {
			m[f] = req.Bool("management", f)
		}
		if err := checkManagement(c, p); err != nil {
			return false, err
		}
		return before != p.Bool("management", "autoRepair"), nil
	})
}

func (s *Service) setAutoscaling(_ context.Context, r *googleapi.Request) (any, error) {
	req, err := r.DecodeDoc(api.SetNodePoolAutoscalingRequest{})
	if err != nil {
		return nil, err
	}
	return s.changeAutoscaling(r, req.Doc("autoscaling"))
}

func (s *Service) changeAutoscaling(r *googleapi.Request, autoscaling googleapi.Doc) (any, error) {
	return s.changePool(r, "SET_NODE_POOL_SIZE", "RECONCILING", changePool, func(_ store.Tx, _, p googleapi.Doc) (bool, error) {
		if autoscaling == nil {
			delete(p, "autoscaling")
		} else {
			p["autoscaling"] = map[string]any(autoscaling)
		}
		return true, fillAutoscaling(p)
	})
}
