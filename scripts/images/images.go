// Package images builds the platform's container images without Docker and pushes them. In go the project's tree, a folder of
// built tools and Debian's package archive; out come OCI images that are the same, bit for bit, whenever what goes in is the same.
// Go programs are built the way ko does: one static binary on an almost empty base. redis and nutcracker (twemproxy) come from
// Debian packages of pinned versions and hold only the files that run: no shell, no package manager.
//
// Every image runs as user 65532 and works with a read-only root; /tmp and /data are the places to mount.
//
//	tag       /tag         ports 8080 (traffic), 8081 (health, metrics)
//	backup    /backup      runs once; see package backup/command
//	redis     /usr/bin/redis-server, /usr/bin/redis-cli; port 6379; data in /data
//	nutcracker /usr/sbin/nutcracker; port 22121 as configured; give it -c FILE
//	ferretdb  /ferretdb (serve, probe); port 27017; data in /data
package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// Options of Build.
type Options struct {
	ProjectRoot string // the repository: holds go.mod and app/
	ToolsDir    string // holds the file ferretdb
	CacheDir    string // for packages and built images; may be deleted at any time
	// Locked refuses when Debian has superseded a pinned package. Otherwise the newer one is taken, and Notice told: the digests
	// are then those of every machine with the same versions, not those of the lock.
	Locked bool
	// Only names the images to build; empty means all.
	Only []string
	// Progress is told one line per thing that takes time; may be nil. It may be called from several goroutines at a time.
	Progress func(line string)
	// Notice is told what a person should read even when all goes well; may be nil.
	Notice func(line string)
}

// Names of the images, sorted.
var Names = []string{"backup", "ferretdb", "nutcracker", "reaper", "redis", "tag"}

// layoutVersion changes when the same inputs would make another image than before: cached images are then built anew.
const layoutVersion = "2"

// recipe is how one image is made.
type recipe struct {
	// key identifies everything the image is made of; it must be cheap.
	key func(ctx context.Context, b *builder) (string, error)
	// files and config are made when no image with that key is in the cache.
	files  func(ctx context.Context, b *builder) ([]file, error)
	config config
	// debian is true when Debian packages are part of it.
	debian bool
}

var recipes = map[string]recipe{
	"tag":        goProgram("tag", "./app/tag"),
	"backup":     goProgram("backup", "./app/backup"),
	"reaper":     goProgram("reaper", "./app/reaper"),
	"redis":      redisImage,
	"nutcracker": nutcrackerImage,
	"ferretdb":   ferretImage,
}

type builder struct {
	Options
	lock *Lock
	apt  *apt
	// settled is the lock as it can be had today, found out once and only when something must be built.
	settled func() (*Lock, error)
}

func (o Options) say(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}

// Build makes the images, or takes them from the cache when nothing they are made of has changed.
func Build(ctx context.Context, o Options) (map[string]v1.Image, error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return nil, fmt.Errorf("build images: this machine is %s/%s; images are made of Debian's amd64 packages on linux/amd64", runtime.GOOS, runtime.GOARCH)
	}
	for what, dir := range map[string]string{"ProjectRoot": o.ProjectRoot, "CacheDir": o.CacheDir} {
		if !filepath.IsAbs(dir) {
			return nil, fmt.Errorf("build images: %s must be an absolute path, not %q", what, dir)
		}
	}
	lock, err := ReadLock()
	if err != nil {
		return nil, err
	}
	b := &builder{Options: o, lock: lock, apt: &apt{dir: filepath.Join(o.CacheDir, "packages"), say: o.say}}
	b.settled = sync.OnceValues(func() (*Lock, error) { return b.settle(ctx, debian{}) })
	names := o.Only
	if len(names) == 0 {
		names = Names
	}
	for _, n := range names {
		if _, ok := recipes[n]; !ok {
			return nil, fmt.Errorf("build images: there is no image %q; there are %v", n, Names)
		}
	}
	images := make([]v1.Image, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for i, name := range names {
		g.Go(func() error {
			img, err := b.image(ctx, name, recipes[name])
			if err != nil {
				return fmt.Errorf("build image %s: %w", name, err)
			}
			images[i] = img
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := make(map[string]v1.Image, len(names))
	for i, name := range names {
		out[name] = images[i]
	}
	return out, nil
}

func (b *builder) image(ctx context.Context, name string, r recipe) (v1.Image, error) {
	store := cache{filepath.Join(b.CacheDir, "images", name)}
	img, key, err := b.cached(ctx, store, name, r)
	if img != nil || err != nil {
		return img, err
	}
	if r.debian {
		today, err := b.settled()
		if err != nil {
			return nil, err
		}
		if today != b.lock {
			b = &builder{Options: b.Options, lock: today, apt: b.apt}
			if img, key, err = b.cached(ctx, store, name, r); img != nil || err != nil {
				return img, err
			}
		}
	}
	b.say("image %s: building", name)
	files, err := r.files(ctx, b)
	if err != nil {
		return nil, err
	}
	img, err = assemble(name, r.config.with("org.opencontainers.image.version", b.version(name, key)), files)
	if err != nil {
		return nil, err
	}
	return store.put(key, img)
}

// cached is the image that was built of the same things before, or nil, and the key of all that it is built of.
func (b *builder) cached(ctx context.Context, store cache, name string, r recipe) (img v1.Image, key string, err error) {
	if key, err = r.key(ctx, b); err != nil {
		return nil, "", err
	}
	key = digestOf(layoutVersion, name, key, r.config.fingerprint())
	img, err = store.get(key)
	if err == nil {
		return img, key, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		b.say("image %s: the cached one cannot be read, building anew: %v", name, err)
	}
	return nil, key, nil
}

// settle is apt's, under this build's rules.
func (b *builder) settle(ctx context.Context, from archive) (*Lock, error) {
	today, gone, err := b.apt.settle(ctx, b.lock, from)
	if err != nil || gone == nil {
		return b.lock, err
	}
	if b.Locked {
		return nil, gone
	}
	if b.Notice != nil {
		b.Notice("Debian has superseded pinned packages, the images are made of the new ones: " + gone.list())
	}
	return today, nil
}

// version is the package's for packages, else the start of the key: it changes exactly when the content may.
func (b *builder) version(name, key string) string {
	for image, pkg := range map[string]string{"redis": "redis-tools", "nutcracker": "nutcracker"} {
		if p, ok := b.lock.find(pkg); ok && image == name {
			return p.Version
		}
	}
	return key[:12]
}

// digestOf hashes parts so that no two lists of parts give the same text.
func digestOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Digests are the images' digests, "sha256:…" by name, one a line in the order of names.
func Digests(images map[string]v1.Image) ([]string, error) {
	var out []string
	for name, img := range images {
		d, err := img.Digest()
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", name, err)
		}
		out = append(out, name+" "+d.String())
	}
	sort.Strings(out)
	return out, nil
}
