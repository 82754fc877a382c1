package cloud

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"patag/infra/sandbox/client"
	"patag/infra/sandbox/layout"
	"patag/scripts/patag/exit"
)

// The sandbox's own project and place; every other value would do, these are in the documentation.
const (
	SandboxProject = "patag-sandbox"
	SandboxRegion  = "europe-west1"
	SandboxZone    = "europe-west1-b"
)

// endpoint is one Google service as the clients let one point it elsewhere. The first element of each path is the
// host name's first label (docs/architecture.md), what follows is what the client expects behind its setting.
type endpoint struct {
	// google is the middle of GOOGLE_<…>_CUSTOM_ENDPOINT of the gcp plugin.
	google, googlePath string
	// gcloud is the end of CLOUDSDK_API_ENDPOINT_OVERRIDES_<…>. gcloud appends the version itself for most services.
	gcloud, gcloudPath string
}

// Services that the sandbox does not simulate are here too: better a 501 that names the method than a call to Google.
// The official plugin deletes "/dns/" from the address that it gives to Google's client: hence clouddns.
var sandboxEndpoints = []endpoint{
	{"COMPUTE", "/compute/compute/beta/", "COMPUTE", "/compute/compute/v1/"},
	{"CONTAINER", "/container/v1beta1/", "CONTAINER", "/container/"},
	{"STORAGE", "/storage/storage/v1/", "STORAGE", "/storage/storage/v1/"},
	{"IAM", "/iam/v1/", "IAM", "/iam/"},
	{"IAM_CREDENTIALS", "/iamcredentials/v1/", "IAMCREDENTIALS", "/iamcredentials/"},
	{"RESOURCE_MANAGER", "/cloudresourcemanager/v1/", "CLOUDRESOURCEMANAGER", "/cloudresourcemanager/"},
	{"RESOURCE_MANAGER_V3", "/cloudresourcemanager/v3/", "", ""},
	{"ARTIFACT_REGISTRY", "/artifactregistry/v1/", "ARTIFACTREGISTRY", "/artifactregistry/"},
	{"LOGGING", "/logging/v2/", "LOGGING", "/logging/"},
	{"MONITORING", "/monitoring/", "MONITORING", "/monitoring/"},
	{"DNS", "/clouddns/v1beta2/", "DNS", "/dns/dns/v1/"},
	{"SECRET_MANAGER", "/secretmanager/v1/", "SECRETMANAGER", "/secretmanager/"},
	{"SERVICE_USAGE", "/serviceusage/v1beta1/", "SERVICEUSAGE", "/serviceusage/"},
	{"BILLING", "/billingbudgets/v1/", "BILLINGBUDGETS", "/billingbudgets/"},
	{"CLOUD_BILLING", "/cloudbilling/v1/", "CLOUDBILLING", "/cloudbilling/"},
	{"CLOUD_SCHEDULER", "/cloudscheduler/v1/", "CLOUDSCHEDULER", "/cloudscheduler/"},
	{"CERTIFICATE_MANAGER", "/certificatemanager/v1/", "CERTIFICATEMANAGER", "/certificatemanager/"},
	{"KMS", "/cloudkms/v1/", "CLOUDKMS", "/cloudkms/"},
}

func openSandbox(o Options) (*Cloud, error) {
	l, err := StateFolder(o.State)
	if err != nil {
		return nil, err
	}
	if o.Backend != "" || o.SecretsProvider != "" {
		return nil, exit.New(exit.Usage, "the sandbox keeps its state in its own folder").WithHint("leave --backend and --secrets-provider away, or use --cloud gcp")
	}
	c := &Cloud{
		Name: Sandbox, Layout: l, Dir: l.Pulumi(),
		Project: orElse(o.Project, SandboxProject), Region: orElse(o.Region, SandboxRegion), Zone: orElse(o.Zone, zoneOf(o.Region)),
		Backend:        "file://" + filepath.Join(l.Pulumi(), "state"),
		PassphraseFile: filepath.Join(l.Pulumi(), "passphrase"),
		endpoints:      sandboxEndpoints,
	}
	settings, err := l.Settings()
	if err != nil && !errors.Is(err, layout.ErrNotCreated) {
		return nil, exit.New(exit.Usage, "%w", err).WithHint("the state folder is damaged; `patag sandbox stop` and delete it, or restore the file")
	}
	if err == nil {
		c.base = "http://" + settings.API
		c.Container, c.Compute, c.Storage = c.base+"/container/", c.base+"/compute/compute/v1/", c.base+"/storage/storage/v1/"
		c.Logging = c.base + "/logging/v2/"
		c.Registry = redirect{settings.API}
	}
	token, err := l.Token()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, exit.New(exit.Usage, "read the sandbox's token: %w", err)
	}
	c.Token, c.Credentialed = token, token != ""
	return c, nil
}

// StateFolder is the one given, else the default.
func StateFolder(dir string) (layout.Layout, error) {
	if dir == "" {
		return layout.Default()
	}
	abs, err := filepath.Abs(dir)
	return layout.Layout{Root: abs}, err
}

// zoneOf is the zone that is taken in a region where none is given.
func zoneOf(region string) string {
	if region == "" || region == SandboxRegion {
		return SandboxZone
	}
	return region + "-b"
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Running fails with a clear end unless the cloud can be worked with now.
func (c *Cloud) Running() error {
	if c.Name != Sandbox {
		return nil
	}
	_, running, err := client.Daemon(c.Layout)
	if err != nil {
		return err
	}
	if !running {
		return NotRunning(c.Layout)
	}
	return c.recognised()
}

// recognised asks the sandbox whether it takes the token of the state folder: said here once, it need not be guessed from what a
// plugin or an API server makes of it.
func (c *Cloud) recognised() error {
	s, err := client.New(c.Layout)
	if err != nil {
		return exit.New(exit.Failed, "%w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var refused *client.Error
	if _, err := s.Status(ctx); errors.As(err, &refused) && refused.Code == http.StatusUnauthorized {
		return exit.New(exit.Failed, "the sandbox does not take the token in %s: it is not the one that it was started with", c.Layout.TokenFile()).
			WithHint("put the file back as it was, or `patag sandbox stop` and `patag sandbox start`, which takes the token that is there")
	}
	return nil // what else is wrong, the command itself finds out and says
}

// NotRunning is the end of a command that needs the sandbox.
func NotRunning(l layout.Layout) error {
	e := exit.New(exit.NotRunning, "%w (state folder %s)", client.ErrNotRunning, l.Root)
	return e.WithHint("start it with `patag sandbox start`")
}

// redirect sends requests for the registry's public name to the sandbox's, which serves it without TLS on loopback.
type redirect struct{ address string }

func (r redirect) RoundTrip(req *http.Request) (*http.Response, error) {
	clone := req.Clone(req.Context())
	clone.Host = req.URL.Host
	clone.URL.Scheme = "http"
	clone.URL.Host = r.address
	resp, err := direct.RoundTrip(clone)
	if err != nil {
		return nil, err
	}
	// Relative locations in the answer are resolved against this, and must stay under the public name: the
	// registry's client sends its token to no other.
	resp.Request = req
	// Nor does it log in where a registry that it reaches by https sends it to http.
	if login := resp.Header.Get("WWW-Authenticate"); login != "" {
		resp.Header.Set("WWW-Authenticate", strings.Replace(login, `realm="http://`+req.URL.Host+"/", `realm="https://`+req.URL.Host+"/", 1))
	}
	return resp, nil
}

// direct never asks a proxy: the address is on loopback and the request carries the administrator's token.
var direct = &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 8}

// Direct is a client for the sandbox's API that sends its token and asks no proxy.
func (c *Cloud) Direct(token string) *http.Client { return &http.Client{Transport: bearer{token}} }

type bearer struct{ token string }

func (b bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+b.token)
	return direct.RoundTrip(req)
}
