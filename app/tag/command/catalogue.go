package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"patag/app/tag/catalogue"
	"patag/app/tag/catalogue/generate"
	"patag/app/tag/catalogue/mongostore"
	"patag/app/tag/demo"
	"patag/app/tag/inventory"
)

func catalogueCommand(ctx context.Context, args []string, s streams) error {
	verb := ""
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	switch verb {
	case "validate", "import", "export":
	case "generate":
		return generateFile(args, s)
	default:
		fmt.Fprint(s.err, usage)
		return usageError(fmt.Sprintf("catalogue %q: use validate, import, export or generate", verb))
	}
	f := flag.NewFlagSet("tag catalogue "+verb, flag.ContinueOnError)
	uri := f.String("mongo-uri", os.Getenv("TAG_MONGO_URI"), "the store (TAG_MONGO_URI)")
	useDemo := f.Bool("demo", false, "the embedded demo catalogue instead of a file")
	bidder := f.String("bidder", "", "with --demo: endpoint of the demo bidder, such as http://bidder.app.svc:8080/bid")
	wait := f.Duration("wait", 0, "how long to wait for the store to answer")
	files, err := parseMixed(f, args, s)
	if err != nil {
		return err
	}
	if len(files) > 1 || len(files) == 1 && *useDemo || len(files) == 0 && !*useDemo {
		return usageError(fmt.Sprintf("catalogue %s needs one FILE (or - ; or --demo for import and validate)", verb))
	}
	if *bidder != "" && !*useDemo {
		return usageError("--bidder goes with --demo; in a file, set the endpoint of the demand source")
	}
	file := ""
	if len(files) == 1 {
		file = files[0]
	}
	from := origin{file, *useDemo, *bidder}
	switch verb {
	case "export":
		if *useDemo {
			return usageError("catalogue export has no --demo")
		}
		return export(ctx, file, *uri, s)
	case "validate":
		c, err := from.read(s)
		if err != nil {
			return err
		}
		fmt.Fprintf(s.out, "valid: %s\n", contents(c))
		return nil
	}
	return importFile(ctx, from, *uri, *wait, s)
}

// parseMixed lets flags stand before and after other arguments, which it returns.
func parseMixed(f *flag.FlagSet, args []string, s streams) ([]string, error) {
	var others []string
	for {
		if err := parse(f, args, s); err != nil {
			return nil, err
		}
		if args = f.Args(); len(args) == 0 {
			return others, nil
		}
		others, args = append(others, args[0]), args[1:]
	}
}

// origin is where a catalogue comes from.
type origin struct {
	file   string // or - for standard input
	demo   bool
	bidder string // of the demo
}

func (o origin) read(s streams) (*catalogue.Catalogue, error) {
	c, err := o.parse(s)
	if err != nil {
		return nil, err
	}
	// What servers do with it must work too.
	if _, err := inventory.Compile(c, 1, time.Now()); err != nil {
		return nil, err
	}
	return c, nil
}

func (o origin) parse(s streams) (*catalogue.Catalogue, error) {
	switch {
	case o.demo:
		return demo.Catalogue(o.bidder)
	case o.file == "-":
		return catalogue.Parse(s.in)
	}
	f, err := os.Open(o.file)
	if err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	defer f.Close()
	return catalogue.Parse(f)
}

func contents(c *catalogue.Catalogue) string {
	return fmt.Sprintf("%d placements, %d line items, %d creatives of %d advertisers, %d demand sources, %d deals",
		len(c.Placements), len(c.LineItems), len(c.Creatives), len(c.Advertisers), len(c.DemandSources), len(c.Deals))
}

func importFile(ctx context.Context, from origin, uri string, wait time.Duration, s streams) error {
	c, err := from.read(s)
	if err != nil {
		return err
	}
	db, closeDB, err := database(ctx, uri)
	if err != nil {
		return err
	}
	defer closeDB()
	if err := answers(ctx, wait, func(ctx context.Context) error { return db.Client().Ping(ctx, nil) }); err != nil {
		return fmt.Errorf("the store does not answer: %w", err)
	}
	r, err := mongostore.New(db).Import(ctx, c)
	if err != nil {
		return err
	}
	if r.NoValidators {
		fmt.Fprintln(s.err, "tag: the store has no validators (FerretDB 1 has none): documents are checked by this program alone")
	}
	if r.Unchanged {
		fmt.Fprintf(s.out, "unchanged: the store holds this catalogue as version %d\n", r.Version)
		return nil
	}
	fmt.Fprintf(s.out, "imported as version %d: %d documents written, %d removed; %s\n", r.Version, r.Written, r.Removed, contents(c))
	return nil
}

// answers asks until the store does, for as long as is wanted.
func answers(ctx context.Context, wait time.Duration, ask func(context.Context) error) error {
	until := time.Now().Add(wait)
	for {
		err := ask(ctx)
		if err == nil || ctx.Err() != nil || time.Now().After(until) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func export(ctx context.Context, file, uri string, s streams) error {
	db, closeDB, err := database(ctx, uri)
	if err != nil {
		return err
	}
	defer closeDB()
	c, version, err := mongostore.New(db).Load(ctx)
	if err != nil {
		return err
	}
	return write(c, file, fmt.Sprintf("exported version %d", version), s)
}

func generateFile(args []string, s streams) error {
	f := flag.NewFlagSet("tag catalogue generate", flag.ContinueOnError)
	start := f.String("start", "2026-01-01", "day around which flights lie; most last for a year after it")
	var o generate.Options
	f.IntVar(&o.Placements, "placements", 1000, "how many placements")
	f.IntVar(&o.Candidates, "candidates", 10, "line items of each placement, the house ad among them")
	f.Uint64Var(&o.Seed, "seed", 1, "of all choices: the same seed makes the same file")
	f.IntVar(&o.Sources, "sources", 3, "demand sources of kind openrtb; 0 for no auctions")
	f.IntVar(&o.Tags, "tags", 2, "demand sources of kind tag; 0 for no tag steps")
	f.StringVar(&o.Endpoint, "endpoint", "", "of all bidders; default: hosts that do not exist")
	files, err := parseMixed(f, args, s)
	if err != nil {
		return err
	}
	if len(files) > 1 {
		return usageError("catalogue generate writes one FILE (default - )")
	}
	file := "-"
	if len(files) == 1 {
		file = files[0]
	}
	if o.Start, err = time.Parse(time.DateOnly, *start); err != nil {
		return usageError(fmt.Sprintf("--start: %q is no day such as 2026-01-01", *start))
	}
	c, err := generate.Generate(o)
	if err != nil {
		return usageError(err.Error())
	}
	if err := catalogue.Check(c); err != nil { // an endpoint may be none
		return err
	}
	return write(c, file, "generated", s)
}

// write writes a catalogue to a file, or to standard output for -, and then says nothing beside it.
func write(c *catalogue.Catalogue, file, done string, s streams) error {
	if file == "-" {
		return catalogue.Write(s.out, c)
	}
	if err := replace(file, func(w io.Writer) error { return catalogue.Write(w, c) }); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s: %s\n", done, contents(c))
	return nil
}

// replace writes beside the file and renames: a full disk must not leave half a catalogue under the name.
func replace(file string, fill func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".catalogue-*")
	if err != nil {
		return fmt.Errorf("write the catalogue: %w", err)
	}
	defer os.Remove(f.Name())
	err = fill(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("write the catalogue to %s: %w", file, err)
	}
	return nil
}
