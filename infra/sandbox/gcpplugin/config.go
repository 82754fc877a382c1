package gcpplugin

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"

	"patag/infra/sandbox/gcpplugin/check"
	"patag/infra/sandbox/gcpplugin/google"
	"patag/infra/sandbox/gcpplugin/value"
)

// knownKeys are the configuration keys of pulumi-gcp v7.38.0, one a line.
//
//go:embed config.txt
var knownKeys string

// config is the provider's configuration.
type config struct {
	place         check.Place
	accessToken   string
	credentials   string
	scopes        []string
	defaultLabels value.Map
	endpoints     google.Endpoints
}

// Keys that the official provider has, and that would change what is done or by whom: ignoring them would be a lie.
var refused = map[string]string{
	"impersonateServiceAccount":          "this plugin does not impersonate service accounts; give it a token of that account",
	"impersonateServiceAccountDelegates": "this plugin does not impersonate service accounts; give it a token of that account",
	"userProjectOverride":                "this plugin bills no other project",
	"billingProject":                     "this plugin bills no other project",
	"universeDomain":                     "this plugin knows googleapis.com only; set the endpoints instead",
	"addTerraformAttributionLabel":       "this plugin adds no attribution label",
}

// checkConfig finds what is wrong with the configuration.
func checkConfig(in value.Map) []check.Failure {
	known := map[string]bool{"version": true, "pluginDownloadURL": true}
	for _, k := range strings.Fields(knownKeys) {
		known[k] = true
	}
	var out []check.Failure
	for k, v := range in {
		switch {
		case !known[k]:
			out = append(out, check.Failure{Property: k, Reason: fmt.Sprintf("unknown configuration key gcp:%s", k)})
		case refused[k] != "" && v != "false" && v != false && v != "":
			out = append(out, check.Failure{Property: k, Reason: fmt.Sprintf("gcp:%s is not supported: %s", k, refused[k])})
		}
	}
	if _, err := parseConfig(in); err != nil {
		out = append(out, check.Failure{Reason: err.Error()})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Property < out[j].Property })
	return out
}

// parseConfig reads the configuration, and the environment variables that stand in for it, as Google's provider does.
func parseConfig(in value.Map) (config, error) {
	c := config{endpoints: google.Endpoints{}}
	text := func(key string, env ...string) string {
		if s, ok := in[key].(string); ok && s != "" {
			return s
		}
		for _, name := range env {
			if s := os.Getenv(name); s != "" {
				return s
			}
		}
		return ""
	}
	c.place.Project = text("project", "GOOGLE_PROJECT", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT")
	c.place.Region = value.Last(text("region", "GOOGLE_REGION", "GCLOUD_REGION", "CLOUDSDK_COMPUTE_REGION"))
	c.place.Zone = value.Last(text("zone", "GOOGLE_ZONE", "GCLOUD_ZONE", "CLOUDSDK_COMPUTE_ZONE"))
	c.accessToken = text("accessToken", "GOOGLE_OAUTH_ACCESS_TOKEN")
	c.credentials = text("credentials", "GOOGLE_CREDENTIALS", "GOOGLE_CLOUD_KEYFILE_JSON", "GCLOUD_KEYFILE_JSON")
	for service, s := range google.Services {
		if url := text(s.Key+"CustomEndpoint", "GOOGLE_"+s.Env+"_CUSTOM_ENDPOINT"); url != "" {
			if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
				return c, fmt.Errorf("gcp:%sCustomEndpoint: %q is no http or https URL", s.Key, url)
			}
			c.endpoints[service] = url
		}
	}
	if err := nested(in, "scopes", &c.scopes); err != nil {
		return c, err
	}
	labels := map[string]string{}
	if err := nested(in, "defaultLabels", &labels); err != nil {
		return c, err
	}
	c.defaultLabels = value.Map{}
	for k, v := range labels {
		c.defaultLabels[k] = v
	}
	return c, nil
}

// nested reads a value that is no text; the engine hands it over as JSON in text.
func nested(in value.Map, key string, into any) error {
	v, ok := in[key]
	if !ok || v == nil {
		return nil
	}
	raw, isText := v.(string)
	if !isText {
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("gcp:%s: %w", key, err)
		}
		raw = string(b)
	}
	if raw == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(raw), into); err != nil {
		return fmt.Errorf("gcp:%s: %w", key, err)
	}
	return nil
}
