package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"patag/app/backup/bucket"
	"patag/app/backup/command"
	"patag/scripts/patag/app"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/project"
	"patag/scripts/patag/terminal"
)

// The config keys that a restore sets.
const (
	KeyDatabase = "patag:database"
	KeyRestore  = "patag:restoreFrom"
)

type restoreFlags struct {
	id, from, confirm string
	yes, mask, json   bool
}

func newRestore(a *app.App) *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:   "restore STACK",
		Short: "Put a stack's store back to a backup",
		Long: `Put a stack's store back to a backup.

The backup is copied into a new database beside the one in use and compared with its manifest, document for document.
Only then do the tag servers change over, a few at a time. What was in use before stays where it is, under its own
name: a restore can be undone with another one, or by setting patag:database back.`,
		Example: "  patag restore production\n  patag restore production --backup 20261124T120000Z-0a1b2c\n  patag restore staging-acme --from production --mask --yes",
		Args:    app.OneStack, ValidArgsFunction: a.CompleteStack,
		RunE: func(cmd *cobra.Command, args []string) error { return restore(cmd.Context(), a, args[0], f) },
	}
	cmd.Flags().StringVar(&f.id, "backup", "newest", "ID of the backup, or newest")
	cmd.Flags().StringVar(&f.from, "from", "", "the stack whose backup it is (default: the same)")
	cmd.Flags().BoolVar(&f.mask, "mask", false, "replace personal data by pseudonyms")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask (not enough for production)")
	cmd.Flags().StringVar(&f.confirm, "confirm", "", "the name of the stack, instead of typing it")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the result as JSON")
	return cmd
}

func restore(ctx context.Context, a *app.App, stack string, f restoreFlags) error {
	p := terminal.NewProgress(a.Streams)
	defer p.Close()
	s, err := begin(ctx, a, stack, p)
	if err != nil {
		return err
	}
	from := f.from
	if from == "" {
		from = stack
	}
	m, err := Choose(ctx, s, from, f.id)
	if err != nil {
		return err
	}
	if err := a.Confirm(s, f.yes, f.confirm, fmt.Sprintf("Put the store of %s back to %s of %s, taken %s?", stack, m.ID, m.Stack, m.Taken.Local().Format("2006-01-02 15:04:05"))); err != nil {
		return err
	}
	result, err := Into(ctx, s, m, "patag_"+strings.ToLower(m.ID), f.mask)
	if err != nil {
		return err
	}
	if f.json {
		return json.NewEncoder(a.Out).Encode(result)
	}
	p.Line("   %s reads database %s now; %s is as it was", stack, result.Database, result.Before)
	return nil
}

// Restored says what a restore did.
type Restored struct {
	Stack    string `json:"stack"`
	Backup   string `json:"backup"`
	Database string `json:"database"`
	Before   string `json:"before"`
}

// Into makes a stack use a database that is filled from a backup. When that fails the stack is put back to what it used before.
func Into(ctx context.Context, s *app.Session, m *bucket.Manifest, database string, mask bool) (*Restored, error) {
	// What is in use, not what the config says: that may be a restore's that was cut off.
	sum, err := s.Existing(ctx)
	if err != nil {
		return nil, err
	}
	before, _ := sum.Outputs["database"].(string)
	restoredBefore, err := s.Value(KeyRestore)
	if err != nil {
		return nil, err
	}
	source := m.Stack + "/" + m.ID
	if mask {
		source += "+masked"
	}
	// Built before anything is set: what cannot be built changes nothing.
	if err := s.BuildImages(ctx, true); err != nil {
		return nil, err
	}
	if err := s.Keep(project.Config{KeyDatabase: database, KeyRestore: source}); err != nil {
		return nil, err
	}
	if _, err := s.Apply(ctx); err != nil {
		if exit.Code(err) == exit.Interrupted {
			return nil, err // the same command again goes on
		}
		back := project.Config{KeyDatabase: nil, KeyRestore: nil}
		if before != "" {
			back[KeyDatabase] = before
		}
		if restoredBefore != "" {
			back[KeyRestore] = restoredBefore
		}
		if keepErr := s.Keep(back); keepErr != nil {
			return nil, errors.Join(err, keepErr)
		}
		s.Progress.Line(" ! the restore failed; %s is put back to what it used", s.Stack)
		_, backErr := s.Apply(ctx)
		return nil, errors.Join(err, backErr)
	}
	if before == "" {
		before = "patag"
	}
	return &Restored{Stack: s.Stack, Backup: source, Database: database, Before: before}, nil
}

func newDrill(a *app.App) *cobra.Command {
	var id string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "restore [STACK]",
		Short: "Restore the newest backup beside the store in use, compare, and drop it again",
		Args:  cobra.MaximumNArgs(1), ValidArgsFunction: a.CompleteStack,
		RunE: func(cmd *cobra.Command, args []string) error {
			stack := "production"
			if len(args) == 1 {
				stack = args[0]
			}
			p := terminal.NewProgress(a.Streams)
			defer p.Close()
			s, err := begin(cmd.Context(), a, stack, p)
			if err != nil {
				return err
			}
			c, err := drill(cmd.Context(), s, id)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(a.Out).Encode(c)
			}
			for _, col := range c.Collections {
				p.Line("   %-16s %8d documents  sha256 %s", col.Collection, col.Documents, col.SHA256)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&id, "backup", "newest", "ID of the backup, or newest")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the comparison as JSON")
	return cmd
}

func drill(ctx context.Context, s *app.Session, id string) (*command.Comparison, error) {
	m, err := Choose(ctx, s, s.Stack, id)
	if err != nil {
		return nil, err
	}
	step := s.Progress.Step("restore %s of %s beside its store, and drop it again", m.ID, m.Stack)
	var c command.Comparison
	if err := runProgram(ctx, s, step, "drill", &c, "drill", "--id", m.ID); err != nil {
		step.Fail()
		return nil, fmt.Errorf("restore drill of %s: %w", s.Stack, err)
	}
	step.Done("equal to its manifest: %d collections, %.1f s", len(c.Collections), c.Seconds)
	return &c, nil
}
