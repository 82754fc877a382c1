package policy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"sigs.k8s.io/yaml"

	"patag/stacks"
)

func digestOf(name string) string { return "r/" + name + "@sha256:" + strings.Repeat("0a", 32) }

// settings of a stack: its tracked file, the sandbox's overlay or not, what patag adds.
func settings(t *testing.T, stack string, overlay bool) map[string]string {
	t.Helper()
	values := map[string]string{"gcp:project": "patag-sandbox", "gcp:region": "europe-west1"}
	read := func(file string) {
		raw, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Config map[string]string `json:"config"`
		}
		if err := yaml.UnmarshalStrict(raw, &doc); err != nil {
			t.Fatal(err)
		}
		for k, v := range doc.Config {
			values[k] = v
		}
	}
	if stack == "staging-acme" {
		values["patag:kind"], values["patag:owner"], values["patag:expiresAt"] = "staging", "kim", "2026-12-31T18:00:00Z"
	} else {
		read("Pulumi." + stack + ".yaml")
	}
	if stack == "foundation" {
		return values
	}
	values["patag:images"] = fmt.Sprintf(`{"tag":%q,"backup":%q,"reaper":%q,"redis":%q,"nutcracker":%q,"ferretdb":%q}`,
		digestOf("tag"), digestOf("backup"), digestOf("reaper"), digestOf("redis"), digestOf("nutcracker"), digestOf("ferretdb"))
	values["patag:mongodbImage"] = digestOf("mongo")
	if overlay {
		read("sandbox.yaml")
	}
	return values
}

type none struct{}

func (none) Call(pulumi.MockCallArgs) (resource.PropertyMap, error) { return nil, errors.New("no") }
func (none) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	return "", nil, fmt.Errorf("the check registered %s %s", args.TypeToken, args.Name)
}

// hold runs the check as the engine would: with a context that registers nothing.
func hold(t *testing.T, stack string, values map[string]string, program pulumi.RunFunc) (seen int, err error) {
	t.Helper()
	err = pulumi.RunErr(func(ctx *pulumi.Context) error {
		var keys []string
		for key := range values {
			keys = append(keys, key)
		}
		if err := Program(ctx, program, append(keys, "patag:notThere")); err != nil {
			return err
		}
		rec := newRecorder(ctx)
		err := rec.run(ctx, program, values, nil)
		seen = rec.seen
		return err
	}, pulumi.WithMocksWithOrganization("organization", "patag", stack, none{}), func(info *pulumi.RunInfo) { info.Config = values })
	return seen, err
}

// TestOurStacks: the programs keep their own rules.
func TestOurStacks(t *testing.T) {
	for name, c := range map[string]struct {
		stack   string
		overlay bool
		least   int
	}{"foundation": {"foundation", false, 20}, "production": {"production", false, 60}, "production in the sandbox": {"production", true, 60}, "staging": {"staging-acme", true, 60}} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			seen, err := hold(t, c.stack, settings(t, c.stack, c.overlay), stacks.Run)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d resources, %s for two runs", seen, time.Since(start))
			if seen < c.least {
				t.Errorf("only %d resources were held to the rules", seen)
			}
		})
	}
}

// TestBrokenStacks breaks rules by configuration and by a change of the programs.
func TestBrokenStacks(t *testing.T) {
	with := func(stack, key, value string) map[string]string {
		values := settings(t, stack, true)
		if values[key] = value; value == "" {
			delete(values, key)
		}
		return values
	}
	unprotected := func(ctx *pulumi.Context) error {
		err := ctx.RegisterStackTransformation(func(args *pulumi.ResourceTransformationArgs) *pulumi.ResourceTransformationResult {
			return &pulumi.ResourceTransformationResult{Props: args.Props, Opts: append(args.Opts, pulumi.Protect(false))}
		})
		if err != nil {
			return err
		}
		return stacks.Run(ctx)
	}
	key := func(ctx *pulumi.Context) error {
		if err := stacks.Run(ctx); err != nil {
			return err
		}
		var made struct{ pulumi.CustomResourceState }
		return ctx.RegisterResource("gcp:serviceaccount/key:Key", "mine", pulumi.Map{}, &made)
	}
	for name, c := range map[string]struct {
		stack   string
		values  map[string]string
		program pulumi.RunFunc
		says    []string
	}{
		"a pool paid in full":       {"staging-acme", with("staging-acme", "patag:standardSpot", "false"), stacks.Run, []string{`gcp:container/nodePool:NodePool "standard": staging-on-spot: `}},
		"no end":                    {"staging-acme", with("staging-acme", "patag:expiresAt", ""), stacks.Run, []string{"staging-expires", "1 rule is broken"}},
		"no protection of Mongo":    {"production", settings(t, "production", true), unprotected, []string{`StatefulSet "mongo": protected-stays-protected`, `Namespace "platform"`, "2 rules are broken"}},
		"no protection below":       {"foundation", settings(t, "foundation", false), unprotected, []string{`gcp:storage/bucket:Bucket "patag-backup": protected-stays-protected`}},
		"one key in the foundation": {"foundation", settings(t, "foundation", false), key, []string{`Key "mine": no-service-account-keys`, `Key "mine": protected-stays-protected`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := hold(t, c.stack, c.values, c.program)
			var refused Refused
			if !errors.As(err, &refused) {
				t.Fatalf("the error is %v, want a refusal", err)
			}
			for _, text := range c.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q is not in:\n%v", text, err)
				}
			}
		})
	}
}

// TestBrokenProgram: a program that cannot run is not one that passes.
func TestBrokenProgram(t *testing.T) {
	if _, err := hold(t, "production", nil, func(*pulumi.Context) error { return errors.New("it broke") }); err == nil || !strings.Contains(err.Error(), "it broke") {
		t.Errorf("the error is %v", err)
	}
}
