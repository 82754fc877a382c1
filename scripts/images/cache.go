package images

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// cache keeps images as OCI layouts, one folder per key.
type cache struct{ dir string }

// kept is how many images of a name stay: the one in use, and those of other branches or checkouts.
const kept = 4

func (c cache) get(key string) (v1.Image, error) {
	dir := filepath.Join(c.dir, key)
	if _, err := os.Stat(filepath.Join(dir, "index.json")); err != nil {
		return nil, err
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(m.Manifests) != 1 {
		return nil, fmt.Errorf("%s holds %d images, not one", dir, len(m.Manifests))
	}
	img, err := index.Image(m.Manifests[0].Digest)
	if err != nil {
		return nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		// Sizes only: a cut file must not be pushed. Registries check digests anyhow.
		d, err := l.Digest()
		if err != nil {
			return nil, err
		}
		want, err := l.Size()
		if err != nil {
			return nil, err
		}
		fi, err := os.Stat(filepath.Join(dir, "blobs", d.Algorithm, d.Hex))
		if err != nil {
			return nil, fmt.Errorf("a layer is missing in %s: %v", dir, err)
		}
		if fi.Size() != want {
			return nil, fmt.Errorf("a layer in %s has %d bytes instead of %d", dir, fi.Size(), want)
		}
	}
	return img, nil
}

// put keeps an image under a key, whole or not at all, and returns it as read back.
func (c cache) put(key string, img v1.Image) (v1.Image, error) {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, fmt.Errorf("cache the image: %w", err)
	}
	tmp, err := os.MkdirTemp(c.dir, ".new-")
	if err != nil {
		return nil, fmt.Errorf("cache the image: %w", err)
	}
	defer os.RemoveAll(tmp)
	p, err := layout.Write(tmp, empty.Index)
	if err != nil {
		return nil, fmt.Errorf("cache the image: %w", err)
	}
	if err := p.AppendImage(img); err != nil {
		return nil, fmt.Errorf("cache the image: %w", err)
	}
	final := filepath.Join(c.dir, key)
	if err := os.RemoveAll(final); err != nil {
		return nil, fmt.Errorf("cache the image: %w", err)
	}
	if err := os.Rename(tmp, final); err != nil {
		return nil, fmt.Errorf("cache the image: %w", err)
	}
	c.prune(key)
	return c.get(key)
}

// prune removes the oldest images; failing to costs only disk.
func (c cache) prune(keep string) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	type aged struct {
		path string
		at   int64
	}
	var all []aged
	for _, e := range entries {
		if fi, err := e.Info(); err == nil && e.Name() != keep {
			all = append(all, aged{filepath.Join(c.dir, e.Name()), fi.ModTime().UnixNano()})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].at > all[j].at })
	for _, a := range all[min(len(all), kept-1):] {
		os.RemoveAll(a.path)
	}
}
