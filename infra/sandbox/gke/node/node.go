package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"patag/infra/sandbox/gke/cgroup"
	"patag/infra/sandbox/gke/process"
)

// Main runs the node's program until it is killed. args is the config file. It returns the exit code.
func Main(args []string) int {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if len(args) != 1 || os.Getpid() != 1 {
		logger.Error("this is the program of a sandbox node, which only the sandbox starts")
		return 2
	}
	c, err := readConfig(args[0])
	if err == nil {
		err = run(c, logger)
	}
	if err != nil {
		logger.Error("the node failed", "error", err)
		return 1
	}
	return 0
}

func run(c Config, logger *slog.Logger) error {
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, unix.SIGTERM, unix.SIGINT)
	// Before /proc is replaced: here our number is still the host's to the control groups.
	if err := joinSystemCgroup(c); err != nil {
		return err
	}
	if err := setUpMounts(c); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(c.Name)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := raiseFileLimit(); err != nil {
		return err
	}
	if err := render(c); err != nil {
		return fmt.Errorf("write the config of the node's programs: %w", err)
	}
	r := newReaper()
	go r.run()
	if err := writeBaseSpec(r, c.TrustedCAs); err != nil {
		return err
	}
	programs := []program{
		{name: "containerd", cmd: []string{"containerd", "--config", containerdConfig}},
		{name: "kubelet", before: func() error { return r.prepareRuntime(c, logger) }, cmd: []string{c.Kube,
			"--config=" + kubeletConfig, "--kubeconfig=" + c.Kubeconfig, "--hostname-override=" + c.Name,
			"--node-ip=" + c.Address.String(), "--root-dir=/var/lib/kubelet", "--node-labels=" + labelFlag(c.Labels), "--v=1"}},
		{name: "kube-proxy", cmd: []string{c.Kube, "--config=" + proxyConfig, "--v=1"}},
	}
	shape, err := json.Marshal(c.Machine)
	if err != nil {
		return err
	}
	if err := writeShims(); err != nil {
		return err
	}
	// Less memory for a little more work: there are several nodes on one computer, mostly idle.
	env := append(os.Environ(), "GOGC=50", "PATAG_MACHINE="+string(shape), "PATAG_VERSION="+c.Version, "PATH="+path)
	user := append(slices.Clone(env), "PATAG_UID="+strconv.FormatUint(uint64(c.User), 10), "PATH="+shims+":"+path)
	for _, p := range programs {
		p.env, p.log = user, filepath.Join(c.Folder, "log", p.name+".log")
		if p.name == "containerd" {
			p.env = env
		}
		go r.keepRunning(p, logger)
	}
	trim := time.NewTicker(time.Minute)
	for {
		select {
		case <-ends:
			return nil // the kernel ends the rest
		case <-trim.C:
			for _, log := range Logs(c.Folder) {
				if err := process.TrimLog(log); err != nil {
					logger.Warn("a log was not cut", "error", err)
				}
			}
		}
	}
}

const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// writeShims puts programs before the system's that insist on being run by root itself: the kubelet is another user.
func writeShims() error {
	if err := os.MkdirAll(shims, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"mount", "umount"} {
		real, err := exec.LookPath(name)
		if err != nil {
			return fmt.Errorf("%w; install the Debian package mount", err)
		}
		script := fmt.Sprintf("#!/bin/sh\nexec setpriv --reuid=0 %s \"$@\"\n", real)
		if err := os.WriteFile(filepath.Join(shims, name), []byte(script), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// joinSystemCgroup moves this process, and so all of the node's programs, into the node's own group: what they use
// counts as the node's.
func joinSystemCgroup(c Config) error {
	path := c.Cgroup + "/system"
	if err := cgroup.Create(path); err != nil {
		return err
	}
	return cgroup.Join(path, 0) // 0 is the writer itself, whatever its number is
}

// raiseFileLimit gives containers as many files as may be had; their limit is containerd's.
func raiseFileLimit() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise the limit of open files: %w", err)
	}
	return nil
}

// writeBaseSpec writes what every container starts from: containerd's own default, the bundle of certificates mounted,
// and no limit of open files but the node's.
func writeBaseSpec(r *reaper, bundle string) error {
	out, err := r.output("ctr", "oci", "spec")
	if err != nil {
		return fmt.Errorf("get containerd's default container: %w", err)
	}
	var spec map[string]any
	if err := json.Unmarshal(out, &spec); err != nil {
		return fmt.Errorf("read containerd's default container: %w", err)
	}
	mounts, ok := spec["mounts"].([]any)
	if !ok {
		return errors.New("containerd's default container has no mounts")
	}
	spec["mounts"] = append(mounts, map[string]any{
		"destination": caBundle, "type": "bind", "source": bundle, "options": []string{"rbind", "ro", "nosuid", "nodev", "noexec"},
	})
	if p, ok := spec["process"].(map[string]any); ok {
		delete(p, "rlimits")
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(baseSpec, raw, 0o600)
}

// prepareRuntime waits for containerd and loads the images once into a new node.
func (r *reaper) prepareRuntime(c Config, logger *slog.Logger) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		if _, err := r.output("ctr", "--address", containerdSocket, "version"); err == nil {
			break
		} else if time.Now().After(deadline) {
			return fmt.Errorf("containerd does not answer after 30 s; see its log: %w", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	marker := filepath.Join(c.Folder, "images-loaded")
	want := strings.Join(c.Images, "\n")
	if have, err := os.ReadFile(marker); err == nil && string(have) == want {
		return nil
	}
	for _, archive := range c.Images {
		if _, err := r.output("ctr", "--address", containerdSocket, "--namespace", "k8s.io", "images", "import", archive); err != nil {
			return fmt.Errorf("load image %s: %w", archive, err)
		}
		logger.Info("image loaded", "archive", archive)
	}
	return os.WriteFile(marker, []byte(want), 0o600)
}

// program is one of the node's, started again when it ends.
type program struct {
	name   string
	cmd    []string
	env    []string
	log    string
	before func() error
}

func (r *reaper) keepRunning(p program, logger *slog.Logger) {
	backoff := process.Backoff{}
	for {
		time.Sleep(backoff.Next())
		if p.before != nil {
			if err := p.before(); err != nil {
				logger.Error("a program cannot start yet", "program", p.name, "error", err)
				backoff.Started()
				continue
			}
		}
		log, err := process.OpenLog(p.log)
		if err != nil {
			logger.Error("no log", "program", p.name, "error", err)
			continue
		}
		cmd := exec.Command(p.cmd[0], p.cmd[1:]...)
		cmd.Args[0] = p.name // the Kubernetes binary is whatever it is called
		cmd.Env, cmd.Stdout, cmd.Stderr = p.env, log, log
		ended, err := r.start(cmd)
		log.Close()
		if err != nil {
			logger.Error("a program did not start", "program", p.name, "error", err)
			continue
		}
		backoff.Started()
		logger.Info("started", "program", p.name, "pid", cmd.Process.Pid)
		status := <-ended
		logger.Warn("a program ended and is started again", "program", p.name, "code", status.ExitStatus(), "signal", status.Signal())
	}
}

// reaper waits for every child of process 1: its own, and the orphans of the whole node, which are given to it. Waiting
// for its own one by one, as os/exec does, would race with that.
type reaper struct {
	mu   sync.Mutex
	mine map[int]chan unix.WaitStatus
	sig  chan os.Signal
}

func newReaper() *reaper {
	r := &reaper{mine: map[int]chan unix.WaitStatus{}, sig: make(chan os.Signal, 1)}
	signal.Notify(r.sig, unix.SIGCHLD)
	return r
}

func (r *reaper) run() {
	for range r.sig {
		for r.reap() {
		}
	}
}

func (r *reaper) reap() bool {
	// Under the lock, so that a child that ends at once is known by the time it is reaped.
	r.mu.Lock()
	defer r.mu.Unlock()
	var status unix.WaitStatus
	pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
	if errors.Is(err, unix.EINTR) {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	if ended, ok := r.mine[pid]; ok {
		delete(r.mine, pid)
		ended <- status
	}
	return true
}

// start starts cmd, whose output must be files.
func (r *reaper) start(cmd *exec.Cmd) (<-chan unix.WaitStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan unix.WaitStatus, 1)
	r.mine[cmd.Process.Pid] = ended
	return ended, nil
}

// output runs a short command and returns what it prints.
func (r *reaper) output(name string, args ...string) ([]byte, error) {
	out, err := os.CreateTemp("/run", "out-*")
	if err != nil {
		return nil, err
	}
	defer out.Close()
	defer os.Remove(out.Name())
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	ended, err := r.start(cmd)
	if err != nil {
		return nil, err
	}
	status := <-ended
	raw, err := os.ReadFile(out.Name())
	if err != nil {
		return nil, err
	}
	if status.ExitStatus() != 0 {
		return nil, fmt.Errorf("%s %s: exit code %d: %s", name, strings.Join(args, " "), status.ExitStatus(), strings.TrimSpace(string(raw)))
	}
	return raw, nil
}
