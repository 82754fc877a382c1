package cloud

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"patag/scripts/patag/exit"
)

// Tools is where the third-party programs lie.
type Tools struct {
	// Dir is the tools folder: pulumi, pulumi-resource-kubernetes, kube, coredns, metrics-server, ferretdb.
	Dir string
	// Beside is the folder of the patag executable: patag-sandbox, gke-gcloud-auth-plugin.
	Beside string
}

// FindTools takes the folder given, else $PATAG_TOOLS, else the user's cache folder.
func FindTools(dir string) (Tools, error) {
	if dir == "" {
		dir = os.Getenv("PATAG_TOOLS")
	}
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return Tools{}, exit.New(exit.Usage, "find the tools folder: %w", err).WithHint("set PATAG_TOOLS")
		}
		dir = filepath.Join(cache, "patag", "tools")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Tools{}, err
	}
	t := Tools{Dir: abs}
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		t.Beside = filepath.Dir(exe)
	}
	return t, nil
}

// Path puts the tools before a PATH, and the stand-in of the gcp plugin behind it, so that an official plugin that
// is on the PATH or in Pulumi's plugin folder is the one that is used.
func (t Tools) Path(path string) string {
	var parts []string
	for _, dir := range []string{t.Dir, t.Beside} {
		if dir != "" {
			parts = append(parts, dir)
		}
	}
	// Pulumi looks on the PATH first: an official plugin in its folder must be put there to be preferred.
	if dir := installedPlugin(); dir != "" {
		parts = append(parts, dir)
	}
	if path != "" {
		parts = append(parts, path)
	}
	if dir := t.standIn(); dir != "" {
		parts = append(parts, dir)
	}
	return strings.Join(parts, string(os.PathListSeparator))
}

const gcpPlugin = "pulumi-resource-gcp"

// standIn is the folder of the stand-in plugin.
func (t Tools) standIn() string {
	for _, dir := range []string{filepath.Join(t.Dir, "standin"), filepath.Join(t.Beside, "standin")} {
		if executable(filepath.Join(dir, gcpPlugin)) {
			return dir
		}
	}
	return ""
}

func installedPlugin() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	found, _ := filepath.Glob(filepath.Join(home, ".pulumi", "plugins", "resource-gcp-v7.*", gcpPlugin))
	if len(found) == 0 {
		return ""
	}
	return filepath.Dir(found[len(found)-1])
}

// Plugin says which gcp plugin will be used: its path, and whether it is the stand-in.
func (t Tools) Plugin() (path string, standIn bool, err error) {
	path, ok := lookIn(gcpPlugin, t.Path(os.Getenv("PATH")))
	if !ok {
		return "", false, exit.New(exit.Usage, "%s is not on this machine", gcpPlugin).
			WithHint("`make build` makes the stand-in; the official one comes with `pulumi plugin install resource gcp v7.38.0`")
	}
	return path, filepath.Dir(path) == t.standIn(), nil
}

// Find gives the path of a program in the tools folder, beside patag, or on the PATH.
func (t Tools) Find(name string) (string, error) {
	if path, ok := lookIn(name, t.Path(os.Getenv("PATH"))); ok {
		return path, nil
	}
	return "", exit.New(exit.Usage, "%s is not on this machine (looked in %s, beside patag, and on the PATH)", name, t.Dir).
		WithHint("`make tools` builds it; or point --tools (PATAG_TOOLS) to a folder that has it")
}

func lookIn(name, path string) (string, bool) {
	for _, dir := range filepath.SplitList(path) {
		if dir == "" {
			continue
		}
		if p := filepath.Join(dir, name); executable(p) {
			return p, true
		}
	}
	return "", false
}

func executable(path string) bool {
	_, err := exec.LookPath(path)
	return err == nil
}
