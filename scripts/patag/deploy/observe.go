package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"patag/scripts/patag/kube"
)

const (
	// darkRounds through all placements; so many before a first judgement.
	darkRounds, darkFirst = 20, 4
	// darkFewest questions about ads: fewer placements are asked more often.
	darkFewest = 120
	// eventRounds have their events followed.
	eventRounds = 3
	// tick of the watch under traffic.
	tick = 2 * time.Second
	// trafficWithin is how soon load balancers find a new server.
	trafficWithin = 45 * time.Second
)

// compareDark asks the dark canary and one of the running servers the same things.
func (r *run) compareDark(ctx context.Context, pod kube.Pod) error {
	step := r.p.Step("compare the new server with a running one, without traffic")
	c, err := r.askBoth(ctx, pod, func(text string) { step.Detail("%s", text) })
	r.report.Dark = c
	if err != nil {
		step.Fail()
		return err
	}
	step.Done("%s", c)
	return nil
}

func (r *run) askBoth(ctx context.Context, pod kube.Pod, say func(string)) (*Comparison, error) {
	placements, err := r.questions(ctx)
	if err != nil {
		return nil, err
	}
	old, err := r.running(ctx)
	if err != nil {
		return nil, err
	}
	running, err := r.reachPod(old[len(old)-1])
	if err != nil {
		return nil, err
	}
	defer running.way.Close()
	canary, err := r.reachPod(pod)
	if err != nil {
		return nil, err
	}
	defer canary.way.Close()
	round(ctx, running, canary, placements, false) // the first connections and a cold cache are not compared
	running.answers, canary.answers = newAnswers(), newAnswers()
	rounds := max(darkRounds, darkFewest/len(placements))
	c := &Comparison{}
	for n := range rounds {
		round(ctx, running, canary, placements, n < eventRounds)
		if err := ctx.Err(); err != nil {
			return c, err
		}
		c = &Comparison{Running: running.answers.figures(), Canary: canary.answers.figures()}
		say(fmt.Sprintf("round %d of %d", n+1, rounds))
		if n+1 >= darkFirst {
			c.Problems = append(r.flags.limits.judge(c.Running, c.Canary), r.flags.limits.differences(running.answers, canary.answers)...)
			if c.Problems != nil {
				return c, errors.New(strings.Join(c.Problems, "; "))
			}
		}
	}
	if c.Canary.Requests == c.Canary.Errors || c.Running.Requests == c.Running.Errors {
		return c, fmt.Errorf("the servers could not be asked: %s", c.Canary.First+c.Running.First)
	}
	return c, nil
}

// compareLive watches the canary under traffic.
func (r *run) compareLive(ctx context.Context, pod kube.Pod) error {
	step := r.p.Step("compare the new server with the running ones, under traffic, for %s", r.flags.limits.Window)
	c, err := r.watch(ctx, pod, func(text string) { step.Detail("%s", text) })
	r.report.Live = c
	if err != nil {
		step.Fail()
		return err
	}
	if n := c.Canary.Requests - c.Probes.Canary.Requests; n < fewest {
		step.Done("there is hardly any traffic (%d requests): judged by %s", max(0, n), c.Probes)
		return nil
	}
	step.Done("%s", c)
	return nil
}

func (r *run) watch(ctx context.Context, pod kube.Pod, say func(string)) (*Comparison, error) {
	placements, err := r.questions(ctx)
	if err != nil {
		return nil, err
	}
	old, err := r.running(ctx)
	if err != nil {
		return nil, err
	}
	canary, err := r.reachPod(pod)
	if err != nil {
		return nil, err
	}
	defer canary.way.Close()
	w := watcher{canary: canary, before: map[string]counts{}}
	for _, p := range old {
		s, err := r.reachPod(p)
		if err != nil {
			return nil, err
		}
		defer s.way.Close()
		w.running = append(w.running, s)
	}
	round(ctx, w.running[0], canary, placements, false)
	if err := w.start(ctx); err != nil {
		return nil, err
	}
	w.running[0].answers, canary.answers = newAnswers(), newAnswers()
	begin := time.Now()
	var traffic time.Time
	for {
		if err := pause(ctx, tick); err != nil {
			return nil, err
		}
		if err := w.well(ctx, r, pod); err != nil {
			return nil, err
		}
		round(ctx, w.running[0], canary, placements, false)
		c, servers, err := w.look(ctx)
		if err != nil {
			return nil, err
		}
		// What was asked here is in the counters too, and no traffic.
		mine := c.Canary.Requests - canary.answers.requests
		perServer := (c.Running.Requests - w.running[0].answers.requests) / servers
		if traffic.IsZero() && mine > fewest {
			traffic = time.Now()
		}
		c.Probes = &Comparison{Running: w.running[0].answers.figures(), Canary: canary.answers.figures()}
		c.Problems = append(r.flags.limits.judge(c.Running, c.Canary), r.flags.limits.judge(c.Probes.Running, c.Probes.Canary)...)
		c.Problems = append(c.Problems, r.flags.limits.differences(w.running[0].answers, canary.answers)...)
		switch since := time.Since(begin); {
		case c.Problems != nil && since > 2*tick:
			return c, errors.New(strings.Join(c.Problems, "; "))
		case traffic.IsZero() && since < trafficWithin && perServer > fewest:
			say("no traffic yet")
		case traffic.IsZero() && since >= trafficWithin && perServer > 10*fewest:
			return c, fmt.Errorf("the new server had no traffic in %s, while the others had %d requests each: load balancers do not find it healthy, or it counts none", trafficWithin, perServer)
		case traffic.IsZero() && since >= r.flags.limits.Window, !traffic.IsZero() && time.Since(traffic) >= r.flags.limits.Window:
			if c.Problems != nil {
				return c, errors.New(strings.Join(c.Problems, "; "))
			}
			return c, nil
		default:
			say(c.String())
		}
	}
}

// unreadyTicks in a row are no hiccup of a busy node.
const unreadyTicks = 4

// well refuses a canary that was restarted or stays unready.
func (w *watcher) well(ctx context.Context, r *run, pod kube.Pod) error {
	pods, err := r.cluster.Pods(ctx, r.namespace, selectCanary)
	if err != nil {
		return ctx.Err() // the API server may be away for a moment
	}
	for _, p := range pods {
		if p.Name != pod.Name {
			continue
		}
		switch {
		case p.Restarts > pod.Restarts:
			return fmt.Errorf("the new server ended under traffic%s", r.lastWords(ctx, p))
		case p.Trouble != "":
			return fmt.Errorf("the new server is in trouble under traffic: %s%s", p.Trouble, r.lastWords(ctx, p))
		case p.Ready:
			w.unready = 0
		default:
			if w.unready++; w.unready >= unreadyTicks {
				return fmt.Errorf("the new server is not ready any more under traffic%s", r.lastWords(ctx, p))
			}
		}
		return nil
	}
	return errors.New("the new server is gone: its node was lost, or it was deleted")
}

// watcher compares counters of servers with what they were.
type watcher struct {
	canary  *server
	running []*server
	before  map[string]counts
	unready int // looks in a row that found the canary not ready
}

func (w *watcher) start(ctx context.Context) error {
	for _, s := range append([]*server{w.canary}, w.running...) {
		now, err := scrape(ctx, s)
		if err != nil {
			return err
		}
		w.before[s.pod.Name] = now
	}
	return nil
}

// look answers what happened since the start, and how many running servers were looked at. Running servers that are gone since are
// left out; the autoscaler may have taken them.
func (w *watcher) look(ctx context.Context) (*Comparison, int, error) {
	now, err := scrape(ctx, w.canary)
	if err != nil {
		return nil, 0, err
	}
	mine := now.since(w.before[w.canary.pod.Name])
	var others counts
	there := 0
	for _, s := range w.running {
		now, err := scrape(ctx, s)
		if err != nil {
			continue
		}
		others.add(now.since(w.before[s.pod.Name]))
		there++
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	if there == 0 {
		return nil, 0, errors.New("none of the running servers can be compared with any more")
	}
	return &Comparison{Running: others.figures(), Canary: mine.figures()}, there, nil
}
