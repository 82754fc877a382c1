package gke

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/gke/cgroup"
	"patag/infra/sandbox/gke/controlplane"
	"patag/infra/sandbox/gke/network"
	"patag/infra/sandbox/gke/node"
	"patag/infra/sandbox/gke/pause"
	"patag/infra/sandbox/gke/process"
	"patag/infra/sandbox/machine"
	"patag/infra/sandbox/netns"
	"patag/infra/sandbox/pki"
)

// nodeRun is one node while the engine runs: its goroutine starts it, starts it again or gives it up when it dies, and
// removes it when it is not wanted any more.
type nodeRun struct {
	r  *run
	ns atomic.Pointer[netns.NS]
	// remove is closed, once, when the node is to go; kill when it is to go without notice.
	remove, kill         chan struct{}
	removeOnce, killOnce sync.Once
	gone                 chan struct{}
	// up is when the node's program last started.
	up atomic.Int64

	mu  sync.Mutex
	rec nodeRecord
}

func newNodeRun(r *run, rec nodeRecord) *nodeRun {
	n := &nodeRun{r: r, rec: rec, remove: make(chan struct{}), kill: make(chan struct{}), gone: make(chan struct{})}
	if rec.Removing {
		n.removeOnce.Do(func() { close(n.remove) })
	}
	return n
}

func (n *nodeRun) record() nodeRecord {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rec
}

// change changes the record, on disk first.
func (n *nodeRun) change(f func(*nodeRecord)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	rec := n.rec
	f(&rec)
	if err := save(n.r.folder.record(rec.Name), rec); err != nil {
		return err
	}
	n.rec = rec
	return nil
}

// dismiss lets the node go: drained, or at once when without notice.
func (n *nodeRun) dismiss(notice bool) error {
	if err := n.change(func(rec *nodeRecord) { rec.Removing = true }); err != nil {
		return err
	}
	if !notice {
		n.killOnce.Do(func() { close(n.kill) })
	}
	n.removeOnce.Do(func() { close(n.remove) })
	return nil
}

// run is the node's life. It ends with the engine's, or when the node is gone for good.
func (n *nodeRun) run() {
	name, logger := n.rec.Name, n.r.logger.With("node", n.rec.Name)
	backoff := process.Backoff{}
	ctx := n.r.life
	if !n.record().Removing {
		n.tellInventory(true)
	}
	for ctx.Err() == nil && !n.record().Removing {
		backoff.Started()
		p, err := n.boot()
		if err != nil {
			n.r.trouble(n.record().Pool, fmt.Errorf("start node %s: %w", name, err))
			logger.Error("a node did not start; it is tried again", "error", err)
			n.clear()
			backoff.Wait(ctx)
			continue
		}
		n.up.Store(time.Now().UnixNano())
		select {
		case <-ctx.Done():
		case <-p.Done():
			logger.Warn("a node died", "error", p.Err(), "log", node.Logs(n.r.folder.node(name))[0])
		case <-n.remove:
			n.drainUnlessKilled(ctx)
		}
		p.Stop()
		n.clear()
		if ctx.Err() == nil && !n.record().Removing {
			n.pause(ctx)
			n.died()
			backoff.Wait(ctx)
		}
	}
	if ctx.Err() == nil {
		n.erase(ctx)
	}
}

// deletionDrain is how long pods of a deleted pool may take. Often they have nowhere else to go, and then a disruption
// budget would hold the deletion up to no end.
const deletionDrain = 10 * time.Second

func (n *nodeRun) drainUnlessKilled(ctx context.Context) {
	limit := n.r.e.o.DrainTimeout
	n.r.mu.Lock()
	if p := n.r.pools[n.rec.Pool]; p == nil || p.Deleting {
		limit = min(limit, deletionDrain)
	}
	n.r.mu.Unlock()
	drained, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	go func() {
		select {
		case <-n.kill:
			cancel()
		case <-drained.Done():
		}
	}()
	select {
	case <-n.kill:
		return
	default:
	}
	if err := n.r.drain(drained, n.rec.Name); err != nil && ctx.Err() == nil {
		n.r.logger.Warn("a node is removed though not all its pods have ended", "node", n.rec.Name, "error", err)
	}
}

// shortLife is a life after which a node's death says something of the pool: the next one may well go the same way.
const shortLife = 30 * time.Second

// pause comes between a node's death and its replacement: none after a life of some length, longer and longer ones
// when one after the other dies at once. It ends when the node is to go.
func (n *nodeRun) pause(ctx context.Context) {
	rec := n.record()
	n.r.mu.Lock()
	b := n.r.hasty[rec.Pool]
	if b == nil || time.Since(time.Unix(0, n.up.Load())) > shortLife {
		b = &process.Backoff{}
		n.r.hasty[rec.Pool] = b
	}
	delay := b.Next()
	n.r.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-n.remove:
	case <-time.After(delay):
	}
}

// died decides what becomes of a node whose program ended by itself. With auto-repair another takes its place, as at
// Google; without, the machine starts again.
func (n *nodeRun) died() {
	rec := n.record()
	n.r.mu.Lock()
	p := n.r.pools[rec.Pool]
	repair := p != nil && p.AutoRepair
	n.r.mu.Unlock()
	if !repair {
		return
	}
	if err := n.dismiss(false); err != nil {
		n.r.logger.Error("a dead node is started again, as its replacement could not be noted", "node", rec.Name, "error", err)
	}
	n.r.wake()
}

// boot wires the node and starts its program.
func (n *nodeRun) boot() (*process.Process, error) {
	rec, r := n.record(), n.r
	if err := checkWatches(); err != nil {
		return nil, err
	}
	cg := n.cgroup()
	// What a killed node left would cost the kubelet seconds per container.
	if err := cgroup.Remove(cg); err != nil {
		return nil, err
	}
	if err := cgroup.Create(cg); err != nil {
		return nil, err
	}
	ns, err := netns.Create(n.namespace())
	if err != nil {
		return nil, err
	}
	n.ns.Store(ns)
	if err := network.Attach(r.ns, ns, n.wiring()); err != nil {
		return nil, err
	}
	config, err := n.config()
	if err != nil {
		return nil, err
	}
	file, err := config.Write()
	if err != nil {
		return nil, err
	}
	command := append(append([]string(nil), r.e.o.NodeCommand...), file)
	return process.Start(process.Spec{
		Name: "node " + rec.Name, Log: r.folder.nodeFile(rec.Name, "log/node.log"), Start: ns.Start,
		Command: func() *exec.Cmd {
			cmd := exec.Command(command[0], command[1:]...)
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
			}
			return cmd
		},
	})
}

func (n *nodeRun) namespace() string { return n.r.e.o.Settings.Name() + "-" + n.rec.Name }
func (n *nodeRun) cgroup() string    { return n.r.e.cgroup(n.r.spec.ID) + "/" + n.rec.Name }

func (n *nodeRun) wiring() network.Node {
	rec, c := n.record(), n.r.spec
	return network.Node{
		Link: linkName(rec.Address), Address: netip.PrefixFrom(rec.Address, c.NodeCIDR.Bits()),
		Gateway: gateway(c), PodCIDR: rec.PodCIDR,
	}
}

// config makes the node's certificate and its config.
func (n *nodeRun) config() (node.Config, error) {
	rec, r := n.record(), n.r
	t, err := machine.Lookup(rec.MachineType)
	if err != nil {
		return node.Config{}, err
	}
	keys := r.controlPlane.Keys()
	cert, key, kubeconfig := r.folder.nodeFile(rec.Name, "kubelet.crt"), r.folder.nodeFile(rec.Name, "kubelet.key"), r.folder.nodeFile(rec.Name, "kubelet.kubeconfig")
	err = keys.CA.IssueFiles(cert, key, pki.Request{
		CommonName: "system:node:" + rec.Name, Organizations: []string{"system:nodes"},
		DNSNames: []string{rec.Name}, IPs: []netip.Addr{rec.Address}, Client: true, Server: true,
	})
	if err != nil {
		return node.Config{}, err
	}
	if err := keys.WriteKubeconfig(kubeconfig, cert, key); err != nil {
		return node.Config{}, err
	}
	var taints []node.Taint
	for _, t := range rec.Taints {
		taints = append(taints, node.Taint(t))
	}
	return node.Config{
		Name: rec.Name, Folder: r.folder.node(rec.Name), State: r.e.o.Layout.Root,
		Kube: r.e.o.Tools + "/kube", Version: version(r.spec), User: userOf(r.spec.ID + "/" + rec.Name), Cgroup: n.cgroup(),
		Address: rec.Address, Gateway: gateway(r.spec), PodCIDR: rec.PodCIDR, PodsCIDR: r.spec.PodCIDR,
		ClusterDNS: controlplane.ServiceIP(r.spec.ServiceCIDR, 10),
		Machine:    node.Machine{VCPU: t.VCPU, MemoryBytes: uint64(t.MemoryMiB) << 20, DiskBytes: uint64(diskBytes(rec.DiskGB)), ID: machineID(rec.Name)},
		Reserved:   reservedOf(t, rec.DiskGB),
		Labels:     rec.Labels, Taints: taints,
		ProviderID: fmt.Sprintf("gce://%s/%s/%s", r.spec.Project, rec.Zone, rec.Name),
		ClusterCA:  keys.CAFile(), Certificate: cert, Key: key, Kubeconfig: kubeconfig, ProxyKubeconfig: keys.Kubeconfig("kube-proxy"),
		TrustedCAs: r.e.o.TrustedCAs, PauseImage: pause.Reference, Images: r.e.o.images(),
		Registries: registryHosts(), Mirror: fmt.Sprintf("http://%s:5000", gateway(r.spec)),
	}, nil
}

// clear removes what a node that does not run has in the kernel.
func (n *nodeRun) clear() {
	var errs []error
	if ns := n.ns.Swap(nil); ns != nil {
		ns.Close()
		errs = append(errs, network.Detach(n.r.ns, n.wiring()), netns.Delete(ns.Name()))
	}
	errs = append(errs, cgroup.Remove(n.cgroup()))
	if err := errors.Join(errs...); err != nil {
		n.r.logger.Warn("something of a stopped node was left", "node", n.rec.Name, "error", err)
	}
	n.r.wake()
}

// erase removes a node that does not run and never will: its pods, which certainly do not run either and may start
// elsewhere at once, its object, its disk and its record. It goes on until it has succeeded or the engine stops.
func (n *nodeRun) erase(ctx context.Context) {
	select {
	case <-n.r.started: // the API server is needed
	case <-ctx.Done():
		return
	}
	backoff := process.Backoff{}
	for ctx.Err() == nil && n.r.startErr == nil {
		err := n.r.forgetNode(ctx, n.rec.Name)
		if err == nil {
			err = os.Remove(n.r.folder.record(n.rec.Name))
			if errors.Is(err, os.ErrNotExist) {
				err = nil
			}
		}
		if err == nil {
			err = removeFolder(n.r.folder.node(n.rec.Name))
		}
		if err == nil {
			n.tellInventory(false)
			n.r.mu.Lock()
			delete(n.r.nodes, n.rec.Name)
			n.r.mu.Unlock()
			close(n.gone)
			n.r.logger.Info("node removed", "node", n.rec.Name)
			n.r.wake()
			return
		}
		n.r.logger.Warn("a node was not removed yet; it is tried again", "node", n.rec.Name, "error", err)
		backoff.Wait(ctx)
	}
}

func (n *nodeRun) tellInventory(up bool) {
	inv := n.r.e.o.Inventory
	if inv == nil {
		return
	}
	rec, c := n.record(), n.r.spec
	entry := cluster.Node{
		ClusterID: c.ID, Project: c.Project, Zone: rec.Zone, Pool: rec.Pool, Name: rec.Name,
		MachineType: rec.MachineType, Spot: rec.Spot, Preemptible: rec.Preemptible,
		InternalIP: rec.Address, Labels: rec.Labels, DiskGB: rec.DiskGB,
	}
	tell := inv.NodeDown
	if up {
		tell = inv.NodeUp
	}
	if err := tell(entry); err != nil {
		n.r.logger.Error("the inventory did not note a node", "node", rec.Name, "up", up, "error", err)
	}
}
