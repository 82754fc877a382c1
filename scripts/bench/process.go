package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Cores: the server that is measured has the first to itself, all else shares the second.
const (
	serverCore = 0
	clientCore = 1
)

// process is a program on one core. It dies with the bench.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	dead chan struct{}
}

// find looks on PATH, in Debian's sbin folders and where patag's setup puts the programs that it builds.
func find(name, pkg string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	home, _ := os.UserHomeDir()
	for _, dir := range []string{"/usr/sbin", os.Getenv("PATAG_TOOLS"), filepath.Join(home, ".cache/patag/tools")} {
		path := filepath.Join(dir, name)
		if fi, err := os.Stat(path); dir != "" && err == nil && fi.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not on this machine; `go run ./scripts/setup bench` installs it (%s)", name, pkg)
}

// launch starts a program on a core and waits until it listens, if it has an address.
func (b *bench) launch(name string, core int, addr string, argv ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(b.dir, name+".log"), dead: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", name, err)
	}
	defer out.Close()
	p.cmd = exec.Command("taskset", append([]string{"-c", strconv.Itoa(core)}, argv...)...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = out, out, b.dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.cmd.Wait()
		close(p.dead)
	}()
	b.processes = append(b.processes, p)
	prefer(p.cmd.Process.Pid, b.o.priority)
	if addr == "" {
		return p, nil
	}
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return p, nil
		}
		select {
		case <-p.dead:
		default:
			if time.Now().Before(until) {
				continue
			}
		}
		text, _ := os.ReadFile(p.log)
		return nil, fmt.Errorf("%s does not listen on %s; it said:\n%s", name, addr, text)
	}
}

// prefer lets a process and its session come before what else runs on the machine. Without the right to, the figures are noisier.
func prefer(pid, nice int) {
	unix.Setpriority(unix.PRIO_PROCESS, pid, nice)
	os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte(strconv.Itoa(nice)), 0)
}

// stop ends a process, gently first.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.dead:
	case <-time.After(15 * time.Second):
		p.cmd.Process.Kill()
		<-p.dead
	}
}

// worker is the process that does the work: itself, or its only child.
func (p *process) worker() int {
	pid := p.cmd.Process.Pid
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if children := strings.Fields(string(raw)); err == nil && len(children) == 1 {
		if n, err := strconv.Atoi(children[0]); err == nil {
			return n
		}
	}
	return pid
}

// used is the processor time of a process and its threads.
func used(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0, errors.New("/proc has an unknown stat")
	}
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// memory is a field of /proc/PID/status in MiB, such as VmRSS.
func memory(pid int, field string) float64 {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(raw)) {
		if v, ok := strings.CutPrefix(line, field+":"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(v)[0], 64)
			return kib / 1024
		}
	}
	return 0
}

// load of the machine, as the kernel averages it over a minute.
func load() string {
	raw, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(raw), " ")
	return one
}

func (b *bench) run(ctx context.Context, argv ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return out, fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
	}
	return out, nil
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
