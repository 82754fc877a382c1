package project

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func repo(t *testing.T) Project {
	dir := t.TempDir()
	write(t, dir+"/Pulumi.yaml", "name: patag\nruntime: go\nstackConfigDir: stacks\n")
	write(t, dir+"/stacks/Pulumi.production.yaml", "config:\n  patag:kind: production\n  tagMax: 8\n  patag:nodeZones:\n    - europe-west1-b\n")
	p, err := Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestStaging(t *testing.T) {
	p := repo(t)
	got, err := p.Tracked("staging-acme")
	if err != nil || got["patag:kind"] != "staging" || len(got) != 1 {
		t.Errorf("without any file: %v %v", got, err)
	}
	write(t, p.Root+"/stacks/Pulumi.staging.yaml", "config:\n  patag:kind: staging\n  patag:catalogue: demo\n")
	if got, err = p.Tracked("staging-acme"); err != nil || got["patag:catalogue"] != "demo" {
		t.Errorf("with the kind's file: %v %v", got, err)
	}
	write(t, p.Root+"/stacks/Pulumi.staging-acme.yaml", "config:\n  patag:kind: staging\n  patag:catalogue: none\n")
	if got, err = p.Tracked("staging-acme"); err != nil || got["patag:catalogue"] != "none" {
		t.Errorf("with its own file: %v %v", got, err)
	}
}

func TestStrings(t *testing.T) {
	got, err := repo(t).Tracked("production")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"patag:kind": "production", "patag:tagMax": "8", "patag:nodeZones": `["europe-west1-b"]`}
	if s := got.Strings(); !maps.Equal(s, want) {
		t.Errorf("%v, want %v", s, want)
	}
}

func TestCheck(t *testing.T) {
	p := repo(t)
	for name, ok := range map[string]bool{
		"production": true, "staging-a": true, "staging-": false, "prod": false, "": false, "Production": false, "a/b": false, "..": false,
		"staging-" + strings.Repeat("a", 22): true, "staging-" + strings.Repeat("a", 23): false,
	} {
		if err := p.Check(name); (err == nil) != ok {
			t.Errorf("Check(%q) = %v", name, err)
		}
	}
}

// TestMerge: what the user set in the work folder survives changes of everything else, and nothing else does.
func TestMerge(t *testing.T) {
	p := repo(t)
	w := Work{Dir: t.TempDir(), Stack: "production"}
	expect := func(when string, want map[string]string) {
		t.Helper()
		got, err := w.Config()
		if err != nil {
			t.Fatal(err)
		}
		if s := got.Strings(); !maps.Equal(s, want) {
			t.Errorf("%s: %v, want %v", when, s, want)
		}
	}
	put := func(generated, overrides Config) {
		t.Helper()
		if err := w.Write(p, generated, overrides); err != nil {
			t.Fatal(err)
		}
	}
	user := func(key string, value any) {
		t.Helper()
		file, err := w.load()
		if err != nil {
			t.Fatal(err)
		}
		file["encryptionsalt"] = "v1:salt"
		file["config"].(map[string]any)[key] = value
		raw, _ := yaml.Marshal(file)
		write(t, w.ConfigFile(), string(raw))
	}
	put(Config{"patag:a": 1, "patag:b": true}, nil)
	expect("first", map[string]string{"patag:a": "1", "patag:b": "true"})
	user("patag:u", "mine")
	user("patag:a", "7")
	user("patag:secret", map[string]any{"secure": "v1:x"})
	put(Config{"patag:a": 2, "patag:c": "new"}, nil)
	expect("the tracked file changed", map[string]string{"patag:a": "7", "patag:c": "new", "patag:u": "mine"})
	put(Config{"patag:a": 2, "patag:c": "new"}, Config{"patag:c": "once", "patag:images": map[string]any{"tag": "x@y"}})
	expect("overridden", map[string]string{"patag:a": "7", "patag:c": "once", "patag:u": "mine", "patag:images": `{"tag":"x@y"}`})
	put(Config{"patag:a": 2, "patag:c": "new"}, nil)
	expect("and no longer", map[string]string{"patag:a": "7", "patag:c": "new", "patag:u": "mine"})
	file, err := w.load()
	if err != nil || file["encryptionsalt"] != "v1:salt" {
		t.Errorf("the salt is lost: %v %v", file, err)
	}
	if secret, _ := file["config"].(map[string]any)["patag:secret"].(map[string]any); secret["secure"] != "v1:x" {
		t.Errorf("the secret is lost: %v", file)
	}

	// Killed between the two files: the memory is new, the config still old.
	config, _ := os.ReadFile(w.ConfigFile())
	put(Config{"patag:c": "newer"}, nil)
	write(t, w.ConfigFile(), string(config))
	put(Config{"patag:c": "newest"}, nil)
	expect("after a crash", map[string]string{"patag:a": "7", "patag:c": "newest", "patag:u": "mine"})
}

// TestKeep: what is kept stays, also when a run before was given the very same value, and goes when it is taken away.
func TestKeep(t *testing.T) {
	p := repo(t)
	w := Work{Dir: t.TempDir(), Stack: "production"}
	expect := func(when string, want map[string]string) {
		t.Helper()
		must(t, w.Write(p, Config{"patag:a": 1}, nil))
		got, err := w.Config()
		must(t, err)
		if s := got.Strings(); !maps.Equal(s, want) {
			t.Errorf("%s: %v, want %v", when, s, want)
		}
	}
	must(t, w.Write(p, Config{"patag:a": 1}, Config{"patag:max": "5", "patag:images": map[string]any{"tag": "x@y"}}))
	must(t, w.Keep(Config{"patag:max": "5", "patag:images": map[string]any{"tag": "x@y"}}))
	expect("kept as an override wrote it", map[string]string{"patag:a": "1", "patag:max": "5", "patag:images": `{"tag":"x@y"}`})
	must(t, w.Keep(Config{"patag:max": nil}))
	expect("taken away", map[string]string{"patag:a": "1", "patag:images": `{"tag":"x@y"}`})
	must(t, w.Keep(Config{"patag:a": 1}))
	must(t, w.Write(p, Config{"patag:a": 2}, nil))
	got, err := w.Config()
	must(t, err)
	if s := got.Strings()["patag:a"]; s != "1" {
		t.Errorf("kept as it was generated: %s, want 1 whatever is generated later", s)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
