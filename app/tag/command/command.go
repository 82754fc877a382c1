// Package command is the command line of the tag server: it reads flags and environment, wires the parts together and reports
// errors in one line each. It decides nothing about ads.
//
//	tag [serve] [--demo] [--listen ADDR] …      serve ads
//	tag catalogue validate FILE                 check a catalogue file
//	tag catalogue import FILE | --demo          make the store hold exactly this catalogue
//	tag catalogue export FILE                   write the store's catalogue
//	tag catalogue generate FILE --placements N  make a catalogue for tests
//	tag report [--from T] [--to T] [--by …]     print what was counted
//	tag preview --placement P …                 sign a link that shows why a placement shows what it shows
//	tag bidder …                                be a demand source to try auctions with
//
// FILE may be - for standard input or output. Every flag of serve has an environment variable: see Config.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/x/mongo/driver/connstring"

	bidder "patag/app/bidder/command"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

const usage = `usage:
  tag [serve] [flags]                          serve ads; --demo serves an embedded catalogue with nothing else running
  tag catalogue validate FILE                  check a catalogue file
  tag catalogue import FILE|--demo [flags]     make the store hold exactly this catalogue
  tag catalogue export FILE [flags]            write the store's catalogue to a file
  tag catalogue generate [FILE] [flags]        make a catalogue of any size for tests
  tag report [flags]                           print what was counted
  tag preview --placement P [flags]            print a link that shows why a placement shows what it shows
  tag bidder [flags]                           be a demand source to try auctions with
Each takes -h for its flags; FILE may be -.
`

// usageError is a mistake on the command line; its text has been printed already when empty.
type usageError string

func (e usageError) Error() string { return string(e) }

// streams of one run.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// Run runs one command line and returns the exit code: 0 done, 1 failed, 2 wrong usage.
func Run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	if len(args) > 0 && args[0] == "bidder" { // in this program, so that a staging's auctions need no further image
		return bidder.Run(ctx, args[1:], errOut)
	}
	s := streams{in, out, errOut}
	err := dispatch(ctx, args, s)
	var wrong usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &wrong):
		if wrong != "" {
			fmt.Fprintf(errOut, "tag: %s\n", wrong)
		}
		return exitUsage
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		fmt.Fprintf(errOut, "tag: %s\n", line)
	}
	return exitFailed
}

func dispatch(ctx context.Context, args []string, s streams) error {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") && args[0] != "-h" && args[0] != "--help" {
		return serve(ctx, args, s)
	}
	switch args[0] {
	case "serve":
		return serve(ctx, args[1:], s)
	case "catalogue":
		return catalogueCommand(ctx, args[1:], s)
	case "report":
		return report(ctx, args[1:], s)
	case "preview":
		return preview(ctx, args[1:], s)
	case "-h", "--help", "help":
		fmt.Fprint(s.out, usage)
		return nil
	}
	fmt.Fprint(s.err, usage)
	return usageError(fmt.Sprintf("unknown command %q", args[0]))
}

// parse makes flag errors usage errors; the flag package has printed them.
func parse(f *flag.FlagSet, args []string, s streams) error {
	f.SetOutput(s.err)
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError("")
	}
	return nil
}

// defaultDatabase is used when the URI names none.
const defaultDatabase = "patag"

// database makes a client; it does not wait for the store to answer.
func database(ctx context.Context, uri string) (*mongo.Database, func(), error) {
	if uri == "" {
		return nil, nil, usageError("no store given: set --mongo-uri or TAG_MONGO_URI, such as mongodb://127.0.0.1:27017/patag")
	}
	cs, err := connstring.ParseAndValidate(uri)
	if err != nil {
		// The driver's text may quote the URI, password and all.
		return nil, nil, usageError("the Mongo URI cannot be understood; it looks like mongodb://host:27017/patag")
	}
	name := cs.Database
	if name == "" {
		name = defaultDatabase
	}
	client, err := mongo.Connect(ctx, options.Client().ApplyURI(uri).
		SetServerSelectionTimeout(5*time.Second).SetConnectTimeout(5*time.Second).SetMaxPoolSize(8).SetAppName("tag").
		// FerretDB and single servers have no retryable writes; batches and imports are idempotent without them.
		SetRetryWrites(false))
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the store: %w", err)
	}
	return client.Database(name), func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		client.Disconnect(end)
	}, nil
}
