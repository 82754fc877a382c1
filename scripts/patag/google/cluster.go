package google

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Cluster is what is asked of a GKE cluster.
type Cluster struct {
	Name, Location, Endpoint, Status, CreateTime string
	MasterAuth                                   struct{ ClusterCaCertificate string }
	NodePools                                    []struct{ Name string }
}

// Cluster reads a cluster by projects/P/locations/L/clusters/C.
func (c *Client) Cluster(ctx context.Context, path string) (Cluster, error) {
	var cl Cluster
	err := c.Get(ctx, c.Container(path), &cl)
	return cl, err
}

const defaultPool = "default-pool"

// FinishCluster does what was left to do for a cluster whose creation was cut off: it waits until Google has made it,
// and deletes the pool that GKE makes by itself, as the provider would have done.
func (c *Client) FinishCluster(ctx context.Context, path string, removeDefaultPool bool, say func(string)) error {
	location, _, _ := strings.Cut(path, "/clusters/")
	for {
		cl, err := c.Cluster(ctx, path)
		if NotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look at %s: %w", path, err)
		}
		switch cl.Status {
		case "ERROR", "DEGRADED", "STOPPING":
			return nil // the run that follows deals with it, and says so
		case "PROVISIONING", "RECONCILING":
			say("Google is still making the cluster")
		default:
			left := false
			for _, p := range cl.NodePools {
				left = left || p.Name == defaultPool
			}
			if !removeDefaultPool || !left {
				return nil
			}
			say("deleting the pool that GKE made by itself")
			err := c.DeleteContainer(ctx, path+"/nodePools/"+defaultPool, location)
			// 400 and 409 are GKE's ways to say that another operation goes on.
			if code := code(err); err != nil && code != http.StatusBadRequest && code != http.StatusConflict {
				return fmt.Errorf("delete the default pool of %s: %w", path, err)
			}
			if err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Second):
		}
	}
}
