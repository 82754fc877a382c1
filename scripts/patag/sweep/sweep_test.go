package sweep

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"patag/scripts/patag/cloud"
	"patag/scripts/patag/google"
)

// api answers lists from a map of collections and records what is deleted, refusing what something else still names,
// as Google does.
type api struct {
	mu      sync.Mutex
	cluster bool
	things  map[string][]map[string]any
	deleted []string
	broken  string
}

func link(path string) string { return "https://www.googleapis.com/compute/v1/projects/p/" + path }

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	path := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/compute/v1/projects/p/"), "/container/v1/")
	switch {
	case strings.HasPrefix(path, "projects/p/locations/"):
		if !a.cluster {
			http.Error(w, `{"error":{"message":"no such cluster"}}`, 404)
			return
		}
		_, _ = w.Write([]byte(`{"name":"c","status":"RUNNING"}`))
	case r.Method == http.MethodDelete:
		if path == a.broken {
			http.Error(w, `{"error":{"message":"not today"}}`, http.StatusServiceUnavailable)
			return
		}
		for collection, list := range a.things {
			for i, t := range list {
				if t["selfLink"] == link(path) {
					a.things[collection] = slices.Delete(list, i, i+1)
					break
				}
			}
		}
		raw, _ := json.Marshal(a.things)
		if strings.Contains(string(raw), link(path)+`"`) {
			http.Error(w, `{"error":{"message":"in use: `+path+`"}}`, 400)
			return
		}
		a.deleted = append(a.deleted, path)
		_, _ = w.Write([]byte(`{"name":"op","status":"DONE"}`))
	default:
		var items any = a.things[path]
		if strings.HasPrefix(path, "aggregated/") {
			items = map[string]any{"zones/z": map[string]any{strings.TrimPrefix(path, "aggregated/"): a.things[path]}, "zones/y": map[string]any{"warning": map[string]any{"code": "NO_RESULTS_ON_PAGE"}}}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"items": items})
	}
}

func thing(path string, fields map[string]any) map[string]any {
	t := map[string]any{"name": last(path), "selfLink": link(path)}
	for k, v := range fields {
		t[k] = v
	}
	return t
}

type f = map[string]any

func leftovers() map[string][]map[string]any {
	return map[string][]map[string]any{
		"aggregated/networkEndpointGroups": {
			thing("zones/z/networkEndpointGroups/k8s1-a", f{"network": link("global/networks/net")}),
			thing("zones/z/networkEndpointGroups/mine", f{"network": link("global/networks/net")}),
			thing("zones/z/networkEndpointGroups/k8s1-other", f{"network": link("global/networks/other")}),
		},
		"global/backendServices": {
			thing("global/backendServices/k8s1-a", f{"backends": []any{f{"group": link("zones/z/networkEndpointGroups/k8s1-a")}}, "healthChecks": []any{link("global/healthChecks/k8s1-a")}}),
			thing("global/backendServices/k8s1-other", f{"backends": []any{f{"group": link("zones/z/networkEndpointGroups/k8s1-other")}}}),
		},
		"global/healthChecks":       {thing("global/healthChecks/k8s1-a", nil), thing("global/healthChecks/k8s1-other", nil)},
		"global/urlMaps":            {thing("global/urlMaps/k8s2-um-a", f{"pathMatchers": []any{f{"defaultService": link("global/backendServices/k8s1-a")}}})},
		"global/targetHttpProxies":  {thing("global/targetHttpProxies/k8s2-tp-a", f{"urlMap": link("global/urlMaps/k8s2-um-a")})},
		"global/targetHttpsProxies": {thing("global/targetHttpsProxies/k8s2-ts-a", f{"urlMap": link("global/urlMaps/k8s2-um-a")})},
		"global/forwardingRules": {
			thing("global/forwardingRules/k8s2-fr-a", f{"target": link("global/targetHttpProxies/k8s2-tp-a")}),
			thing("global/forwardingRules/k8s2-fs-a", f{"target": link("global/targetHttpsProxies/k8s2-ts-a")}),
			thing("global/forwardingRules/k8s2-fr-other", f{"target": link("global/targetHttpProxies/k8s2-tp-other")}),
		},
		"global/firewalls": {
			thing("global/firewalls/gke-c-all", f{"network": link("global/networks/net")}),
			thing("global/firewalls/production-health", f{"network": link("global/networks/net")}),
			thing("global/firewalls/gke-d-all", f{"network": link("global/networks/other")}),
		},
		"aggregated/disks": {
			thing("zones/z/disks/pvc-1", f{"labels": f{"goog-k8s-cluster-name": "c"}}),
			thing("zones/z/disks/pvc-2", f{"labels": f{"goog-k8s-cluster-name": "d"}}),
			thing("zones/z/disks/pvc-3", f{"labels": f{"goog-k8s-cluster-name": "c"}, "users": []any{"i"}}),
			thing("zones/z/disks/mine", nil),
		},
	}
}

var swept = []string{
	"global/backendServices/k8s1-a", "global/firewalls/gke-c-all", "global/forwardingRules/k8s2-fr-a", "global/forwardingRules/k8s2-fs-a", "global/healthChecks/k8s1-a",
	"global/targetHttpProxies/k8s2-tp-a", "global/targetHttpsProxies/k8s2-ts-a", "global/urlMaps/k8s2-um-a", "zones/z/disks/pvc-1", "zones/z/networkEndpointGroups/k8s1-a",
}

func client(t *testing.T, a *api) *google.Client {
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	c, err := google.New(t.Context(), &cloud.Cloud{Name: cloud.Sandbox, Project: "p", Token: "t", Credentialed: true, Compute: srv.URL + "/compute/v1/", Container: srv.URL + "/container/"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var where = Footprint{Networks: []string{"net"}, Clusters: []string{"projects/p/locations/z/clusters/c"}}

func TestSweep(t *testing.T) {
	a := &api{things: leftovers()}
	n, err := Sweep(t.Context(), client(t, a), where, func(string) {})
	slices.Sort(a.deleted)
	if err != nil || n != len(swept) || !slices.Equal(a.deleted, swept) {
		t.Errorf("%v: deleted\n%s\nwant\n%s", err, strings.Join(a.deleted, "\n"), strings.Join(swept, "\n"))
	}
}

func TestSweepLeavesALivingClusterAlone(t *testing.T) {
	a := &api{things: leftovers(), cluster: true}
	if n, err := Sweep(t.Context(), client(t, a), where, func(string) {}); err != nil || n != 0 || len(a.deleted) != 0 {
		t.Errorf("%d %v %v", n, err, a.deleted)
	}
}

// TestSweepGoesOn: whatever it is cut off at, the next one finds the rest.
func TestSweepGoesOn(t *testing.T) {
	for _, at := range swept {
		a := &api{things: leftovers(), broken: at}
		c := client(t, a)
		if _, err := Sweep(t.Context(), c, where, func(string) {}); err == nil || !strings.Contains(err.Error(), "not today") {
			t.Errorf("cut off at %s: %v", at, err)
		}
		a.broken = ""
		_, err := Sweep(t.Context(), c, where, func(string) {})
		slices.Sort(a.deleted)
		if err != nil || !slices.Equal(a.deleted, swept) {
			t.Errorf("after %s: %v, deleted %v", at, err, a.deleted)
		}
	}
}
