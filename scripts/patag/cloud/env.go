package cloud

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// GCloud is the environment under which gcloud speaks to this cloud. Its config folder is the cloud's own: what a
// person has set up for Google must not leak in, nor be changed.
func (c *Cloud) GCloud() (map[string]string, error) {
	env := map[string]string{
		"CLOUDSDK_CORE_PROJECT":                           c.Project,
		"CLOUDSDK_COMPUTE_REGION":                         c.Region,
		"CLOUDSDK_CORE_DISABLE_PROMPTS":                   "1",
		"CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
	}
	if c.Zone != "" {
		env["CLOUDSDK_COMPUTE_ZONE"] = c.Zone
	}
	if c.Name != Sandbox {
		return env, nil
	}
	env["CLOUDSDK_CONFIG"] = filepath.Join(c.Dir, "gcloud")
	env["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"] = c.Layout.TokenFile()
	env["CLOUDSDK_CORE_DISABLE_USAGE_REPORTING"] = "1"
	for _, e := range c.endpoints {
		if e.gcloud != "" {
			env["CLOUDSDK_API_ENDPOINT_OVERRIDES_"+e.gcloud] = c.base + e.gcloudPath
		}
	}
	return env, os.MkdirAll(env["CLOUDSDK_CONFIG"], 0o700)
}

// Exports prints an environment as shell commands for eval. An empty value unsets the variable.
func Exports(env map[string]string) string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if env[name] == "" {
			fmt.Fprintf(&out, "unset %s\n", name)
			continue
		}
		fmt.Fprintf(&out, "export %s=%s\n", name, Quote(env[name]))
	}
	return out.String()
}

// Quote makes one word of a value for any POSIX shell: in single quotes nothing is special but the quote itself.
func Quote(value string) string {
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}
