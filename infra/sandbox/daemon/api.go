package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/googleapi"
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
	"patag/infra/sandbox/inside"
	"patag/infra/sandbox/inside/tokens"
	"patag/infra/sandbox/layout"
	"patag/infra/sandbox/loadbalancer"
	"patag/infra/sandbox/logs"
	"patag/infra/sandbox/pki"
	"patag/infra/sandbox/registry"
	"patag/infra/sandbox/series"
	"patag/infra/sandbox/store"
)

// api is the Google API with what it keeps on disk.
type api struct {
	store     *store.Store
	logs      *logs.Log
	series    *series.Store
	core      *googleapi.Core
	compute   *compute.Service
	container *container.Service
	objects   *storage.Server
	images    *lateImages
}

func openAPI(o Options, settings layout.Settings, auth googleapi.Authenticator, issuer *tokens.Issuer, tokenOwner string) (_ *api, err error) {
	a := &api{images: &lateImages{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if a.store, err = store.Open(o.Layout.Database()); err != nil {
		return nil, err
	}
	if a.logs, err = logs.Open(o.Layout.Entries(), logs.Options{Logger: o.Logger}); err != nil {
		return nil, err
	}
	if a.series, err = series.Open(o.Layout.Series(), series.Options{Logger: o.Logger}); err != nil {
		return nil, err
	}
	if a.core, err = googleapi.New(googleapi.Options{Store: a.store, Settings: settings, Authenticator: auth, Logger: o.Logger}); err != nil {
		return nil, err
	}
	policies := policy.New(a.core)
	a.compute = compute.Register(a.core, compute.Options{})
	a.container = container.Register(a.core, container.Options{Compute: a.compute})
	if a.objects, err = storage.Register(a.core, policies, o.Layout.Objects()); err != nil {
		return nil, err
	}
	if err = secretmanager.Register(a.core, policies, o.Layout.SecretsKey()); err != nil {
		return nil, err
	}
	iam.Register(a.core, policies, described{issuer, auth, tokenOwner})
	cloudresourcemanager.Register(a.core, policies)
	artifactregistry.Register(a.core, policies, a.images)
	logging.Register(a.core, a.logs)
	monitoring.Register(a.core, a.series)
	dns.Register(a.core)
	serviceusage.Register(a.core)
	billing.Register(a.core)
	return a, nil
}

func (a *api) close() error {
	var errs []error
	if a.series != nil {
		errs = append(errs, a.series.Close())
	}
	if a.logs != nil {
		errs = append(errs, a.logs.Close())
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	return errors.Join(errs...)
}

// controllers are what Google does for a cluster from outside. preempted is to be told of announced preemptions.
func (a *api) controllers(o Options, settings layout.Settings, ca *pki.CA, images *registry.Registry, issuer *tokens.Issuer) (all []cluster.Controller, preempted func(node string), err error) {
	a.images.registry = images
	gate, err := inside.New(inside.Options{API: a.core, Registry: images, CA: ca, Tokens: issuer, Store: a.store,
		ProjectNumber: googleapi.ProjectNumber, Logger: o.Logger})
	if err != nil {
		return nil, nil, err
	}
	balancer, err := loadbalancer.New(loadbalancer.Options{Store: a.store, Settings: settings, CA: ca, Log: a.logs, Metrics: metrics{a.series},
		Materialise: func(tx store.Tx, path string, document map[string]any) error {
			return a.compute.Materialise(tx, path, googleapi.Doc(document))
		},
		Logger: o.Logger})
	if err != nil {
		return nil, nil, err
	}
	return []cluster.Controller{gate, balancer}, func(node string) { gate.SetPreempted(node, true) }, nil
}

// described lets IAM read the tokens that the issuer and the state folder gave out.
type described struct {
	*tokens.Issuer
	auth  googleapi.Authenticator
	admin string
}

func (d described) Describe(token string) (iam.Token, error) {
	if c, err := d.Verify(token); err == nil {
		return iam.Token{Principal: c.Principal, Scopes: strings.Fields(c.Scopes), Expires: time.Unix(c.Expires, 0)}, nil
	}
	principal, err := d.auth.Authenticate(token)
	if err != nil {
		return iam.Token{}, err
	}
	// The administrator's token does not expire; tokeninfo shows an hour, as Google's longest.
	return iam.Token{Principal: principal, Scopes: []string{"https://www.googleapis.com/auth/cloud-platform"}, Expires: time.Now().Add(tokens.Lifetime)}, nil
}

// lateImages lists the registry's images for Artifact Registry, which is registered first.
type lateImages struct{ registry *registry.Registry }

func (l *lateImages) Images(ctx context.Context, project, location, repository string) ([]artifactregistry.Image, error) {
	repo := registry.Repository{Project: project, Location: location, Name: repository}
	found, err := l.registry.Images(ctx, repo)
	if err != nil {
		return nil, fmt.Errorf("list the images of %s/%s: %w", project, repository, err)
	}
	var images []artifactregistry.Image
	for _, i := range found {
		images = append(images, artifactregistry.Image{Name: i.Name, Digest: i.Digest, URI: i.URI(repo), MediaType: i.MediaType, Tags: i.Tags,
			SizeBytes: i.SizeBytes, Uploaded: i.Uploaded, Built: i.Built})
	}
	return images, nil
}

// metrics writes the load balancer's samples as Cloud Monitoring's time series. Series hold numbers: a latency's
// distribution is kept as its mean.
type metrics struct{ store *series.Store }

func (m metrics) Write(project string, samples []loadbalancer.Sample) error {
	var errs []error
	for _, s := range samples {
		k := series.Key{Metric: series.Labeled{Type: s.Metric, Labels: s.MetricLabels},
			Resource: series.Labeled{Type: "https_lb_rule", Labels: s.ResourceLabels}, Kind: series.Delta, Type: series.Int64}
		p := series.Point{Start: s.Start, End: s.End, Number: float64(s.Count)}
		if s.Distribution != nil {
			k.Kind, k.Type, k.Unit = series.Gauge, series.Double, "ms"
			p.Start, p.Number = s.End, s.Distribution.Mean
		}
		errs = append(errs, m.store.Write(project, k, p))
	}
	return errors.Join(errs...)
}
