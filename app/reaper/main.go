// Command reaper deletes the clusters of stagings whose time is over. It runs hourly in production's cluster, so that a forgotten
// staging costs at most an hour more than it was given, whether or not anybody's machine is on.
//
//	reaper [--dry-run]
//
// It needs REAPER_PROJECT, and a Google account that may list, read and delete clusters. Machines and their boot disks go with a
// cluster; what else a staging leaves (address, network, disks of claims, secrets) `patag staging reap` finishes, which has the state.
// The last line of its output is JSON, for programs; all else goes to standard error, for people.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"google.golang.org/api/option"

	"patag/app/reaper/reap"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run answers the exit code: 0 done, 1 failed, 2 wrong usage.
func run(ctx context.Context, args []string, out, errOut io.Writer, o ...option.ClientOption) int {
	f := flag.NewFlagSet("reaper", flag.ContinueOnError)
	f.SetOutput(errOut)
	dry := f.Bool("dry-run", false, "only say what would be deleted")
	if err := f.Parse(args); err != nil {
		return 2
	}
	project := os.Getenv("REAPER_PROJECT")
	if project == "" || f.NArg() > 0 {
		fmt.Fprintln(errOut, "reaper: set REAPER_PROJECT to the Google project, and give no argument but --dry-run")
		return 2
	}
	log := slog.New(slog.NewJSONHandler(errOut, nil))
	r, err := reap.New(ctx, reap.Options{Project: project, DryRun: *dry, Now: time.Now, Log: log, Client: o})
	if err == nil {
		var report reap.Report
		report, err = r.Run(ctx)
		if encodeErr := json.NewEncoder(out).Encode(report); err == nil {
			err = encodeErr
		}
	}
	if err != nil {
		// One line: whoever waits for the job shows the last one.
		fmt.Fprintf(errOut, "reaper: %s\n", strings.Join(strings.Fields(err.Error()), " "))
		return 1
	}
	return 0
}
