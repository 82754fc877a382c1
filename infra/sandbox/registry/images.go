package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"patag/infra/sandbox/store"
)

// Image is one manifest of a repository, as artifactregistry's dockerImages shows it.
type Image struct {
	// Name is the image's path in the repository ("tag", "tools/backup").
	Name      string
	Digest    string
	Tags      []string
	MediaType string
	// SizeBytes is the size of manifest, config and layers.
	SizeBytes int64
	Uploaded  time.Time
	// Built is when the image says that it was made; zero if it does not say.
	Built time.Time
}

// URI is the name by which the image is pulled.
func (i Image) URI(repo Repository) string {
	return fmt.Sprintf("%s-docker.pkg.dev/%s/%s/%s@%s", repo.Location, repo.Project, repo.Name, i.Name, i.Digest)
}

// Images lists a repository by name and digest.
func (r *Registry) Images(ctx context.Context, repo Repository) ([]Image, error) {
	folder, _, err := r.folder(repo)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(folder, "images"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var images []Image
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		name, err := url.PathUnescape(e.Name())
		if err != nil {
			return nil, err
		}
		imageDir := filepath.Join(folder, "images", e.Name())
		tags, err := tagsOf(imageDir)
		if err != nil {
			return nil, err
		}
		err = r.eachManifest(imageDir, func(hex string, meta stored, content []byte) error {
			image := Image{Name: name, Digest: "sha256:" + hex, MediaType: meta.MediaType, SizeBytes: meta.Size, Built: r.built(content)}
			image.Uploaded, _ = time.Parse(time.RFC3339Nano, meta.Uploaded)
			for tag, digest := range tags {
				if digest == image.Digest {
					image.Tags = append(image.Tags, tag)
				}
			}
			slices.Sort(image.Tags)
			images = append(images, image)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(images, func(a, b Image) int { return strings.Compare(a.Name+"@"+a.Digest, b.Name+"@"+b.Digest) })
	return images, nil
}

// built reads the time of building out of the image's config.
func (r *Registry) built(manifest []byte) time.Time {
	var m v1.Manifest
	if json.Unmarshal(manifest, &m) != nil || m.Config.Digest.Hex == "" || m.Config.Size > maxManifest {
		return time.Time{}
	}
	raw, err := readFile(r.blobFile(m.Config.Digest.Hex))
	if err != nil {
		return time.Time{}
	}
	var config struct{ Created time.Time }
	if json.Unmarshal(raw, &config) != nil {
		return time.Time{}
	}
	return config.Created
}

// Collected says what Collect removed.
type Collected struct {
	Repositories, Uploads, Blobs int
	Bytes                        int64
}

// Collect removes unfinished uploads, the images of repositories that no longer exist, and content that no
// repository holds. Pushes wait for it.
func (r *Registry) Collect() (Collected, error) {
	r.collecting.Lock()
	defer r.collecting.Unlock()
	var c Collected
	uploads, err := os.ReadDir(filepath.Join(r.Dir, "uploads"))
	if err != nil {
		return c, err
	}
	for _, e := range uploads {
		info, err := e.Info()
		if err != nil {
			continue
		}
		// A client that is in the middle of a push goes on after the restart.
		if time.Since(info.ModTime()) < time.Hour {
			continue
		}
		if err := os.Remove(filepath.Join(r.Dir, "uploads", e.Name())); err != nil {
			return c, err
		}
		c.Uploads++
	}
	held, err := r.sweepRepositories(&c)
	if err != nil {
		return c, err
	}
	err = filepath.WalkDir(filepath.Join(r.Dir, "blobs"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || held[e.Name()] {
			return err
		}
		if info, err := e.Info(); err == nil {
			c.Bytes += info.Size()
		}
		c.Blobs++
		return os.Remove(path)
	})
	if err == nil && c != (Collected{}) {
		r.Logger.Info("registry cleaned up", "repositories", c.Repositories, "uploads", c.Uploads, "blobs", c.Blobs, "bytes", c.Bytes)
	}
	return c, err
}

// sweepRepositories removes the folders of repositories that are gone and returns what the others hold.
func (r *Registry) sweepRepositories(c *Collected) (map[string]bool, error) {
	live := map[string]bool{}
	err := r.Store.View(func(tx store.Tx) error {
		return tx.List("artifactregistry/projects/", func(key string, raw []byte) error {
			p := strings.Split(key, "/")
			if len(p) != 7 || p[5] != "repositories" {
				return nil
			}
			var d document
			if err := json.Unmarshal(raw, &d); err != nil {
				return fmt.Errorf("read %s: %w", key, err)
			}
			live[filepath.Join(r.Dir, "repositories", p[2], p[4], p[6], d.generation())] = true
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	folders, err := filepath.Glob(filepath.Join(r.Dir, "repositories", "*", "*", "*", "*"))
	if err != nil {
		return nil, err
	}
	held := map[string]bool{}
	for _, folder := range folders {
		if !live[folder] {
			if err := os.RemoveAll(folder); err != nil {
				return nil, err
			}
			c.Repositories++
			continue
		}
		for _, pattern := range []string{"blobs/*", "images/*/manifests/*"} {
			files, err := filepath.Glob(filepath.Join(folder, pattern))
			if err != nil {
				return nil, err
			}
			for _, f := range files {
				held[filepath.Base(f)] = true
			}
		}
	}
	return held, nil
}
