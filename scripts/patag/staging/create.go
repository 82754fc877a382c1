package staging

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"patag/scripts/patag/app"
	"patag/scripts/patag/backup"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/project"
	"patag/scripts/patag/terminal"
	"patag/scripts/patag/up"
	"patag/stacks/config"
)

type createFlags struct {
	ttl               time.Duration
	from, data, owner string
	settings          []string
}

// What a staging's store begins with.
const (
	dataDemo   = "demo"
	dataMasked = "masked-copy"
	dataEmpty  = "empty"
)

func newCreate(a *app.App) *cobra.Command {
	f := createFlags{}
	cmd := &cobra.Command{
		Use:   "create PROJECT",
		Short: "Make a staging, or finish one that was begun",
		Long: `Make a staging, or finish one that was begun.

--from says what runs: this working tree (default), what production runs (production), a branch or commit of this
repository, or an image of the tag server by digest (name@sha256:…). --data says what its store begins with: the demo
catalogue, production's newest backup with personal data masked, or nothing; it cannot be changed afterwards.
The last lines of the output are how to reach its cluster, and the URL that serves an ad.`,
		Example: "  patag staging create acme\n  patag staging create acme --from production --data masked-copy --ttl 24h",
		Args:    oneProject,
		RunE:    func(cmd *cobra.Command, args []string) error { return create(cmd.Context(), a, args[0], f) },
	}
	cmd.Flags().DurationVar(&f.ttl, "ttl", 72*time.Hour, "how long it may live, up to 720h")
	cmd.Flags().StringVar(&f.from, "from", "", "production, a branch or commit, or an image by digest (default: this working tree)")
	cmd.Flags().StringVar(&f.data, "data", "", "demo, masked-copy or empty (default: demo; of a staging that is there, what it began with)")
	cmd.Flags().StringVar(&f.owner, "owner", whoami(), "whose it is")
	cmd.Flags().StringArrayVarP(&f.settings, "config", "c", nil, "config of the staging, KEY=VALUE (objects as JSON); repeatable, and kept")
	return cmd
}

func create(ctx context.Context, a *app.App, name string, f createFlags) error {
	begin := time.Now()
	p := terminal.NewProgress(a.Streams)
	defer p.Close()
	stack, err := stackOf(name)
	if err != nil {
		return err
	}
	until, err := expiry(f.ttl)
	if err != nil {
		return err
	}
	if _, err := decideData(f.data, ""); err != nil {
		return err
	}
	settings := append([]string{"owner=" + f.owner, "expiresAt=" + until}, f.settings...)
	s, err := a.BeginRun(stack, settings, false, p)
	if err != nil {
		return err
	}
	if err := up.Foundation(ctx, s); err != nil {
		return err
	}
	values := s.Given()
	begun, err := begunWith(ctx, s)
	if err != nil {
		return err
	}
	if f.data, err = decideData(f.data, begun); err != nil {
		return err
	}
	if begun == "" {
		if err := data(ctx, s, f.data, values); err != nil {
			return err
		}
	}
	if err := images(ctx, s, f.from, values); err != nil {
		return err
	}
	if err := s.Keep(values); err != nil {
		return err
	}
	if s, err = a.BeginRun(stack, nil, false, p); err != nil {
		return err
	}
	if values[keyImages] == nil {
		if err := s.BuildImages(ctx, true); err != nil {
			return err
		}
	}
	result, err := s.Apply(ctx)
	if err != nil {
		return err
	}
	_, kubeconfig, err := s.Cluster(ctx, result.Outputs)
	if err != nil {
		return err
	}
	if f.data != dataEmpty {
		if err := serving(ctx, s, 5*time.Minute); err != nil {
			return err
		}
	} else {
		p.Line("   its store is empty: it serves once a catalogue is imported")
	}
	p.Line("   %s is up in %s, until %s", name, terminal.Elapsed(time.Since(begin)), until)
	fmt.Fprintf(a.Out, "export KUBECONFIG=%s\n", kubeconfig)
	_, err = fmt.Fprintln(a.Out, result.Outputs["adURL"])
	return err
}

// begunWith is what the store of a staging that was begun before is filled with, "" when there is none. It is not filled anew: what
// people did in it since would be mixed with it.
func begunWith(ctx context.Context, s *app.Session) (string, error) {
	sum, ok, err := s.Peek(ctx, s.Stack)
	if err != nil || !ok || sum.Resources == 0 && sum.Interrupted == 0 {
		return "", err
	}
	later, err := s.Value(keyCatalogue)
	if err != nil {
		return "", err
	}
	restored, err := s.Value(backup.KeyRestore)
	switch {
	case err != nil:
		return "", err
	case restored != "":
		return dataMasked, nil
	case later == config.CatalogueLater:
		return dataEmpty, nil
	}
	return dataDemo, nil
}

// decideData joins what is asked for with what a staging began with.
func decideData(asked, begun string) (string, error) {
	switch {
	case asked != "" && asked != dataDemo && asked != dataMasked && asked != dataEmpty:
		return "", exit.New(exit.Usage, "--data %q is none of demo, masked-copy, empty", asked).WithHint("nothing was changed")
	case begun != "" && asked != "" && asked != begun:
		return "", exit.New(exit.Usage, "it is there already, and its store began with %s, not %s", begun, asked).WithHint("take it down first (`patag staging down`), or restore into it (`patag restore`); nothing was changed")
	case begun != "":
		return begun, nil
	case asked == "":
		return dataDemo, nil
	}
	return asked, nil
}

// data says which config fills the store.
func data(ctx context.Context, s *app.Session, what string, values project.Config) error {
	values[keyCatalogue], values[backup.KeyRestore] = nil, nil
	switch what {
	case dataEmpty:
		values[keyCatalogue] = config.CatalogueLater
	case dataMasked:
		m, err := backup.Choose(ctx, s, "production", "newest")
		if err != nil {
			return err
		}
		s.Progress.Line("   its store becomes a masked copy of %s, taken %s", m.ID, m.Taken.Local().Format("2006-01-02 15:04:05"))
		values[backup.KeyRestore] = m.Stack + "/" + m.ID + "+masked"
	}
	return nil
}

var byDigest = regexp.MustCompile(`@sha256:[0-9a-f]{64}$`)

// images says which images run, where they are not this working tree's.
func images(ctx context.Context, s *app.Session, from string, values project.Config) error {
	values[keyImages] = nil
	switch {
	case from == "":
	case from == "production":
		running, err := s.ImagesOf("production")
		if err != nil {
			return err
		}
		values[keyImages] = running
	case byDigest.MatchString(from):
		if err := s.BuildImages(ctx, true); err != nil {
			return err
		}
		refs := s.Images()
		refs["tag"] = from
		values[keyImages] = refs
	default:
		refs, err := ofBranch(ctx, s, from)
		if err != nil {
			return err
		}
		values[keyImages] = refs
	}
	return nil
}

// ofBranch builds the images of another commit, in a work tree of its own that is removed again.
func ofBranch(ctx context.Context, s *app.Session, branch string) (map[string]any, error) {
	git := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "git", append([]string{"-C", s.Project.Root}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("git %s: %s", args[0], strings.TrimSpace(string(out)))
		}
		return strings.TrimSpace(string(out)), nil
	}
	if strings.HasPrefix(branch, "-") {
		return nil, exit.New(exit.Usage, "--from %q is no branch", branch)
	}
	commit, err := git("rev-parse", "--verify", "--quiet", branch+"^{commit}")
	if err != nil {
		return nil, exit.New(exit.Usage, "--from %q is neither production, nor an image by digest, nor a branch or commit of %s", branch, s.Project.Root).WithHint("nothing was changed")
	}
	dir, err := os.MkdirTemp("", "patag-branch-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	tree := filepath.Join(dir, "tree")
	if _, err := git("worktree", "add", "--detach", tree, commit); err != nil {
		return nil, err
	}
	defer func() {
		// Also after an interruption: git would remember the tree for ever.
		_ = exec.Command("git", "-C", s.Project.Root, "worktree", "remove", "--force", tree).Run()
	}()
	s.Progress.Line("   images of %s (%s)", branch, commit[:12])
	return s.BuildImagesOf(ctx, tree)
}

// serving waits until the staging's ad is served, by all that should.
func serving(ctx context.Context, s *app.Session, most time.Duration) error {
	sum, err := s.Existing(ctx)
	if err != nil {
		return err
	}
	url, _ := sum.Outputs["adURL"].(string)
	step := s.Progress.Step("wait for an ad from %s", url)
	if err := s.Served(ctx, url, most); err != nil {
		step.Fail()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return exit.New(exit.Failed, "%s serves no ad: %w", s.Stack, err).WithHint("see `patag status %s`", s.Stack)
	}
	step.Done("it answers")
	return s.Settle(ctx, sum.Outputs)
}
