// Package controlplane runs the control plane of one cluster inside its network namespace: etcd, API server, controller
// manager, scheduler, cluster DNS and the metrics server, each started again when it ends. What goes in is where the
// cluster's files and addresses are; it knows nothing of nodes.
package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"patag/infra/sandbox/gke/process"
	"patag/infra/sandbox/netns"
)

// Options say what to run and where.
type Options struct {
	// Folder holds everything of the control plane: keys, etcd's data, logs.
	Folder string
	// Tools is the folder with the programs kube, coredns and metrics-server.
	Tools string
	NS    *netns.NS
	// Master is the API server's address inside, Endpoint its address on the host, Gateway the namespace's address
	// on the nodes' network, where DNS and metrics are served.
	Master, Endpoint, Gateway netip.Addr
	// Services is the range of service addresses, Pods that of pods.
	Services, Pods netip.Prefix
	// Version is the version that the components tell ("v1.34.4-gke.1").
	Version string
	// User is the number of a user that only this control plane runs as, still with all that root may do: the kernel
	// counts what it watches files with by user, and root's share is for the nodes.
	User uint32
	// Issuer is the issuer of service accounts' tokens, as GKE's (an https URL).
	Issuer string
	// AdminToken is a bearer token of the cluster's administrator.
	AdminToken string
	Logger     *slog.Logger
}

// ServiceIP is the n-th address of the range of services: 1 is the API server, 10 the DNS server.
func ServiceIP(services netip.Prefix, n int) netip.Addr {
	a := services.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return a
}

// Start makes the keys and starts everything; AwaitReady waits. The programs run until Stop.
func Start(o Options) (*ControlPlane, error) {
	keys, err := prepareKeys(o)
	if err != nil {
		return nil, fmt.Errorf("prepare the control plane's keys: %w", err)
	}
	life, cancel := context.WithCancel(context.Background())
	c := &ControlPlane{o: o, keys: keys, cancel: cancel}
	c.probe, err = c.prober()
	if err != nil {
		cancel()
		return nil, err
	}
	for _, spec := range c.specs() {
		c.running.Go(func() { process.Supervise(life, spec, o.Logger) })
	}
	return c, nil
}

// ControlPlane is a running control plane.
type ControlPlane struct {
	o       Options
	keys    *Keys
	cancel  context.CancelFunc
	running sync.WaitGroup
	probe   *http.Client
}

// Keys are the certificates of the cluster.
func (c *ControlPlane) Keys() *Keys { return c.keys }

// Stop ends all programs and returns when they are gone.
func (c *ControlPlane) Stop() {
	c.cancel()
	c.running.Wait()
	c.probe.CloseIdleConnections()
}

func (c *ControlPlane) prober() (*http.Client, error) {
	cert, err := tls.LoadX509KeyPair(c.keys.file("admin.crt"), c.keys.file("admin.key"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.keys.CA.CertPEM())
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return c.o.NS.DialContext(ctx, network, netip.AddrPortFrom(c.o.Master, 443).String())
		},
		TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}},
	}}, nil
}

// Ready asks the API server whether it serves.
func (c *ControlPlane) Ready(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+c.o.Master.String()+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := c.probe.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		var failing []string
		for _, line := range strings.Split(string(body), "\n") {
			if strings.HasPrefix(line, "[-]") {
				check, _, _ := strings.Cut(strings.TrimPrefix(line, "[-]"), " ")
				failing = append(failing, check)
			}
		}
		return fmt.Errorf("the API server is not ready: %s, failing: %s", res.Status, strings.Join(failing, ", "))
	}
	return nil
}

// AwaitReady returns once the API server serves.
func (c *ControlPlane) AwaitReady(ctx context.Context) error {
	var last error
	for {
		if last = c.Ready(ctx); last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the API server (see %s): %w; last answer: %w", filepath.Join(c.o.Folder, "log"), ctx.Err(), last)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (c *ControlPlane) log(name string) string { return filepath.Join(c.o.Folder, "log", name+".log") }

// Logs are the files that the programs write.
func (c *ControlPlane) Logs() []string {
	var files []string
	for _, s := range c.specs() {
		files = append(files, s.Log)
	}
	return files
}

func (c *ControlPlane) specs() []process.Spec {
	kube := filepath.Join(c.o.Tools, "kube")
	// Less memory for a little more work: most control planes here are idle.
	env := append(os.Environ(), "GOGC=50", "PATAG_VERSION="+c.o.Version)
	user := append(slices.Clone(env), "PATAG_UID="+strconv.FormatUint(uint64(c.o.User), 10))
	program := func(binary, name string, grace time.Duration, before func(context.Context) error, args ...string) process.Spec {
		return process.Spec{
			Name: name, Log: c.log(name), Grace: grace, Start: c.o.NS.Start, Before: before,
			Command: func() *exec.Cmd {
				cmd := exec.Command(binary, args...)
				cmd.Args[0] = name // the Kubernetes binary is whatever it is called
				cmd.Dir = c.o.Folder
				cmd.Env = user
				if name == "etcd" || name == "coredns" {
					cmd.Env = env // they watch no files
				}
				return cmd
			},
		}
	}
	return []process.Spec{
		program(kube, "etcd", 3*time.Second, nil, c.etcdArgs()...),
		program(kube, "kube-apiserver", 0, nil, c.apiserverArgs()...),
		// These exit when the API server does not know its own roles yet.
		program(kube, "kube-controller-manager", 0, c.AwaitReady, c.controllerManagerArgs()...),
		program(kube, "kube-scheduler", 0, c.AwaitReady, c.schedulerArgs()...),
		program(filepath.Join(c.o.Tools, "coredns"), "coredns", 0, c.AwaitReady, "-conf", filepath.Join(c.o.Folder, corefile), "-quiet"),
		program(filepath.Join(c.o.Tools, "metrics-server"), "metrics-server", 0, c.AwaitReady, c.metricsArgs()...),
	}
}
