package stacks

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"patag/infra/pulumitest"
	"patag/stacks/config"
)

const canaryKey = "kubernetes:apps/v1:Deployment tag-canary"

func find(t *testing.T, result *pulumitest.Result, key string) pulumitest.Resource {
	t.Helper()
	i := slices.IndexFunc(result.Resources, func(r pulumitest.Resource) bool { return r.Key() == key })
	if i < 0 {
		t.Fatalf("there is no %s", key)
	}
	return result.Resources[i]
}

func selected(selector, labels any) bool {
	by, _ := selector.(object)
	of, _ := labels.(object)
	for k, v := range by {
		if of[k] != v {
			return false
		}
	}
	return len(by) > 0
}

// TestCanary: dark, no Service selects it; live, the servers' does. It changes nothing else, and keeps the rules of all pods.
func TestCanary(t *testing.T) {
	image := "europe-west1-docker.pkg.dev/p/patag/tag@sha256:" + strings.Repeat("c", 64)
	without := mustRun(t, "production", config.FerretDB, nil)
	selectors := map[string]any{}
	for _, live := range []bool{false, true} {
		result := mustRun(t, "production", config.FerretDB, map[string]string{"patag:canaryImage": image, "patag:canaryLive": fmt.Sprint(live)})
		if more := len(result.Resources) - len(without.Resources); more != 2 {
			t.Errorf("live %v: %d resources more, want a Deployment and a NetworkPolicy", live, more)
		}
		canary := find(t, result, canaryKey)
		labels := canary.At("spec.template.metadata.labels")
		selector := canary.At("spec.selector.matchLabels")
		if !selected(selector, labels) {
			t.Errorf("live %v: the Deployment's selector %v is not that of its pods %v", live, selector, labels)
		}
		selectors[fmt.Sprint(selector)] = nil
		if at := canary.At("spec.template.spec.containers[0].image"); at != image {
			t.Errorf("the canary runs %v", at)
		}
		for _, service := range result.OfType("kubernetes:core/v1:Service") {
			if got, want := selected(service.At("spec.selector"), labels), live && service.Name == "edge"; got != want {
				t.Errorf("live %v: %s selects the canary: %v, want %v", live, service.Key(), got, want)
			}
		}
		for _, p := range pods(result) {
			if faults := restricted(p); faults != nil {
				t.Errorf("%s: %s", p.owner, strings.Join(faults, ", "))
			}
		}
		main := "kubernetes:apps/v1:Deployment tag"
		if a, b := fmt.Sprint(find(t, result, main).Inputs), fmt.Sprint(find(t, without, main).Inputs); a != b {
			t.Errorf("live %v: the servers are others with a canary beside them", live)
		}
	}
	if len(selectors) != 1 {
		t.Errorf("selectors differ, and Kubernetes cannot change one: %v", selectors)
	}
}

// TestCanaryNeedsAnImage: traffic for nothing is refused.
func TestCanaryNeedsAnImage(t *testing.T) {
	if _, err := run(t, "production", config.FerretDB, map[string]string{"patag:canaryLive": "true"}); err == nil || !strings.Contains(err.Error(), "patag:canaryImage") {
		t.Errorf("want a refusal that names the key, got %v", err)
	}
}
