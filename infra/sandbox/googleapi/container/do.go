package container

import (
	"context"
	"encoding/base64"
	"fmt"

	"patag/infra/sandbox/addresses"
	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// do has the engine carry out a work. All of it can be done again from the beginning.
func (s *Service) do(ctx context.Context, w work) error {
	var id cluster.Cluster
	if found, err := s.core.Store().Get(specKey(w.Cluster), &id); err != nil {
		return err
	} else if !found {
		return fmt.Errorf("cluster %s is not there", w.Cluster)
	}
	switch w.Type {
	case createCluster:
		return s.doCreate(ctx, w.Cluster, id)
	case changeCluster:
		if _, err := s.engine.CreateCluster(ctx, id); err != nil {
			return err
		}
		return s.update(w.Cluster, func(d googleapi.Doc) { healthy(d) })
	case deleteCluster:
		if err := s.engine.DeleteCluster(ctx, id.ID); err != nil {
			return err
		}
		return s.core.Store().Update(func(tx store.Tx) error { return s.dropCluster(tx, w.Cluster, id) })
	case createPool, changePool, resizePool:
		return s.doPool(ctx, w.Cluster, id, w.Pool, w.Type == resizePool)
	case deletePool:
		if err := s.engine.DeleteNodePool(ctx, id.ID, w.Pool); err != nil {
			return err
		}
		return s.core.Store().Update(func(tx store.Tx) error { return s.dropPool(tx, w.Cluster, w.Pool) })
	}
	return fmt.Errorf("work of type %q is not known", w.Type)
}

func (s *Service) doCreate(ctx context.Context, path string, spec cluster.Cluster) error {
	credentials, err := s.engine.CreateCluster(ctx, spec)
	if err != nil {
		return err
	}
	var pools []googleapi.Doc
	err = s.core.Store().Update(func(tx store.Tx) error {
		d, err := loadCluster(tx, path)
		if err != nil {
			return err
		}
		d.Sub("masterAuth")["clusterCaCertificate"] = base64.StdEncoding.EncodeToString(credentials.CACertificate)
		d["endpoint"] = spec.Endpoint.String()
		p := d.Sub("privateClusterConfig")
		p["publicEndpoint"], p["privateEndpoint"] = spec.Endpoint.String(), spec.MasterCIDR.Addr().Next().String()
		if err := tx.Put(key(path), d); err != nil {
			return err
		}
		pools, err = loadPools(tx, path)
		return err
	})
	if err != nil {
		return err
	}
	for _, p := range pools {
		if err := s.doPool(ctx, path, spec, p.String("name"), false); err != nil {
			return err
		}
	}
	return s.update(path, func(d googleapi.Doc) { healthy(d) })
}

func (s *Service) doPool(ctx context.Context, path string, spec cluster.Cluster, name string, resize bool) error {
	var pool cluster.NodePool
	err := s.core.Store().View(func(tx store.Tx) (err error) {
		pool, err = s.poolSpec(tx, path, spec, name)
		return err
	})
	if err != nil {
		return err
	}
	// Only an order for another size changes what the autoscaler made of it.
	if live, ok := s.engine.NodePoolSize(spec.ID, name); ok && !resize {
		pool.Size = live
	}
	if a := pool.Autoscaling; a != nil && a.Max > 0 {
		pool.Size = min(max(pool.Size, a.Min), a.Max)
	}
	if err := s.core.Store().Put(sizeKey(path, name), pool.Size); err != nil {
		return err
	}
	if err := s.engine.SetNodePool(ctx, pool); err != nil {
		return fmt.Errorf("node pool %q: %w", name, err)
	}
	return s.update(path+"/nodePools/"+name, func(d googleapi.Doc) { healthy(d) })
}

// update changes a cluster's or pool's document, if it is still there.
func (s *Service) update(path string, fn func(googleapi.Doc)) error {
	return s.core.Store().Update(func(tx store.Tx) error {
		var d googleapi.Doc
		found, err := tx.Get(key(path), &d)
		if err != nil || !found {
			return err
		}
		fn(d)
		return tx.Put(key(path), d)
	})
}

// dropCluster removes all that the API has of a cluster. What its load balancer and its volumes made in Compute
// Engine stays, as at Google.
func (s *Service) dropCluster(tx store.Tx, path string, spec cluster.Cluster) error {
	pools, err := loadPools(tx, path)
	if err != nil {
		return err
	}
	for _, p := range pools {
		if err := s.dropPool(tx, path, p.String("name")); err != nil {
			return err
		}
	}
	if err := dropNodes(tx, spec, ""); err != nil {
		return err
	}
	if err := s.dropFirewalls(tx, spec); err != nil {
		return err
	}
	if err := s.dropRanges(tx, path); err != nil {
		return err
	}
	if err := addresses.ReleaseEndpoint(tx, "container/"+spec.ID); err != nil {
		return err
	}
	for _, k := range []string{idKey(spec.ID), specKey(path), key(path)} {
		if err := tx.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) dropPool(tx store.Tx, path, name string) error {
	var spec cluster.Cluster
	if _, err := tx.Get(specKey(path), &spec); err != nil {
		return err
	}
	if err := dropNodes(tx, spec, name); err != nil {
		return err
	}
	if err := dropGroups(tx, spec, name); err != nil {
		return err
	}
	if err := tx.Delete(sizeKey(path, name)); err != nil {
		return err
	}
	return tx.Delete(key(path + "/nodePools/" + name))
}

// specKey is where the engine's order for a cluster lies, idKey the cluster's path by its engine's id, sizeKey the
// size that was last asked of a pool.
func specKey(path string) string       { return "container-specs/" + path }
func idKey(id string) string           { return "container-ids/" + id }
func sizeKey(path, pool string) string { return "container-sizes/" + path + "/" + pool }
