// Package gke runs GKE clusters as real Kubernetes on this machine: a control plane per cluster and a node per virtual
// machine, each in namespaces of its own, supervised, and restored from disk with the same addresses and data after
// any end. It takes orders through cluster.Engine and knows nothing of the API that gives them.
//
// On disk, below layout.Cluster(id): cluster.json and pools/<pool>.json hold what is wanted, nodes/<node>/node.json what
// was made of it; the rest is data of the programs. A loop per cluster brings nodes to what is wanted.
package gke

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/gke/pause"
	"patag/infra/sandbox/layout"
	"patag/infra/sandbox/pki"
	"patag/infra/sandbox/store"
)

// Options are what an engine needs.
type Options struct {
	Layout   layout.Layout
	Settings layout.Settings
	// Tools is the folder with the programs kube, coredns and metrics-server.
	Tools string
	// NodeCommand starts a node's program (package node) and gets the config file as its last argument. Default:
	// this program with the argument "node".
	NodeCommand []string
	// AdminToken is accepted by every API server as the cluster administrator's.
	AdminToken string
	// Store gets a record of each persistent disk.
	Store *store.Store
	// Inventory is told of nodes; nil tells nobody.
	Inventory cluster.Inventory
	// Controllers run for each cluster, besides the engine's own.
	Controllers []cluster.Controller
	// TrustedCAs is the PEM file that containers find as their bundle of certificates. Default: the certificate of the
	// sandbox's authority.
	TrustedCAs string
	// Images are archives that every new node loads, besides the pause image.
	Images []string
	// IdleAfter is how long a node must be superfluous before the autoscaler removes it. Default 10 min, as GKE's.
	IdleAfter time.Duration
	// DrainTimeout is how long the pods of a node that is removed may take. Default 1 min.
	DrainTimeout time.Duration
	// OnPreempt is told when a node's preemption is announced, for the node's metadata server.
	OnPreempt func(node string)
	Logger    *slog.Logger
}

// systemPrograms come from Debian packages.
var systemPrograms = map[string]string{
	"containerd": "containerd", "ctr": "containerd", "containerd-shim-runc-v2": "containerd", "runc": "runc", "nft": "nftables",
	"iptables": "iptables", "setpriv": "util-linux", "mount": "mount",
}

func (o *Options) prepare() error {
	if os.Geteuid() != 0 {
		return errors.New("the sandbox needs root: it makes namespaces and control groups")
	}
	for _, tool := range []string{"kube", "coredns", "metrics-server"} {
		if _, err := exec.LookPath(filepath.Join(o.Tools, tool)); err != nil {
			return fmt.Errorf("the program %s is missing: %w; build the tools first", tool, err)
		}
	}
	for program, pkg := range systemPrograms {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("the program %s is missing; install the Debian package %s", program, pkg)
		}
	}
	if _, err := os.Stat("/usr/lib/cni/ptp"); err != nil {
		return fmt.Errorf("the CNI plugins are missing (%w); install the Debian package containernetworking-plugins", err)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if len(o.NodeCommand) == 0 {
		// Not os.Executable: the file may have been replaced since, and nodes must be of this version.
		o.NodeCommand = []string{"/proc/self/exe", "node"}
	}
	if o.IdleAfter == 0 {
		o.IdleAfter = 10 * time.Minute
	}
	if o.DrainTimeout == 0 {
		o.DrainTimeout = time.Minute
	}
	if o.TrustedCAs == "" {
		if _, err := pki.OpenOrCreate(o.Layout.CA(), "sandbox"); err != nil {
			return err
		}
		o.TrustedCAs = filepath.Join(o.Layout.CA(), "ca.crt")
	}
	for _, dir := range []string{o.Layout.Clusters(), o.Layout.Disks()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return pause.WriteArchive(o.pauseArchive())
}

func (o *Options) pauseArchive() string { return filepath.Join(o.Layout.Root, "images", "pause.tar") }

func (o *Options) images() []string { return append([]string{o.pauseArchive()}, o.Images...) }
