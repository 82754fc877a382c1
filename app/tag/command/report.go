package command

import (
	"cmp"
	"context"
	"encoding/csv"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"patag/app/tag/catalogue/mongostore"
	"patag/app/tag/events/ship"
)

// line is one line of a report: a placement, or what a line item did in it.
type line struct {
	placement, item, currency            string
	requests, fills, noFills             int64
	impressions, viewables, clicks, bots int64
	cpmMicros                            int64 // sum over impressions
}

func report(ctx context.Context, args []string, s streams) error {
	f := flag.NewFlagSet("tag report", flag.ContinueOnError)
	uri := f.String("mongo-uri", os.Getenv("TAG_MONGO_URI"), "the store (TAG_MONGO_URI)")
	from := f.String("from", "", "first hour, such as 2026-01-31 or 2026-01-31T14:00:00Z; default: 24 hours ago")
	to := f.String("to", "", "hour after the last; default: now")
	asCSV := f.Bool("csv", false, "comma separated values")
	if err := parse(f, args, s); err != nil {
		return err
	}
	now := time.Now().UTC()
	begin, err := moment(*from, now.Add(-24*time.Hour).Truncate(time.Hour))
	if err != nil {
		return usageError("--from: " + err.Error())
	}
	end, err := moment(*to, now)
	if err != nil {
		return usageError("--to: " + err.Error())
	}
	db, closeDB, err := database(ctx, *uri)
	if err != nil {
		return err
	}
	defer closeDB()
	lines := map[[3]string]*line{}
	err = mongostore.NewReports(db).Rows(ctx, begin, end, func(r *ship.Row) { addRow(lines, r) })
	if err != nil {
		return err
	}
	sorted := sortLines(lines)
	if *asCSV {
		return printCSV(s.out, sorted)
	}
	return printTable(s.out, sorted)
}

func sortLines(lines map[[3]string]*line) []*line {
	sorted := make([]*line, 0, len(lines))
	for _, l := range lines {
		sorted = append(sorted, l)
	}
	slices.SortFunc(sorted, func(a, b *line) int {
		return cmp.Or(cmp.Compare(a.placement, b.placement), cmp.Compare(a.item, b.item), cmp.Compare(a.currency, b.currency))
	})
	return sorted
}

func moment(text string, def time.Time) (time.Time, error) {
	if text == "" {
		return def, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a day (2026-01-31) nor a time (2026-01-31T14:00:00Z)", text)
}

func addRow(lines map[[3]string]*line, r *ship.Row) {
	k := [3]string{r.Placement, r.LineItem, r.Currency}
	l := lines[k]
	if l == nil {
		l = &line{placement: r.Placement, item: r.LineItem, currency: r.Currency}
		lines[k] = l
	}
	if r.Invalid {
		l.bots += r.Count
		return
	}
	switch r.Kind {
	case "request":
		l.requests += r.Count
	case "fill":
		l.fills += r.Count
	case "no_fill":
		l.noFills += r.Count
	case "impression":
		l.impressions += r.Count
		l.cpmMicros += r.CPMMicros
	case "viewable":
		l.viewables += r.Count
	case "click":
		l.clicks += r.Count
	}
}

var columns = []string{"placement", "line_item", "requests", "fills", "no_fills", "impressions", "viewables", "clicks", "invalid", "revenue_micros", "currency", "ecpm_micros", "ctr_percent", "viewable_percent"}

func (l *line) cells() []string {
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	revenue, ecpm := "", ""
	if l.item != "" {
		revenue = n(l.cpmMicros / 1000)
		if l.impressions > 0 {
			ecpm = n(l.cpmMicros / l.impressions)
		}
	}
	return []string{l.placement, l.item, n(l.requests), n(l.fills), n(l.noFills), n(l.impressions), n(l.viewables), n(l.clicks), n(l.bots),
		revenue, l.currency, ecpm, percent(l.clicks, l.impressions), percent(l.viewables, l.impressions)}
}

func percent(part, whole int64) string {
	if whole == 0 {
		return ""
	}
	return strconv.FormatFloat(100*float64(part)/float64(whole), 'f', 2, 64)
}

func printCSV(out io.Writer, lines []*line) error {
	w := csv.NewWriter(out)
	w.Write(columns)
	for _, l := range lines {
		w.Write(l.cells())
	}
	w.Flush()
	return w.Error()
}

func printTable(out io.Writer, lines []*line) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, row := range append([][]string{columns}, rowsOf(lines)...) {
		for i, c := range row {
			if c == "" {
				c = "-"
			}
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, c)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func rowsOf(lines []*line) [][]string {
	out := make([][]string, len(lines))
	for i, l := range lines {
		out[i] = l.cells()
	}
	return out
}
