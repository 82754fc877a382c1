package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// proc is a process as /proc shows it.
type proc struct {
	pid, parent int
	args        []string
}

func processes() []proc {
	var all []proc
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		stat, err := os.ReadFile(f)
		if err != nil {
			continue // ended meanwhile
		}
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "cmdline"))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		// The name in parentheses may hold anything.
		rest := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(rest) < 2 || rest[0] == "Z" {
			continue
		}
		parent, _ := strconv.Atoi(rest[1])
		all = append(all, proc{pid, parent, strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")})
	}
	return all
}

// daemon is the process id of the sandbox's daemon, 0 when there is none.
func (m *machine) daemon() int {
	raw, err := os.ReadFile(m.layout.LockFile())
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || syscall.Kill(pid, 0) != nil {
		return 0
	}
	return pid
}

var controlPlane = []string{"kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler"}

// parts are the daemon's own processes whose program has one of the names.
func (m *machine) parts(names ...string) []int {
	var found []int
	daemon := m.daemon()
	for _, p := range processes() {
		if daemon != 0 && p.parent == daemon && slices.Contains(names, filepath.Base(p.args[0])) {
			found = append(found, p.pid)
		}
	}
	return found
}

// node is the first process of a node, which dies with it; 0 when there is none.
func (m *machine) node(name string) int {
	for _, p := range processes() {
		if len(p.args) > 2 && p.args[1] == "node" && strings.HasPrefix(p.args[2], m.layout.Root) && strings.Contains(p.args[2], "/nodes/"+name+"/") {
			return p.pid
		}
	}
	return 0
}

// container are the processes of a pod's containers, without the one that only holds its namespaces.
func container(uid string) []int {
	var found []int
	for _, p := range processes() {
		groups, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.pid))
		if strings.Contains(string(groups), uid) && !strings.Contains(p.args[0], "pause") {
			found = append(found, p.pid)
		}
	}
	return found
}

func kill(t *testing.T, pids []int) {
	t.Helper()
	if len(pids) == 0 {
		t.Fatal("there is nothing to kill")
	}
	for _, pid := range pids {
		if pid <= 1 {
			t.Fatalf("process %d must not be killed", pid)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			t.Fatalf("kill %d: %v", pid, err)
		}
	}
}

// leftovers lists what of a stopped sandbox is still there: processes, namespaces, cgroups, mounts, open ports.
func (m *machine) leftovers(t *testing.T) []string {
	t.Helper()
	var left []string
	settings := m.settings(t)
	name := settings.Name()
	for _, p := range processes() {
		if line := strings.Join(p.args, " "); strings.Contains(line, m.layout.Root) {
			left = append(left, fmt.Sprintf("process %d: %s", p.pid, line))
		}
	}
	spaces, _ := filepath.Glob("/run/netns/" + name + "-*")
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + name)
	left = append(append(left, spaces...), groups...)
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, m.layout.Root) || strings.Contains(line, "/netns/"+name+"-") {
			left = append(left, "mount "+line)
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if strings.Contains(l.Name, name) {
			left = append(left, "network interface "+l.Name)
		}
	}
	for _, address := range []string{settings.API, settings.ClusterEndpoint(0).String() + ":443", settings.StaticAddress(0).String() + ":80", settings.StaticAddress(0).String() + ":443"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			left = append(left, fmt.Sprintf("port %s: %v", address, err))
			continue
		}
		l.Close()
	}
	return left
}

// stop stops the sandbox and expects nothing of it to be left but its state.
func (m *machine) stop(t *testing.T) {
	t.Helper()
	m.must(t, 2*time.Minute, "sandbox", "stop")
	if left := m.leftovers(t); len(left) > 0 {
		t.Fatalf("left behind by stop:\n%s", strings.Join(left, "\n"))
	}
}

// memory watches what the sandbox and the commands of this test take, until the function it returns is called, which
// gives the peak in GiB: of their processes (proportional set size), and by which the machine's available memory fell.
func (m *machine) memory() func() (processes, machine float64) {
	end, done := make(chan struct{}), make(chan struct{})
	before := available()
	var peak, fell float64
	go func() {
		defer close(done)
		for {
			peak, fell = max(peak, m.proportional()), max(fell, before-available())
			select {
			case <-end:
				return
			case <-time.After(time.Second):
			}
		}
	}()
	return func() (float64, float64) { close(end); <-done; return peak, fell }
}

// proportional adds up the memory of the daemon, of this test's commands, and of all that descends from them.
func (m *machine) proportional() float64 {
	all := processes()
	ours := map[int]bool{m.daemon(): true, os.Getpid(): true}
	for grew := true; grew; {
		grew = false
		for _, p := range all {
			if p.parent > 1 && ours[p.parent] && !ours[p.pid] {
				ours[p.pid], grew = true, true
			}
		}
	}
	var sum float64
	for pid := range ours {
		if pid != 0 && pid != os.Getpid() {
			sum += kibOf(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
		}
	}
	return sum / (1 << 20)
}

func available() float64 { return kibOf("/proc/meminfo", "MemAvailable:") / (1 << 20) }

// kibOf reads a value in kB; 0 when there is none.
func kibOf(file, field string) float64 {
	raw, _ := os.ReadFile(file)
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib
		}
	}
	return 0
}
