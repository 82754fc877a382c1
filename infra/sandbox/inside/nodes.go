package inside

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/netns"
)

// metadataAddress is where every machine at Google finds the metadata server.
const metadataAddress = "169.254.169.254"

// nodeServer is the metadata server of one node.
type nodeServer struct {
	ns   *netns.NS
	stop context.CancelFunc
	done chan struct{}
}

// recheck finds nodes whose namespace came, or came anew, without an event of the Node object.
const recheck = time.Second

// serveNodes keeps a metadata server on every node until ctx ends.
func (c *Controller) serveNodes(ctx context.Context, running cluster.Running, w *watch, logger *slog.Logger) {
	servers := map[string]*nodeServer{}
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	failing := map[string]bool{}
	for {
		wanted := map[string]*netns.NS{}
		for _, obj := range w.nodes.List() {
			name := obj.(*corev1.Node).Name
			if ns, ok := running.NodeNS(name); ok {
				wanted[name] = ns
			}
		}
		for name, s := range servers {
			ended := false
			select {
			case <-s.done:
				ended = true
			default:
			}
			if ended || wanted[name] != s.ns {
				s.stop()
				delete(servers, name)
			}
		}
		for name, ns := range wanted {
			if servers[name] != nil {
				continue
			}
			l, err := listenMetadata(ctx, ns)
			if err != nil {
				if !failing[name] && ctx.Err() == nil { // once, not every second while a node dies
					logger.Warn("no metadata server on a node yet", "node", name, "err", err)
				}
				failing[name] = true
				continue
			}
			delete(failing, name)
			nodeCtx, stop := context.WithCancel(ctx)
			s := &nodeServer{ns, stop, make(chan struct{})}
			servers[name] = s
			handler := &metadata{ctl: c, running: running, watch: w, node: name, logger: logger}
			wg.Go(func() {
				defer close(s.done)
				defer stop()
				err := c.serve(nodeCtx, l, handler, false)
				if nodeCtx.Err() == nil {
					logger.Info("metadata server of a node ended", "node", name, "err", err)
				}
			})
		}
		select {
		case <-ctx.Done():
			for _, s := range servers {
				s.stop()
			}
			return
		case <-tick.C:
		case <-w.nodeChange:
		}
	}
}

// listenMetadata puts the address on the node's loopback interface, where packets of pods find it, and listens.
func listenMetadata(ctx context.Context, ns *netns.NS) (net.Listener, error) {
	err := ns.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(metadataAddress + "/32")
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(lo, addr); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		return nil, fmt.Errorf("add %s to the loopback interface of %s: %w", metadataAddress, ns.Name(), err)
	}
	return ns.Listen(ctx, "tcp", metadataAddress+":80")
}
