package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"patag/scripts/patag/app"
	"patag/scripts/patag/engine"
	"patag/scripts/patag/terminal"
)

// Entry is one update of a stack, as people tell it.
type Entry struct {
	Number  int               `json:"number"`
	Begun   time.Time         `json:"begun"`
	Seconds float64           `json:"seconds"`
	Kind    string            `json:"kind"`
	What    string            `json:"what"`
	By      string            `json:"by,omitempty"`
	Result  string            `json:"result"`
	Changes map[string]int    `json:"changes,omitempty"`
	Images  map[string]string `json:"images,omitempty"`
	// Changed are the images that were others in the last update that succeeded before.
	Changed []string `json:"changedImages,omitempty"`
}

func newHistory(a *app.App) *cobra.Command {
	var asJSON bool
	var most int
	cmd := &cobra.Command{
		Use:   "history STACK",
		Short: "Who changed a stack, when, and with which images",
		Long: `Who changed a stack, when, and with which images.

One line per update, newest last, as Pulumi's history has it. The number is what ` + "`patag rollback --to`" + ` takes.`,
		Args: app.OneStack, ValidArgsFunction: a.CompleteStack,
		RunE: func(cmd *cobra.Command, args []string) error {
			p := terminal.NewProgress(a.Streams)
			defer p.Close()
			s, err := a.BeginRun(args[0], nil, true, p)
			if err != nil {
				return err
			}
			if _, err := s.Existing(cmd.Context()); err != nil {
				return err
			}
			entries, err := history(cmd.Context(), s)
			if err != nil {
				return err
			}
			if most > 0 && len(entries) > most {
				entries = entries[len(entries)-most:]
			}
			if asJSON {
				return json.NewEncoder(a.Out).Encode(entries)
			}
			for _, e := range entries {
				if _, err := fmt.Fprintln(a.Out, e); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().IntVarP(&most, "number", "n", 20, "how many updates, the newest; 0 for all")
	return cmd
}

func (e Entry) String() string {
	var images []string
	for _, name := range e.Changed {
		images = append(images, name+" "+short(e.Images[name]))
	}
	by := e.By
	if by == "" {
		by = "-"
	}
	return strings.TrimRight(fmt.Sprintf("%4d  %s  %4.0f s  %-9s  %-28s  %-18s  %s", e.Number, e.Begun.Local().Format("2006-01-02 15:04:05"),
		e.Seconds, e.Result, e.What, by, strings.Join(images, ", ")), " ")
}

func history(ctx context.Context, s *app.Session) ([]Entry, error) {
	updates, err := s.History(ctx, 0)
	if err != nil {
		return nil, err
	}
	return entries(updates), nil
}

func entries(updates []engine.Update) []Entry {
	var out []Entry
	var before map[string]string
	for _, u := range updates {
		e := Entry{Number: u.Number, Begun: u.Begun, Kind: u.Kind, Result: u.Result, Changes: u.Changes, Images: texts(u.Images)}
		if !u.Ended.IsZero() {
			e.Seconds = u.Ended.Sub(u.Begun).Seconds()
		}
		e.What, e.By = message(u)
		for _, name := range slices.Sorted(maps.Keys(e.Images)) {
			if before[name] != e.Images[name] {
				e.Changed = append(e.Changed, name)
			}
		}
		if e.Result == "succeeded" && len(e.Images) > 0 {
			before = e.Images
		}
		out = append(out, e)
	}
	return out
}

// message splits what patag writes into an update: what, and by whom.
func message(u engine.Update) (what, by string) {
	text := u.Message
	if plain, err := strconv.Unquote(text); err == nil { // the Automation API quotes it
		text = plain
	}
	text = strings.TrimPrefix(text, "patag ")
	if text == "" {
		return u.Kind, ""
	}
	if i := strings.LastIndex(text, " by "); i >= 0 {
		return strings.TrimSuffix(text[:i], ","), text[i+4:]
	}
	return text, ""
}
