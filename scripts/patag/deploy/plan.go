package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"regexp"
	"slices"
	"strings"
	"time"

	"patag/scripts/patag/app"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/project"
)

// The steps of a deployment, as far as a killed one has to know.
const (
	stepDark = "dark"
	stepLive = "live"
	stepRoll = "roll"
	stepBack = "back"
)

// plan is what a deployment has decided and done; it is kept beside the stack's config, so that an interrupted one goes on.
type plan struct {
	Begun time.Time `json:"begun"`
	By    string    `json:"by"`
	// Rollback is true for one that goes back to images that served before, without a canary.
	Rollback bool `json:"rollback,omitempty"`
	// From and To are all images of the stack, before and after.
	From map[string]string `json:"from"`
	To   map[string]string `json:"to"`
	Step string            `json:"step"`
	// Reason of the way back.
	Reason string `json:"reason,omitempty"`
}

// verb is the command that began it, and kind what people call it.
func (p *plan) verb() string {
	if p.Rollback {
		return "rollback"
	}
	return "deploy"
}

func (p *plan) kind() string {
	if p.Rollback {
		return "rollback"
	}
	return "deployment"
}

func (p *plan) read(file string) (found bool, err error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, p)
	}
	if err != nil {
		return false, fmt.Errorf("read the deployment that is under way (%s): %w", file, err)
	}
	return true, nil
}

func (p *plan) write(file string) error {
	raw, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// reach notes the step before it is taken.
func (r *run) reach(step string) error {
	r.plan.Step = step
	return r.plan.write(r.s.DeploymentFile())
}

// who is at the keyboard.
func who() string {
	name := os.Getenv("SUDO_USER")
	if name == "" {
		name = "unknown"
		if u, err := user.Current(); err == nil {
			name = u.Username
		}
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return name + "@" + host
}

// decide finds out what is to run, and whether the program would do more than that.
func (r *run) decide(ctx context.Context) error {
	running, err := r.s.Running(ctx)
	if err != nil {
		return err
	}
	r.plan = plan{Begun: time.Now().UTC(), By: who(), From: texts(running), To: texts(running)}
	wanted, err := r.wanted(ctx)
	if err != nil {
		return err
	}
	maps.Copy(r.plan.To, wanted)
	if maps.Equal(r.plan.From, r.plan.To) {
		r.report.Result = unchanged
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(r.plan.To)) {
		if r.plan.From[name] != r.plan.To[name] {
			r.p.Line("   %s: %s, now %s", name, short(r.plan.To[name]), short(r.plan.From[name]))
		}
	}
	return r.preview(ctx)
}

// wanted are the images of --image or --promote, or those of the working tree.
func (r *run) wanted(ctx context.Context) (map[string]string, error) {
	if !r.named() {
		if err := r.s.BuildImages(ctx, true); err != nil {
			return nil, err
		}
		return texts(r.s.Images()), nil
	}
	return r.given(ctx)
}

var byDigest = regexp.MustCompile(`^(?:(.+)/)?([a-z][a-z0-9-]*)@(sha256:[0-9a-f]{64})$`)

// named is true when the images are given by digest.
func (r *run) named() bool { return len(r.flags.images) > 0 || r.flags.promote != "" }

// promoted reads --promote: the images that a deployment elsewhere has shown to be good.
func (r *run) promoted() ([]string, error) {
	from := io.Reader(r.app.In)
	if r.flags.promote != "-" {
		file, err := os.Open(r.flags.promote)
		if err != nil {
			return nil, exit.New(exit.Usage, "--promote: %w", err).WithHint("it is what `patag deploy OTHER --json` printed; nothing was changed")
		}
		defer file.Close()
		from = file
	}
	var other Report
	if err := json.NewDecoder(from).Decode(&other); err != nil || len(other.To) == 0 {
		return nil, exit.New(exit.Usage, "--promote %s holds no deployment", r.flags.promote).WithHint("it is what `patag deploy OTHER --json` printed; nothing was changed")
	}
	if other.Result != deployed && other.Result != unchanged {
		return nil, exit.New(exit.Usage, "the deployment to %s in --promote %s was %s: %s", other.Stack, r.flags.promote, other.Result, other.Reason).WithHint("nothing was changed")
	}
	var refs []string
	for _, name := range slices.Sorted(maps.Keys(other.To)) {
		refs = append(refs, other.To[name])
	}
	return refs, nil
}

// given reads --image and --promote.
func (r *run) given(ctx context.Context) (map[string]string, error) {
	refs, flag := r.flags.images, "--image"
	if r.flags.promote != "" {
		var err error
		if refs, err = r.promoted(); err != nil {
			return nil, err
		}
		flag = "--promote:"
	}
	running, err := r.s.Running(ctx)
	if err != nil {
		return nil, err
	}
	base, _, err := r.s.Repository(ctx)
	if err != nil {
		return nil, err
	}
	wanted := map[string]string{}
	for _, ref := range refs {
		m := byDigest.FindStringSubmatch(ref)
		if m == nil {
			return nil, exit.New(exit.Usage, "%s %q is no image by digest", flag, ref).WithHint("write it as tag@sha256:…, with the repository before it when it is another; nothing was changed")
		}
		// What is promoted may be more: the other stack's program ran with it.
		if _, known := running[m[2]]; !known && r.flags.promote == "" {
			return nil, exit.New(exit.Usage, "%s %q: %s runs no image %q", flag, ref, r.s.Stack, m[2]).
				WithHint("it runs %s; nothing was changed", strings.Join(slices.Sorted(maps.Keys(running)), ", "))
		}
		if m[1] == "" {
			ref = base + "/" + ref
		}
		wanted[m[2]] = ref
	}
	return wanted, nil
}

// sameImages refuses to go on with a deployment as if it were another.
func (r *run) sameImages(ctx context.Context) error {
	if !r.named() {
		return nil
	}
	wanted, err := r.given(ctx)
	if err != nil {
		return err
	}
	for name, ref := range wanted {
		if r.plan.To[name] != ref {
			return exit.New(exit.Usage, "a deployment of another image to %s is under way: %s %s", r.s.Stack, name, short(r.plan.To[name])).
				WithHint("`patag deploy %s` finishes it, `patag deploy %s --abort` takes it back", r.s.Stack, r.s.Stack)
		}
	}
	return nil
}

// preview refuses what is more than a deployment: a program that would take resources away or replace them.
func (r *run) preview(ctx context.Context) error {
	values := project.Config{app.KeyCanaryImage: nil, app.KeyCanaryLive: nil}
	if r.plan.From["tag"] != r.plan.To["tag"] {
		values[app.KeyCanaryImage] = r.plan.To["tag"]
	}
	if err := r.reach(stepDark); err != nil {
		return err
	}
	err := r.s.Keep(values)
	if err == nil {
		err = r.s.UseImages(anys(r.plan.From))
	}
	if err == nil {
		err = r.previewed(ctx)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	// Nothing was made yet: forget it.
	return errors.Join(err, r.s.Keep(noCanary), r.s.DeploymentDone())
}

func (r *run) previewed(ctx context.Context) error {
	stack, err := r.s.Open(ctx)
	if err != nil {
		return err
	}
	defer stack.Close()
	result, err := stack.Preview(ctx)
	if err != nil {
		return err
	}
	var more []string
	for _, one := range result.Gone {
		kind, _, _ := strings.Cut(one, " ")
		// These cannot change: another one takes their place by design.
		if kind != "kubernetes:batch/v1:Job" && kind != "kubernetes:core/v1:ConfigMap" && kind != "kubernetes:core/v1:Secret" {
			more = append(more, one)
		}
	}
	if more != nil {
		return exit.New(exit.Usage, "the program would delete or replace %s in %s: that is more than new images", strings.Join(more, ", "), r.s.Stack).
			WithHint("see `patag preview %s`, and bring it up to date with `patag up %s` first; nothing was changed", r.s.Stack, r.s.Stack)
	}
	return nil
}

func texts(images map[string]any) map[string]string {
	out := map[string]string{}
	for name, ref := range images {
		if text, ok := ref.(string); ok {
			out[name] = text
		}
	}
	return out
}

func anys(images map[string]string) map[string]any {
	out := map[string]any{}
	for name, ref := range images {
		out[name] = ref
	}
	return out
}

// short is an image as people tell it: the start of its digest.
func short(ref string) string {
	_, digest, ok := strings.Cut(ref, "@sha256:")
	if !ok || len(digest) < 12 {
		return ref
	}
	return digest[:12]
}
