package container

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	api "google.golang.org/api/container/v1beta1"
)

// TestGcloud reads clusters, networks, machines and addresses with the real gcloud, where there is one.
func TestGcloud(t *testing.T) {
	gcloud, err := exec.LookPath("gcloud")
	if err != nil {
		t.Skip("gcloud is not installed: what it reads is not tried here")
	}
	if testing.Short() {
		t.Skip("gcloud takes seconds a call")
	}
	w := newWorld(t, newEngine())
	w.ok(t)(w.Projects.Locations.Clusters.Create(parent, &api.CreateClusterRequest{Cluster: production("prod")}).Do())
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("good"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, gcloud, args...)
		cmd.Env = append(os.Environ(), "CLOUDSDK_CONFIG="+filepath.Join(dir, "config"), "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE="+token, "CLOUDSDK_CORE_PROJECT="+project,
			"CLOUDSDK_CORE_DISABLE_PROMPTS=1", "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING=true", "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK=true",
			"CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE="+w.url+"/compute/compute/v1/", "CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER="+w.url+"/container/",
			"CLOUDSDK_API_ENDPOINT_OVERRIDES_SERVICEUSAGE="+w.url+"/serviceusage/")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, c := range []struct {
		args string
		want string
	}{
		{"container clusters list --format=value(name,status,endpoint)", "prod\tRUNNING\t127.9.1.1"},
		{"container clusters describe prod --region=" + region + " --format=value(currentMasterVersion)", DefaultVersion},
		{"container node-pools list --cluster=prod --region=" + region + " --format=value(name)", "default-pool"},
		{"container operations list --format=value(operationType)", "CREATE_CLUSTER"},
		{"container get-server-config --region=" + region, "defaultClusterVersion: " + DefaultVersion},
		{"compute networks list --format=value(name)", "vpc"},
		{"compute networks subnets list --format=value(name,region)", "nodes"},
		{"compute instances list --format=value(name,status)", "gke-prod-default-pool-00\tRUNNING"},
		{"compute instances list --filter=name=gke-prod-default-pool-00 --format=value(name)", "gke-prod-default-pool-00"},
		{"compute addresses list", "Listed 0 items."},
		{"compute addresses create web --global --format=value(name)", "global/addresses/web]"},
		{"compute addresses list --format=value(name,address)", "web\t127.9.2.1"},
		{"compute firewall-rules list --format=value(name)", "gke-prod-"},
		{"compute zones list --format=value(name)", "europe-west1-b"},
		{"compute machine-types list --zones=europe-west1-b --format=value(name)", "n1-highcpu-2"},
		{"compute instance-groups managed list --format=value(name,targetSize)", "-grp\t1"},
		{"compute addresses delete web --global", "Deleted"},
		{"compute forwarding-rules list", "Listed 0 items."},
		{"compute backend-services list", "Listed 0 items."},
		{"compute url-maps list", "Listed 0 items."},
		{"compute target-https-proxies list", "Listed 0 items."},
		{"compute health-checks list", "Listed 0 items."},
		{"compute network-endpoint-groups list", "Listed 0 items."},
		{"compute ssl-certificates list", "Listed 0 items."},
		{"compute disks list --format=value(name,sizeGb)", "gke-prod-default-pool-00\t100"},
		{"compute security-policies create shield", "securityPolicies/shield]"},
		{"compute security-policies rules create 1000 --security-policy=shield --src-ip-ranges=10.0.0.0/8 --action=deny-403", "Updated"},
		{"compute security-policies describe shield", "deny(403)"},
		{"compute routers create r --network=vpc --region=" + region, "r"},
		{"compute routers nats create nat --router=r --region=" + region + " --auto-allocate-nat-external-ips --nat-all-subnet-ip-ranges", "nat"},
		{"compute routers nats list --router=r --region=" + region + " --format=value(name)", "nat"},
		{"container node-pools create extra --cluster=prod --region=" + region + " --machine-type=n1-standard-1 --num-nodes=1 --node-locations=europe-west1-b --spot", "extra"},
		{"container clusters resize prod --node-pool=extra --num-nodes=2 --region=" + region, "Resizing"},
		{"container node-pools delete extra --cluster=prod --region=" + region, "Deleted"},
		{"container clusters create small --zone=europe-west1-b --num-nodes=1 --machine-type=n1-standard-1 --network=vpc --subnetwork=nodes --cluster-ipv4-cidr=/17", "small"},
		{"container clusters update small --zone=europe-west1-b --update-labels=a=b", "Updated"},
		{"container clusters delete small --zone=europe-west1-b", "Deleted"},
	} {
		out, err := run(strings.Fields(c.args)...)
		if err != nil || !strings.Contains(out, c.want) {
			t.Errorf("gcloud %s: %v\n%s", c.args, err, out)
		}
	}
}
