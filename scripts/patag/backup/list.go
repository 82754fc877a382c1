package backup

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"patag/app/backup/bucket"
	"patag/scripts/patag/app"
	"patag/scripts/patag/terminal"
)

func newBackups(a *app.App) *cobra.Command {
	cmd := &cobra.Command{Use: "backups", Short: "Look at the backups"}
	var asJSON bool
	list := &cobra.Command{
		Use:   "list [STACK]",
		Short: "List the backups in the bucket, the newest first",
		Args:  cobra.MaximumNArgs(1), ValidArgsFunction: a.CompleteStack,
		RunE: func(cmd *cobra.Command, args []string) error {
			p := terminal.NewProgress(a.Streams)
			defer p.Close()
			s, err := a.BeginRun(app.Foundation, nil, false, p)
			if err != nil {
				return err
			}
			b, err := Open(cmd.Context(), s)
			if err != nil {
				return err
			}
			stack := ""
			if len(args) == 1 {
				stack = args[0]
			}
			all, err := b.List(cmd.Context(), stack)
			if err != nil {
				return err
			}
			if asJSON {
				if all == nil {
					all = []*bucket.Manifest{}
				}
				return json.NewEncoder(a.Out).Encode(all)
			}
			w := tabwriter.NewWriter(a.Out, 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tSTACK\tAGE\tTAKEN\tDOCUMENTS\tBYTES")
			for _, m := range all {
				documents := int64(0)
				for _, c := range m.Collections {
					documents += c.Documents
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\n", m.ID, m.Stack, terminal.Elapsed(time.Since(m.Taken)), m.Taken.Format(time.RFC3339), documents, m.Bytes)
			}
			if len(all) == 0 {
				p.Line("   there are none yet")
			}
			return w.Flush()
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print the manifests as JSON")
	cmd.AddCommand(list)
	return cmd
}
