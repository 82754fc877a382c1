package e2e

import (
	"archive/tar"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// variants makes images of the tag server with faults (see badtag) and pushes them to the sandbox's registry. It answers references
// by fault; one that is there and cannot be pulled is "unpullable".
func variants(t *testing.T, m *machine, faults ...string) map[string]string {
	t.Helper()
	base := m.tagImage(t)
	program := filepath.Join(t.TempDir(), "badtag")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", program, "./scripts/e2e/badtag")
	build.Dir, build.Env = m.root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build badtag: %v\n%s", err, out)
	}
	layer, err := programLayer(program)
	if err != nil {
		t.Fatal(err)
	}
	token, err := m.layout.Token()
	if err != nil {
		t.Fatal(err)
	}
	options := []remote.Option{remote.WithAuth(&authn.Basic{Username: "oauth2accesstoken", Password: token}), remote.WithTransport(toSandbox{m.settings(t).API})}
	ref, err := name.NewDigest(base)
	if err != nil {
		t.Fatal(err)
	}
	good, err := remote.Image(ref, options...)
	if err != nil {
		t.Fatalf("read the tag server's image: %v", err)
	}
	refs := map[string]string{"unpullable": ref.Context().Digest("sha256:" + strings.Repeat("0", 63) + "1").String()}
	for _, fault := range faults {
		img, err := withFault(good, layer, fault)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		at := ref.Context().Digest(digest.String())
		if err := remote.Write(at, img, options...); err != nil {
			t.Fatalf("push the image that is %s: %v", fault, err)
		}
		refs[fault] = at.String()
	}
	return refs
}

// tagImage is what the tag servers run.
func (m *machine) tagImage(t *testing.T) string {
	t.Helper()
	out, err := m.kubectl("get", "deployment", "tag", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// programLayer holds a program in the place of the tag server's.
func programLayer(program string) (v1.Layer, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: "tag", Mode: 0o755, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil })
}

func withFault(good v1.Image, layer v1.Layer, fault string) (v1.Image, error) {
	img, err := mutate.AppendLayers(good, layer)
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Config.Env = append(file.Config.Env, "BADTAG="+fault)
	return mutate.ConfigFile(img, file)
}

// toSandbox sends requests for any registry to the sandbox's.
type toSandbox struct{ api string }

func (s toSandbox) RoundTrip(req *http.Request) (*http.Response, error) {
	sent := req.Clone(req.Context())
	sent.Host = req.URL.Host
	sent.URL.Scheme, sent.URL.Host = "http", s.api
	resp, err := (&http.Transport{Proxy: nil, DisableKeepAlives: true}).RoundTrip(sent)
	if err != nil {
		return nil, err
	}
	resp.Request = req // relative locations stay under the public name, and so does the place to log in at
	if login := resp.Header.Get("WWW-Authenticate"); login != "" {
		resp.Header.Set("WWW-Authenticate", strings.Replace(login, `realm="http://`, `realm="https://`, 1))
	}
	return resp, nil
}
