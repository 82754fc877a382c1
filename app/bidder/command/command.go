// Package command is the command line of the demo bidder, for the program of its own and for the tag server's sub-command.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"patag/app/bidder/bidder"
)

const usage = `usage: bidder [flags]

A demand source for tests, demonstrations and load: an OpenRTB 2.6 seat with house-made creatives.
The same seed and bid request make the same answer.

  POST /openrtb2            bid requests
  GET  /win, /bill, /loss   notices of its bids
  GET  /stats               what it was asked, answered and told, as JSON
  GET  /livez, /readyz      health

Example: a source that answers after 20 to 60 ms, bids on 7 of 10 requests, and fails on 1 of 100:
  bidder --listen 127.0.0.1:8090 --latency 20ms --jitter 40ms --fill 0.7 --errors 0.01

Flags:
`

// Run serves until ctx ends and returns the exit code: 0 done, 1 failed, 2 wrong usage.
func Run(ctx context.Context, args []string, errOut io.Writer) int {
	f := flag.NewFlagSet("bidder", flag.ContinueOnError)
	f.SetOutput(errOut)
	f.Usage = func() {
		fmt.Fprint(errOut, usage)
		f.PrintDefaults()
	}
	o := bidder.Defaults()
	listen := f.String("listen", "127.0.0.1:8090", "`address` to listen on")
	f.StringVar(&o.Seat, "seat", o.Seat, "buyer seat `id`")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "`seed` of all chances")
	f.Float64Var(&o.MinCPM, "min-cpm", o.MinCPM, "least `price` of a thousand impressions")
	f.Float64Var(&o.MaxCPM, "max-cpm", o.MaxCPM, "greatest `price`")
	f.StringVar(&o.Currency, "currency", o.Currency, "currency `code` of bids; empty takes the first that a request allows")
	f.Float64Var(&o.Fill, "fill", o.Fill, "`share` of requests that are bid on, 0 to 1")
	f.Float64Var(&o.Deals, "deals", o.Deals, "`share` of bids that use a deal where one is offered, 0 to 1")
	f.DurationVar(&o.Latency, "latency", o.Latency, "`time` before an answer")
	f.DurationVar(&o.Jitter, "jitter", o.Jitter, "further random `time`, 0 to this")
	f.Float64Var(&o.Errors, "errors", o.Errors, "`share` of requests answered 500, 0 to 1")
	f.Float64Var(&o.Hang, "hang", o.Hang, "`share` of requests that are not answered within 30s, 0 to 1")
	categories := f.String("categories", "", "IAB `categories` of its ads, comma separated; empty bids with all of its brands")
	f.StringVar(&o.PublicURL, "public-url", "", "`URL` that notices go to; empty takes the host that was asked")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if f.NArg() > 0 {
		fmt.Fprintf(errOut, "bidder: %q is not understood: there are only flags, see --help\n", f.Arg(0))
		return 2
	}
	if *categories != "" {
		o.Categories = strings.Split(*categories, ",")
	}
	b, err := bidder.New(o)
	if err != nil {
		fmt.Fprintf(errOut, "bidder: %v\n", err)
		return 2
	}
	logger := slog.New(slog.NewTextHandler(errOut, nil))
	if err := serve(ctx, *listen, b, logger); err != nil {
		fmt.Fprintf(errOut, "bidder: %v\n", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, addr string, h http.Handler, logger *slog.Logger) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; choose another address with --listen", addr, err)
	}
	logger.Info("bidding", "url", "http://"+l.Addr().String()+"/openrtb2")
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 45 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(end); err != nil {
		srv.Close() // requests that hang on purpose
	}
	return nil
}
