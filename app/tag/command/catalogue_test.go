package command

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// tag runs one command line.
func tag(t *testing.T, in string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = Run(t.Context(), args, strings.NewReader(in), &o, &e)
	return code, o.String(), e.String()
}

// catalogueStore runs a real FerretDB until the test ends and answers its URI.
func catalogueStore(t *testing.T) string {
	t.Helper()
	tools := os.Getenv("PATAG_TOOLS")
	if tools == "" {
		t.Skip("NOT TESTED: PATAG_TOOLS is not set, so there is no ferretdb to store in")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cmd := exec.Command(filepath.Join(tools, "ferretdb"), "--listen", addr, "--data-dir", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return "mongodb://" + addr + "/patag"
}

func TestExportIsWhatWasImported(t *testing.T) {
	uri, dir := catalogueStore(t), t.TempDir()
	made, exported := filepath.Join(dir, "made.json"), filepath.Join(dir, "exported.json")
	if code, _, e := tag(t, "", "catalogue", "generate", "--placements", "60", "--seed", "9", made); code != 0 {
		t.Fatal(e)
	}
	if code, out, e := tag(t, "", "catalogue", "import", made, "--mongo-uri", uri, "--wait", "30s"); code != 0 || !strings.HasPrefix(out, "imported as version 1") || strings.Count(e, "no validators") != 1 {
		t.Fatalf("%d %s %s", code, out, e)
	}
	if code, _, e := tag(t, "", "catalogue", "export", exported, "--mongo-uri", uri); code != 0 {
		t.Fatal(e)
	}
	a, errA := os.ReadFile(made)
	b, errB := os.ReadFile(exported)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Fatalf("the export differs from what was imported (%v, %v)", errA, errB)
	}
	// Through pipes, and the demo, whose file is not in the order of ids.
	if code, out, e := tag(t, string(b), "catalogue", "import", "-", "--mongo-uri", uri); code != 0 || !strings.HasPrefix(out, "unchanged") {
		t.Fatalf("%d %s %s", code, out, e)
	}
	if code, _, e := tag(t, "", "catalogue", "import", "--demo", "--bidder", "http://bidder.app.svc:8080/bid", "--mongo-uri", uri); code != 0 {
		t.Fatal(e)
	}
	_, first, _ := tag(t, "", "catalogue", "export", "-", "--mongo-uri", uri)
	if !strings.Contains(first, `"http://bidder.app.svc:8080/bid"`) {
		t.Error("the demo was imported without the bidder that was given")
	}
	if code, out, e := tag(t, first, "catalogue", "import", "-", "--mongo-uri", uri); code != 0 || !strings.HasPrefix(out, "unchanged") {
		t.Fatalf("%d %s %s", code, out, e)
	}
	if _, second, _ := tag(t, "", "catalogue", "export", "-", "--mongo-uri", uri); second != first {
		t.Error("an export that was imported exports otherwise")
	}
}

func TestValidatePrintsAllProblems(t *testing.T) {
	text := strings.NewReplacer(`"tier": "price"`, `"tier": "gold"`, `"format": "native"`, `"format": "video"`).Replace(string(demoJSON(t)))
	code, out, e := tag(t, text, "catalogue", "validate", "-")
	if code != exitFailed || out != "" {
		t.Errorf("exit code %d, output %q", code, out)
	}
	for _, want := range []string{`tag: lineItems "radhaus-side": tier: "gold"`, `tag: lineItems "morgenrot-side": tier: "gold"`, `tag: placements "demo-native": format: "video"`, `tag: creatives "house-native": format: "video"`} {
		if strings.Count(e, want) != 1 {
			t.Errorf("%s\nlacks %s", e, want)
		}
	}
}

func TestWritingLeavesTheOldFileWhenItFails(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "catalogue.json")
	if err := os.WriteFile(file, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--placements", "0", file}, {"--endpoint", "ftp://x", file}, {"--start", "soon", file}, {"--placements", "5", filepath.Join(dir, "no", "folder.json")},
	} {
		if code, _, e := tag(t, "", append([]string{"catalogue", "generate"}, args...)...); code == 0 || e == "" {
			t.Errorf("%v: exit code %d, %q", args, code, e)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%v %v: want the old file alone", left, err)
	}
	if b, _ := os.ReadFile(file); string(b) != "old" {
		t.Errorf("the file has %q", b)
	}
}

func demoJSON(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("../demo/catalogue.json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}
