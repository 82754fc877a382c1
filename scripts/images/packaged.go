package images

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// The packages of each image: the program's own and those of the libraries it needs. Shared objects are found by reading the
// binaries, so a package too many costs a download and nothing in the image, and one too few is an error.
var (
	redisPackages = []string{"redis-tools", "libc6", "libatomic1", "libjemalloc2", "liblzf1", "libssl3", "libsystemd0", "libcap2",
		"libgcrypt20", "libgpg-error0", "liblz4-1", "liblzma5", "libzstd1", "libgcc-s1", "libstdc++6"}
	nutcrackerPackages = []string{"nutcracker", "libc6", "libyaml-0-2"}
	caPackages         = []string{"ca-certificates"}
)

func allPackages() []string {
	all := slices.Concat(redisPackages, nutcrackerPackages, caPackages)
	slices.Sort(all)
	return slices.Compact(all)
}

// redis-server is a link to redis-check-rdb in Debian: one binary that looks at its name.
var redisImage = packaged(redisPackages, map[string]string{
	"usr/bin/redis-server": "usr/bin/redis-check-rdb",
	"usr/bin/redis-cli":    "usr/bin/redis-cli",
}, nil, config{
	Entrypoint: []string{"/usr/bin/redis-server"}, Ports: []string{"6379/tcp"}, WorkingDir: "/data",
	Labels: labels("redis", "Redis from Debian's package: redis-server and redis-cli", "BSD-3-Clause"),
})

// Debian's nutcracker logs into a file unless told otherwise; in a container logs go to standard error.
var nutcrackerImage = packaged(nutcrackerPackages, map[string]string{"usr/sbin/nutcracker": "usr/sbin/nutcracker"}, []file{
	{path: "var/log/nutcracker/nutcracker.log", link: "/dev/stderr"},
}, config{
	Entrypoint: []string{"/usr/sbin/nutcracker"}, Ports: []string{"22121/tcp", "22222/tcp"}, WorkingDir: "/",
	Labels: labels("nutcracker", "twemproxy (nutcracker) from Debian's package", "Apache-2.0"),
})

func labels(title, description, licence string) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       title,
		"org.opencontainers.image.description": description,
		"org.opencontainers.image.licenses":    licence,
		"org.opencontainers.image.vendor":      "patag",
	}
}

// packaged makes an image of binaries from Debian packages (path in the image by path in the packages) and extra files.
func packaged(packages []string, binaries map[string]string, extra []file, c config) recipe {
	return recipe{
		config: c, debian: true,
		key: func(_ context.Context, b *builder) (string, error) {
			ps, err := b.lock.pick(packages)
			if err != nil {
				return "", err
			}
			return fmt.Sprint(ps), nil
		},
		files: func(ctx context.Context, b *builder) ([]file, error) {
			ps, err := b.lock.pick(packages)
			if err != nil {
				return nil, err
			}
			root, err := b.apt.unpack(ctx, ps)
			if err != nil {
				return nil, err
			}
			defer os.RemoveAll(root)
			files, err := collect(root, packages, binaries)
			return append(files, extra...), err
		},
	}
}

// collect takes binaries, their shared objects and the packages' copyright files out of an unpacked tree.
func collect(root string, packages []string, binaries map[string]string) ([]file, error) {
	files := []file{{path: "data", mode: 0o750, own: nonroot, dir: true}}
	have := map[string]bool{}
	var queue []string
	inside := make([]string, 0, len(binaries))
	for to := range binaries {
		inside = append(inside, to)
	}
	sort.Strings(inside)
	for _, to := range inside {
		data, err := os.ReadFile(filepath.Join(root, binaries[to]))
		if err != nil {
			return nil, fmt.Errorf("the packages %v hold no %s: %w", packages, binaries[to], err)
		}
		files = append(files, file{path: to, mode: 0o755, data: data})
		needed, loader, err := needs(data)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", to, err)
		}
		queue = append(queue, needed...)
		if loader != "" {
			queue = append(queue, filepath.Base(loader))
		}
	}
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		if have[name] {
			continue
		}
		have[name] = true
		data, err := library(root, name)
		if err != nil {
			return nil, fmt.Errorf("%w; add its package to the image's list and pin it", err)
		}
		to := "lib/x86_64-linux-gnu/" + name
		if strings.HasPrefix(name, "ld-linux") {
			to = "lib64/" + name // where binaries look for it
		}
		files = append(files, file{path: to, mode: 0o755, data: data})
		needed, _, err := needs(data)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		queue = append(queue, needed...)
	}
	for _, p := range packages {
		if data, err := os.ReadFile(filepath.Join(root, "usr/share/doc", p, "copyright")); err == nil {
			files = append(files, file{path: "usr/share/doc/" + p + "/copyright", mode: 0o644, data: data})
		}
	}
	return files, nil
}

// library reads a shared object by its name from the folders that Debian's loader searches.
func library(root, name string) ([]byte, error) {
	for _, dir := range []string{"lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64"} {
		if data, err := os.ReadFile(filepath.Join(root, dir, name)); err == nil {
			return data, nil
		}
	}
	return nil, fmt.Errorf("shared object %s is in none of the packages", name)
}

// needs reads what an ELF file asks the loader for, and the loader it asks for.
func needs(data []byte) (libs []string, loader string, err error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	if libs, err = f.ImportedLibraries(); err != nil {
		return nil, "", err
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			return nil, "", err
		}
		loader = strings.TrimRight(string(b), "\x00")
	}
	return libs, loader, nil
}

// authorities is Mozilla's certificate authorities as one file, in the order of names, at the place where Go and OpenSSL look.
func authorities(ctx context.Context, b *builder) (file, error) {
	ps, err := b.lock.pick(caPackages)
	if err != nil {
		return file{}, err
	}
	root, err := b.apt.unpack(ctx, ps)
	if err != nil {
		return file{}, err
	}
	defer os.RemoveAll(root)
	paths, err := filepath.Glob(filepath.Join(root, "usr/share/ca-certificates/mozilla/*.crt"))
	if err != nil || len(paths) == 0 {
		return file{}, fmt.Errorf("package ca-certificates holds no certificates")
	}
	sort.Strings(paths)
	var bundle bytes.Buffer
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			return file{}, fmt.Errorf("read a certificate: %w", err)
		}
		bundle.Write(bytes.TrimRight(data, "\n"))
		bundle.WriteByte('\n')
	}
	return file{path: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, data: bundle.Bytes()}, nil
}
