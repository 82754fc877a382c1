// Package layout names the files and addresses of one sandbox: where its state lies and which loopback
// addresses it may use. Everything that must find a running sandbox (the command, the daemon, tests)
// goes through it, so that no path or port is written twice.
package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Layout is the state folder of one sandbox. Nothing outside it survives the sandbox.
type Layout struct{ Root string }

// Default is the state folder of the user: $PATAG_STATE, else $XDG_STATE_HOME/patag, else ~/.local/state/patag.
func Default() (Layout, error) {
	if dir := os.Getenv("PATAG_STATE"); dir != "" {
		abs, err := filepath.Abs(dir)
		return Layout{abs}, err
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return Layout{filepath.Join(dir, "patag")}, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return Layout{}, fmt.Errorf("find the state folder: %w; set PATAG_STATE", err)
	}
	return Layout{filepath.Join(home, ".local", "state", "patag")}, nil
}

func (l Layout) join(parts ...string) string {
	return filepath.Join(append([]string{l.Root}, parts...)...)
}

// SettingsFile holds the Settings, chosen at the first start and kept.
func (l Layout) SettingsFile() string { return l.join("settings.json") }

// TokenFile holds the bearer token of the sandbox's administrator, mode 0600.
func (l Layout) TokenFile() string { return l.join("token") }

// LockFile is locked (flock) by the running daemon and holds its pid.
func (l Layout) LockFile() string { return l.join("lock") }

// Database is the bbolt file of the Google API's resources.
func (l Layout) Database() string { return l.join("api.db") }

// Objects holds the contents of storage objects.
func (l Layout) Objects() string { return l.join("objects") }

// Registry holds the images of the registry.
func (l Layout) Registry() string { return l.join("registry") }

// CA holds the certificate authority of the sandbox: ca.crt, ca.key.
func (l Layout) CA() string { return l.join("ca") }

// Cluster is the folder of one cluster: etcd, keys, nodes.
func (l Layout) Cluster(id string) string { return l.join("clusters", id) }

// Clusters is the folder of all clusters.
func (l Layout) Clusters() string { return l.join("clusters") }

// Disks holds one folder per persistent disk; disks outlive clusters.
func (l Layout) Disks() string { return l.join("disks") }

// Log holds the daemon's log (sandbox.log); the logs of a cluster lie in its own folder.
func (l Layout) Log() string { return l.join("log") }

// Entries holds the log entries of the sandbox's Cloud Logging.
func (l Layout) Entries() string { return l.join("logs") }

// Series is the file of Cloud Monitoring's time series.
func (l Layout) Series() string { return l.join("series.json") }

// SecretsKey is the key that Secret Manager's payloads are encrypted with, mode 0600.
func (l Layout) SecretsKey() string { return l.join("secrets.key") }

// Pulumi holds Pulumi's state, config and salts of the sandbox cloud.
func (l Layout) Pulumi() string { return l.join("pulumi") }

// Settings are chosen at the first start of a sandbox and kept for its life.
type Settings struct {
	// Instance tells sandboxes on one machine apart: it is the second byte of their loopback addresses
	// (127.<Instance>.0.0/16) and part of the names of their network namespaces and cgroups. 2 to 254.
	Instance int `json:"instance"`
	// API is where the Google API, the registry and the daemon's own calls are served: 127.0.0.1:port.
	API string `json:"api"`
}

// ErrNotCreated says that no sandbox was ever started in this state folder.
var ErrNotCreated = errors.New("no sandbox has been started here")

// Settings reads the settings, ErrNotCreated if there are none.
func (l Layout) Settings() (Settings, error) {
	var s Settings
	raw, err := os.ReadFile(l.SettingsFile())
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("%w (%s)", ErrNotCreated, l.Root)
	}
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, fmt.Errorf("read %s: %w", l.SettingsFile(), err)
	}
	return s, s.Validate()
}

// Validate checks ranges.
func (s Settings) Validate() error {
	if s.Instance < 2 || s.Instance > 254 {
		return fmt.Errorf("instance %d is not between 2 and 254", s.Instance)
	}
	ap, err := netip.ParseAddrPort(s.API)
	if err != nil || !ap.Addr().IsLoopback() {
		return fmt.Errorf("API address %q is not a loopback address with a port", s.API)
	}
	return nil
}

// Token reads the administrator's token.
func (l Layout) Token() (string, error) {
	raw, err := os.ReadFile(l.TokenFile())
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(raw)), nil
}

// ClusterEndpoint is the loopback address (port 443) of the n-th cluster of the sandbox, n from 0 to 250.
func (s Settings) ClusterEndpoint(n int) netip.Addr { return s.address(1, n) }

// StaticAddress is the n-th loopback address handed out for static and load balancer addresses, n from 0 to 250.
func (s Settings) StaticAddress(n int) netip.Addr { return s.address(2, n) }

func (s Settings) address(block, n int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(s.Instance), byte(block), byte(n + 1)})
}

// Name is the prefix of everything in the kernel that bears a name: network namespaces, cgroups.
func (s Settings) Name() string { return fmt.Sprintf("patag%d", s.Instance) }
