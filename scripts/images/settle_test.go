package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
)

// superseding is an archive in which some packages have a newer version only.
type superseding struct {
	has       map[string]string
	refreshed int
}

func (s *superseding) refresh(context.Context) error { s.refreshed++; return errors.New("no network") }

func (s *superseding) versions(_ context.Context, names []string) (map[string][]string, error) {
	have := map[string][]string{}
	for _, n := range names {
		if v, ok := s.has[n]; ok {
			have[n] = []string{v}
		}
	}
	return have, nil
}

func (s *superseding) candidate(_ context.Context, name string) (Package, error) {
	if v, ok := s.has[name]; ok {
		return Package{name, v, strings.Repeat("b", 64)}, nil
	}
	return Package{}, errors.New("package " + name + " is unknown")
}

func settling(t *testing.T) (*builder, *[]string) {
	var notices []string
	b := &builder{lock: &Lock{}, apt: &apt{dir: t.TempDir(), say: t.Logf}}
	b.Notice = func(line string) { notices = append(notices, line) }
	for _, name := range []string{"here", "gone", "kept"} {
		b.lock.Packages = append(b.lock.Packages, Package{name, "1", strings.Repeat("a", 64)})
	}
	// kept is gone from the archive too, but its file was downloaded before.
	sum := sha256.Sum256([]byte("a package"))
	b.lock.Packages[2].SHA256 = hex.EncodeToString(sum[:])
	if err := os.WriteFile(b.apt.path(b.lock.Packages[2]), []byte("a package"), 0o644); err != nil {
		t.Fatal(err)
	}
	return b, &notices
}

func TestSupersededPackagesAreReplacedAndSaid(t *testing.T) {
	b, notices := settling(t)
	today, err := b.settle(t.Context(), &superseding{has: map[string]string{"here": "1", "gone": "2", "kept": "9"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []Package{b.lock.Packages[0], {"gone", "2", strings.Repeat("b", 64)}, b.lock.Packages[2]}
	if !reflect.DeepEqual(today.Packages, want) {
		t.Errorf("settled on %v, want %v", today.Packages, want)
	}
	if len(*notices) != 1 || !strings.Contains((*notices)[0], "gone 1 (now 2)") || strings.Contains((*notices)[0], "here") {
		t.Errorf("said %q, want one line that names gone, 1 and 2", *notices)
	}
}

func TestLockedRefusesSupersededPackages(t *testing.T) {
	b, notices := settling(t)
	b.Locked = true
	_, err := b.settle(t.Context(), &superseding{has: map[string]string{"here": "1", "gone": "2"}})
	var gone *GoneError
	if !errors.As(err, &gone) || !strings.Contains(err.Error(), "gone 1 (now 2)") || !strings.Contains(err.Error(), "patag images pin") {
		t.Errorf("got %v, want a refusal that names the versions and what to do", err)
	}
	if len(*notices) != 0 {
		t.Errorf("a refused build said %q", *notices)
	}
}

func TestLockThatHoldsStays(t *testing.T) {
	b, notices := settling(t)
	from := &superseding{has: map[string]string{"here": "1", "gone": "1"}}
	today, err := b.settle(t.Context(), from)
	if err != nil || today != b.lock || len(*notices) != 0 {
		t.Errorf("got another lock, %v, said %q", err, *notices)
	}
	b.lock.Packages = b.lock.Packages[2:]
	before := from.refreshed
	if _, err := b.settle(t.Context(), from); err != nil || from.refreshed != before {
		t.Errorf("asked the archive although every package is here: %v", err)
	}
}

func TestUnknownPackageIsAnError(t *testing.T) {
	b, _ := settling(t)
	if _, err := b.settle(t.Context(), &superseding{has: map[string]string{"here": "1"}}); err == nil || !strings.Contains(err.Error(), "package gone is unknown") {
		t.Errorf("got %v", err)
	}
}

// TestAptAnswers asks the real apt, whose lists setup has read.
func TestAptAnswers(t *testing.T) {
	have, err := debian{}.versions(t.Context(), []string{"redis-tools", "no-such-package-patag"})
	if err != nil {
		t.Fatal(err)
	}
	if len(have) != 1 || len(have["redis-tools"]) == 0 {
		t.Errorf("apt answers %v, want versions of redis-tools alone", have)
	}
	if _, err := (debian{}).candidate(t.Context(), "no-such-package-patag"); err == nil || !strings.Contains(err.Error(), "apt-get update") {
		t.Errorf("an unknown package gives %v", err)
	}
}
