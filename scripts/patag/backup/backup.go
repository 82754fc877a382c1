// Package backup is `patag backup`, `backups list`, `restore` and `drill restore`: the store of a stack is copied into the
// foundation's bucket and back. The copying itself is done in the cluster, by app/backup, as Jobs of the CronJob that takes the
// scheduled backups; a restore is the stack's own program, told by two config keys.
package backup

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/oauth2"
	"google.golang.org/api/option"

	"patag/app/backup/bucket"
	"patag/scripts/patag/app"
	"patag/scripts/patag/cloud"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/kube"
	"patag/scripts/patag/terminal"
)

// cronJob of infra/backup.
const cronJob = "backup"

// NewCommands makes the commands.
func NewCommands(a *app.App) []*cobra.Command {
	drill := &cobra.Command{Use: "drill", Short: "Try out what an emergency needs"}
	drill.AddCommand(newDrill(a))
	return []*cobra.Command{newBackup(a), newBackups(a), newRestore(a), drill}
}

func newBackup(a *app.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "backup STACK",
		Short: "Copy a stack's store into the bucket of backups, now",
		Long: `Copy a stack's store into the bucket of backups, now.

Production does so by itself as well (patag:backupSchedule). A backup is the whole database in mongodump's archive
format, with a manifest of counts and checksums. The bucket keeps it for patag:backupRetentionDays. The last line
of the output is the backup's ID.`,
		Args: app.OneStack, ValidArgsFunction: a.CompleteStack,
		RunE: func(cmd *cobra.Command, args []string) error {
			p := terminal.NewProgress(a.Streams)
			defer p.Close()
			s, err := begin(cmd.Context(), a, args[0], p)
			if err != nil {
				return err
			}
			m, err := Take(cmd.Context(), s)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(a.Out).Encode(m)
			}
			_, err = fmt.Fprintln(a.Out, m.ID)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the manifest as JSON")
	return cmd
}

// begin opens a session on a stack that is there.
func begin(ctx context.Context, a *app.App, stack string, p *terminal.Progress) (*app.Session, error) {
	s, err := a.BeginRun(stack, nil, false, p)
	if err != nil {
		return nil, err
	}
	if _, err := s.Existing(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Take takes a backup of the session's stack.
func Take(ctx context.Context, s *app.Session) (*bucket.Manifest, error) {
	var m bucket.Manifest
	step := s.Progress.Step("back up %s", s.Stack)
	if err := runProgram(ctx, s, step, "backup-now", &m, "dump"); err != nil {
		step.Fail()
		return nil, fmt.Errorf("back up %s: %w", s.Stack, err)
	}
	documents := int64(0)
	for _, c := range m.Collections {
		documents += c.Documents
	}
	step.Done("%s: %d documents, %d bytes", m.ID, documents, m.Bytes)
	return &m, nil
}

// runProgram runs a verb of the backup program in the stack's cluster; into takes its answer.
func runProgram(ctx context.Context, s *app.Session, step *terminal.Step, name string, into any, args ...string) error {
	sum, err := s.Existing(ctx)
	if err != nil {
		return err
	}
	namespace, _ := sum.Outputs["namespace"].(string)
	cluster, err := kube.Find(ctx, s.Cloud, sum.Outputs)
	if err != nil {
		return err
	}
	answer, err := cluster.RunJob(ctx, kube.Order{
		Namespace: namespace, CronJob: cronJob, Args: args, Say: func(line string) { step.Detail("%s", line) },
		// The time is for people; two of one second are two: one that was killed, and the same again.
		Name: fmt.Sprintf("%s-%s-%s", name, time.Now().UTC().Format("20060102-150405"), strings.ToLower(rand.Text()[:6])),
	})
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(answer), into); err != nil {
		return fmt.Errorf("the backup program's answer %q is not what it should be: %w", answer, err)
	}
	return nil
}

// Open opens the foundation's bucket of backups.
func Open(ctx context.Context, s *app.Session) (*bucket.Bucket, error) {
	sum, ok, err := s.Peek(ctx, app.Foundation)
	if err != nil {
		return nil, err
	}
	name, _ := sum.Outputs["backupBucket"].(string)
	if !ok || name == "" {
		return nil, exit.New(exit.Failed, "there is no bucket of backups: the foundation is not up on %s", s.Cloud.Name).WithHint("bring it up with `patag up foundation`")
	}
	token, err := s.Cloud.AccessToken(ctx)
	if err != nil {
		return nil, err
	}
	o := []option.ClientOption{option.WithEndpoint(s.Cloud.Storage)}
	if s.Cloud.Name == cloud.Sandbox {
		o = append(o, option.WithHTTPClient(s.Cloud.Direct(token)))
	} else {
		o = append(o, option.WithTokenSource(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})))
	}
	return bucket.Open(ctx, name, o...)
}

// Choose answers a backup of a stack: the one named, or the newest.
func Choose(ctx context.Context, s *app.Session, from, id string) (*bucket.Manifest, error) {
	b, err := Open(ctx, s)
	if err != nil {
		return nil, err
	}
	var m *bucket.Manifest
	if id == "" || id == "newest" {
		m, err = b.Newest(ctx, from)
	} else {
		m, err = b.Manifest(ctx, from, id)
	}
	if err != nil {
		return nil, exit.New(exit.Usage, "choose a backup: %w", err).WithHint("`patag backups list` shows what there is; nothing was changed")
	}
	return m, nil
}
