package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// goProgram makes an image of a Go program of this repository.
func goProgram(name, pkg string) recipe {
	return recipe{
		debian: true,
		config: config{
			Entrypoint: []string{"/" + name}, Ports: []string{"8080/tcp", "8081/tcp"}, WorkingDir: "/",
			Labels: labels(name, "patag "+name, "proprietary"),
		},
		key: func(ctx context.Context, b *builder) (string, error) {
			sum, err := sourceHash(b.ProjectRoot)
			if err != nil {
				return "", err
			}
			tool, err := goVersion(ctx)
			if err != nil {
				return "", err
			}
			ca, err := b.lock.pick(caPackages)
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("%s %s %s %v", sum, tool, pkg, ca), nil
		},
		files: func(ctx context.Context, b *builder) ([]file, error) {
			binary, err := compile(ctx, b, pkg)
			if err != nil {
				return nil, err
			}
			ca, err := authorities(ctx, b)
			if err != nil {
				return nil, err
			}
			return []file{ca, {path: name, mode: 0o755, data: binary}, {path: "data", mode: 0o750, own: nonroot, dir: true}}, nil
		},
	}
}

// sourceHash covers everything a program in app/ is built from: app imports nothing else of this repository.
func sourceHash(root string) (string, error) {
	h := sha256.New()
	add := func(rel string) error {
		f, err := os.Open(filepath.Join(root, rel))
		if err != nil {
			return err
		}
		defer f.Close()
		fi, err := f.Stat()
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %d\n", rel, fi.Size())
		_, err = io.Copy(h, f)
		return err
	}
	for _, f := range []string{"go.mod", "go.sum"} {
		if err := add(f); err != nil {
			return "", fmt.Errorf("hash the sources: %w", err)
		}
	}
	err := filepath.WalkDir(filepath.Join(root, "app"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		return add(rel)
	})
	if err != nil {
		return "", fmt.Errorf("hash the sources: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// goVersion asks the toolchain that will build, which may be another than built this program.
func goVersion(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return "", fmt.Errorf("find the Go toolchain: %w; is go on PATH?", err)
	}
	return strings.TrimSpace(string(out)), nil
}

func compile(ctx context.Context, b *builder, pkg string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "patag-build-")
	if err != nil {
		return nil, fmt.Errorf("make a folder to build in: %w", err)
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "program")
	b.say("program %s: compiling", pkg)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", out, pkg)
	cmd.Dir = b.ProjectRoot
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build %s: %w\n%s", pkg, err, strings.TrimSpace(string(text)))
	}
	return os.ReadFile(out)
}

// ferretImage holds the binary that the toolchain has built.
var ferretImage = recipe{
	config: config{
		Entrypoint: []string{"/ferretdb"}, Ports: []string{"27017/tcp"}, WorkingDir: "/data",
		Env:    []string{"FERRETDB_LISTEN=:27017", "FERRETDB_DATA_DIR=/data"},
		Labels: labels("ferretdb", "FerretDB over SQLite", "Apache-2.0"),
	},
	key: func(_ context.Context, b *builder) (string, error) {
		sum, err := fileSHA256(filepath.Join(b.ToolsDir, "ferretdb"))
		if err != nil {
			return "", fmt.Errorf("find the ferretdb program: %w; build the toolchain first", err)
		}
		return sum, nil
	},
	files: func(_ context.Context, b *builder) ([]file, error) {
		data, err := os.ReadFile(filepath.Join(b.ToolsDir, "ferretdb"))
		if err != nil {
			return nil, fmt.Errorf("read the ferretdb program: %w", err)
		}
		return []file{{path: "ferretdb", mode: 0o755, data: data}, {path: "data", mode: 0o750, own: nonroot, dir: true}}, nil
	},
}
