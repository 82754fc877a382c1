package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTokenSources(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATAG_STATE", dir)
	file := filepath.Join(dir, "other")
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	call := func(env map[string]string, args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		code := run(args, func(k string) string { return env[k] }, &out, &errs)
		return code, out.String(), errs.String()
	}
	if code, _, errs := call(nil); code != 1 || !strings.Contains(errs, "patag sandbox start") {
		t.Errorf("nothing set: %d %q", code, errs)
	}
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("from-state\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env        map[string]string
		code       int
		want, errs string
	}{
		{nil, 0, `"token":"from-state"`, ""},
		{map[string]string{"GOOGLE_OAUTH_ACCESS_TOKEN": "env"}, 0, `"token":"env"`, ""},
		{map[string]string{"GOOGLE_OAUTH_ACCESS_TOKEN": "env", "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": file}, 0, `"token":"from-file"`, ""},
		{map[string]string{"CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": empty}, 1, "", "is empty"},
		{map[string]string{"CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": file + "x"}, 1, "", "patag env"},
		{map[string]string{"KUBERNETES_EXEC_INFO": `{"apiVersion":"client.authentication.k8s.io/v1"}`}, 0, `k8s.io/v1"`, ""},
	} {
		code, out, errs := call(c.env)
		if code != c.code || !strings.Contains(out, c.want) || !strings.Contains(errs, c.errs) {
			t.Errorf("%v: %d %q %q, want %d %q %q", c.env, code, out, errs, c.code, c.want, c.errs)
		}
	}
	if code, out, _ := call(nil, "--version"); code != 0 || !strings.Contains(out, version) {
		t.Errorf("--version: %d %q", code, out)
	}
	if code, _, _ := call(nil, "--frobnicate"); code != 2 {
		t.Errorf("unknown flag: %d, want 2", code)
	}
}
