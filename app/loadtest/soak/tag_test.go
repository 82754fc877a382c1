package soak

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tagServer is a running tag server.
type tagServer struct {
	path, mongo string
	traffic     netip.AddrPort
	cmd         *exec.Cmd
	log         string
}

// startTag builds the tag server, imports the catalogue and starts it.
func startTag(t *testing.T, catalogue, redis, mongo string) *tagServer {
	t.Helper()
	dir := t.TempDir()
	s := &tagServer{path: filepath.Join(dir, "tag"), mongo: mongo, log: filepath.Join(dir, "tag.log")}
	if out, err := exec.Command("go", "build", "-o", s.path, "patag/app/tag").CombinedOutput(); err != nil {
		t.Fatalf("build the tag server: %v\n%s", err, out)
	}
	if out, err := exec.Command(s.path, "catalogue", "import", catalogue, "--wait", "20s", "--mongo-uri", mongo).CombinedOutput(); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	keys := filepath.Join(dir, "keys")
	if err := os.WriteFile(keys, []byte(strings.Repeat("3c", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	traffic, admin := freeAddr(t), freeAddr(t)
	s.traffic = netip.MustParseAddrPort(traffic)
	out, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	s.cmd = exec.Command(s.path, "serve", "--listen", traffic, "--admin-listen", admin, "--redis-addr", redis, "--mongo-uri", mongo,
		"--key-file", keys, "--journal-dir", t.TempDir(), "--server-name", "soak", "--drain-period", "0s")
	// What is alive is under 50 MiB; after an outage of the store batches are larger for a while. The limit makes Go collect rather than grow.
	s.cmd.Env = append(os.Environ(), "GOMEMLIMIT=104MiB")
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start the tag server: %v", err)
	}
	t.Cleanup(func() {
		s.cmd.Process.Signal(syscall.SIGTERM)
		s.cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(s.log)
			t.Logf("the tag server said:\n%s", text[max(0, len(text)-8000):])
		}
	})
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if ready("http://" + admin + "/readyz") {
			return s
		}
	}
	t.Fatal("the tag server does not get ready")
	return nil
}

// memory is the most that the tag server had resident, in MiB.
func (s *tagServer) memory(t *testing.T) float64 {
	t.Helper()
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(s.cmd.Process.Pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(v)[0], 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib / 1024
		}
	}
	t.Fatal("the kernel does not say how much memory was used")
	return 0
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
