package sandbox

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"patag/infra/sandbox/layout"
	"patag/scripts/needs"
	"patag/scripts/patag/cloud"
	"patag/scripts/patag/exit"
)

const defaultAPI = "127.0.0.1:7470"

// tools are the third-party programs that the daemon runs; what it runs of Debian is in package needs.
var tools = []string{"kube", "coredns", "metrics-server"}

// choose takes the settings of an earlier start, or chooses them.
func choose(l layout.Layout, f startFlags) (s layout.Settings, fresh bool, err error) {
	s, err = l.Settings()
	if err == nil {
		if f.api != "" && f.api != s.API || f.instance != 0 && f.instance != s.Instance {
			return s, false, exit.New(exit.Usage, "this sandbox has its API on %s and instance %d, and keeps them: its resources name them", s.API, s.Instance).
				WithHint("leave --api and --instance away, give another --state, or delete this one (make clean)")
		}
		return s, false, nil
	}
	if !errors.Is(err, layout.ErrNotCreated) {
		return s, false, exit.New(exit.Usage, "%w", err).WithHint("the file is damaged: restore it, or delete the state folder")
	}
	s = layout.Settings{API: f.api, Instance: f.instance}
	if s.API == "" {
		s.API = defaultAPI
	}
	if s.Instance == 0 {
		s.Instance = freeInstance(l)
	}
	if err := s.Validate(); err != nil {
		return s, true, exit.New(exit.Usage, "%w", err)
	}
	return s, true, nil
}

// freeInstance begins at a number that follows from the state folder, so that two stopped sandboxes rarely choose
// the same one, and takes the first that nothing in the kernel bears.
func freeInstance(l layout.Layout) int {
	h := fnv.New32a()
	h.Write([]byte(l.Root))
	first := int(h.Sum32() % 253)
	for i := range 253 {
		s := layout.Settings{Instance: (first+i)%253 + 2}
		if names, _ := filepath.Glob("/run/netns/" + s.Name() + "-*"); len(names) == 0 && portFree(netip.AddrPortFrom(s.ClusterEndpoint(0), 443)) == nil {
			return s.Instance
		}
	}
	return first + 2
}

// check finds everything that is missing before anything is changed, and the daemon.
func check(l layout.Layout, s layout.Settings, t cloud.Tools, f startFlags) (daemon string, err error) {
	var problems []string
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if runtime.GOOS != "linux" {
		return "", exit.New(exit.Usage, "the sandbox needs Linux: it runs Kubernetes in namespaces of the kernel, and this is %s", runtime.GOOS).
			WithHint("use a Linux machine or virtual machine")
	}
	if os.Geteuid() != 0 {
		add("you are not root, and namespaces, mounts and cgroups need it: run it as root (sudo -E patag sandbox start)")
	}
	if free, err := needs.AvailableMemory(); err != nil {
		add("cannot tell how much memory is available: %v", err)
	} else if float64(free) < f.memory*needs.GiB {
		add("%s of memory are available, and %.1f GiB are needed: end other programs, or lower the limit with --need-memory", needs.Size(free), f.memory)
	}
	if free, at, err := needs.FreeDisk(l.Root); err != nil {
		add("cannot tell how much of the disk is free: %v", err)
	} else if float64(free) < f.disk*needs.GiB {
		add("%s are free in %s, and %.1f GiB are needed: make room, give another --state, or lower the limit with --need-disk", needs.Size(free), at, f.disk)
	}
	if missing := missingPackages(); len(missing) > 0 {
		add("Debian packages are missing: apt-get install -y --no-install-recommends %s", strings.Join(missing, " "))
	}
	var absent []string
	for _, name := range tools {
		if _, err := os.Stat(filepath.Join(t.Dir, name)); err != nil {
			absent = append(absent, name)
		}
	}
	if len(absent) > 0 {
		add("%s lacks %s: `make tools` builds them, or point --tools (PATAG_TOOLS) to a folder that has them", t.Dir, strings.Join(absent, ", "))
	}
	if daemon, err = t.Find(daemonName); err != nil {
		add("%s is neither beside patag nor on the PATH: `make build` makes it", daemonName)
	}
	api, _ := netip.ParseAddrPort(s.API)
	for _, ap := range []netip.AddrPort{api, netip.AddrPortFrom(s.ClusterEndpoint(0), 443), netip.AddrPortFrom(s.StaticAddress(0), 80), netip.AddrPortFrom(s.StaticAddress(0), 443)} {
		if err := portFree(ap); err != nil {
			add("%s is taken%s: end that program, or choose with %s", ap, owner(ap), map[bool]string{true: "--api", false: "--instance"}[ap == api])
		}
	}
	if len(problems) > 0 {
		return "", exit.New(exit.Usage, "the sandbox cannot start here; nothing was changed\n  - %s", strings.Join(problems, "\n  - "))
	}
	return daemon, nil
}

// missingPackages are those of which a program that the sandbox runs is not there.
func missingPackages() (names []string) {
	for _, p := range needs.Packages {
		// A path with a slash is looked at as it is.
		if slices.ContainsFunc(p.Programs, func(program string) bool { _, err := exec.LookPath(program); return err != nil }) {
			names = append(names, p.Name)
		}
	}
	return names
}

func portFree(ap netip.AddrPort) error {
	l, err := net.Listen("tcp", ap.String())
	if err != nil {
		if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
			return nil // not root: said elsewhere, and no sign that the port is taken
		}
		return err
	}
	return l.Close()
}

// owner names the process that listens on an address, if it can be found.
func owner(ap netip.AddrPort) string {
	inode := listener(ap)
	if inode == "" {
		return ""
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == "socket:["+inode+"]" {
			pid := strings.Split(link, "/")[2]
			name, _ := os.ReadFile("/proc/" + pid + "/comm")
			return fmt.Sprintf(" by %s (process %s)", strings.TrimSpace(string(name)), pid)
		}
	}
	return ""
}

// listener is the inode of the socket that listens on the address or on all of its port.
func listener(ap netip.AddrPort) string {
	b := ap.Addr().As4()
	port := fmt.Sprintf(":%04X", ap.Port())
	// /proc/net/tcp prints an address as one number in the byte order of the machine, which is little here.
	wanted := map[string]bool{fmt.Sprintf("%02X%02X%02X%02X", b[3], b[2], b[1], b[0]) + port: true, "00000000" + port: true, strings.Repeat("0", 32) + port: true}
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		raw, _ := os.ReadFile(file)
		for line := range strings.Lines(string(raw)) {
			fields := strings.Fields(line)
			const listening = "0A"
			if len(fields) > 9 && fields[3] == listening && wanted[fields[1]] {
				return fields[9]
			}
		}
	}
	return ""
}

func writeSettings(l layout.Layout, s layout.Settings) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return place(l.SettingsFile(), append(raw, '\n'))
}

// ensureToken makes the administrator's token at the first start.
func ensureToken(l layout.Layout) error {
	if token, err := l.Token(); err == nil && token != "" {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the sandbox's token: %w", err)
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	// Google's access tokens begin so; gcloud and the clients pass anything on.
	return place(l.TokenFile(), []byte("ya29.sandbox-"+hex.EncodeToString(secret)+"\n"))
}

func place(path string, content []byte) error {
	tmp := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.WriteFile(tmp, content, 0o600); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return err
	}
	return nil
}
