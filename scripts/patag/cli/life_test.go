package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"patag/scripts/patag/exit"
)

// TestStagingInput: what a staging cannot be is refused before anything is touched.
func TestStagingInput(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"staging create", exit.Usage, "takes one project, not 0 arguments"},
		{"staging create a b", exit.Usage, "takes one project, not 2 arguments"},
		{"staging create Acme", exit.Usage, `"Acme" cannot name a project`},
		{"staging create -- -x", exit.Usage, "cannot name a project"},
		{"staging create " + strings.Repeat("a", 23), exit.Usage, "up to 22 lower-case letters"},
		{"staging create ../production", exit.Usage, "cannot name a project"},
		{"staging create acme --ttl 14m", exit.Usage, "is not from 15m to 720h"},
		{"staging create acme --ttl 721h", exit.Usage, "is not from 15m to 720h"},
		{"staging create acme --ttl soon", exit.Usage, "invalid"},
		{"staging create acme --data all", exit.Usage, "is none of demo, masked-copy, empty"},
		{"staging create acme --owner Ann", exit.Usage, "patag:owner"},
		{"staging extend acme --ttl 0s", exit.Usage, "is not from 15m to 720h"},
		{"staging extend acme", exit.Failed, "there is no staging acme"},
		{"staging sleep acme", exit.Failed, "there is no staging acme"},
		{"staging wake acme", exit.Failed, "there is no staging acme"},
		{"staging down acme", exit.OK, "nothing to take down"},
		{"staging reap", exit.OK, ""},
		{"staging list", exit.OK, "there are none"},
		{"rebuild foundation", exit.Usage, "has no cluster to rebuild"},
		{"rebuild production", exit.Failed, "stack production is not up"},
		{"restore production", exit.Failed, "stack production is not up"},
		{"backup production", exit.Failed, "stack production is not up"},
		{"backups list", exit.Failed, "there is no bucket of backups"},
	} {
		t.Run(c.args, func(t *testing.T) {
			f := newFixture(t)
			f.running()
			f.fakeTools()
			f.patag(strings.Fields(c.args)...).expect(t, c.code, c.want)
		})
	}
}

// TestRebuildInTheMiddle: until a rebuild that was begun is finished nothing else runs the program, and no two rebuilds run.
func TestRebuildInTheMiddle(t *testing.T) {
	f := engineFixture(t)
	t.Setenv("FILES", "a")
	f.patag("up", "foundation").expect(t, exit.OK, "1 created")
	work := filepath.Join(f.state, "pulumi", "stacks", "foundation")
	plan := filepath.Join(work, "rebuild.json")
	must(t, os.WriteFile(plan, []byte(`{"stack":"foundation","begun":"2026-11-24T12:00:00Z","backup":"production/20261124T120000Z-0a1b2c"}`), 0o600))
	t.Setenv("FILES", "a b")
	f.patag("up", "foundation").expect(t, exit.Failed, "a rebuild of foundation from backup production/20261124T120000Z-0a1b2c", "is not finished", "patag rebuild foundation")
	if got := f.names(); got != "a" {
		t.Errorf("files: %q", got)
	}
	must(t, os.WriteFile(plan, []byte(`{`), 0o600))
	f.patag("up", "foundation").expect(t, exit.Failed, "rebuild.json")

	must(t, os.MkdirAll(filepath.Join(work, "rebuild"), 0o700))
	lock, err := os.Create(filepath.Join(work, "rebuild", "lock"))
	must(t, err)
	defer lock.Close()
	fmt.Fprint(lock, `{"pid":42,"username":"ann","hostname":"h"}`)
	must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	f.patag("rebuild", "foundation", "--confirm", "foundation").expect(t, exit.Locked, "is in use by ann@h (process 42)")

	// A stack that is gone has no rebuild to go on with.
	must(t, os.WriteFile(plan, []byte(`{"stack":"foundation"}`), 0o600))
	f.patag("down", "foundation", "--confirm", "foundation").expect(t, exit.OK)
	if _, err := os.Stat(plan); !os.IsNotExist(err) {
		t.Errorf("%s: %v", plan, err)
	}
}
