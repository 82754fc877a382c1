package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"sort"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// nonroot is the user and group that everything runs as; the number is distroless's.
const nonroot = 65532

// file is one entry of an image. Parent folders are made as needed.
type file struct {
	path string // without a leading slash
	mode int64
	own  int // user and group
	data []byte
	link string // symbolic link to; data is empty then
	dir  bool
}

// config is what an image's configuration says.
type config struct {
	Entrypoint, Env []string
	Ports           []string // "8080/tcp"
	WorkingDir      string
	Labels          map[string]string
}

func (c config) fingerprint() string {
	b, err := json.Marshal(c)
	if err != nil {
		return err.Error() // a struct of strings always marshals
	}
	return string(b)
}

func (c config) with(label, value string) config {
	c.Labels = maps.Clone(c.Labels)
	c.Labels[label] = value
	return c
}

// epoch is every file's time and every image's: times say nothing about content and would change digests.
var epoch = time.Unix(0, 0).UTC()

// base is what every image has, as distroless images do.
func base() []file {
	return []file{
		{path: "etc/passwd", mode: 0o644, data: []byte("root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")},
		{path: "etc/group", mode: 0o644, data: []byte("root:x:0:\nnonroot:x:65532:\n")},
		// glibc looks host names up in files, then DNS; without the file it would ask for modules that are not there.
		{path: "etc/nsswitch.conf", mode: 0o644, data: []byte("hosts: files dns\n")},
		{path: "home/nonroot", mode: 0o750, own: nonroot, dir: true},
		{path: "tmp", mode: 0o1777, dir: true},
	}
}

// assemble packs files into one layer and configures the image.
func assemble(name string, c config, files []file) (v1.Image, error) {
	layer, err := layerOf(append(base(), files...))
	if err != nil {
		return nil, err
	}
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	img, err = mutate.Append(img, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "patag images build", Comment: name}})
	if err != nil {
		return nil, fmt.Errorf("append the layer: %w", err)
	}
	old, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	cf := old.DeepCopy()
	cf.OS, cf.Architecture, cf.Created = "linux", "amd64", v1.Time{Time: epoch}
	cf.Config.User = fmt.Sprintf("%d:%d", nonroot, nonroot)
	cf.Config.Entrypoint, cf.Config.WorkingDir, cf.Config.Labels = c.Entrypoint, c.WorkingDir, c.Labels
	cf.Config.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/home/nonroot"}, c.Env...)
	cf.Config.ExposedPorts = map[string]struct{}{}
	for _, p := range c.Ports {
		cf.Config.ExposedPorts[p] = struct{}{}
	}
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		return nil, fmt.Errorf("set the configuration: %w", err)
	}
	return img, nil
}

// layerOf writes a tar in the order of paths, compressed once.
func layerOf(files []file) (v1.Layer, error) {
	byPath := map[string]file{}
	for _, f := range files {
		f.path = path.Clean(strings.TrimPrefix(f.path, "/"))
		if old, ok := byPath[f.path]; ok && !sameFile(old, f) {
			return nil, fmt.Errorf("two different files at /%s", f.path)
		}
		byPath[f.path] = f
	}
	for _, f := range files {
		for dir := path.Dir(strings.TrimPrefix(f.path, "/")); dir != "."; dir = path.Dir(dir) {
			if _, ok := byPath[dir]; !ok {
				byPath[dir] = file{path: dir, mode: 0o755, dir: true}
			}
		}
	}
	paths := make([]string, 0, len(byPath))
	for p := range byPath {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	var out bytes.Buffer
	zip, err := gzip.NewWriterLevel(&out, gzip.BestSpeed) // pushed over loopback or once a release: time matters more than size
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	tw := tar.NewWriter(zip)
	for _, p := range paths {
		if err := writeEntry(tw, byPath[p]); err != nil {
			return nil, fmt.Errorf("pack /%s: %w", p, err)
		}
	}
	if err := tw.Close(); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	if err := zip.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(out.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer))
}

func sameFile(a, b file) bool {
	return a.dir == b.dir && a.mode == b.mode && a.own == b.own && a.link == b.link && bytes.Equal(a.data, b.data)
}

func writeEntry(tw *tar.Writer, f file) error {
	h := &tar.Header{Name: f.path, Mode: f.mode, Uid: f.own, Gid: f.own, ModTime: epoch, Format: tar.FormatPAX}
	switch {
	case f.dir:
		h.Typeflag, h.Name = tar.TypeDir, f.path+"/"
	case f.link != "":
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.link, 0o777
	default:
		h.Typeflag, h.Size = tar.TypeReg, int64(len(f.data))
	}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err := tw.Write(f.data)
	return err
}
