package kube

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestWorkloads reads workloads in the states of a rollout, as an API server tells them.
func TestWorkloads(t *testing.T) {
	const pods = `{"items":[
		{"metadata":{"name":"redis-2","labels":{"app":"redis"}},"status":{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable","message":"0/3 nodes are available: 3 Insufficient memory."}]}},
		{"metadata":{"name":"tag-1","labels":{"app":"tag"}},"status":{"phase":"Pending","containerStatuses":[{"state":{"waiting":{"reason":"ImagePullBackOff","message":"no such image"}}}]}}]}`
	sts := func(generation, observed, ready, updated, revisions string, more string) string {
		current, update, _ := strings.Cut(revisions, " ")
		return `{"metadata":{"name":"redis","namespace":"ns","generation":` + generation + `},"spec":{"replicas":3,"selector":{"matchLabels":{"app":"redis"}},"updateStrategy":{"type":"RollingUpdate"` + more + `}},
			"status":{"observedGeneration":` + observed + `,"replicas":3,"readyReplicas":` + ready + `,"updatedReplicas":` + updated + `,"currentRevision":"` + current + `","updateRevision":"` + update + `"}}`
	}
	deployment := func(observed, replicas, ready, updated, unavailable string) string {
		return `{"metadata":{"name":"tag","namespace":"ns","generation":2,"annotations":{"pulumi.com/skipAwait":"true"}},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"tag"}}},
			"status":{"observedGeneration":` + observed + `,"replicas":` + replicas + `,"readyReplicas":` + ready + `,"updatedReplicas":` + updated + `,"unavailableReplicas":` + unavailable + `}}`
	}
	for name, c := range map[string]struct {
		sets, deployments string
		// why begins with this; "" for a workload that is whole.
		why      string
		mention  string
		hopeless bool
	}{
		"whole":                  {sets: sts("1", "1", "3", "3", "a a", "")},
		"whole, nothing updated": {sets: sts("2", "2", "3", "0", "a a", "")},
		// What the provider takes for done: the counts are those from before the change.
		"changed, not seen yet":    {sets: sts("2", "1", "3", "3", "a a", ""), why: "Kubernetes has not looked"},
		"rolling":                  {sets: sts("2", "2", "2", "1", "a b", ""), why: "1 of 3 pods are of the newest revision", mention: "redis-2: no node has room for it: 0/3 nodes"},
		"a pod is not ready":       {sets: sts("2", "2", "2", "3", "b b", ""), why: "2 of 3 pods are ready", mention: "redis-2: no node has room"},
		"partition":                {sets: sts("2", "2", "3", "1", "a b", `,"rollingUpdate":{"partition":2}`)},
		"deployment whole":         {deployments: deployment("2", "2", "2", "2", "0")},
		"deployment not seen yet":  {deployments: deployment("1", "2", "2", "2", "0"), why: "Kubernetes has not looked", hopeless: true},
		"deployment with old pods": {deployments: deployment("2", "3", "3", "2", "0"), why: "1 pods of an older revision", hopeless: true},
		"deployment without image": {deployments: deployment("2", "2", "1", "2", "1"), why: "1 of 2 pods are ready", mention: "tag-1: ImagePullBackOff: no such image", hopeless: true},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/apis/apps/v1/namespaces/ns/statefulsets":
					w.Write([]byte(`{"items":[` + c.sets + `]}`))
				case "/apis/apps/v1/namespaces/ns/deployments":
					w.Write([]byte(`{"items":[` + c.deployments + `]}`))
				case "/api/v1/namespaces/ns/pods":
					if c.sets != "" {
						w.Write([]byte(strings.Split(pods, ",\n\t\t{\"metadata\":{\"name\":\"tag-1\"")[0] + "]}"))
					} else {
						w.Write([]byte(pods))
					}
				case "/api/v1/namespaces/ns/events":
					w.Write([]byte(`{"items":[]}`))
				default:
					http.NotFound(w, r)
				}
			}))
			defer srv.Close()
			all, err := (&Cluster{Server: srv.URL, token: "secret", http: srv.Client()}).Workloads(t.Context(), "ns")
			if err != nil || len(all) != 1 {
				t.Fatal(all, err)
			}
			w := all[0]
			if w.Whole != (c.why == "") || !strings.HasPrefix(w.Why, c.why) || !strings.Contains(w.Why, c.mention) || w.Hopeless != c.hopeless {
				t.Errorf("%+v", w)
			}
			if w.Unawaited != (c.deployments != "") {
				t.Errorf("unawaited is %v", w.Unawaited)
			}
		})
	}
}

// TestWorkloadWithoutPods: what keeps pods from being made is told by the events of their owner.
func TestWorkloadWithoutPods(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/statefulsets"):
			w.Write([]byte(`{"items":[{"metadata":{"name":"redis","namespace":"ns","generation":1},"spec":{"replicas":3,"selector":{"matchLabels":{"app":"redis"}}},"status":{"observedGeneration":1}}]}`))
		case strings.HasSuffix(r.URL.Path, "/events"):
			if got := r.URL.Query().Get("fieldSelector"); got != "type=Warning,involvedObject.kind=StatefulSet,involvedObject.name=redis" {
				t.Errorf("asked for the events of %s", got)
			}
			w.Write([]byte(`{"items":[{"message":"forbidden: exceeded quota","lastTimestamp":"2026-11-24T22:00:02Z"},{"message":"older","lastTimestamp":"2026-11-24T22:00:01Z"}]}`))
		default:
			w.Write([]byte(`{"items":[]}`))
		}
	}))
	defer srv.Close()
	all, err := (&Cluster{Server: srv.URL, token: "secret", http: srv.Client()}).Workloads(t.Context(), "ns")
	if err != nil || len(all) != 1 || all[0].Why != "0 of 3 pods are ready; forbidden: exceeded quota" {
		t.Error(all, err)
	}
}
