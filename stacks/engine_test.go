package stacks

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"

	"patag/stacks/config"
)

// TestPreview previews the stacks with the real engine and the real plugins, without a cloud: the plugins check every
// property, which mocks do not. It needs the folder of tools (PATAG_TOOLS) with pulumi, pulumi-resource-gcp and
// pulumi-resource-kubernetes.
func TestPreview(t *testing.T) {
	tools := os.Getenv("PATAG_TOOLS")
	for _, tool := range []string{"pulumi", "pulumi-resource-gcp", "pulumi-resource-kubernetes"} {
		if _, err := os.Stat(filepath.Join(tools, tool)); tools == "" || err != nil {
			t.Skipf("SKIPPED: no %s in PATAG_TOOLS=%q: the engine and its plugins are not tried", tool, tools)
		}
	}
	stand := `{"addressName":"a","address":"192.0.2.7","certificateName":"c","host":"tag.example.com","domain":"example.com","dnsZone":"z","repository":"r",
		"nodeServiceAccount":"patag-nodes@patag-sandbox.iam.gserviceaccount.com","tagServiceAccount":"patag-tag@patag-sandbox.iam.gserviceaccount.com",
		"backupServiceAccount":"patag-backup@patag-sandbox.iam.gserviceaccount.com","backupBucket":"k","notificationChannel":"projects/p/notificationChannels/1"}`
	for name, c := range map[string]struct{ stack, engine string }{
		"foundation": {"foundation", ""}, "production": {"production", config.MongoDB}, "production-ferretdb": {"production", config.FerretDB}, "staging": {"staging-acme", config.FerretDB},
	} {
		t.Run(name, func(t *testing.T) {
			values := configOf(t, c.stack, c.engine)
			if c.stack != "foundation" {
				values["patag:foundation"] = stand
			}
			creates := preview(t, tools, c.stack, values)
			raw, err := os.ReadFile(filepath.Join("testdata", name+".inventory"))
			if err != nil {
				t.Fatal(err)
			}
			// The foundation by value brings secrets of the stack's own, which the inventory of a production has not.
			least := 0
			for _, line := range strings.Split(string(raw), "\n") {
				if line != "" && !strings.HasPrefix(line, " ") {
					least++
				}
			}
			t.Logf("the engine would create %d resources", creates)
			if creates < least {
				t.Errorf("the engine would create %d resources, the inventory has %d", creates, least)
			}
		})
	}
}

// preview answers how many resources the engine would create.
func preview(t *testing.T, tools, stack string, values map[string]string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	command, err := auto.NewPulumiCommand(&auto.PulumiCommandOptions{Root: pulumiRoot(t, tools, dir), SkipVersionCheck: true})
	if err != nil {
		t.Fatal(err)
	}
	made, err := auto.UpsertStackInlineSource(ctx, stack, "patag", Run, auto.Pulumi(command), auto.WorkDir(dir), auto.PulumiHome(filepath.Join(dir, "home")),
		auto.Project(workspace.Project{
			Name: tokens.PackageName("patag"), Runtime: workspace.NewProjectRuntimeInfo("go", nil),
			Backend: &workspace.ProjectBackend{URL: "file://" + filepath.Join(dir, "state")},
		}),
		auto.EnvVars(map[string]string{
			"PATH": tools + string(os.PathListSeparator) + os.Getenv("PATH"), "PULUMI_CONFIG_PASSPHRASE": "for this test only",
			"PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
			"GOOGLE_OAUTH_ACCESS_TOKEN": "no-token", // never sent: a preview of new resources calls nothing
		}))
	if err != nil {
		t.Fatal(err)
	}
	all := auto.ConfigMap{}
	for key, value := range values {
		all[key] = auto.ConfigValue{Value: value}
	}
	if err := made.SetAllConfig(ctx, all); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	stream := make(chan events.EngineEvent, 1000)
	counted := make(chan int)
	go func() {
		creates := 0
		for e := range stream {
			if e.ResourcePreEvent != nil && e.ResourcePreEvent.Metadata.Op == apitype.OpCreate {
				creates++
			}
		}
		counted <- creates
	}()
	if _, err := made.Preview(ctx, optpreview.ProgressStreams(&log), optpreview.ErrorProgressStreams(&log), optpreview.EventStreams(stream)); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	return <-counted
}

// pulumiRoot is a folder as the Automation API wants an installation: bin/pulumi in it.
func pulumiRoot(t *testing.T, tools, dir string) string {
	t.Helper()
	root := filepath.Join(dir, "root")
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(tools, "pulumi"), filepath.Join(root, "bin", "pulumi")); err != nil {
		t.Fatal(err)
	}
	return root
}
