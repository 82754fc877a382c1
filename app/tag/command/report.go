package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/mongo"

	"patag/app/tag/catalogue/mongostore"
	"patag/app/tag/reports"
	"patag/app/tag/reports/summary"
)

// report prints what was counted in a time, by what is wanted.
func report(ctx context.Context, args []string, s streams) error {
	f := flag.NewFlagSet("tag report", flag.ContinueOnError)
	uri := f.String("mongo-uri", os.Getenv("TAG_MONGO_URI"), "the store (TAG_MONGO_URI)")
	from := f.String("from", "", "first hour, such as 2026-01-31 or 2026-01-31T14:00:00Z; default: 24 hours ago")
	to := f.String("to", "", "hour after the last; default: now")
	byText := f.String("by", "placement,line-item", "what lines are told apart by: placement, line-item, creative, source, advertiser, arm, reason, hour, day; several with commas")
	csvFile := f.String("csv", "", "write comma separated values to this file, or - for standard output")
	asJSON := f.Bool("json", false, "print JSON")
	if err := parse(f, args, s); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return usageError(fmt.Sprintf("unexpected argument %q", f.Arg(0)))
	}
	if *csvFile != "" && *asJSON {
		return usageError("--csv and --json exclude each other")
	}
	by, err := summary.ParseBy(*byText)
	if err != nil {
		return usageError("--by: " + err.Error())
	}
	begin, end, err := span(*from, *to, time.Now().UTC())
	if err != nil {
		return err
	}
	db, closeDB, err := database(ctx, *uri)
	if err != nil {
		return err
	}
	defer closeDB()
	r, err := readReport(ctx, db, begin, end, by)
	if err != nil {
		return err
	}
	switch {
	case *csvFile == "-":
		return r.CSV(s.out)
	case *csvFile != "":
		return writeFile(*csvFile, r.CSV)
	case *asJSON:
		return r.JSON(s.out)
	}
	fmt.Fprintf(s.out, "%s to %s (UTC)\n", begin.Format("2006-01-02 15:04"), end.Format("2006-01-02 15:04"))
	return r.Table(s.out)
}

// span is [begin, end) of a report.
func span(from, to string, now time.Time) (begin, end time.Time, err error) {
	if begin, err = moment(from, now.Add(-24*time.Hour).Truncate(time.Hour)); err != nil {
		return begin, end, usageError("--from: " + err.Error())
	}
	if end, err = moment(to, now); err != nil {
		return begin, end, usageError("--to: " + err.Error())
	}
	if !begin.Before(end) {
		return begin, end, usageError(fmt.Sprintf("--from %s is not before --to %s", begin.Format(time.RFC3339), end.Format(time.RFC3339)))
	}
	return begin.UTC(), end.UTC(), nil
}

func readReport(ctx context.Context, db *mongo.Database, begin, end time.Time, by []summary.Dimension) (*summary.Report, error) {
	// Whole days are read from where they have been added up. Nothing is counted in the future: a day that has begun is a whole one.
	const day = 24 * time.Hour
	detail := reports.ByHour
	if begin.Equal(begin.Truncate(day)) && (end.Equal(end.Truncate(day)) || !end.Before(time.Now().Add(-time.Second))) && !slices.Contains(by, summary.Hour) {
		detail = reports.ByDay
	}
	rows, err := reports.New(db).Rows(ctx, begin, end, detail)
	if err != nil {
		return nil, err
	}
	var advertiser func(string) string
	if slices.Contains(by, summary.Advertiser) {
		if advertiser, err = advertisers(ctx, db); err != nil {
			return nil, err
		}
	}
	r := summary.Make(rows, by, advertiser)
	r.From, r.To = begin, end
	return r, nil
}

// advertisers says whose a line item is, as the catalogue says now: events name the line item only.
func advertisers(ctx context.Context, db *mongo.Database) (func(string) string, error) {
	c, _, err := mongostore.New(db).Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("read whose line items are: %w", err)
	}
	byCampaign := map[string]string{}
	for i := range c.Campaigns {
		byCampaign[c.Campaigns[i].ID] = c.Campaigns[i].Advertiser
	}
	byItem := map[string]string{}
	for i := range c.LineItems {
		byItem[c.LineItems[i].ID] = byCampaign[c.LineItems[i].Campaign]
	}
	return func(item string) string {
		if a := byItem[item]; a != "" {
			return a
		}
		return "(not in the catalogue: " + item + ")"
	}, nil
}

// writeFile writes beside the file and renames: a full disk must not leave half a report under the name.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".report-*")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	defer os.Remove(f.Name())
	err = write(f)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
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
