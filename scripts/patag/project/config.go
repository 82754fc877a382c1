package project

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"patag/scripts/patag/exit"
)

// Config is the config of one stack: full keys ("patag:kind") to plain YAML values.
type Config map[string]any

// overlayFile is the one file of differences between the sandbox and Google Cloud.
const overlayFile = "sandbox.yaml"

// Tracked reads the config of a stack as it is in the repository: Pulumi.<stack>.yaml, or Pulumi.staging.yaml and the
// kind for a staging stack.
func (p Project) Tracked(stack string) (Config, error) {
	if err := p.Check(stack); err != nil {
		return nil, err
	}
	config, err := p.read(filepath.Join(p.stacks, "Pulumi."+stack+".yaml"))
	if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(stack, StagingPrefix) {
		// A staging stack needs no file of its own: the kind's defaults make one.
		config, err = p.read(filepath.Join(p.stacks, "Pulumi.staging.yaml"))
		if errors.Is(err, fs.ErrNotExist) {
			config, err = Config{}, nil
		}
		if config != nil {
			config["patag:kind"] = "staging"
		}
	}
	return config, err
}

// Overlay reads what the sandbox lays over the config of every stack; empty when there is no such file.
func (p Project) Overlay() (Config, error) {
	config, err := p.read(filepath.Join(p.stacks, overlayFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Config{}, nil
	}
	return config, err
}

// read reads one file of stack config. Keys without a namespace belong to the project, as in Pulumi.
func (p Project) read(path string) (Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f struct {
		Config          map[string]any `yaml:"config"`
		EncryptionSalt  string         `yaml:"encryptionsalt"`
		SecretsProvider string         `yaml:"secretsprovider"`
		EncryptedKey    string         `yaml:"encryptedkey"`
		Environment     any            `yaml:"environment"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil && len(bytes.TrimSpace(raw)) > 0 && err.Error() != "EOF" {
		return nil, broken(path, err)
	}
	if f.EncryptionSalt != "" || f.SecretsProvider != "" || f.EncryptedKey != "" {
		return nil, exit.New(exit.Usage, "%s holds a salt or a secrets provider; one file serves two clouds, and these are of one", path).
			WithHint("remove encryptionsalt, secretsprovider and encryptedkey from it; patag keeps them beside the state")
	}
	config := Config{}
	for key, value := range f.Config {
		full, err := p.Key(key)
		if err != nil {
			return nil, exit.New(exit.Usage, "%s: %w", path, err)
		}
		if m, ok := value.(map[string]any); ok && len(m) == 1 && m["secure"] != nil {
			return nil, exit.New(exit.Usage, "%s: %s is an encrypted value; it can be read on one cloud only", path, full).
				WithHint(`remove it and set it where its state is: eval "$(patag env STACK)"; pulumi config set --secret %s`, full)
		}
		config[full] = value
	}
	return config, nil
}

// Key gives a config key its namespace.
func (p Project) Key(key string) (string, error) {
	switch strings.Count(key, ":") {
	case 0:
		key = p.Name + ":" + key
	case 1:
	default:
		return "", fmt.Errorf("config key %q has more than one colon", key)
	}
	if strings.HasPrefix(key, ":") || strings.HasSuffix(key, ":") {
		return "", fmt.Errorf("config key %q is not complete", key)
	}
	return key, nil
}

// Parse reads KEY=VALUE as given with -c. A value that is a JSON object or array is taken as such.
func (p Project) Parse(settings []string) (Config, error) {
	config := Config{}
	for _, s := range settings {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, exit.New(exit.Usage, "-c %q is not KEY=VALUE", s)
		}
		full, err := p.Key(key)
		if err != nil {
			return nil, exit.New(exit.Usage, "-c %s: %w", s, err)
		}
		var parsed any
		if trimmed := strings.TrimSpace(value); strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[") {
			if err := json.Unmarshal([]byte(trimmed), &parsed); err != nil {
				return nil, exit.New(exit.Usage, "-c %s: the value is not valid JSON: %w", key, err)
			}
			config[full] = parsed
			continue
		}
		config[full] = value
	}
	return config, nil
}

// Strings is the config as a Pulumi program gets it: every value a string, objects as JSON, secrets left out.
func (c Config) Strings() map[string]string {
	out := make(map[string]string, len(c))
	for key, value := range c {
		switch v := value.(type) {
		case nil:
			out[key] = ""
		case string:
			out[key] = v
		case map[string]any:
			if v["secure"] != nil && len(v) == 1 {
				continue
			}
			out[key] = encode(v)
		case []any:
			out[key] = encode(v)
		default:
			out[key] = fmt.Sprint(v)
		}
	}
	return out
}

func encode(v any) string {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSpace(buf.String())
}

// Keys are sorted.
func (c Config) Keys() []string { return slices.Sorted(maps.Keys(c)) }
