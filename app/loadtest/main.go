// Command loadtest asks a tag server for ads at a constant rate, as many browsers would, sends the events that follow, and tells how
// long answers took and what was acknowledged. See packages attack and visits for what is measured and what is sent.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"patag/app/loadtest/attack"
	"patag/app/loadtest/visits"
)

const usage = `usage: loadtest --placements ID[,ID...] [flags] http://HOST:PORT

Asks a tag server for ads at a constant rate and prints how long answers took, from the moment that each request was due.
It speaks plain HTTP: behind TLS it is run on the server's side of the load balancer.

Example: 3,000 requests a second, ads and the events that follow, for ten minutes:
  loadtest --placements demo-top,demo-side --rate 3000 --duration 10m --events http://127.0.0.1:8080

It exits with 1 when a request failed or p99 is above --p99.

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// summary is what --json prints. Times are in milliseconds.
type summary struct {
	Requests  int            `json:"requests"`
	Rate      float64        `json:"rate"` // answered, a second
	Failed    int            `json:"failed"`
	Late      int            `json:"late"` // found no connection free when they were due
	P50       float64        `json:"p50Ms"`
	P99       float64        `json:"p99Ms"`
	P999      float64        `json:"p999Ms"`
	Max       float64        `json:"maxMs"`
	Statuses  map[int]int    `json:"statuses"`
	Ads       int            `json:"ads"`
	Filled    int            `json:"filled,omitempty"`
	Acked     map[string]int `json:"acknowledged,omitempty"`
	Repeated  int            `json:"repeated,omitempty"`
	Unsure    map[string]int `json:"unsure,omitempty"`
	NotSent   int            `json:"notSent,omitempty"` // events that were still waiting at the end
	TookSecs  float64        `json:"tookSeconds"`
	StartedAt time.Time      `json:"startedAt"`
}

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	f := flag.NewFlagSet("loadtest", flag.ContinueOnError)
	f.SetOutput(errOut)
	f.Usage = func() {
		fmt.Fprint(errOut, usage)
		f.PrintDefaults()
	}
	var o attack.Options
	var v visits.Options
	placements := f.String("placements", "", "`ids` of the placements to ask for, with commas; @FILE reads one a line")
	f.Float64Var(&o.Rate, "rate", 100, "`requests` a second, events included")
	f.DurationVar(&o.Duration, "duration", 10*time.Second, "how `long`")
	f.IntVar(&o.Connections, "connections", 64, "`kept-alive` connections")
	f.DurationVar(&o.Timeout, "timeout", 5*time.Second, "after which `time` a request counts as failed")
	f.IntVar(&v.Users, "users", 100_000, "how `many` visitors there are")
	f.BoolVar(&v.Events, "events", false, "send impressions, viewables and clicks of the ads")
	f.Uint64Var(&v.Seed, "seed", 1, "`number` that all choices follow from")
	asJSON := f.Bool("json", false, "print JSON")
	most := f.Duration("p99", 0, "fail when 99 of 100 answers are not within this `time`; 0 for no bound")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	err := prepare(f.Args(), *placements, &o, &v)
	if err != nil {
		fmt.Fprintf(errOut, "loadtest: %v\n", err)
		return 2
	}
	script := visits.New(v)
	began := time.Now().UTC()
	r, err := attack.Run(ctx, o, script)
	if err != nil {
		fmt.Fprintf(errOut, "loadtest: %v\n", err)
		return 1
	}
	s := summarise(r, script, began)
	if *asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		e.Encode(s)
	} else {
		s.print(out)
	}
	switch {
	case s.Requests == 0:
		fmt.Fprintln(errOut, "loadtest: nothing was asked")
		return 1
	case s.Failed > 0:
		fmt.Fprintf(errOut, "loadtest: %d of %d requests failed\n", s.Failed, s.Requests)
		return 1
	case *most > 0 && r.Quantile(0.99) > *most:
		fmt.Fprintf(errOut, "loadtest: p99 is %s, above %s\n", r.Quantile(0.99), *most)
		return 1
	}
	return 0
}

// prepare reads where to send what.
func prepare(args []string, placements string, o *attack.Options, v *visits.Options) error {
	if len(args) != 1 {
		return errors.New("one URL is needed, such as http://127.0.0.1:8080; see --help")
	}
	u, err := url.Parse(args[0])
	if err != nil || u.Scheme != "http" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return fmt.Errorf("%q is no URL such as http://127.0.0.1:8080 (without path, and not https)", args[0])
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	addr, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return fmt.Errorf("look up %s: %w", u.Hostname(), err)
	}
	o.Addr = addr.AddrPort()
	v.Host = u.Host
	if file, ok := strings.CutPrefix(placements, "@"); ok {
		raw, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read the placements: %w", err)
		}
		v.Placements = strings.Fields(string(raw))
	} else if placements != "" {
		v.Placements = strings.Split(placements, ",")
	}
	if len(v.Placements) == 0 {
		return errors.New("--placements is needed: which ads to ask for")
	}
	if v.Users < 1 || o.Connections < 1 {
		return errors.New("--users and --connections must be at least 1")
	}
	return nil
}

func summarise(r *attack.Result, v *visits.Visits, began time.Time) *summary {
	ms := func(q float64) float64 { return float64(r.Quantile(q).Microseconds()) / 1000 }
	return &summary{
		Requests: len(r.Latencies), Rate: float64(len(r.Latencies)) / max(r.Took.Seconds(), 1e-9), Failed: r.Failed(), Late: r.Late,
		P50: ms(.5), P99: ms(.99), P999: ms(.999), Max: ms(1), Statuses: r.Statuses,
		Ads: v.Ads, Filled: v.Filled, Acked: v.Acked, Repeated: v.Repeated, Unsure: v.Unsure, NotSent: v.Rest(), TookSecs: r.Took.Seconds(), StartedAt: began,
	}
}

func (s *summary) print(w io.Writer) {
	fmt.Fprintf(w, "%d requests in %.1f s, %.0f a second; %d failed; by status %v\n", s.Requests, s.TookSecs, s.Rate, s.Failed, s.Statuses)
	fmt.Fprintf(w, "p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, most %.2f ms; %d found no connection free when they were due\n", s.P50, s.P99, s.P999, s.Max, s.Late)
	fmt.Fprintf(w, "%d ads asked for", s.Ads)
	if len(s.Acked) > 0 {
		fmt.Fprintf(w, ", %d filled; events acknowledged %v, %d sent again, %d not sent", s.Filled, s.Acked, s.Repeated, s.NotSent)
	}
	fmt.Fprintln(w)
}
