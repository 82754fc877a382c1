// Package cloud knows the two clouds that the same programs run on: the sandbox on this machine and Google Cloud.
// For each it says where Pulumi's state lies, which config the cloud itself brings (project, region), and the
// environment under which Pulumi, gcloud, kubectl and Google's clients speak to it. No component knows any of it.
package cloud

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"patag/infra/sandbox/layout"
	"patag/scripts/patag/exit"
)

// The names of the clouds.
const (
	Sandbox = "sandbox"
	GCP     = "gcp"
)

// Cloud is one of the two, ready to be worked with.
type Cloud struct {
	Name string
	// Project, Region and Zone are Google's.
	Project, Region, Zone string
	// Dir holds what is kept beside the state: work folders, logs, kubeconfigs, the passphrase.
	Dir string
	// Backend is the URL of Pulumi's state.
	Backend string
	// PassphraseFile decrypts the secrets of the state; empty when SecretsProvider does.
	PassphraseFile string
	// SecretsProvider is a URL such as gcpkms://…, or empty for the passphrase.
	SecretsProvider string
	// Container, Compute, Storage and Logging are the base URLs of these APIs, with a slash at their ends.
	Container, Compute, Storage, Logging string
	// Registry carries requests to the registry; nil means the ordinary way.
	Registry http.RoundTripper
	// Layout is the sandbox's; empty on gcp.
	Layout layout.Layout
	// Credentialed is false when no Google credentials were found; then Token is a placeholder, good for a preview.
	Credentialed bool
	// Token authorises calls; empty when Google's own chain of credentials is to be used.
	Token string

	endpoints []endpoint
	base      string
}

// Options come from the flags.
type Options struct {
	Name                  string
	State                 string
	Backend               string
	SecretsProvider       string
	Project, Region, Zone string
}

// Open resolves a cloud. For the sandbox it does not ask whether it runs; see Cloud.Running.
func Open(o Options) (*Cloud, error) {
	switch o.Name {
	case Sandbox:
		return openSandbox(o)
	case GCP:
		return openGCP(o)
	default:
		return nil, exit.New(exit.Usage, "there is no cloud %q", o.Name).WithHint("--cloud is %s or %s", Sandbox, GCP)
	}
}

// Work is the folder in which Pulumi runs a stack.
func (c *Cloud) Work(stack string) string { return filepath.Join(c.Dir, "stacks", stack) }

// Kubeconfig is the file with the way to a stack's cluster.
func (c *Cloud) Kubeconfig(stack string) string {
	return filepath.Join(c.Dir, "kube", stack+".yaml")
}

// Home is PULUMI_HOME: plugins and credentials of the CLI, a cache that may be deleted.
func (c *Cloud) Home() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	return filepath.Join(cache, "patag", "pulumi-"+c.Name), nil
}

// Config is what the cloud brings to every stack's config.
func (c *Cloud) Config() map[string]any {
	config := map[string]any{"gcp:project": c.Project, "gcp:region": c.Region}
	if c.Zone != "" {
		config["gcp:zone"] = c.Zone
	}
	return config
}

// ImagesBase is the registry's address without the repository: europe-west1-docker.pkg.dev/PROJECT.
func (c *Cloud) ImagesBase() string { return c.Region + "-docker.pkg.dev/" + c.Project }

// Pulumi is the environment of the Pulumi CLI and of the plugins it starts.
func (c *Cloud) Pulumi() (map[string]string, error) {
	home, err := c.Home()
	if err != nil {
		return nil, err
	}
	env := map[string]string{
		"PULUMI_BACKEND_URL":                          c.Backend,
		"PULUMI_HOME":                                 home,
		"PULUMI_SKIP_UPDATE_CHECK":                    "true",
		"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
		"PULUMI_DIY_BACKEND_NO_LEGACY_WARNING":        "true",
		// A field that the program sets is the program's, also after somebody wrote to it with kubectl: it is told as a difference
		// and put back, where it would else be a conflict that ends the run.
		"PULUMI_K8S_ENABLE_PATCH_FORCE": "true",
		// A lost work folder then costs the config, not the secrets.
		"PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
	}
	if c.PassphraseFile != "" {
		env["PULUMI_CONFIG_PASSPHRASE_FILE"] = c.PassphraseFile
	}
	for k, v := range c.Google() {
		env[k] = v
	}
	return env, nil
}

// Google is the environment of Google's clients and of the gcp plugin.
func (c *Cloud) Google() map[string]string {
	env := map[string]string{"GOOGLE_PROJECT": c.Project, "GOOGLE_CLOUD_PROJECT": c.Project, "GOOGLE_REGION": c.Region}
	if c.Zone != "" {
		env["GOOGLE_ZONE"] = c.Zone
	}
	if c.Token != "" {
		env["GOOGLE_OAUTH_ACCESS_TOKEN"] = c.Token
	}
	if c.Name == Sandbox {
		// The official plugin would ask Google for its regions, with the sandbox's token.
		env["PULUMI_GCP_SKIP_REGION_VALIDATION"] = "true"
	}
	for _, e := range c.endpoints {
		if e.google != "" {
			env["GOOGLE_"+e.google+"_CUSTOM_ENDPOINT"] = c.base + e.googlePath
		}
	}
	return env
}

// generatePassphrase makes the passphrase file once; the state cannot be read without it.
func generatePassphrase(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	secret := make([]byte, 24)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	tmp := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.WriteFile(tmp, []byte(hex.EncodeToString(secret)+"\n"), 0o600); err != nil {
		return err
	}
	defer os.Remove(tmp)
	// Link, not rename: of two first runs at the same time, one passphrase must win for both.
	if err := os.Link(tmp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Prepare makes the folders and secrets that a run needs; reading commands do without.
func (c *Cloud) Prepare() error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	if path, ok := strings.CutPrefix(c.Backend, "file://"); ok {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return fmt.Errorf("make the folder of Pulumi's state: %w", err)
		}
	}
	if c.PassphraseFile == filepath.Join(c.Dir, "passphrase") {
		if err := generatePassphrase(c.PassphraseFile); err != nil {
			return fmt.Errorf("make the passphrase of Pulumi's secrets: %w", err)
		}
	}
	return nil
}

// APIURL is where the cloud's Google API answers: the sandbox's address, or Google's.
func (c *Cloud) APIURL() string {
	if c.base == "" {
		return "https://googleapis.com"
	}
	return c.base
}
