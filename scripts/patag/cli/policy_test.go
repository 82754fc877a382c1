package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/scripts/patag/app"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/terminal"
)

// strict is patag with the policies on, running a program that makes one bucket, protected as the foundation's must be.
func (f *fixture) strict(program pulumi.RunFunc, args ...string) answer {
	var out, err bytes.Buffer
	code := Run(f.t.Context(), &app.App{Program: program, Policies: true, Version: "test"}, terminal.Streams{In: strings.NewReader(""), Out: &out, Err: &err}, args)
	return answer{code, out.String(), err.String()}
}

func bucket(name string, props pulumi.Map) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		var made struct{ pulumi.CustomResourceState }
		return ctx.RegisterResource("gcp:storage/bucket:Bucket", name, props, &made, pulumi.Protect(true))
	}
}

// TestPolicies: what breaks a rule is refused with code 3 and nothing is made; what breaks none is made.
func TestPolicies(t *testing.T) {
	f := engineFixture(t)
	good := pulumi.Map{"name": pulumi.String("a"), "publicAccessPrevention": pulumi.String("enforced"), "uniformBucketLevelAccess": pulumi.Bool(true)}
	open := pulumi.Map{"name": pulumi.String("b"), "uniformBucketLevelAccess": pulumi.Bool(true)}
	for _, verb := range []string{"preview", "up"} {
		f.strict(bucket("b", open), verb, "foundation").expect(t, exit.Usage, "nothing was changed", "no-public-buckets", `gcp:storage/bucket:Bucket "b"`, `set it to "enforced"`, "patag policy")
		if got := f.names(); got != "" {
			t.Fatalf("%s made %q", verb, got)
		}
	}
	f.strict(bucket("a", good), "up", "foundation").expect(t, exit.OK, "1 created")
	if got := f.names(); got != "a" {
		t.Fatalf("files: %q", got)
	}
	f.patag("policy").expect(t, exit.OK, "no-service-account-keys", "images-by-digest")
}

// TestUnlock: the lock of a living process stays, whatever is asked; those of a dead one, and by force of another machine, go.
func TestUnlock(t *testing.T) {
	f := newFixture(t)
	locks := filepath.Join(f.state, "pulumi/state/.pulumi/locks/organization/patag/foundation")
	must(t, os.MkdirAll(locks, 0o755))
	host, err := os.Hostname()
	must(t, err)
	file := filepath.Join(locks, "x.json")
	write := func(pid int, host string) {
		raw := fmt.Sprintf(`{"pid":%d,"username":"eve","hostname":%q,"timestamp":%q}`, pid, host, time.Now().Format(time.RFC3339Nano))
		must(t, os.WriteFile(file, []byte(raw), 0o600))
	}
	there := func() bool { _, err := os.Stat(file); return err == nil }

	f.patag("unlock", "foundation").expect(t, exit.OK, "is not locked")
	write(os.Getpid(), host)
	for _, flag := range []string{"--force=false", "--force"} {
		f.patag("unlock", "foundation", flag).expect(t, exit.Locked, "eve@"+host, "since", "which lives")
	}
	if !there() {
		t.Fatal("the lock of a living process was removed")
	}
	write(1, "elsewhere")
	f.patag("unlock", "foundation").expect(t, exit.Locked, "eve@elsewhere", "on another machine", "--force")
	if !there() {
		t.Fatal("the lock of another machine was removed without force")
	}
	f.patag("unlock", "foundation", "--force").expect(t, exit.OK, "removed the lock of eve@elsewhere")
	if there() {
		t.Fatal("the lock is still there")
	}
	dead := exec.Command("true")
	must(t, dead.Run())
	write(dead.Process.Pid, host)
	f.patag("unlock", "foundation").expect(t, exit.OK, "removed the lock of eve@"+host)
	if there() {
		t.Fatal("the dead one's lock is still there")
	}
}

// TestDrift: nothing on an untouched stack, code 2 and a line when the program asks for something else; --wait gives up in time.
func TestDrift(t *testing.T) {
	f := engineFixture(t)
	t.Setenv("FILES", "a b")
	t.Setenv("TEXT", "one")
	f.patag("up", "foundation").expect(t, exit.OK)
	f.patag("drift", "foundation").expect(t, exit.OK, "no changes")
	t.Setenv("TEXT", "two")
	f.patag("drift", "foundation").expect(t, exit.Changes, `gcp:storage/bucket:Bucket "a" differs`, "changed in the program", "2 resources differ")
	f.patag("drift", "foundation", "--json").expect(t, exit.Changes, `"up":"update","by":"program"`)
	t.Setenv("TEXT", "one")
	f.patag("drift", "foundation").expect(t, exit.OK)
	// Somebody changes one by hand and deletes another, while the program wants no other ones.
	must(t, os.WriteFile(filepath.Join(f.files, "a"), []byte("by hand"), 0o644))
	must(t, os.Remove(filepath.Join(f.files, "b")))
	f.patag("drift", "foundation").expect(t, exit.Changes, `Bucket "a" differs: text (changed in the cloud)`, `Bucket "b" is missing (changed in the cloud)`, "2 resources differ")
	f.patag("up", "foundation", "--refresh").expect(t, exit.OK, "1 created", "1 updated")
	f.patag("drift", "foundation").expect(t, exit.OK)

	locks := filepath.Join(f.state, "pulumi/state/.pulumi/locks/organization/patag/foundation")
	must(t, os.MkdirAll(locks, 0o755))
	file := filepath.Join(locks, "x.json")
	raw := fmt.Sprintf(`{"pid":1,"username":"eve","hostname":"elsewhere","timestamp":%q}`, time.Now().Format(time.RFC3339Nano))
	must(t, os.WriteFile(file, []byte(raw), 0o600))
	f.patag("drift", "foundation", "--wait", "1s").expect(t, exit.Locked, "waited 1s", "eve@elsewhere")
	time.AfterFunc(1500*time.Millisecond, func() { _ = os.Remove(file) })
	f.patag("drift", "foundation", "--wait", "60s").expect(t, exit.OK, "it is free")
}
