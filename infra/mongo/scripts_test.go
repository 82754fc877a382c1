package mongo

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestShellScripts has bash read the scripts, and runs the one that needs no MongoDB.
func TestShellScripts(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("SKIPPED: no bash on PATH: the scripts are not tried")
	}
	for name, script := range map[string]string{"startMember": startMember, "copyKeyfile": copyKeyfile} {
		if out, err := exec.Command(bash, "-n", "-c", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	dir := t.TempDir()
	for _, sub := range []string{"credentials", "keyfile"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "credentials", "keyfile"), []byte("abcd"), 0o440); err != nil {
		t.Fatal(err)
	}
	script := strings.ReplaceAll(copyKeyfile, "/run/", dir+"/")
	for range 2 { // a restarted pod finds the file there
		if out, err := exec.Command(bash, "-c", script).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "keyfile", "keyfile"))
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o400 {
		t.Errorf("the keyfile has mode %o, want 400: mongod refuses one that others may read", mode)
	}
}

// TestOnlyFirstMemberMakesRoot runs the start script with a stand-in for the image's entrypoint.
func TestOnlyFirstMemberMakesRoot(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("SKIPPED: no bash on PATH: the scripts are not tried")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "docker-entrypoint.sh"), []byte("#!/bin/sh\necho \"root=$MONGO_INITDB_ROOT_USERNAME args=$*\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{"mongo-0": "root=root args=mongod --replSet rs0", "mongo-1": "root= args=mongod --replSet rs0", "mongo-10": "root= args="} {
		cmd := exec.Command(bash, "-c", startMember)
		cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "HOSTNAME=" + host}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("%s starts with %q (%v), want %s…", host, out, err, want)
		}
	}
}
