package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/apitest"
	"patag/infra/sandbox/googleapi/policy"
	"patag/infra/sandbox/googleapi/storage"
	"patag/infra/sandbox/layout"
	"patag/scripts/patag/exit"
)

// stateBucket serves the sandbox's Cloud Storage where Google's clients look for an emulator: they then send no token, and paths without
// the service's name before them.
func stateBucket(t *testing.T, name string) *apitest.Server {
	t.Helper()
	api := apitest.Start(t, func(core *googleapi.Core, l layout.Layout) {
		_, err := storage.Register(core, policy.New(core), l.Objects())
		must(t, err)
	})
	to, err := url.Parse(api.URL() + "/storage")
	must(t, err)
	door := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Header.Set("Authorization", "Bearer "+apitest.Token)
	}})
	t.Cleanup(door.Close)
	t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(door.URL, "http://"))
	if code, answer := api.Call(http.MethodPost, "/storage/storage/v1/b?project="+apitest.Project, map[string]any{"name": name}); code != http.StatusOK {
		t.Fatalf("make the bucket: %d %v", code, answer)
	}
	return api
}

// TestBucket keeps the state in a bucket, with the real engine and Pulumi's own client of Cloud Storage, and works on it from two
// machines. Secrets are behind a passphrase: Cloud KMS cannot be had here.
func TestBucket(t *testing.T) {
	f := engineFixture(t)
	api := stateBucket(t, "acme-state")
	passphrase := filepath.Join(t.TempDir(), "passphrase")
	must(t, os.WriteFile(passphrase, []byte("of both machines\n"), 0o600))
	t.Setenv("PULUMI_CONFIG_PASSPHRASE_FILE", passphrase)
	t.Setenv("GOOGLE_OAUTH_ACCESS_TOKEN", apitest.Token)
	t.Setenv("FILES", "a b")
	t.Setenv("TEXT", "one")
	on := func(args ...string) []string {
		return append(args, "--cloud", "gcp", "--project", "acme-ads", "--region", "europe-west1", "--backend", "gs://acme-state")
	}
	machine := func(name string) { t.Setenv("PATAG_GCP_STATE", filepath.Join(f.state, name)) }

	machine("one")
	f.patag(on("up", "foundation")...).expect(t, exit.OK, "2 created")
	machine("two")
	f.patag(on("preview", "foundation", "--expect-no-changes")...).expect(t, exit.OK, "no changes")
	f.patag(on("drift", "foundation")...).expect(t, exit.OK)
	f.patag(on("history", "foundation")...).expect(t, exit.OK, "   1  ", "succeeded")
	f.patag(on("unlock", "foundation")...).expect(t, exit.OK, "is not locked")

	// While one machine works, the other is told who does.
	machine("one")
	t.Setenv("TEXT", "two")
	t.Setenv("PATAG_TEST_PAUSE", "3s")
	first, said := f.start(on("up", "foundation")...)
	locks := func() int {
		_, list := api.Call(http.MethodGet, "/storage/storage/v1/b/acme-state/o?prefix=.pulumi/locks/", nil)
		items, _ := list["items"].([]any)
		return len(items)
	}
	waitFor(t, func() bool { return locks() > 0 })
	t.Setenv("PATAG_TEST_PAUSE", "")
	machine("two")
	host, err := os.Hostname()
	must(t, err)
	f.patag(on("up", "foundation")...).expect(t, exit.Locked, "stack foundation is in use by", "@"+host, "since 20")
	f.patag(on("unlock", "foundation", "--force")...).expect(t, exit.Locked, "which lives")
	f.patag(on("up", "foundation", "--wait", "60s")...).expect(t, exit.OK, "it is free")
	if err := first.Wait(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}

	// A machine that is gone left its lock.
	raw := fmt.Sprintf(`{"pid":1,"username":"eve","hostname":"elsewhere","timestamp":%q}`, time.Now().Format(time.RFC3339Nano))
	name := url.QueryEscape(".pulumi/locks/organization/patag/foundation/0.json")
	if code, answer := api.Call(http.MethodPost, "/storage/upload/storage/v1/b/acme-state/o?uploadType=media&name="+name, raw); code != http.StatusOK {
		t.Fatalf("leave a lock: %d %v", code, answer)
	}
	f.patag(on("up", "foundation")...).expect(t, exit.Locked, "eve@elsewhere", "since 20")
	f.patag(on("unlock", "foundation")...).expect(t, exit.Locked, "eve@elsewhere", "on another machine", "--force")
	if locks() != 1 {
		t.Fatal("the lock of another machine was removed without force")
	}
	f.patag(on("unlock", "foundation", "--force")...).expect(t, exit.OK, "removed the lock of eve@elsewhere")
	if locks() != 0 {
		t.Fatal("the lock is still there")
	}
	f.patag(on("up", "foundation")...).expect(t, exit.OK, "no changes")

	// Another passphrase opens nothing.
	must(t, os.WriteFile(passphrase, []byte("of somebody else\n"), 0o600))
	f.patag(on("down", "foundation", "--confirm", "foundation")...).expect(t, exit.Usage, "the passphrase does not open the secrets of stack foundation")
	must(t, os.WriteFile(passphrase, []byte("of both machines\n"), 0o600))
	f.patag(on("down", "foundation", "--confirm", "foundation")...).expect(t, exit.OK)
	if got := f.names(); got != "" {
		t.Errorf("files are left: %q", got)
	}
}
