package app

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"patag/scripts/patag/cloud"
	"patag/scripts/patag/engine"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/project"
	"patag/scripts/patag/terminal"
	"patag/stacks/config"
)

// Session is work on one stack of one cloud.
type Session struct {
	App      *App
	Stack    string
	Kind     string
	Project  project.Project
	Cloud    *cloud.Cloud
	Tools    cloud.Tools
	Progress *terminal.Progress
	// Look makes Apply look at what is really there before it compares: what was changed or deleted by hand is made good. Without
	// it the state is believed, which is quicker.
	Look bool
	// Message is kept with the updates of this session in the stack's history.
	Message string

	// generated is the config as it follows from the tracked files and the cloud; overrides are this run's -c.
	generated, overrides project.Config
	// rebuilding is true for the one command that may go on with a rebuild.
	rebuilding bool
	// deploying is true for the commands that may go on with a deployment.
	deploying bool
	images    map[string]any
}

// Foundation is the name of the stack that the others build on.
const Foundation = "foundation"

// Begin reads and checks everything that can be checked without touching anything: the stack's name, its config,
// the flags. It starts nothing and writes nothing.
func (a *App) Begin(stack string, settings []string, p *terminal.Progress) (*Session, error) {
	s, err := a.read(stack, settings, p)
	if err != nil {
		return nil, err
	}
	return s, s.check()
}

// BeginLook is Begin for a command that only looks at a stack: what is there does not depend on whether the config at hand would do
// to bring it up.
func (a *App) BeginLook(stack string, p *terminal.Progress) (*Session, error) {
	s, err := a.read(stack, nil, p)
	if err != nil {
		return nil, err
	}
	merged, err := s.merged()
	if err != nil {
		return nil, err
	}
	s.Kind, _ = merged["patag:kind"].(string)
	return s, nil
}

// BeginRun is Begin for a command that runs the stack's program, and refuses as well what such a run cannot do without:
// credentials (offline does without), a running sandbox, programs. Credentials come first: who has none yet should not
// have to correct the config before being told.
func (a *App) BeginRun(stack string, settings []string, offline bool, p *terminal.Progress) (*Session, error) {
	s, err := a.read(stack, settings, p)
	if err != nil {
		return nil, err
	}
	if err := s.credentials(offline); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	return s, s.need(offline)
}

// read puts the session together from the flags and the tracked files.
func (a *App) read(stack string, settings []string, p *terminal.Progress) (*Session, error) {
	proj, err := a.OpenProject()
	if err != nil {
		return nil, err
	}
	if err := proj.Check(stack); err != nil {
		return nil, err
	}
	c, err := a.OpenCloud()
	if err != nil {
		return nil, err
	}
	s := &Session{App: a, Stack: stack, Project: proj, Cloud: c, Progress: p}
	if s.Tools, err = cloud.FindTools(a.Flags.Tools); err != nil {
		return nil, err
	}
	if c.Name == cloud.Sandbox {
		s.Tools.Front = filepath.Join(c.Dir, "bin")
	}
	if s.generated, err = proj.Tracked(stack); err != nil {
		return nil, err
	}
	if c.Name == cloud.Sandbox {
		if err := s.overlay(); err != nil {
			return nil, err
		}
	}
	maps.Copy(s.generated, c.Config())
	if s.overrides, err = proj.Parse(settings); err != nil {
		return nil, err
	}
	return s, nil
}

// overlay lays the sandbox's differences over the tracked config: those that a stack of this kind knows. A key that no
// kind knows stays, for the check to refuse.
func (s *Session) overlay() error {
	overlay, err := s.Project.Overlay()
	if err != nil {
		return err
	}
	kind, _ := s.generated["patag:kind"].(string)
	for _, key := range config.Keys() {
		if !slices.Contains(key.Kinds, config.Kind(kind)) {
			delete(overlay, config.Namespace+":"+key.Name)
		}
	}
	maps.Copy(s.generated, overlay)
	return nil
}

// merged is the config of this run: generated, the user's own in the work folder, this run's.
func (s *Session) merged() (project.Config, error) {
	return s.work().Merge(s.generated, s.overrides)
}

func (s *Session) work() project.Work {
	return project.Work{Dir: s.Cloud.Work(s.Stack), Stack: s.Stack}
}

// check runs the programs' own check of the config.
func (s *Session) check() error {
	merged, err := s.merged()
	if err != nil {
		return err
	}
	s.Kind, _ = merged["patag:kind"].(string)
	// The path is the repository's; the program runs elsewhere.
	if file, _ := merged["patag:catalogueFile"].(string); s.platform() && !filepath.IsAbs(file) {
		if file == "" {
			file = "app/tag/demo/catalogue.json"
		}
		into := s.generated
		if _, now := s.overrides["patag:catalogueFile"]; now {
			into = s.overrides
		}
		into["patag:catalogueFile"] = filepath.Join(s.Project.Root, file)
	}
	if merged, err = s.merged(); err != nil {
		return err
	}
	if err := s.ours(merged); err != nil {
		return err
	}
	if given, ok := s.overrides["patag:images"].(map[string]any); ok {
		s.images = given
	}
	values := merged.Strings()
	if _, given := values["patag:images"]; !given && s.platform() {
		values["patag:images"] = pendingImages
	}
	if _, err := config.Load(config.FromMap(s.Stack, values)); err != nil {
		return exit.New(exit.Usage, "%w", err).WithHint("every key is explained in docs/configuration.md; nothing was changed")
	}
	return nil
}

// ours refuses keys that no program and no provider of ours reads, and a demo catalogue that is not there: both would be found out
// late or never.
func (s *Session) ours(merged project.Config) error {
	for key := range merged {
		if ns, _, _ := strings.Cut(key, ":"); !slices.Contains([]string{config.Namespace, s.Project.Name, "gcp", "kubernetes", "pulumi", "random"}, ns) {
			return exit.New(exit.Usage, "config key %s is of a provider that no stack here uses", key).WithHint("a key without a colon is patag's own; nothing was changed")
		}
	}
	// Only one that was asked for now: commands that load none need none.
	if file, now := s.overrides["patag:catalogueFile"].(string); now {
		if _, err := os.Stat(file); err != nil {
			return exit.New(exit.Usage, "patag:catalogueFile: %w", err).WithHint("name the file of a catalogue, or set patag:catalogue to none; nothing was changed")
		}
	}
	return nil
}

// pendingImages stands for the images in the check of a config whose images are not built yet.
var pendingImages = func() string {
	digest := "@sha256:" + strings.Repeat("0", 64)
	refs := map[string]string{}
	for _, name := range []string{"tag", "backup", "reaper", "redis", "nutcracker", "ferretdb"} {
		refs[name] = "pending/" + name + digest
	}
	raw, _ := json.Marshal(refs)
	return string(raw)
}()

// Keep sets config of the stack that outlives this run, as `pulumi config set` would; nil takes a value away. The tracked files stay
// as they are. No run may have the stack meanwhile, and none may be unfinished.
func (s *Session) Keep(values project.Config) error {
	if err := s.Finished(); err != nil {
		return err
	}
	return engine.Alone(s.Cloud.Work(s.Stack), s.Stack, func() error { return s.work().Keep(values) })
}

// Value of a config key as this run has it, "" when it has the default.
func (s *Session) Value(key string) (string, error) {
	merged, err := s.merged()
	if err != nil {
		return "", err
	}
	return merged.Strings()[key], nil
}

// platform is true for the kinds that run the tag service and thus need a foundation, images and Kubernetes.
func (s *Session) platform() bool {
	return s.Kind == string(config.Production) || s.Kind == string(config.Staging)
}

// foundationGiven is true when config stands in for the foundation stack.
func (s *Session) foundationGiven() (map[string]any, bool) {
	merged, err := s.merged()
	if err != nil {
		return nil, false
	}
	switch v := merged["patag:foundation"].(type) {
	case map[string]any:
		return v, true
	case string:
		var parsed map[string]any
		return parsed, json.Unmarshal([]byte(v), &parsed) == nil
	}
	return nil, false
}

// credentials refuses a run on Google Cloud that has none, but for a preview of a local state.
func (s *Session) credentials(offline bool) error {
	if s.Cloud.Name != cloud.GCP || s.Cloud.Credentialed {
		return nil
	}
	if !offline || !strings.HasPrefix(s.Cloud.Backend, "file://") {
		return exit.New(exit.Usage, "there are no Google credentials").WithHint("%s", cloud.Credentials)
	}
	s.Progress.Line(" ! no Google credentials: this previews from the state alone and asks Google nothing. For more, %s", cloud.Credentials)
	return nil
}

// need refuses to go on without a running sandbox and the programs that a run starts.
func (s *Session) need(offline bool) error {
	if err := s.Cloud.Running(); err != nil {
		return err
	}
	if _, err := s.Tools.Find("pulumi"); err != nil {
		return err
	}
	if s.platform() {
		if _, err := s.Tools.Find("pulumi-resource-kubernetes"); err != nil {
			return err
		}
		if _, err := s.Tools.AuthPlugin(); err != nil && !offline {
			return err
		}
	}
	path, standIn, err := s.Tools.Plugin()
	if err != nil {
		return err
	}
	if s.Cloud.Name == cloud.GCP && standIn && s.Cloud.Credentialed {
		s.Progress.Line(" ! %s is the stand-in plugin: it knows the resource types of these programs only", path)
	}
	return nil
}

// EngineOptions say how the stack is run.
func (s *Session) EngineOptions() (engine.Options, error) {
	env, err := s.Cloud.Pulumi()
	if err != nil {
		return engine.Options{}, err
	}
	env["PATH"] = s.Tools.Path(pathOf())
	if s.Cloud.Name == cloud.Sandbox {
		env["PATAG_STATE"] = s.Cloud.Layout.Root
	}
	cli, err := s.Tools.Find("pulumi")
	if err != nil {
		return engine.Options{}, err
	}
	o := engine.Options{
		Project: s.Project.Name, Stack: s.Stack, Program: s.App.Program, Dir: s.Cloud.Work(s.Stack),
		CLI: cli, Env: env, Backend: s.Cloud.Backend, SecretsProvider: s.Cloud.SecretsProvider, Progress: s.Progress, Message: s.Message, Wait: s.App.Flags.Wait,
	}
	if strings.HasPrefix(s.Cloud.Backend, bucketScheme) {
		o.Locks = s.Locks
	}
	return o, nil
}

// Peek reads the state of a stack of this cloud without taking it.
func (s *Session) Peek(ctx context.Context, stack string) (engine.Summary, bool, error) {
	o := engine.Options{Project: s.Project.Name, Stack: stack, Backend: s.Cloud.Backend, Dir: s.Cloud.Dir}
	if !strings.HasPrefix(s.Cloud.Backend, "file://") {
		full, err := s.EngineOptions()
		if err != nil {
			return engine.Summary{}, false, err
		}
		if err := s.WriteConfig(); err != nil {
			return engine.Summary{}, false, err
		}
		full.Stack = stack
		o = full
	}
	return engine.Peek(ctx, o)
}

// Open writes the merged config and takes the stack.
func (s *Session) Open(ctx context.Context) (*engine.Stack, error) {
	o, err := s.EngineOptions()
	if err != nil {
		return nil, err
	}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	generated := maps.Clone(s.generated)
	if s.images != nil {
		generated["patag:images"] = s.images
	}
	o.Adopted = s.adopted
	s.holdToPolicies(&o)
	o.Prepare = func() error {
		if err := s.linkAnalyzer(); err != nil {
			return err
		}
		return s.work().Write(s.Project, generated, s.overrides)
	}
	return engine.Open(ctx, o)
}

// prepare makes what every run needs in the state folder.
func (s *Session) prepare() error {
	if err := s.Cloud.Prepare(); err != nil {
		return err
	}
	return s.Tools.LinkFront()
}

// errNoStack is for commands that want one that is there.
func (s *Session) errNoStack() error {
	if who, yes := s.InUse(); yes {
		return exit.New(exit.Failed, "stack %s has nothing yet; it is worked on by %s", s.Stack, who).WithHint("ask again in a moment")
	}
	return exit.New(exit.Failed, "stack %s is not up on %s", s.Stack, s.Cloud.Name).WithHint("bring it up with `patag up %s`", s.Stack)
}

// InUse tells who works on the stack now, from this machine.
func (s *Session) InUse() (who string, yes bool) { return engine.InUse(s.Cloud.Work(s.Stack)) }

// Existing reads the state of the session's stack and refuses when there is nothing.
func (s *Session) Existing(ctx context.Context) (engine.Summary, error) {
	sum, ok, err := s.Peek(ctx, s.Stack)
	if err != nil {
		return sum, err
	}
	if !ok || sum.Resources == 0 && sum.Interrupted == 0 {
		return sum, s.errNoStack()
	}
	return sum, nil
}

// NeedsFoundation names the stack of this project that the session's builds on; false when it needs none, or one
// of another project, or config stands in for it.
func (s *Session) NeedsFoundation() (string, bool) {
	if !s.platform() {
		return "", false
	}
	if _, given := s.foundationGiven(); given {
		return "", false
	}
	merged, err := s.merged()
	if err != nil {
		return "", false
	}
	ref, _ := merged["patag:foundationStack"].(string)
	if ref == "" {
		return Foundation, true
	}
	// organization/<project>/<stack>, as file and bucket backends name them.
	parts := strings.Split(ref, "/")
	if len(parts) != 3 || parts[1] != s.Project.Name {
		return "", false
	}
	return parts[2], true
}

// ConfigFile is the merged config as Pulumi reads it.
func (s *Session) ConfigFile() string { return s.work().ConfigFile() }

// WriteConfig brings the config file up to date, unless a run has the stack: then it is what that run wrote. Images
// that an earlier run filled in stay.
func (s *Session) WriteConfig() error {
	if err := s.prepare(); err != nil {
		return err
	}
	generated := maps.Clone(s.generated)
	before, err := s.work().Config()
	if err != nil {
		return err
	}
	if images, ok := before["patag:images"]; ok {
		generated["patag:images"] = images
	}
	return engine.IfFree(s.Cloud.Work(s.Stack), s.Stack, func() error {
		return s.work().Write(s.Project, generated, s.overrides)
	})
}
