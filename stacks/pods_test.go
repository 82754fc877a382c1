package stacks

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"

	"patag/infra/pulumitest"
	"patag/infra/redis"
	"patag/infra/tagserver"
	"patag/infra/twemproxy"
	"patag/stacks/config"
)

type object = map[string]any

// pod is a pod template and the resource that has it.
type pod struct {
	owner    string
	labels   object
	spec     object
	replicas float64
}

// pods are the pod templates of a stack.
func pods(result *pulumitest.Result) (found []pod) {
	for _, r := range result.Resources {
		spec, _ := r.Inputs["spec"].(object)
		template, _ := spec["template"].(object)
		inner, ok := template["spec"].(object)
		if !ok {
			continue
		}
		replicas, _ := spec["replicas"].(float64)
		labels, _ := template["metadata"].(object)["labels"].(object)
		found = append(found, pod{r.Key(), labels, inner, max(1, replicas)})
	}
	return found
}

func (p pod) containers() (all []object) {
	for _, list := range []string{"initContainers", "containers"} {
		items, _ := p.spec[list].([]any)
		for _, c := range items {
			all = append(all, c.(object))
		}
	}
	return all
}

// restricted lists what of a pod template the restricted Pod Security Standard refuses. Source: "Pod Security
// Standards" of the Kubernetes documentation, v1.34.
func restricted(p pod) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, field := range []string{"hostNetwork", "hostPID", "hostIPC"} {
		if v, _ := p.spec[field].(bool); v {
			fault("%s is set", field)
		}
	}
	allowed := map[string]bool{"configMap": true, "csi": true, "downwardAPI": true, "emptyDir": true, "ephemeral": true, "persistentVolumeClaim": true, "projected": true, "secret": true}
	volumes, _ := p.spec["volumes"].([]any)
	for _, v := range volumes {
		for kind := range v.(object) {
			if kind != "name" && !allowed[kind] {
				fault("volume of kind %s", kind)
			}
		}
	}
	podContext, _ := p.spec["securityContext"].(object)
	seccomp, _ := podContext["seccompProfile"].(object)
	for _, c := range p.containers() {
		context, _ := c["securityContext"].(object)
		if context["allowPrivilegeEscalation"] != false {
			fault("container %v may escalate privileges", c["name"])
		}
		if context["runAsNonRoot"] != true && podContext["runAsNonRoot"] != true {
			fault("container %v may run as root", c["name"])
		}
		if v, _ := context["privileged"].(bool); v {
			fault("container %v is privileged", c["name"])
		}
		if own, ok := context["seccompProfile"].(object); !ok && seccomp["type"] != "RuntimeDefault" || ok && own["type"] != "RuntimeDefault" {
			fault("container %v has no seccomp profile", c["name"])
		}
		capabilities, _ := context["capabilities"].(object)
		if drop := fmt.Sprint(capabilities["drop"]); drop != "[ALL]" {
			fault("container %v drops %s, want ALL", c["name"], drop)
		}
		if add, _ := capabilities["add"].([]any); len(add) > 0 && fmt.Sprint(add) != "[NET_BIND_SERVICE]" {
			fault("container %v adds %v", c["name"], add)
		}
		ports, _ := c["ports"].([]any)
		for _, port := range ports {
			if port.(object)["hostPort"] != nil {
				fault("container %v has a host port", c["name"])
			}
		}
	}
	if uid, _ := podContext["runAsUser"].(float64); uid == 0 {
		fault("runs as user 0 or an image's choice")
	}
	return faults
}

func TestPods(t *testing.T) {
	byDigest := regexp.MustCompile(`@sha256:[0-9a-f]{64}$`)
	for name, result := range cases(t) {
		for _, p := range pods(result) {
			t.Run(name+"/"+p.owner, func(t *testing.T) {
				for _, fault := range restricted(p) {
					t.Error("not restricted: " + fault)
				}
				if p.spec["automountServiceAccountToken"] != false {
					t.Error("mounts a token of the Kubernetes API")
				}
				if p.spec["nodeSelector"] == nil {
					t.Error("may run on any pool")
				}
				for _, c := range p.containers() {
					if image, _ := c["image"].(string); !byDigest.MatchString(image) {
						t.Errorf("container %v runs %q, not an image by digest", c["name"], image)
					}
					if context, _ := c["securityContext"].(object); context["readOnlyRootFilesystem"] != true {
						t.Errorf("container %v may write its root file system", c["name"])
					}
					resources, _ := c["resources"].(object)
					for _, of := range []string{"requests", "limits"} {
						if amounts, _ := resources[of].(object); amounts["cpu"] == nil || amounts["memory"] == nil {
							t.Errorf("container %v has %s %v, want cpu and memory", c["name"], of, amounts)
						}
					}
				}
				if strings.Contains(p.owner, "Job") {
					return
				}
				for _, c := range p.spec["containers"].([]any) {
					for _, probe := range []string{"startupProbe", "readinessProbe", "livenessProbe"} {
						if c.(object)[probe] == nil {
							t.Errorf("container %v has no %s", c.(object)["name"], probe)
						}
					}
					if startup, ok := c.(object)["startupProbe"].(object); ok && startup["periodSeconds"].(float64) > 2 {
						t.Error("the startup probe is slow: the service would be late by its period")
					}
				}
			})
		}
	}
}

// TestRestrictedFindsFaults: the check above can fail.
func TestRestrictedFindsFaults(t *testing.T) {
	good := func() pod {
		return pod{spec: object{
			"securityContext": object{"runAsNonRoot": true, "runAsUser": 1000.0, "seccompProfile": object{"type": "RuntimeDefault"}},
			"containers":      []any{object{"name": "c", "securityContext": object{"allowPrivilegeEscalation": false, "capabilities": object{"drop": []any{"ALL"}}}}},
		}}
	}
	if faults := restricted(good()); faults != nil {
		t.Fatalf("a good pod has faults: %v", faults)
	}
	for name, spoil := range map[string]func(spec, container object){
		"host network": func(spec, _ object) { spec["hostNetwork"] = true },
		"host path":    func(spec, _ object) { spec["volumes"] = []any{object{"name": "v", "hostPath": object{"path": "/"}}} },
		"root":         func(spec, _ object) { spec["securityContext"].(object)["runAsNonRoot"] = false },
		"uid 0":        func(spec, _ object) { spec["securityContext"].(object)["runAsUser"] = 0.0 },
		"seccomp":      func(spec, _ object) { delete(spec["securityContext"].(object), "seccompProfile") },
		"escalation":   func(_, c object) { delete(c["securityContext"].(object), "allowPrivilegeEscalation") },
		"capabilities": func(_, c object) { c["securityContext"].(object)["capabilities"] = object{} },
		"privileged":   func(_, c object) { c["securityContext"].(object)["privileged"] = true },
	} {
		p := good()
		spoil(p.spec, p.spec["containers"].([]any)[0].(object))
		if restricted(p) == nil {
			t.Errorf("%s: no fault found", name)
		}
	}
}

// TestPodsFit: what production asks for fits on the smallest size of its pools, beside what GKE's own pods ask for.
func TestPodsFit(t *testing.T) {
	for name, engine := range map[string]string{"mongodb": config.MongoDB, "ferretdb": config.FerretDB} {
		result := mustRun(t, "production", engine, nil)
		asked := map[string][2]float64{}
		for _, p := range pods(result) {
			if strings.Contains(p.owner, "Job") {
				continue
			}
			pool := p.spec["nodeSelector"].(object)["patag/pool"].(string)
			replicas := p.replicas
			if pool == poolHighCPU {
				replicas = 2 // the autoscaler's minimum
			}
			for _, c := range p.spec["containers"].([]any) {
				requests := c.(object)["resources"].(object)["requests"].(object)
				sum := asked[pool]
				sum[0] += replicas * quantity(t, requests["cpu"]) * 1000
				sum[1] += replicas * quantity(t, requests["memory"]) / (1 << 20)
				asked[pool] = sum
			}
		}
		// Allocatable of n1-standard-1 and n1-highcpu-2, less 450m and 500 MiB a node for the agents that GKE runs on each.
		for pool, room := range map[string][2]float64{poolStandard: {3 * (940 - 450), 3 * (2700 - 500)}, poolHighCPU: {2 * (1930 - 450), 2 * (1250 - 500)}} {
			if asked[pool][0] > room[0] || asked[pool][1] > room[1] {
				t.Errorf("%s: pool %s is asked for %.0fm CPU and %.0f MiB, and has room for %.0fm and %.0f", name, pool, asked[pool][0], asked[pool][1], room[0], room[1])
			}
			if asked[pool][0] == 0 || math.IsNaN(asked[pool][1]) {
				t.Errorf("%s: pool %s is asked for nothing", name, pool)
			}
		}
	}
}

// TestTagServersApart: they wait for a second node where the pool has two, and for nothing where it has one.
func TestTagServersApart(t *testing.T) {
	for nodes, want := range map[string]string{"2": "DoNotSchedule", "1": "ScheduleAnyway"} {
		for _, p := range pods(mustRun(t, "staging-acme", config.FerretDB, map[string]string{"patag:highCpuMin": nodes})) {
			spread, _ := p.spec["topologySpreadConstraints"].([]any)
			if p.labels["app.kubernetes.io/name"] != tagserver.Part {
				continue
			}
			if len(spread) != 1 || spread[0].(object)["whenUnsatisfiable"] != want {
				t.Errorf("with %s nodes, %s has %v, want %s", nodes, p.owner, spread, want)
			}
		}
	}
}

func quantity(t *testing.T, v any) float64 {
	t.Helper()
	q, err := resource.ParseQuantity(fmt.Sprint(v))
	if err != nil {
		t.Fatal(err)
	}
	return q.AsApproximateFloat64()
}

// TestPoliciesMatchPods: every part has a NetworkPolicy, and who may reach Redis and Mongo carries the label for it.
func TestPoliciesMatchPods(t *testing.T) {
	for name, result := range cases(t) {
		covered := map[any]bool{}
		for _, policy := range result.OfType("kubernetes:networking.k8s.io/v1:NetworkPolicy") {
			if fmt.Sprint(policy.At("spec.policyTypes")) != "[Ingress Egress]" {
				t.Errorf("%s: %s does not say both directions", name, policy.Key())
			}
			covered[policy.At(`spec.podSelector.matchLabels["app.kubernetes.io/name"]`)] = true
		}
		for _, p := range pods(result) {
			if !covered[p.labels["app.kubernetes.io/name"]] {
				t.Errorf("%s: %s has no NetworkPolicy", name, p.owner)
			}
		}
	}
	for _, p := range pods(mustRun(t, "production", config.FerretDB, nil)) {
		part := p.labels["app.kubernetes.io/name"]
		if got, want := p.labels["patag/access-mongo"] != nil, part == "tag" || part == "catalogue"; got != want {
			t.Errorf("%v may reach Mongo: %v, want %v", part, got, want)
		}
		if got, want := p.labels["patag/access-redis"] != nil, part == "tag"; got != want {
			t.Errorf("%v may reach Redis: %v, want %v", part, got, want)
		}
	}
}

// TestProxyConfig: the proxy's servers are the shards' own Services, by address and with names that keep the ring.
func TestProxyConfig(t *testing.T) {
	result := mustRun(t, "production", config.FerretDB, nil)
	text, _ := result.One(t, "kubernetes:core/v1:ConfigMap", "twemproxy").At(`data["nutcracker.yml"]`).(string)
	servers := regexp.MustCompile(`(?m)^    - 10\.30\.0\.\d+:6379:1 (redis-\d)$`).FindAllStringSubmatch(text, -1)
	if len(servers) != redis.Shards {
		t.Fatalf("the proxy has the servers %v:\n%s", servers, text)
	}
	for _, want := range []string{"distribution: ketama", "hash: murmur", "auto_eject_hosts: false", fmt.Sprintf("listen: 0.0.0.0:%d", twemproxy.Port), "redis: true"} {
		if !strings.Contains(text, want) {
			t.Errorf("the proxy's configuration lacks %q", want)
		}
	}
}
