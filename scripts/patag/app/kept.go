package app

import (
	"context"
	"maps"
	"slices"

	"patag/scripts/patag/engine"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/project"
)

// Given is this run's -c, for a command that keeps it.
func (s *Session) Given() project.Config {
	given := project.Config{}
	maps.Copy(given, s.overrides)
	return given
}

// KeepImages makes the next Open run the images that the stack runs already, instead of newly built ones.
func (s *Session) KeepImages() error {
	running, err := s.ImagesOf(s.Stack)
	if err != nil {
		return err
	}
	s.images = running
	return nil
}

// ImagesOf answers the images that a stack of this cloud was last brought up with.
func (s *Session) ImagesOf(stack string) (map[string]any, error) {
	config, err := project.Work{Dir: s.Cloud.Work(stack), Stack: stack}.Config()
	if err != nil {
		return nil, err
	}
	images, ok := config["patag:images"].(map[string]any)
	if !ok {
		return nil, exit.New(exit.Failed, "it is not known which images %s runs: it was not brought up from this state folder", stack).WithHint("bring it up with `patag up %s`, or name images by digest", stack)
	}
	return images, nil
}

// UseImages makes the next Open run these images. Where the stack's own config names images, it names these from now on.
func (s *Session) UseImages(images map[string]any) error {
	own, err := s.Value("patag:images")
	if err != nil {
		return err
	}
	if own == "" {
		s.images = maps.Clone(images)
		return nil
	}
	s.images = nil
	return s.Keep(project.Config{"patag:images": maps.Clone(images)})
}

// Running are the images of the stack's last update that succeeded, whoever ran it from wherever.
func (s *Session) Running(ctx context.Context) (map[string]any, error) {
	updates, err := s.History(ctx, 25)
	if err != nil {
		return nil, err
	}
	for _, u := range slices.Backward(updates) {
		if u.Result == "succeeded" && len(u.Images) > 0 {
			return u.Images, nil
		}
	}
	return s.ImagesOf(s.Stack)
}

// History is that of the session's stack, oldest first: the newest updates, or all for 0.
func (s *Session) History(ctx context.Context, most int) ([]engine.Update, error) {
	o, err := s.EngineOptions()
	if err != nil {
		return nil, err
	}
	if err := s.WriteConfig(); err != nil {
		return nil, err
	}
	return engine.History(ctx, o, most)
}

// Images are those that BuildImages made.
func (s *Session) Images() map[string]any { return maps.Clone(s.images) }

// BuildImagesOf builds and pushes the images of another tree of the project.
func (s *Session) BuildImagesOf(ctx context.Context, root string) (map[string]any, error) {
	base, _, err := s.Repository(ctx)
	if err != nil {
		return nil, err
	}
	p := s.Project
	p.Root = root
	refs, err := s.App.MakeImages(ctx, p, s.Cloud, s.Tools, base, true, lockedBySetting(), s.Progress)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	for name, ref := range refs {
		out[name] = ref
	}
	return out, nil
}
