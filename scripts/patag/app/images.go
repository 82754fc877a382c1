package app

import (
	"context"
	"os"
	"strings"

	"patag/scripts/patag/cloud"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/project"
	"patag/scripts/patag/terminal"
)

func pathOf() string { return os.Getenv("PATH") }

// Repository is where the stack's images lie, as the foundation has it. found is false where there
// is no foundation to ask and the default of its config is answered.
func (s *Session) Repository(ctx context.Context) (base string, found bool, err error) {
	values, given := s.foundationGiven()
	if !given {
		name, ok := s.NeedsFoundation()
		if !ok {
			name = Foundation
		}
		sum, ok, err := s.Peek(ctx, name)
		if err != nil {
			return "", false, err
		}
		if ok {
			values = sum.Outputs
		}
	}
	repository, _ := values["repository"].(string)
	switch {
	case repository == "":
		return s.Cloud.ImagesBase() + "/patag", false, nil
	case strings.Contains(repository, "docker.pkg.dev/"):
		return repository, true, nil
	default:
		return s.Cloud.ImagesBase() + "/" + repository[strings.LastIndexByte(repository, '/')+1:], true, nil
	}
}

// BuildImages builds the images of the platform and, when told, pushes them; the next Open passes them on.
func (s *Session) BuildImages(ctx context.Context, push bool) error {
	if !s.platform() || s.images != nil {
		return nil
	}
	base, _, err := s.Repository(ctx)
	if err != nil {
		return err
	}
	refs, err := s.App.MakeImages(ctx, s.Project, s.Cloud, s.Tools, base, push, lockedBySetting(), s.Progress)
	if err != nil {
		return err
	}
	s.images = map[string]any{}
	for name, ref := range refs {
		s.images[name] = ref
	}
	return nil
}

// lockedBySetting is how CI has every run refuse other packages than the pinned ones: PATAG_LOCKED=1.
func lockedBySetting() bool { return os.Getenv("PATAG_LOCKED") == "1" }

// MakeImages is BuildImages without a stack.
func (a *App) MakeImages(ctx context.Context, p project.Project, c *cloud.Cloud, t cloud.Tools, base string, push, locked bool, say *terminal.Progress) (map[string]string, error) {
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	if a.Images == nil {
		return nil, exit.New(exit.Failed, "this patag was built without the image builder")
	}
	token := ""
	if push {
		if token, err = c.AccessToken(ctx); err != nil {
			return nil, err
		}
	}
	what := "build images"
	if push {
		what = "build and push images"
	}
	step := say.Step("%s", what)
	defer step.Fail()
	refs, err := a.Images(ctx, ImagesRequest{
		ProjectRoot: p.Root, ToolsDir: t.Dir, CacheDir: cache, Base: base, Push: push, Transport: c.Registry, Token: token,
		Locked:   locked,
		Progress: func(line string) { step.Detail("%s", line) },
		Notice:   func(line string) { say.Line(" ! %s", line) },
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, exit.New(exit.Interrupted, "%s: interrupted", what)
		}
		return nil, exit.New(exit.Failed, "%s: %w", what, err)
	}
	step.Done("%d in %s", len(refs), base)
	return refs, nil
}
