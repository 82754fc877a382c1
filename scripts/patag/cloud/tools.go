package cloud

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"patag/scripts/patag/exit"
)

// Tools is where the third-party programs lie.
type Tools struct {
	// Dir is the tools folder: pulumi, pulumi-resource-kubernetes, kube, coredns, metrics-server, ferretdb.
	Dir string
	// Beside is the folder of the patag executable: patag-sandbox, gke-gcloud-auth-plugin.
	Beside string
	// Front, on the sandbox, is a folder for what must be found before the PATH; see LinkFront.
	Front string
}

// FindTools takes the folder given, else $PATAG_TOOLS, else tools in $PATAG_CACHE or in the user's cache folder.
func FindTools(dir string) (Tools, error) {
	if dir == "" {
		dir = os.Getenv("PATAG_TOOLS")
	}
	if cache := os.Getenv("PATAG_CACHE"); dir == "" && cache != "" {
		dir = filepath.Join(cache, "tools")
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

// Path puts the tools before a PATH, and patag's own folder with the stand-in of the gcp plugin behind it, so that an
// official plugin that is on the PATH or in Pulumi's plugin folder is the one that is used.
func (t Tools) Path(path string) string {
	var parts []string
	add := func(dir string) {
		if dir != "" && !slices.Contains(parts, dir) {
			parts = append(parts, dir)
		}
	}
	add(t.Dir)
	add(t.Front)
	// Pulumi looks on the PATH first: an official plugin in its folder must be put there to be preferred.
	add(installedPlugin())
	for _, dir := range filepath.SplitList(path) {
		if dir != t.Beside {
			add(dir)
		}
	}
	add(t.Beside)
	return strings.Join(parts, string(os.PathListSeparator))
}

// LinkFront makes the folder that stands before the PATH on the sandbox: Google's own auth plugin, where it is
// installed, asks Google for a token, and must not be found there.
func (t Tools) LinkFront() error {
	if t.Front == "" {
		return nil
	}
	plugin, err := t.AuthPlugin()
	if err != nil {
		return nil // said where it is needed
	}
	if err := os.MkdirAll(t.Front, 0o700); err != nil {
		return err
	}
	link := filepath.Join(t.Front, authPlugin)
	if old, err := os.Readlink(link); err == nil && old == plugin || plugin == link {
		return nil
	}
	tmp := fmt.Sprintf("%s.%d", link, os.Getpid())
	if err := os.Symlink(plugin, tmp); err != nil {
		return fmt.Errorf("link %s: %w", authPlugin, err)
	}
	return os.Rename(tmp, link)
}

const authPlugin = "gke-gcloud-auth-plugin"

// AuthPlugin is the program that gets tokens for kubectl: on the sandbox the one that came with patag, else the one
// on the PATH.
func (t Tools) AuthPlugin() (string, error) {
	if t.Front != "" {
		if path, ok := lookIn(authPlugin, t.Dir+string(os.PathListSeparator)+t.Beside); ok {
			return path, nil
		}
	}
	return t.Find(authPlugin)
}

const gcpPlugin = "pulumi-resource-gcp"

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
	return path, filepath.Dir(path) == t.Beside, nil
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
