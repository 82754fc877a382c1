package gcpplugin

import (
	"context"
	"sync"

	"patag/infra/sandbox/cluster"
)

// clusters is an engine that notes what it is told to run; the real one takes Kubernetes, and has tests of its own.
type clusters struct {
	mu    sync.Mutex
	pools map[string]cluster.NodePool
	// hold, when set, keeps a creation of a cluster going until it is closed.
	hold chan struct{}
	// broken, when set, is what creations of pools end in.
	broken error
}

func newClusters() *clusters { return &clusters{pools: map[string]cluster.NodePool{}} }

func (c *clusters) CreateCluster(ctx context.Context, _ cluster.Cluster) (cluster.Credentials, error) {
	if c.hold != nil {
		select {
		case <-c.hold:
		case <-ctx.Done():
			return cluster.Credentials{}, ctx.Err()
		}
	}
	return cluster.Credentials{CACertificate: []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")}, nil
}

func (c *clusters) DeleteCluster(context.Context, string) error { return nil }

func (c *clusters) SetNodePool(_ context.Context, p cluster.NodePool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return c.broken
	}
	c.pools[p.Cluster+"/"+p.Name] = p
	return nil
}

func (c *clusters) DeleteNodePool(_ context.Context, id, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pools, id+"/"+name)
	return nil
}

func (c *clusters) NodePoolSize(id, name string) (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.pools[id+"/"+name]
	return p.Size, ok
}

func (c *clusters) Preempt(context.Context, string) error { return nil }

func (c *clusters) Running() []cluster.Running { return nil }
