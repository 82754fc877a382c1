package gke

import (
	"testing"
	"time"

	"patag/infra/sandbox/cluster"
)

const webManifest = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: web
        image: test.local/hello:1
        imagePullPolicy: Never
        resources: {requests: {cpu: 50m, memory: 32Mi}}
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
`

func TestCluster(t *testing.T) {
	f := newFixture(t)
	c := f.spec(1)
	begun := time.Now()
	if _, err := f.engine.CreateCluster(limit(t, 3*time.Minute), c); err != nil {
		t.Fatal(err)
	}
	t.Logf("control plane after %s", time.Since(begun))
	pool := cluster.NodePool{Cluster: c.ID, Name: "standard", MachineType: "n1-standard-1", Zones: c.Zones, Size: 2, AutoRepair: true}
	if err := f.engine.SetNodePool(limit(t, 3*time.Minute), pool); err != nil {
		t.Fatal(err)
	}
	t.Logf("2 nodes Ready after %s", time.Since(begun))
	t.Log("\n" + f.must(c, "get", "nodes", "-o", "wide"))
	f.apply(c, webManifest)
	f.eventually("the Deployment is ready", time.Minute, func() (string, bool) {
		out, _ := f.kubectl(c, "get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}")
		return out, out == "2"
	})
}
