package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"patag/app/loadtest/visits"
)

// pressed is one run of wrk: as many requests as a server answers.
type pressed struct {
	perSecond    float64
	perCPUSecond float64 // requests in a second of the server's own processor time
}

// script writes the requests of visits as a script of wrk, so that all servers get the same.
func (b *bench) script(v *visits.Visits, n int) (string, error) {
	var s strings.Builder
	s.WriteString("local paths, country, reqs, n = {}, {}, {}, 0\n")
	for i := range n {
		h := v.Headers()
		fmt.Fprintf(&s, "paths[%d], country[%d] = %q, %q\n", i+1, i+1, v.Path(), h[len(h)-1][1])
	}
	s.WriteString("function init()\n  for i = 1, #paths do\n    reqs[i] = wrk.format('GET', paths[i], {")
	h := v.Headers()
	for _, p := range h[:len(h)-1] {
		fmt.Fprintf(&s, "[%q]=%q,", p[0], p[1])
	}
	fmt.Fprintf(&s, "[%q]=country[i]})\n  end\nend\nfunction request() n = n %% #reqs + 1; return reqs[n] end\n", h[len(h)-1][0])
	path := filepath.Join(b.dir, "load.lua")
	return path, os.WriteFile(path, []byte(s.String()), 0o600)
}

var (
	requests  = regexp.MustCompile(`(\d+) requests in`)
	perSecond = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	failures  = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)|Socket errors: (.+)`)
)

// press lets wrk press a server.
func (b *bench) press(ctx context.Context, s *server, script string) (pressed, error) {
	pid := s.p.worker()
	before, err := used(pid)
	if err != nil {
		return pressed{}, err
	}
	out, err := b.run(ctx, "taskset", "-c", strconv.Itoa(clientCore), b.wrk, "-t1", "-c", strconv.Itoa(b.o.connections),
		"-d", fmt.Sprintf("%ds", int(b.o.span/time.Second)), "-s", script, "http://"+s.addr)
	if err != nil {
		return pressed{}, err
	}
	after, err := used(pid)
	if err != nil {
		return pressed{}, err
	}
	if m := failures.FindString(string(out)); m != "" {
		return pressed{}, fmt.Errorf("%s did not answer well: %s", s.name, m)
	}
	n, rate := requests.FindSubmatch(out), perSecond.FindSubmatch(out)
	if n == nil || rate == nil {
		return pressed{}, fmt.Errorf("wrk said what is not understood:\n%s", out)
	}
	var p pressed
	p.perSecond, _ = strconv.ParseFloat(string(rate[1]), 64)
	total, _ := strconv.ParseFloat(string(n[1]), 64)
	p.perCPUSecond = total / (after - before).Seconds()
	return p, nil
}
