package lifecycle

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"patag/infra/sandbox/gcpplugin/google"
	"patag/infra/sandbox/gcpplugin/value"
)

// after does what follows a creation.
func (r *run) after(ctx context.Context) error {
	switch r.t.After {
	case "delete-default-routes":
		if r.flag("deleteDefaultRoutesOnCreate") {
			return r.deleteDefaultRoutes(ctx)
		}
	case "cluster":
		if r.flag("removeDefaultNodePool") {
			self, err := r.path(r.t.Self)
			if err != nil {
				return err
			}
			if err := r.order(ctx, remove, self+"/nodePools/default-pool", nil); gone(err) != nil {
				return fmt.Errorf("remove the default node pool: %w", err)
			}
		}
	}
	return nil
}

func (r *run) deleteDefaultRoutes(ctx context.Context) error {
	network, err := r.current(ctx)
	if err != nil {
		return err
	}
	link, _ := network["selfLink"].(string)
	base := "projects/" + r.get("project") + "/global/routes"
	filter := fmt.Sprintf(`(network="%s") AND (destRange="0.0.0.0/0")`, link)
	answer, err := r.do(ctx, get, base+"?filter="+url.QueryEscape(filter), nil)
	if err != nil {
		return fmt.Errorf("list the default routes: %w", err)
	}
	items, _ := answer["items"].([]any)
	for _, item := range items {
		route, _ := item.(value.Map)
		name, _ := route["name"].(string)
		if err := r.order(ctx, remove, base+"/"+name, nil); gone(err) != nil {
			return fmt.Errorf("delete the default route %q: %w", name, err)
		}
	}
	return nil
}

// afterRead adds what the resource itself does not say.
func (r *run) afterRead(ctx context.Context, answer value.Map) error {
	switch r.t.After {
	case "cluster":
		delete(r.state, "operation")
		if _, routes := value.Get(answer, "ipAllocationPolicy.useIpAliases"); !routes {
			r.state["networkingMode"] = "ROUTES"
		}
	case "node-pool":
		return r.poolSize(ctx, answer)
	}
	return nil
}

// poolSize reads how many nodes a pool has from its instance groups, as Google's provider does: the node pool
// itself only tells with how many it began.
func (r *run) poolSize(ctx context.Context, answer value.Map) error {
	links, _ := answer["instanceGroupUrls"].([]any)
	var groups []any
	var size, counted float64
	for _, l := range links {
		link, _ := l.(string)
		i := strings.Index(link, "projects/")
		if i < 0 {
			continue
		}
		group, err := r.Client.Do(ctx, google.Request{Method: get, Service: "compute", Path: link[i:]})
		if google.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the instance group of the pool: %w", err)
		}
		n, _ := group["targetSize"].(float64)
		size += n
		counted++
		if g, ok := group["instanceGroup"].(string); ok {
			groups = append(groups, g)
		}
	}
	if counted > 0 {
		r.state["nodeCount"] = float64(int(size / counted))
	} else if n, ok := answer["initialNodeCount"].(float64); ok {
		r.state["nodeCount"] = n
	}
	if groups != nil {
		r.state["managedInstanceGroupUrls"] = groups
	}
	return nil
}

// beforeDelete empties what must be empty.
func (r *run) beforeDelete(ctx context.Context) error {
	if r.t.BeforeDelete == "" || !r.flag("forceDestroy") {
		return nil
	}
	switch r.t.BeforeDelete {
	case "empty-bucket":
		return r.emptyBucket(ctx)
	case "empty-zone":
		return r.emptyZone(ctx)
	}
	return fmt.Errorf("the description names no known step %q", r.t.BeforeDelete)
}

func (r *run) emptyBucket(ctx context.Context) error {
	base := "b/" + url.PathEscape(r.get("name")) + "/o"
	for {
		// Deleted ones leave the list, so the first page is always the next.
		answer, err := r.do(ctx, get, base+"?versions=true&maxResults=1000", nil)
		if err != nil {
			return fmt.Errorf("list the objects: %w", err)
		}
		items, _ := answer["items"].([]any)
		if len(items) == 0 {
			return nil
		}
		for _, item := range items {
			o, _ := item.(value.Map)
			name, _ := o["name"].(string)
			path := base + "/" + url.PathEscape(name)
			if generation, ok := o["generation"].(string); ok {
				path += "?generation=" + generation
			}
			if _, err := r.do(ctx, remove, path, nil); gone(err) != nil {
				return fmt.Errorf("delete the object %q: %w", name, err)
			}
		}
	}
}

// emptyZone deletes all records but the two that a zone always has.
func (r *run) emptyZone(ctx context.Context) error {
	self, err := r.path(r.t.Self)
	if err != nil {
		return err
	}
	var deletions []any
	for token := ""; ; {
		answer, err := r.do(ctx, get, self+"/rrsets?pageToken="+url.QueryEscape(token), nil)
		if err != nil {
			return fmt.Errorf("list the records: %w", err)
		}
		sets, _ := answer["rrsets"].([]any)
		for _, s := range sets {
			set, _ := s.(value.Map)
			if kind := set["type"]; (kind == "NS" || kind == "SOA") && set["name"] == r.state["dnsName"] {
				continue
			}
			deletions = append(deletions, set)
		}
		if token, _ = answer["nextPageToken"].(string); token == "" {
			break
		}
	}
	if len(deletions) == 0 {
		return nil
	}
	_, err = r.do(ctx, post, self+"/changes", value.Map{"deletions": deletions})
	return err
}
