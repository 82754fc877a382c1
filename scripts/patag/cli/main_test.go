package cli

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"golang.org/x/sys/unix"

	"patag/scripts/patag/app"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/terminal"
	"patag/stacks/policy"
)

// The test binary is three programs: the tests, `patag` (so that a run can be killed), and a Pulumi provider that
// makes files (so that the real engine has something real to make).
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "pulumi-resource-gcp":
		os.Exit(serveProvider())
	case "patag-sandbox":
		os.Exit(serveDaemon())
	case "patag":
		os.Exit(Main(&app.App{Program: filesProgram, Version: "test"}))
	case policy.Analyzer:
		if err := policy.Serve(); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fixture is a repository and a state folder with a sandbox that seems to run: its lock is held, its API answers
// what the daemon would.
type fixture struct {
	t                *testing.T
	root, state, bin string
	files, api       string
}

func newFixture(t *testing.T) *fixture {
	dir := t.TempDir()
	f := &fixture{t: t, root: filepath.Join(dir, "repo"), state: filepath.Join(dir, "state"), bin: filepath.Join(dir, "bin"), files: filepath.Join(dir, "files")}
	for _, d := range []string{f.root + "/stacks", f.state, f.bin, f.files} {
		must(t, os.MkdirAll(d, 0o755))
	}
	f.write("Pulumi.yaml", "name: patag\nruntime: go\nmain: stacks/program\nstackConfigDir: stacks\n")
	f.write("stacks/Pulumi.foundation.yaml", "config:\n  patag:kind: foundation\n  patag:domain: patag.example.com\n  patag:alertEmail: oncall@patag.example.com\n")
	f.write("stacks/Pulumi.production.yaml", "config:\n  patag:kind: production\n")
	f.write("stacks/sandbox.yaml", "config:\n  patag:engine: ferretdb\n")
	for _, name := range []string{"PULUMI_BACKEND_URL", "GOOGLE_PROJECT", "GOOGLE_CLOUD_PROJECT", "GOOGLE_REGION", "GOOGLE_OAUTH_ACCESS_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS",
		"GOOGLE_CREDENTIALS", "CLOUDSDK_CORE_PROJECT", "PATAG_CLOUD", "GOOGLE_COMPUTE_CUSTOM_ENDPOINT"} {
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
	t.Setenv("HOME", dir)
	t.Setenv("XDG_STATE_HOME", filepath.Join(dir, "xdg"))
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	t.Setenv("PATAG_STATE", f.state)
	t.Setenv("PATAG_PROJECT", f.root)
	t.Setenv("PATAG_TEST_FILES", f.files)
	t.Setenv("FILES", "")
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) write(path, content string) {
	f.t.Helper()
	must(f.t, os.WriteFile(filepath.Join(f.root, path), []byte(content), 0o644))
}

// running makes the sandbox seem to run.
func (f *fixture) running() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret-token" {
			http.Error(w, `{"error":{"code":401,"message":"Request had invalid authentication credentials."}}`, http.StatusUnauthorized)
			return
		}
		switch r.Method + " " + r.URL.Path {
		case "GET /sandbox/v1/status":
			fmt.Fprint(w, `{"ready":true,"phase":"serving","networkPolicies":false,"version":"test","pid":1,"clusters":[]}`)
		case "POST /sandbox/v1/nodes/gone:preempt":
			http.Error(w, `{"error":{"code":404,"message":"there is no node gone"}}`, 404)
		default:
			fmt.Fprint(w, `{}`)
		}
	}))
	f.t.Cleanup(srv.Close)
	f.api = strings.TrimPrefix(srv.URL, "http://")
	must(f.t, os.WriteFile(f.state+"/settings.json", fmt.Appendf(nil, `{"instance":77,"api":%q}`, f.api), 0o600))
	must(f.t, os.WriteFile(f.state+"/token", []byte("secret-token\n"), 0o600))
	lock, err := os.Create(f.state + "/lock")
	must(f.t, err)
	f.t.Cleanup(func() { lock.Close() })
	fmt.Fprint(lock, os.Getpid())
	must(f.t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
}

// withTools gives the fixture the real Pulumi CLI, or skips.
func (f *fixture) withTools() {
	f.t.Helper()
	tools := os.Getenv("PATAG_TOOLS")
	if tools == "" {
		f.t.Skip("NOT TESTED against the real engine: set PATAG_TOOLS to the folder with pulumi (make tools)")
	}
	pulumi, err := filepath.Abs(filepath.Join(tools, "pulumi"))
	must(f.t, err)
	if _, err := os.Stat(pulumi); err != nil {
		f.t.Fatalf("PATAG_TOOLS has no pulumi: %v", err)
	}
	self, err := os.Executable()
	must(f.t, err)
	must(f.t, os.Symlink(pulumi, filepath.Join(f.bin, "pulumi")))
	must(f.t, os.Symlink(self, filepath.Join(f.bin, "pulumi-resource-gcp")))
	must(f.t, os.Symlink(self, filepath.Join(f.bin, "patag")))
	f.t.Setenv("PATAG_TOOLS", f.bin)
}

type answer struct {
	code     int
	out, err string
}

func (f *fixture) patag(args ...string) answer { return f.patagWith(f.t.Context(), args...) }

func (f *fixture) patagWith(ctx context.Context, args ...string) answer {
	var out, err bytes.Buffer
	code := Run(ctx, &app.App{Program: filesProgram, Version: "test"}, terminal.Streams{In: strings.NewReader(""), Out: &out, Err: &err}, args)
	return answer{code, out.String(), err.String()}
}

// expect fails unless the code is as wanted and each of the texts is in what was said.
func (a answer) expect(t *testing.T, code int, texts ...string) {
	t.Helper()
	if a.code != code {
		t.Fatalf("exit code %d, want %d\n%s%s", a.code, code, a.out, a.err)
	}
	for _, text := range texts {
		if !strings.Contains(a.out+a.err, text) {
			t.Errorf("%q is not in:\n%s%s", text, a.out, a.err)
		}
	}
}

// filesProgram makes one file for each word of FILES.
func filesProgram(ctx *pulumi.Context) error {
	for _, name := range strings.Fields(os.Getenv("FILES")) {
		var file struct{ pulumi.CustomResourceState }
		err := ctx.RegisterResource("gcp:storage/bucket:Bucket", name, pulumi.Map{"name": pulumi.String(name), "text": pulumi.String(os.Getenv("TEXT"))}, &file, pulumi.Protect(strings.HasPrefix(name, "kept")))
		if err != nil {
			return err
		}
	}
	ctx.Export("adURL", pulumi.String("http://127.77.2.1/v1/ad?placement=demo-top"))
	ctx.Export("repository", pulumi.String("patag"))
	return nil
}

func TestBadInput(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("as root: what only another user sees is not tested here")
	}
	cases := []struct {
		name    string
		prepare func(*fixture)
		args    string
		code    int
		texts   []string
	}{
		{"no command", nil, "", exit.Usage, []string{"no command is given"}},
		{"unknown command", nil, "upp production", exit.Usage, []string{`unknown command "upp"`, "see patag --help"}},
		{"unknown flag", nil, "up production --fast", exit.Usage, []string{"unknown flag: --fast"}},
		{"no stack", nil, "up", exit.Usage, []string{"which stack?"}},
		{"two stacks", nil, "up a b", exit.Usage, []string{"takes one stack"}},
		{"no sub-command", nil, "sandbox", exit.Usage, []string{"no command is given"}},
		{"unknown sub-command", nil, "sandbox restart", exit.Usage, []string{`unknown command "restart"`}},
		{"unknown stack", nil, "up productoin", exit.Usage, []string{`there is no stack "productoin"`, `did you mean "production"?`}},
		{"impossible stack", nil, "up Production", exit.Usage, []string{`"Production" cannot be a stack`}},
		{"path for a stack", nil, "up ../../etc", exit.Usage, []string{"cannot be a stack"}},
		{"unknown cloud", nil, "up production --cloud aws", exit.Usage, []string{`there is no cloud "aws"`}},
		{"no repository", func(f *fixture) { os.Remove(f.root + "/Pulumi.yaml") }, "up production", exit.Usage, []string{"there is no Pulumi.yaml in"}},
		{"broken project", func(f *fixture) { f.write("Pulumi.yaml", "name: [") }, "up production", exit.Usage, []string{"Pulumi.yaml is not valid YAML", "line 1"}},
		{"broken config", func(f *fixture) { f.write("stacks/Pulumi.production.yaml", "config:\n  a: 1\n b: 2\n") }, "up production", exit.Usage,
			[]string{"Pulumi.production.yaml is not valid YAML", "line 2"}},
		{"unknown field", func(f *fixture) { f.write("stacks/Pulumi.production.yaml", "confg:\n  a: 1\n") }, "up production", exit.Usage, []string{"confg"}},
		{"unknown kind", func(f *fixture) { f.write("stacks/Pulumi.production.yaml", "config:\n  patag:kind: prod\n") }, "up production", exit.Usage, []string{`patag:kind is "prod"`}},
		{"unknown key", func(f *fixture) {
			f.write("stacks/Pulumi.production.yaml", "config:\n  patag:kind: production\n  patag:tagMox: 3\n")
		}, "up production", exit.Usage, []string{"patag:tagMox", "patag:tagMax"}},
		{"salt in tracked config", func(f *fixture) {
			f.write("stacks/Pulumi.production.yaml", "encryptionsalt: v1:x\nconfig:\n  patag:kind: production\n")
		}, "up production", exit.Usage, []string{"holds a salt"}},
		{"encrypted value in tracked config", func(f *fixture) {
			f.write("stacks/Pulumi.production.yaml", "config:\n  patag:kind: production\n  patag:tagKey:\n    secure: v1:x\n")
		}, "up production", exit.Usage, []string{"patag:tagKey is an encrypted value"}},
		{"broken -c", nil, "up production -c patag:tagMax", exit.Usage, []string{"is not KEY=VALUE"}},
		{"broken JSON in -c", nil, "up production -c patag:images={", exit.Usage, []string{"is not valid JSON"}},
		{"overlapping ranges", nil, "up production -c patag:podRange=10.10.0.0/16", exit.Usage, []string{"10.10.0.0/16"}},
		{"no sandbox", nil, "up production", exit.NotRunning, []string{"the sandbox is not running", "patag sandbox start"}},
		{"no sandbox for status", nil, "status production", exit.NotRunning, []string{"the sandbox is not running"}},
		{"no sandbox for env", nil, "env production", exit.NotRunning, []string{"the sandbox is not running"}},
		{"no sandbox to look at", nil, "sandbox status", exit.NotRunning, []string{"the sandbox is not running"}},
		{"no sandbox to preempt in", nil, "sandbox preempt n", exit.NotRunning, nil},
		{"no sandbox to stop", nil, "sandbox stop", exit.OK, []string{"is not running"}},
		{"damaged settings", func(f *fixture) { must(f.t, os.WriteFile(f.state+"/settings.json", []byte("{"), 0o600)) }, "status production", exit.Usage, []string{"settings.json"}},
		{"nothing up", func(f *fixture) { f.running() }, "status production", exit.Failed, []string{"stack production is not up on sandbox", "patag up production"}},
		{"nothing to destroy", func(f *fixture) { f.running(); f.fakeTools() }, "down production --yes", exit.OK, []string{"nothing to destroy"}},
		{"wrong confirmation", nil, "down production --confirm staging", exit.Usage, []string{"is not the name of the stack"}},
		{"unknown node", func(f *fixture) { f.running() }, "sandbox preempt gone", exit.Usage, []string{"there is no node gone"}},
		{"wrong token", func(f *fixture) {
			f.running()
			must(f.t, os.WriteFile(f.state+"/token", []byte("x"), 0o600))
		}, "sandbox status", exit.Failed, []string{"invalid authentication credentials"}},
		{"wrong token for a stack", func(f *fixture) {
			f.running()
			must(f.t, os.WriteFile(f.state+"/token", []byte("x"), 0o600))
		}, "status production", exit.Failed, []string{"does not take the token in", "patag sandbox start"}},
		{"no tools", func(f *fixture) {
			f.running()
			f.t.Setenv("PATH", "/nonexistent")
			f.t.Setenv("PATAG_TOOLS", "/nonexistent")
		}, "up production", exit.Usage,
			[]string{"pulumi is not on this machine"}},
		{"no foundation to preview on", func(f *fixture) { f.running(); f.fakeTools() }, "preview production", exit.Usage, []string{"builds on stack foundation", "patag:foundation"}},
		{"gcp without a project", nil, "up production --cloud gcp", exit.Usage, []string{"a project, a region, credentials", "--project", "--region", "GOOGLE_OAUTH_ACCESS_TOKEN"}},
		{"gcp without a region", nil, "up production --cloud gcp --project p", exit.Usage, []string{"needs what is not given: a region", "--region"}},
		{"gcp zone elsewhere", nil, "up production --cloud gcp --project p --region europe-west1 --zone us-east1-b", exit.Usage, []string{"is not in region"}},
		{"gcp without credentials", nil, "up foundation --cloud gcp --project acme-ads --region europe-west1", exit.Usage,
			[]string{"there are no Google credentials", "GOOGLE_OAUTH_ACCESS_TOKEN", "application default credentials"}},
		{"gcp without credentials and with bad config", nil, "up production --cloud gcp --project acme-ads --region europe-west1 -c patag:tagMox=1", exit.Usage,
			[]string{"there are no Google credentials"}},
		{"gcp preview without credentials and with bad config", nil, "preview production --cloud gcp --project acme-ads --region europe-west1 -c patag:tagMox=1", exit.Usage,
			[]string{"no Google credentials: this previews from the state alone", "patag:tagMax"}},
		{"gcp shared state without a passphrase", nil, "up foundation --cloud gcp --project acme-ads --region europe-west1 --backend gs://x", exit.Usage, []string{"--secrets-provider"}},
		{"gcp in a shell of the sandbox", func(f *fixture) { f.t.Setenv("GOOGLE_COMPUTE_CUSTOM_ENDPOINT", "http://127.0.0.1:7470/compute/") },
			"up foundation --cloud gcp --project acme-ads --region europe-west1", exit.Usage, []string{"set up for the sandbox"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			if c.prepare != nil {
				c.prepare(f)
			}
			before := tree(t, f.state)
			f.patag(strings.Fields(c.args)...).expect(t, c.code, c.texts...)
			if after := tree(t, f.state); c.code == exit.Usage && after != before {
				t.Errorf("the state folder was changed:\n%s\nwas\n%s", after, before)
			}
		})
	}
}

// fakeTools are present and never run.
func (f *fixture) fakeTools() {
	for _, name := range []string{"pulumi", "pulumi-resource-kubernetes", "pulumi-resource-gcp", "gke-gcloud-auth-plugin"} {
		must(f.t, os.WriteFile(filepath.Join(f.bin, name), []byte("#!/bin/sh\necho must not run >&2; exit 99\n"), 0o755))
	}
	f.t.Setenv("PATAG_TOOLS", f.bin)
}

func tree(t *testing.T, dir string) string {
	var lines []string
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			lines = append(lines, path)
		}
		return err
	}))
	return strings.Join(lines, "\n")
}
