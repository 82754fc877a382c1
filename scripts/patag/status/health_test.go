package status

import (
	"strings"
	"testing"

	"patag/scripts/patag/engine"
	"patag/scripts/patag/kube"
)

func TestCompare(t *testing.T) {
	st := Status{Workloads: []kube.Workload{
		{Kind: "StatefulSet", Namespace: "patag", Name: "redis", Why: "2 of 3 pods are ready; redis-2: no node has room for it"},
		{Kind: "Deployment", Namespace: "patag", Name: "tag", Whole: true},
		{Kind: "Deployment", Namespace: "patag", Name: "canary", Why: "0 of 1 pods are ready", Unawaited: true},
	}}
	st.compare(engine.Summary{IDs: map[string][]string{
		deploymentType: {"patag/tag", "patag/twemproxy", "patag/canary"}, statefulSetType: {"patag/redis"},
	}}, "production")
	got := strings.Join(st.Problems, "\n")
	want := "StatefulSet patag/redis: 2 of 3 pods are ready; redis-2: no node has room for it\nDeployment patag/twemproxy is gone; `patag up production --refresh` makes it anew"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
