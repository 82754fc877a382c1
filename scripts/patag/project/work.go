package project

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"
)

// Work is the folder, beside the state, in which Pulumi runs one stack: a Pulumi.yaml without the tracked one's
// paths, and Pulumi.<stack>.yaml with the merged config, the salt and what the user set with `pulumi config set`.
type Work struct {
	Dir, Stack string
}

// ConfigFile is the stack's config as Pulumi reads it.
func (w Work) ConfigFile() string { return filepath.Join(w.Dir, "Pulumi."+w.Stack+".yaml") }

// generatedFile remembers what Write put into the config file, to tell it from what the user set there.
func (w Work) generatedFile() string { return filepath.Join(w.Dir, "generated.json") }

// Write merges: generated first, over it what the user set in the config file since, over it the overrides of
// this run, which are not remembered as the user's.
func (w Work) Write(p Project, generated, overrides Config) error {
	if err := os.MkdirAll(w.Dir, 0o700); err != nil {
		return fmt.Errorf("make the work folder of stack %s: %w", w.Stack, err)
	}
	file, merged, err := w.merge(generated, overrides)
	if err != nil {
		return err
	}
	mem, err := w.memory()
	if err != nil {
		return err
	}
	mem.Before, mem.Now = mem.Now, Config{}
	maps.Copy(mem.Now, generated)
	maps.Copy(mem.Now, overrides)
	if err := w.remember(mem); err != nil {
		return err
	}
	file["config"] = map[string]any(merged)
	raw, err := yaml.Marshal(file)
	if err != nil {
		return err
	}
	if err := replace(w.ConfigFile(), raw); err != nil {
		return err
	}
	project := map[string]any{"name": p.Name, "runtime": "go"}
	if p.Description != "" {
		project["description"] = p.Description
	}
	if raw, err = yaml.Marshal(project); err != nil {
		return err
	}
	return replace(filepath.Join(w.Dir, "Pulumi.yaml"), raw)
}

// Keep sets config as the user would, or takes it away where the value is nil: it outlives this run. The next Write merges it.
func (w Work) Keep(values Config) error {
	if err := os.MkdirAll(w.Dir, 0o700); err != nil {
		return fmt.Errorf("make the work folder of stack %s: %w", w.Stack, err)
	}
	file, err := w.load()
	if err != nil {
		return err
	}
	current, _ := file["config"].(map[string]any)
	if current == nil {
		current = map[string]any{}
	}
	for key, value := range values {
		if value == nil {
			delete(current, key)
		} else {
			current[key] = value
		}
	}
	file["config"] = current
	raw, err := yaml.Marshal(file)
	if err != nil {
		return err
	}
	if err := replace(w.ConfigFile(), raw); err != nil {
		return err
	}
	return w.disown(values)
}

// disown forgets that Write put these keys into the config file: a value that an earlier run was given would else pass for that run's,
// not for one that was kept, and be gone with the next Write.
func (w Work) disown(values Config) error {
	mem, err := w.memory()
	if err != nil {
		return err
	}
	had := len(mem.Now) + len(mem.Before)
	for key := range values {
		delete(mem.Now, key)
		delete(mem.Before, key)
	}
	if had == len(mem.Now)+len(mem.Before) {
		return nil
	}
	return w.remember(mem)
}

// Merge is the config that Write would write.
func (w Work) Merge(generated, overrides Config) (Config, error) {
	_, merged, err := w.merge(generated, overrides)
	return merged, err
}

func (w Work) merge(generated, overrides Config) (file map[string]any, merged Config, err error) {
	if file, err = w.load(); err != nil {
		return nil, nil, err
	}
	own, err := w.own(file)
	if err != nil {
		return nil, nil, err
	}
	merged = Config{}
	maps.Copy(merged, generated)
	maps.Copy(merged, own)
	maps.Copy(merged, overrides)
	return file, merged, nil
}

// Config is what the last Write and the user left.
func (w Work) Config() (Config, error) {
	file, err := w.load()
	if err != nil {
		return nil, err
	}
	config, _ := file["config"].(map[string]any)
	return Config(config), nil
}

func (w Work) load() (map[string]any, error) {
	raw, err := os.ReadFile(w.ConfigFile())
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]any{}, nil
	}
	if err != nil {
		return nil, err
	}
	file := map[string]any{}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		return nil, broken(w.ConfigFile(), err)
	}
	return file, nil
}

// memory is what Write put into the config file. Before is there for a crash between writing the memory and writing
// the config: the values in the file are then those of the write before, and must not pass for the user's.
type memory struct{ Now, Before Config }

func (w Work) memory() (memory, error) {
	var m memory
	raw, err := os.ReadFile(w.generatedFile())
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, fmt.Errorf("read %s: %w", w.generatedFile(), err)
	}
	return m, nil
}

func (w Work) remember(m memory) error {
	raw, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return replace(w.generatedFile(), raw)
}

// own is what the user set: in the file, but not as it was generated.
func (w Work) own(file map[string]any) (Config, error) {
	mem, err := w.memory()
	if err != nil {
		return nil, err
	}
	current, _ := file["config"].(map[string]any)
	text, now, before := Config(current).Strings(), mem.Now.Strings(), mem.Before.Strings()
	own := Config{}
	for key, value := range current {
		t, plain := text[key]
		n, inNow := now[key]
		b, inBefore := before[key]
		if plain && (inNow && t == n || inBefore && t == b) {
			continue
		}
		own[key] = value
	}
	return own, nil
}

// replace writes a file so that a crash leaves the old one or the new one.
func replace(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err = tmp.Write(content); err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(tmp.Name(), path)
}
