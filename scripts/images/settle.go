package images

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// GoneError says that Debian has superseded pinned versions: its archive keeps the newest of each package only.
type GoneError struct {
	Pinned, Now []Package // of the same names, in the same order
}

func (e *GoneError) Error() string {
	return "Debian no longer has the pinned " + e.list() + "; pin the new versions with: patag images pin, or build without --locked"
}

func (e *GoneError) list() string {
	var parts []string
	for i, p := range e.Pinned {
		parts = append(parts, fmt.Sprintf("%s %s (now %s)", p.Name, p.Version, e.Now[i].Version))
	}
	return strings.Join(parts, ", ")
}

// archive is what is asked of Debian's archive; apt's lists answer.
type archive interface {
	// refresh reads the archive's index anew.
	refresh(ctx context.Context) error
	// versions are those that can be had, by package; one that is unknown is not in the map.
	versions(ctx context.Context, names []string) (map[string][]string, error)
	// candidate is the newest.
	candidate(ctx context.Context, name string) (Package, error)
}

// settle is the lock as it can be had today: a pinned version that is in the folder or in the archive stays, one that
// is neither gives way to the newest. superseded names those; it is nil when the lock holds as it is.
func (a *apt) settle(ctx context.Context, l *Lock, from archive) (today *Lock, superseded *GoneError, err error) {
	var names []string
	for _, p := range l.Packages {
		if !fileHas(a.path(p), p.SHA256) {
			names = append(names, p.Name)
		}
	}
	if len(names) == 0 {
		return l, nil, nil
	}
	// A list that is older than the archive names files that are gone. Without a network the old one may still do.
	if err := from.refresh(ctx); err != nil {
		a.say("apt's package lists stay as they are: %v", err)
	}
	have, err := from.versions(ctx, names)
	if err != nil {
		return nil, nil, err
	}
	today, gone := &Lock{}, &GoneError{}
	for _, p := range l.Packages {
		if !slices.Contains(names, p.Name) || slices.Contains(have[p.Name], p.Version) {
			today.Packages = append(today.Packages, p)
			continue
		}
		now, err := from.candidate(ctx, p.Name)
		if err != nil {
			return nil, nil, err
		}
		today.Packages = append(today.Packages, now)
		gone.Pinned, gone.Now = append(gone.Pinned, p), append(gone.Now, now)
	}
	if len(gone.Pinned) == 0 {
		return l, nil, nil
	}
	return today, gone, nil
}

// debian is the archive as apt on this machine knows it.
type debian struct{}

func (debian) refresh(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("apt-get update needs root")
	}
	if out, err := exec.CommandContext(ctx, "apt-get", "update", "-q").CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get update: %w: %s", err, lastLine(out))
	}
	return nil
}

func (debian) versions(ctx context.Context, names []string) (map[string][]string, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", append([]string{"madison"}, names...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("ask apt for packages: %w; is this Debian?", err)
	}
	have := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		if f := strings.Split(line, "|"); len(f) >= 2 {
			name := strings.TrimSpace(f[0])
			have[name] = append(have[name], strings.TrimSpace(f[1]))
		}
	}
	return have, nil
}

func (debian) candidate(ctx context.Context, name string) (Package, error) {
	return candidate(ctx, name)
}
