package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"time"
)

// tool is a third-party program that no package carries here and that is built from pinned Go modules.
type tool struct {
	// name is the program's file name in the tools folder.
	name string
	// module is the nested module's folder under scripts/toolchain, pkg the package in or behind it.
	module, pkg string
	ldflags     string
	// shares are folders of the module whose code the package uses.
	shares []string
	// fits tells whether a program of that name on PATH will do; nil if only ours does.
	fits func(ctx context.Context, path string) bool
	// prepare writes files that the package embeds.
	prepare func(ctx context.Context, dir string) error
	cost    string
}

const (
	kubernetesVersion         = "1.34.4"
	pulumiVersion             = "3.259.0"
	kubernetesProviderVersion = "4.24.0"
)

var tools = []tool{
	{name: "kube", module: ".", pkg: "./kube", shares: []string{"asuser"}, ldflags: kubernetesFlags(), cost: "Kubernetes with etcd"},
	{name: "coredns", module: ".", pkg: "./coredns", cost: "CoreDNS"},
	{name: "metrics-server", module: ".", pkg: "./metrics-server", shares: []string{"asuser"}, cost: "metrics-server"},
	{name: "ferretdb", module: ".", pkg: "./ferretdb", cost: "FerretDB"},
	{name: "pulumi", module: ".", pkg: "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
		ldflags: "-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v" + pulumiVersion, fits: fitsPulumi, cost: "Pulumi"},
	{name: "pulumi-resource-kubernetes", module: "kubernetes-provider", pkg: ".", prepare: copySchema,
		ldflags: "-X github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version.Version=" + kubernetesProviderVersion, cost: "Pulumi's Kubernetes provider"},
}

func kubernetesFlags() string {
	var flags []string
	minor := strings.Split(kubernetesVersion, ".")[1]
	for _, p := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags = append(flags,
			"-X "+p+".gitVersion=v"+kubernetesVersion, "-X "+p+".gitMajor=1", "-X "+p+".gitMinor="+minor,
			"-X "+p+".gitTreeState=clean", "-X "+p+".buildDate=2026-01-01T00:00:00Z")
	}
	return strings.Join(flags, " ")
}

// fitsPulumi accepts a Pulumi command of the same major version that is not older than the SDK.
func fitsPulumi(ctx context.Context, path string) bool {
	out, err := exec.CommandContext(ctx, path, "version").Output()
	var minor int
	if err != nil {
		return false
	}
	_, err = fmt.Sscanf(strings.TrimSpace(string(out)), "v3.%d.", &minor)
	return err == nil && minor >= 259
}

func toolsFolder(cache string) string { return filepath.Join(cache, "tools") }

func names(list []tool) []string {
	var all []string
	for _, t := range list {
		all = append(all, t.name)
	}
	return all
}

// missingTools lists the tools that are neither built from the present sources nor found in a fitting version. A
// fitting one is linked into the tools folder.
func missingTools(ctx context.Context, root, cache string) ([]tool, error) {
	var missing []tool
	for _, t := range tools {
		want, err := t.stamp(root)
		if err != nil {
			return nil, err
		}
		have, _ := os.ReadFile(filepath.Join(toolsFolder(cache), "."+t.name+".stamp"))
		if _, err := os.Stat(filepath.Join(toolsFolder(cache), t.name)); err != nil || string(have) != want {
			missing = append(missing, t)
		}
	}
	return missing, ctx.Err()
}

// stamp is a hash of all that decides what the tool becomes.
func (t tool) stamp(root string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), t.name, t.pkg, t.ldflags)
	dir := filepath.Join(root, "scripts", "toolchain", t.module)
	files := []string{filepath.Join(dir, "go.mod"), filepath.Join(dir, "go.sum")}
	if strings.HasPrefix(t.pkg, ".") {
		for _, folder := range append([]string{t.pkg}, t.shares...) {
			sources, err := filepath.Glob(filepath.Join(dir, folder, "*.go"))
			if err != nil {
				return "", err
			}
			files = append(files, sources...)
		}
	}
	sort.Strings(files)
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			return "", fmt.Errorf("read the sources of %s: %w", t.name, err)
		}
		fmt.Fprintln(h, filepath.Base(f), len(raw))
		h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func buildTools(ctx context.Context, p *progress, root, cache string, missing []tool) error {
	if err := os.MkdirAll(toolsFolder(cache), 0o755); err != nil {
		return err
	}
	for i, t := range missing {
		if t.fits != nil {
			if path, err := exec.LookPath(t.name); err == nil && filepath.Dir(path) != toolsFolder(cache) && t.fits(ctx, path) {
				p.line("✓ Using %s\n", path)
				if err := t.install(root, cache, func(to string) error { return os.Symlink(path, to) }); err != nil {
					return err
				}
				continue
			}
		}
		title := fmt.Sprintf("Building %s (%d of %d, once)", t.cost, i+1, len(missing))
		err := p.step(ctx, title, func(ctx context.Context, log *os.File) error { return t.build(ctx, root, cache, log) })
		if err != nil {
			return fmt.Errorf("build %s: %w", t.name, err)
		}
	}
	return linkKubectl(cache)
}

// linkKubectl gives machines without kubectl the one that the Kubernetes binary contains: it goes by its own name.
func linkKubectl(cache string) error {
	at := filepath.Join(toolsFolder(cache), "kubectl")
	if _, err := os.Lstat(at); err == nil {
		return nil
	}
	return os.Symlink("kube", at)
}

func (t tool) build(ctx context.Context, root, cache string, log *os.File) error {
	dir := filepath.Join(root, "scripts", "toolchain", t.module)
	if t.prepare != nil {
		if err := t.prepare(ctx, dir); err != nil {
			return err
		}
	}
	return t.install(root, cache, func(to string) error {
		return goBuild(ctx, dir, log, to, strings.TrimSpace("-s -w "+t.ldflags), t.pkg)
	})
}

// install puts the program in place whole or not at all, then writes its stamp.
func (t tool) install(root, cache string, make func(to string) error) error {
	stamp, err := t.stamp(root)
	if err != nil {
		return err
	}
	at := filepath.Join(toolsFolder(cache), t.name)
	tmp := at + ".new"
	os.Remove(tmp)
	if err := make(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, at); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(toolsFolder(cache), "."+t.name+".stamp"), []byte(stamp), 0o644)
}

// goBuild compiles with the settings that all builds of this project share, so that they share Go's cache.
func goBuild(ctx context.Context, dir string, log *os.File, to, ldflags string, pkgs ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", ldflags, "-o", to}, pkgs...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build %s: %w", strings.Join(pkgs, " "), err)
	}
	return nil
}

// own are the programs of this project that run on the machine.
var own = []string{"./scripts/patag", "./scripts/pulumi-resource-gcp", "./scripts/gke-gcloud-auth-plugin", "./infra/sandbox/cmd/patag-sandbox"}

// built tells whether patag was built here before: then Go's caches are warm and little is compiled.
func built(root string) bool {
	for _, pkg := range own {
		if _, err := os.Stat(filepath.Join(root, "bin", filepath.Base(pkg))); err != nil {
			return false
		}
	}
	return true
}

func buildOwn(ctx context.Context, p *progress, root string) error {
	bin := filepath.Join(root, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	return p.step(ctx, "Building patag", func(ctx context.Context, log *os.File) error {
		return goBuild(ctx, root, log, bin+"/", "-s -w -X main.version="+version(ctx, root), own...)
	})
}

// version is what the programs say they are: the commit, and whether the tree was changed.
func version(ctx context.Context, root string) string {
	out, err := exec.CommandContext(ctx, "git", "-C", root, "describe", "--always", "--dirty", "--tags").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// copySchema copies the provider's schema out of its module and adds the version, as the module's own build does.
func copySchema(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-json", "github.com/pulumi/pulumi-kubernetes/provider/v4")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	download := exec.CommandContext(ctx, "go", "mod", "download", "github.com/pulumi/pulumi-kubernetes/provider/v4")
	download.Dir, download.Env = dir, cmd.Env
	if out, err := download.CombinedOutput(); err != nil {
		return fmt.Errorf("download the provider's module: %w: %s", err, out)
	}
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("find the provider's module: %w", err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return err
	}
	from := filepath.Join(module.Dir, "cmd", "pulumi-resource-kubernetes")
	raw, err := os.ReadFile(filepath.Join(from, "schema.json"))
	if err != nil {
		return err
	}
	var schema map[string]json.RawMessage
	if err := json.Unmarshal(raw, &schema); err != nil {
		return fmt.Errorf("read the provider's schema: %w", err)
	}
	schema["version"] = json.RawMessage(`"` + kubernetesProviderVersion + `"`)
	if raw, err = json.Marshal(schema); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "schema-embed.json"), raw, 0o644); err != nil {
		return err
	}
	return copyFile(filepath.Join(from, "terraform-mapping.json"), filepath.Join(dir, "terraform-mapping-embed.json"))
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fs.FileMode(0o644))
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
