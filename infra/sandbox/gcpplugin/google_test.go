package gcpplugin

import (
	"context"
	"path/filepath"
	"testing"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/gcpplugin/google"
	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/apitest"
	"patag/infra/sandbox/googleapi/artifactregistry"
	"patag/infra/sandbox/googleapi/billing"
	"patag/infra/sandbox/googleapi/cloudresourcemanager"
	"patag/infra/sandbox/googleapi/compute"
	"patag/infra/sandbox/googleapi/container"
	"patag/infra/sandbox/googleapi/dns"
	"patag/infra/sandbox/googleapi/iam"
	"patag/infra/sandbox/googleapi/logging"
	"patag/infra/sandbox/googleapi/monitoring"
	"patag/infra/sandbox/googleapi/policy"
	"patag/infra/sandbox/googleapi/secretmanager"
	"patag/infra/sandbox/googleapi/serviceusage"
	"patag/infra/sandbox/googleapi/storage"
	"patag/infra/sandbox/layout"
	"patag/infra/sandbox/logs"
	"patag/infra/sandbox/series"
)

// startGoogle runs the sandbox's Google API and gives the configuration that leads there.
func startGoogle(t *testing.T) map[string]any { return startGoogleWith(t, newClusters()) }

func startGoogleWith(t *testing.T, engine cluster.Engine) map[string]any {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	server := apitest.Start(t, func(core *googleapi.Core, l layout.Layout) {
		policies := policy.New(core)
		gke := container.Register(core, container.Options{Engine: engine, Compute: compute.Register(core, compute.Options{})})
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(func() { cancel(); gke.Wait() })
		must(gke.Start(ctx))
		_, err := storage.Register(core, policies, l.Objects())
		must(err)
		log, err := logs.Open(filepath.Join(l.Root, "logs"), logs.Options{})
		must(err)
		t.Cleanup(func() { must(log.Close()) })
		logging.Register(core, log)
		must(secretmanager.Register(core, policies, filepath.Join(l.Root, "key")))
		iam.Register(core, policies, nil)
		cloudresourcemanager.Register(core, policies)
		serviceusage.Register(core)
		billing.Register(core)
		dns.Register(core)
		points, err := series.Open(filepath.Join(l.Root, "series"), series.Options{})
		must(err)
		t.Cleanup(func() { must(points.Close()) })
		monitoring.Register(core, points)
		artifactregistry.Register(core, policies, noImages{})
	})
	return configFor(server.URL())
}

type noImages struct{}

func (noImages) Images(context.Context, string, string, string) ([]artifactregistry.Image, error) {
	return nil, nil
}

// configFor points every service at one server.
func configFor(url string) map[string]any {
	config := map[string]any{"project": apitest.Project, "region": "europe-west1", "zone": "europe-west1-b", "accessToken": apitest.Token}
	for name, path := range map[string]string{
		"compute": "compute/compute/beta/", "container": "container/v1beta1/", "storage": "storage/storage/v1/", "iam": "iam/v1/",
		"resourcemanager": "cloudresourcemanager/v1/", "resourcemanagerv3": "cloudresourcemanager/v3/", "artifactregistry": "artifactregistry/v1/",
		"logging": "logging/v2/", "monitoring": "monitoring/", "dns": "dns/dns/v1beta2/", "secretmanager": "secretmanager/v1/",
		"serviceusage": "serviceusage/v1beta1/", "billing": "billingbudgets/v1/",
	} {
		config[google.Services[name].Key+"CustomEndpoint"] = url + "/" + path
	}
	return config
}
