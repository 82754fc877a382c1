package reap

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/api/option"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) string { return now.Add(d).Format(TimeLayout) }

func labels(stack, expires string, more ...string) map[string]string {
	l := map[string]string{"app": "patag", "stack": stack, "owner": "ann"}
	if expires != "" {
		l["expires-at"] = expires
	}
	for i := 0; i < len(more); i += 2 {
		l[more[i]] = more[i+1]
	}
	return l
}

// gke answers as the GKE API does: clusters are listed, read and deleted, deletions take a few looks.
type gke struct {
	mu       sync.Mutex
	clusters map[string]map[string]any
	looks    map[string]int
	deleted  []string
	refuse   string
	missing  []string
	// again is what a cluster's labels are by the second look.
	again map[string]map[string]string
}

func (g *gke) add(name, status string, l map[string]string) {
	g.clusters[name] = map[string]any{"name": name, "location": "europe-west1-b", "status": status, "resourceLabels": l, "currentNodeCount": 4}
}

func (g *gke) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	const base = "/v1/projects/p/locations/"
	path := strings.TrimPrefix(r.URL.Path, base)
	place, rest, _ := strings.Cut(path, "/")
	kind, name, _ := strings.Cut(rest, "/")
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	switch {
	case r.Method == http.MethodGet && path == "-/clusters":
		answer(map[string]any{"clusters": slices.Collect(maps.Values(g.clusters)), "missingZones": g.missing})
	case place != "europe-west1-b":
		http.Error(w, `{"error":{"code":400,"message":"wrong location"}}`, http.StatusBadRequest)
	case kind == "operations":
		g.looks[name]++
		status := "RUNNING"
		if g.looks[name] >= 2 {
			status = "DONE"
		}
		answer(map[string]any{"name": name, "status": status})
	case g.clusters[name] == nil:
		http.Error(w, `{"error":{"code":404,"message":"Not found"}}`, http.StatusNotFound)
	case r.Method == http.MethodDelete && name == g.refuse:
		http.Error(w, `{"error":{"code":403,"message":"Required \"container.clusters.delete\" permission"}}`, http.StatusForbidden)
	case r.Method == http.MethodDelete:
		delete(g.clusters, name)
		g.deleted = append(g.deleted, name)
		answer(map[string]any{"name": "op-" + name, "status": "RUNNING"})
	default:
		c := maps.Clone(g.clusters[name])
		if l, ok := g.again[name]; ok {
			c["resourceLabels"] = l
		}
		answer(c)
	}
}

func run(t *testing.T, g *gke, dry bool) (Report, error) {
	t.Helper()
	srv := httptest.NewServer(g)
	t.Cleanup(srv.Close)
	g.looks = map[string]int{}
	r, err := New(t.Context(), Options{Project: "p", DryRun: dry, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler), Poll: time.Millisecond,
		Client: []option.ClientOption{option.WithEndpoint(srv.URL), option.WithoutAuthentication()}})
	if err != nil {
		t.Fatal(err)
	}
	return r.Run(t.Context())
}

func full() *gke {
	g := &gke{clusters: map[string]map[string]any{}}
	g.add("staging-over-1a", "RUNNING", labels("staging-over", at(-time.Minute)))
	g.add("staging-broken-1a", "ERROR", labels("staging-broken", at(-time.Hour)))
	g.add("staging-young-1a", "RUNNING", labels("staging-young", at(time.Second)))
	g.add("staging-forever-1a", "RUNNING", labels("staging-forever", ""))
	g.add("staging-odd-1a", "RUNNING", labels("staging-odd", "yesterday"))
	g.add("staging-going-1a", "STOPPING", labels("staging-going", at(-time.Hour)))
	g.add("staging-others-1a", "RUNNING", labels("staging-others", at(-time.Hour), "app", "other"))
	// Production is left alone even where somebody gave it an expiry, or the labels or the name of a staging.
	g.add("production-1a", "RUNNING", labels("production", at(-time.Hour)))
	g.add("production-1b", "RUNNING", labels("staging-x", at(-time.Hour)))
	g.add("staging-x-1c", "RUNNING", labels("production", at(-time.Hour)))
	g.add("foundation-1a", "RUNNING", labels("foundation", at(-time.Hour)))
	g.add("unlabelled", "RUNNING", nil)
	return g
}

func TestOnlyExpiredStagings(t *testing.T) {
	g := full()
	report, err := run(t, g, false)
	slices.Sort(g.deleted)
	if err != nil || fmt.Sprint(g.deleted) != "[staging-broken-1a staging-over-1a]" {
		t.Errorf("%v: deleted %v", err, g.deleted)
	}
	if report.Looked != 12 || len(report.Deleted) != 2 || report.Deleted[0].Owner != "ann" || report.Deleted[0].Nodes != 4 || report.Deleted[0].Expired.After(now) {
		t.Errorf("report: %+v", report)
	}
	for op, n := range g.looks {
		if n < 2 {
			t.Errorf("the deletion %s was not waited for", op)
		}
	}
}

func TestDryRun(t *testing.T) {
	g := full()
	report, err := run(t, g, true)
	if err != nil || len(g.deleted) != 0 || len(report.Deleted) != 2 || !report.DryRun {
		t.Errorf("%v: deleted %v, report %+v", err, g.deleted, report)
	}
}

// One that was extended after it was listed stays.
func TestExtendedMeanwhile(t *testing.T) {
	g := full()
	g.again = map[string]map[string]string{"staging-over-1a": labels("staging-over", at(time.Hour))}
	report, err := run(t, g, false)
	if err != nil || fmt.Sprint(g.deleted) != "[staging-broken-1a]" || len(report.Deleted) != 1 {
		t.Errorf("%v: deleted %v, report %+v", err, g.deleted, report)
	}
}

// One that cannot be deleted does not keep the others, and is told; so are zones that did not answer.
func TestFailuresAreTold(t *testing.T) {
	g := full()
	g.refuse, g.missing = "staging-broken-1a", []string{"europe-west1-d"}
	report, err := run(t, g, false)
	if err == nil || !strings.Contains(err.Error(), "cluster staging-broken-1a of staging-broken: delete") || !strings.Contains(err.Error(), "europe-west1-d") {
		t.Errorf("error: %v", err)
	}
	if fmt.Sprint(g.deleted) != "[staging-over-1a]" || len(report.Deleted) != 1 {
		t.Errorf("deleted %v, report %+v", g.deleted, report)
	}
}
