package registry

import (
	"bufio"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"patag/infra/sandbox/store"
)

// TestKilledAfterPush pushes to a registry in a process of its own, which is killed the moment the push is answered.
func TestKilledAfterPush(t *testing.T) {
	if dir := os.Getenv("PATAG_REGISTRY_TEST_DIR"); dir != "" {
		serveUntilKilled(t, dir)
		return
	}
	dir := t.TempDir()
	var pushed []string
	for round := range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledAfterPush$")
		cmd.Env = append(os.Environ(), "PATAG_REGISTRY_TEST_DIR="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		address, ok := strings.CutPrefix(strings.TrimSpace(line), "listening ")
		if err != nil || !ok {
			cmd.Process.Kill()
			cmd.Wait()
			t.Fatalf("the registry said %q, %v", line, err)
		}
		for _, tag := range pushed { // what was answered before the kill must be whole after it
			ref, err := name.ParseReference(address + "/p/app/tag:" + tag)
			if err != nil {
				t.Fatal(err)
			}
			image, err := remote.Image(ref, login)
			if err == nil {
				err = intact(image)
			}
			if err != nil {
				t.Errorf("round %d: %s is lost: %v", round, tag, err)
			}
		}
		tag := "v" + string(rune('a'+round))
		ref, err := name.ParseReference(address + "/p/app/tag:" + tag)
		if err != nil {
			t.Fatal(err)
		}
		image, err := random.Image(200_000, 3)
		if err != nil {
			t.Fatal(err)
		}
		err = remote.Write(ref, image, login)
		cmd.Process.Kill()
		cmd.Wait()
		if err != nil {
			t.Fatal(err)
		}
		pushed = append(pushed, tag)
	}
}

func serveUntilKilled(t *testing.T, dir string) {
	s, err := store.Open(filepath.Join(dir, "api.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(Repository{"p", "europe-west1", "app"}.key(), map[string]any{"format": "DOCKER", "createTime": "2026-01-01T00:00:00Z"}); err != nil {
		t.Fatal(err)
	}
	reg, err := Open(Options{Dir: filepath.Join(dir, "registry"), Store: s, Auth: onlyToken("secret-token")})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString("listening " + l.Addr().String() + "\n")
	t.Fatal(http.Serve(l, reg))
}
