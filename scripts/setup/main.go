// Command setup makes a fresh Debian 12 machine able to run patag: it checks the machine, installs Debian packages,
// builds the third-party programs that no package carries into a cache folder, and builds patag itself into bin/.
// It is what `make` calls; everything after it is the job of the patag command.
//
//	setup tools   packages and third-party programs
//	setup build   the same, and patag's own programs
//	setup test    the same, and what only tests run
//	setup bench   the same, and what only benchmarks run
//	setup check   say what is missing, change nothing
//
// Every step is skipped when its result is there, and may be interrupted and run again.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"patag/scripts/needs"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case err == nil:
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "setup: interrupted; run it again to go on")
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "setup:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 || !strings.Contains(" tools build test bench check ", " "+args[0]+" ") {
		return errors.New("usage: setup tools|build|test|bench|check")
	}
	root, err := projectRoot()
	if err != nil {
		return err
	}
	cache, err := cacheFolder()
	if err != nil {
		return err
	}
	if err := checkMachine(); err != nil {
		return err
	}
	wanted := needs.Packages
	switch args[0] {
	case "test":
		wanted = slices.Concat(wanted, needs.TestPackages)
	case "bench":
		wanted = slices.Concat(wanted, needs.TestPackages, needs.BenchPackages)
	}
	packages, err := missingPackages(ctx, wanted)
	if err != nil {
		return err
	}
	missing, err := missingTools(ctx, root, cache)
	if err != nil {
		return err
	}
	if args[0] == "check" {
		fmt.Println("Debian packages to install:", orNone(packages))
		fmt.Println("programs to build:", orNone(names(missing)))
		return nil
	}
	own := args[0] == "build" || args[0] == "test" || args[0] == "bench"
	if len(missing) > 0 || own && !built(root) {
		if err := checkBuildRoom(root, cache); err != nil {
			return err
		}
	}
	p := newProgress(os.Stderr)
	if err := installPackages(ctx, p, packages); err != nil {
		return err
	}
	if err := buildTools(ctx, p, root, cache, missing); err != nil {
		return err
	}
	if own {
		return buildOwn(ctx, p, root)
	}
	return nil
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, " ")
}

// projectRoot is the folder with this project's go.mod, at or above the working folder.
func projectRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if raw, err := os.ReadFile(filepath.Join(d, "go.mod")); err == nil && strings.HasPrefix(string(raw), "module patag\n") {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("%s is not inside a checkout of patag; change to one", dir)
		}
	}
}

// cacheFolder is $PATAG_CACHE, else "patag" in the user's cache folder.
func cacheFolder() (string, error) {
	if dir := os.Getenv("PATAG_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache folder: %w; set PATAG_CACHE", err)
	}
	return filepath.Join(dir, "patag"), nil
}
