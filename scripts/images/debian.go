package images

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // debian.lock
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

//go:embed debian.lock
var lockText string

// Package is a Debian package of one version.
type Package struct{ Name, Version, SHA256 string }

// Lock is the packages that images are made of. Text form: a line per package, "name version sha256"; # comments.
type Lock struct{ Packages []Package }

// ReadLock reads the lock that was compiled in.
func ReadLock() (*Lock, error) { return parseLock(lockText) }

func parseLock(text string) (*Lock, error) {
	l := &Lock{}
	for n, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		f := strings.Fields(line)
		if len(f) != 3 || len(f[2]) != 64 {
			return nil, fmt.Errorf("debian.lock, line %d: want name, version and SHA-256", n+1)
		}
		l.Packages = append(l.Packages, Package{f[0], f[1], f[2]})
	}
	return l, nil
}

func (l *Lock) find(name string) (Package, bool) {
	for _, p := range l.Packages {
		if p.Name == name {
			return p, true
		}
	}
	return Package{}, false
}

// pick returns packages by name.
func (l *Lock) pick(names []string) ([]Package, error) {
	out := make([]Package, len(names))
	for i, n := range names {
		p, ok := l.find(n)
		if !ok {
			return nil, fmt.Errorf("package %s is not in debian.lock; write it with: patag images pin", n)
		}
		out[i] = p
	}
	return out, nil
}

// Text is the lock as a file.
func (l *Lock) Text() string {
	var b strings.Builder
	b.WriteString("# Debian packages that images are made of: name, version, SHA-256 of the .deb. Written by: patag images pin\n")
	for _, p := range l.Packages {
		fmt.Fprintf(&b, "%s %s %s\n", p.Name, p.Version, p.SHA256)
	}
	return b.String()
}

// Pin makes a lock of the versions that apt would install now.
func Pin(ctx context.Context) (*Lock, error) {
	l := &Lock{}
	for _, name := range allPackages() {
		p, err := candidate(ctx, name)
		if err != nil {
			return nil, err
		}
		l.Packages = append(l.Packages, p)
	}
	return l, nil
}

// apt gets packages into a folder.
type apt struct {
	dir string
	say func(string, ...any)
	mu  sync.Mutex // apt-get locks its lists; and two images share packages
}

// fetch returns the path of a package's .deb, downloaded if need be, its checksum verified.
func (a *apt) fetch(ctx context.Context, p Package) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	path := a.path(p)
	if fileHas(path, p.SHA256) {
		return path, nil
	}
	return path, a.download(ctx, p, path)
}

func (a *apt) path(p Package) string {
	// A version may hold ':' and '~', which are fine in file names; '/' it cannot hold.
	return filepath.Join(a.dir, p.Name+"_"+p.Version+".deb")
}

func fileHas(path, sum string) bool {
	got, err := fileSHA256(path)
	return err == nil && got == sum
}

func (a *apt) download(ctx context.Context, p Package, path string) error {
	if err := os.MkdirAll(a.dir, 0o755); err != nil {
		return fmt.Errorf("make the package folder: %w", err)
	}
	tmp, err := os.MkdirTemp(a.dir, ".get-")
	if err != nil {
		return fmt.Errorf("make a folder to download to: %w", err)
	}
	defer os.RemoveAll(tmp)
	a.say("package %s %s: downloading", p.Name, p.Version)
	cmd := exec.CommandContext(ctx, "apt-get", "download", "-q", p.Name+"="+p.Version)
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("download package %s %s: %w: %s", p.Name, p.Version, err, lastLine(out))
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("download package %s %s: apt-get left %d files", p.Name, p.Version, len(debs))
	}
	sum, err := fileSHA256(debs[0])
	if err != nil {
		return fmt.Errorf("check package %s: %w", p.Name, err)
	}
	if sum != p.SHA256 {
		return fmt.Errorf("package %s %s has SHA-256 %s, but %s is pinned: it is not the package that was reviewed; look into it before pinning it anew", p.Name, p.Version, sum, p.SHA256)
	}
	if err := os.Rename(debs[0], path); err != nil {
		return fmt.Errorf("keep package %s: %w", p.Name, err)
	}
	return nil
}

// candidate is the version that apt would install.
func candidate(ctx context.Context, name string) (Package, error) {
	cmd := exec.CommandContext(ctx, "apt-cache", "show", "--no-all-versions", name)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		return Package{}, fmt.Errorf("package %s is unknown to apt; run apt-get update, or check /etc/apt/sources.list and sources.list.d", name)
	}
	p := Package{Name: name}
	sc := bufio.NewScanner(bytes.NewReader(out))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		if v, ok := strings.CutPrefix(sc.Text(), "Version: "); ok && p.Version == "" {
			p.Version = v
		}
		if v, ok := strings.CutPrefix(sc.Text(), "SHA256: "); ok && p.SHA256 == "" {
			p.SHA256 = v
		}
	}
	if p.Version == "" || p.SHA256 == "" {
		return p, fmt.Errorf("apt knows no version and checksum of package %s; run apt-get update", name)
	}
	return p, nil
}

// unpack extracts packages over each other into a new folder, which the caller removes.
func (a *apt) unpack(ctx context.Context, packages []Package) (string, error) {
	root, err := os.MkdirTemp("", "patag-image-")
	if err != nil {
		return "", fmt.Errorf("make a folder to unpack to: %w", err)
	}
	for _, p := range packages {
		deb, err := a.fetch(ctx, p)
		if err == nil {
			var out []byte
			if out, err = exec.CommandContext(ctx, "dpkg-deb", "-x", deb, root).CombinedOutput(); err != nil {
				err = fmt.Errorf("unpack package %s: %w: %s", p.Name, err, lastLine(out))
			}
		}
		if err != nil {
			os.RemoveAll(root)
			return "", err
		}
	}
	return root, nil
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

func fileSHA256(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
