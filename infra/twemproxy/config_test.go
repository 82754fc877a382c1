package twemproxy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var shards = []string{"10.30.0.5:6379 redis-0", "10.30.0.6:6379 redis-1", "10.30.0.7:6379 redis-2"}

func TestServers(t *testing.T) {
	text, err := nutcracker(shards)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"    - 10.30.0.5:6379:1 redis-0\n", "    - 10.30.0.6:6379:1 redis-1\n", "    - 10.30.0.7:6379:1 redis-2\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the configuration lacks %q:\n%s", want, text)
		}
	}
	for _, bad := range []string{"10.30.0.5:6379", "10.30.0.5 redis-0", "10.30.0.5:6379 "} {
		if _, err := nutcracker([]string{bad}); err == nil {
			t.Errorf("server %q is accepted", bad)
		}
	}
}

// TestNutcrackerTakesIt asks the proxy itself, where it is installed.
func TestNutcrackerTakesIt(t *testing.T) {
	binary, err := exec.LookPath("nutcracker")
	if err != nil {
		t.Skip("SKIPPED: nutcracker is not on PATH: it is not asked whether it takes the configuration")
	}
	text, err := nutcracker(shards)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "nutcracker.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(binary, "--test-conf", "--conf-file="+file, "--mbuf-size=512").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "syntax is ok") {
		t.Errorf("nutcracker refuses it: %v\n%s", err, out)
	}
}
