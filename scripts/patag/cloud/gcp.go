package cloud

import (
	"os"
	"path/filepath"
	"strings"

	"patag/scripts/patag/exit"
)

// Placeholder stands for a token in a preview without credentials: the plugin wants one to start, and calls nobody.
const Placeholder = "preview-without-credentials"

// Credentials says what a run on Google Cloud needs.
const Credentials = "set GOOGLE_OAUTH_ACCESS_TOKEN (for example to the output of `gcloud auth print-access-token`), " +
	"or make application default credentials (`gcloud auth application-default login`), or point GOOGLE_APPLICATION_CREDENTIALS to a key or federation file"

// openGCP takes what the flags leave open from the environment variables that Google's and Pulumi's tools use.
func openGCP(o Options) (*Cloud, error) {
	dir, err := gcpDir()
	if err != nil {
		return nil, err
	}
	c := &Cloud{
		Name: GCP, Dir: dir,
		Project:         first(o.Project, os.Getenv("GOOGLE_PROJECT"), os.Getenv("GOOGLE_CLOUD_PROJECT"), os.Getenv("CLOUDSDK_CORE_PROJECT")),
		Region:          first(o.Region, os.Getenv("GOOGLE_REGION"), os.Getenv("CLOUDSDK_COMPUTE_REGION")),
		Zone:            first(o.Zone, os.Getenv("GOOGLE_ZONE"), os.Getenv("CLOUDSDK_COMPUTE_ZONE")),
		Backend:         first(o.Backend, os.Getenv("PULUMI_BACKEND_URL"), ownState(dir)),
		SecretsProvider: o.SecretsProvider,
		Container:       "https://container.googleapis.com/",
		Compute:         "https://compute.googleapis.com/compute/v1/",
		Storage:         "https://storage.googleapis.com/storage/v1/",
		Logging:         "https://logging.googleapis.com/v2/",
	}
	// Where Google's own clients, and with them Pulumi's state, are sent by this variable.
	if host := os.Getenv("STORAGE_EMULATOR_HOST"); host != "" {
		if !strings.Contains(host, "://") {
			host = "http://" + host
		}
		c.Storage = strings.TrimSuffix(host, "/") + "/storage/v1/"
	}
	// After `eval "$(patag env …)"` of the sandbox these are the sandbox's; a run against Google must not take them.
	if strings.HasPrefix(os.Getenv("GOOGLE_COMPUTE_CUSTOM_ENDPOINT"), "http://127.") || c.Project == SandboxProject {
		return nil, exit.New(exit.Usage, "this shell is set up for the sandbox, not for Google Cloud").
			WithHint("use a new shell, or unset the GOOGLE_*, CLOUDSDK_* and PULUMI_* variables that `patag env` set")
	}
	c.Token = os.Getenv("GOOGLE_OAUTH_ACCESS_TOKEN")
	c.Credentialed = c.Token != "" || defaultCredentials()
	if !c.Credentialed {
		c.Token = Placeholder
	}
	if err := c.missing(); err != nil {
		return nil, err
	}
	if c.Zone != "" && !strings.HasPrefix(c.Zone, c.Region+"-") {
		return nil, exit.New(exit.Usage, "zone %s is not in region %s", c.Zone, c.Region).WithHint("give both --region and --zone")
	}
	return c, c.gcpSecrets()
}

// missing says all at once what a run on Google Cloud cannot begin without. Credentials alone are no reason to stop: a
// preview does without, and a run that needs them says so itself.
func (c *Cloud) missing() error {
	var what, hints []string
	if c.Project == "" {
		what, hints = append(what, "a project"), append(hints, "give --project or set GOOGLE_PROJECT")
	}
	if c.Region == "" {
		what, hints = append(what, "a region"), append(hints, "give --region or set GOOGLE_REGION, for example europe-west1")
	}
	if len(what) == 0 {
		return nil
	}
	if !c.Credentialed {
		what, hints = append(what, "credentials"), append(hints, Credentials)
	}
	return exit.New(exit.Usage, "Google Cloud needs what is not given: %s", strings.Join(what, ", ")).WithHint("%s", strings.Join(hints, "\n    "))
}

// gcpSecrets chooses what encrypts the secrets. A generated passphrase is kept beside a local state only: with a
// shared state the colleagues could not read it.
func (c *Cloud) gcpSecrets() error {
	_, passphrase := os.LookupEnv("PULUMI_CONFIG_PASSPHRASE")
	file := os.Getenv("PULUMI_CONFIG_PASSPHRASE_FILE")
	switch {
	case c.SecretsProvider != "" && c.SecretsProvider != "passphrase":
	case file != "":
		c.PassphraseFile = file
	case passphrase:
	case strings.HasPrefix(c.Backend, "file://"):
		c.PassphraseFile = filepath.Join(c.Dir, "passphrase")
	default:
		return exit.New(exit.Usage, "nothing is given to encrypt the secrets of the shared state %s with", c.Backend).
			WithHint("set PULUMI_CONFIG_PASSPHRASE_FILE, or give --secrets-provider gcpkms://projects/…/cryptoKeys/…")
	}
	return nil
}

func ownState(dir string) string { return "file://" + filepath.Join(dir, "state") }

// OwnState is true when Pulumi's state is in this user's folder, not one that was named.
func (c *Cloud) OwnState() bool { return c.Backend == ownState(c.Dir) }

// Move puts everything that is kept, the state included, into another folder.
func (c *Cloud) Move(dir string) {
	if c.PassphraseFile == filepath.Join(c.Dir, "passphrase") {
		c.PassphraseFile = filepath.Join(dir, "passphrase")
	}
	c.Dir, c.Backend = dir, ownState(dir)
}

// gcpDir is apart from the sandbox's folder, which `make clean` deletes.
func gcpDir() (string, error) {
	if dir := os.Getenv("PATAG_GCP_STATE"); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "patag-gcp"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", exit.New(exit.Usage, "find the state folder: %w", err).WithHint("set PATAG_GCP_STATE")
	}
	return filepath.Join(home, ".local", "state", "patag-gcp"), nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// defaultCredentials looks where Google's client libraries look, without asking the network.
func defaultCredentials() bool {
	for _, name := range []string{"GOOGLE_CREDENTIALS", "GOOGLE_CLOUD_KEYFILE_JSON"} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	if path := os.Getenv("GOOGLE_APPLICATION_CREDENTIALS"); path != "" {
		_, err := os.Stat(path)
		return err == nil
	}
	config := os.Getenv("CLOUDSDK_CONFIG")
	if config == "" {
		if home, err := os.UserHomeDir(); err == nil {
			config = filepath.Join(home, ".config", "gcloud")
		}
	}
	if _, err := os.Stat(filepath.Join(config, "application_default_credentials.json")); err == nil {
		return true
	}
	// On a machine of Compute Engine the metadata server has credentials.
	product, _ := os.ReadFile("/sys/class/dmi/id/product_name")
	return strings.HasPrefix(string(product), "Google Compute Engine")
}
