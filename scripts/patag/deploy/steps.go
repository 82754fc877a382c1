package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"patag/infra/tagserver"
	"patag/scripts/patag/app"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/kube"
	"patag/scripts/patag/project"
)

// Selectors of the pods.
const (
	selectCanary  = tagserver.ComponentLabel + "=" + tagserver.CanaryComponent
	selectAll     = "app.kubernetes.io/part-of=patag"
	selectRunning = "app.kubernetes.io/name=" + tagserver.Part + "," + tagserver.ComponentLabel + "!=" + tagserver.CanaryComponent
)

// dark starts the canary where nobody sees it, and asks it what the others are asked.
func (r *run) dark(ctx context.Context) error {
	if err := r.reach(stepDark); err != nil {
		return err
	}
	pod, err := r.place(ctx, tagserver.CanaryPart, project.Config{app.KeyCanaryImage: r.plan.To["tag"], app.KeyCanaryLive: nil})
	if err != nil {
		return err
	}
	return r.timed("compare dark", func() error { return r.compareDark(ctx, pod) })
}

// live gives the canary its share of the traffic and watches it.
func (r *run) live(ctx context.Context) error {
	if err := r.reach(stepLive); err != nil {
		return err
	}
	pod, err := r.place(ctx, tagserver.Part, project.Config{app.KeyCanaryImage: r.plan.To["tag"], app.KeyCanaryLive: true})
	if err != nil {
		return err
	}
	return r.timed("compare live", func() error { return r.compareLive(ctx, pod) })
}

// place has the canary's pod run under a name, and waits until it is ready.
func (r *run) place(ctx context.Context, name string, values project.Config) (pod kube.Pod, err error) {
	what := "canary dark"
	if name == tagserver.Part {
		what = "canary live"
	}
	err = r.timed(what, func() error {
		if err := r.s.Keep(values); err != nil {
			return err
		}
		if err := r.s.UseImages(anys(r.plan.From)); err != nil {
			return err
		}
		if err := r.apply(ctx); err != nil {
			return err
		}
		pod, err = r.ready(ctx, name)
		return err
	})
	return pod, err
}

// apply runs the program. An update that was cut off is done in the cluster, and not in the state: the way back would find nothing to
// change. So what is there is looked at first whenever the run before did not end well.
func (r *run) apply(ctx context.Context) error {
	r.s.Look, r.doubtful = r.doubtful, true
	if _, err := r.s.Apply(ctx); err != nil {
		return err
	}
	r.doubtful = false
	return nil
}

// ready waits for the canary's pod.
func (r *run) ready(ctx context.Context, name string) (kube.Pod, error) {
	step := r.p.Step("wait for the canary's server")
	limit := r.flags.limits.Ready
	pod, err := r.waitReady(ctx, name, limit)
	if err != nil {
		step.Fail()
		return pod, err
	}
	step.Done("%s", pod.Name)
	return pod, nil
}

// crashes of a pod before its image is given up: one may be the start's bad luck.
const crashes = 2

func (r *run) waitReady(ctx context.Context, name string, limit time.Duration) (kube.Pod, error) {
	trouble := "it was not made"
	for end := time.Now().Add(limit); time.Now().Before(end); {
		pods, err := r.cluster.Pods(ctx, r.namespace, selectCanary)
		if ctx.Err() != nil {
			return kube.Pod{}, ctx.Err()
		}
		if err != nil {
			trouble = err.Error() // the API server may be away for a moment
		}
		for _, pod := range pods {
			if pod.Leaving || pod.Image != r.plan.To["tag"] || pod.Labels["app.kubernetes.io/name"] != name {
				continue
			}
			switch {
			case pod.Hopeless, pod.Restarts >= crashes:
				return pod, fmt.Errorf("the new server does not start: %s%s", pod.Trouble, r.lastWords(ctx, pod))
			case pod.Ready:
				return pod, nil
			case pod.Trouble != "":
				trouble = pod.Trouble
			default:
				trouble = "it runs, but does not say that it is ready" + r.lastWords(ctx, pod)
			}
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return kube.Pod{}, err
		}
	}
	return kube.Pod{}, fmt.Errorf("the new server was not ready after %s: %s", limit, trouble)
}

// lastWords of a pod that fails: the last line that it wrote.
func (r *run) lastWords(ctx context.Context, pod kube.Pod) string {
	text, err := r.cluster.Log(ctx, r.namespace, pod.Name, 1, pod.Restarts > 0)
	if err != nil || text == "" {
		return ""
	}
	if len(text) > 300 {
		text = text[:300]
	}
	return "; its log ends with: " + text
}

// roll replaces the servers, and takes the canary away after that.
func (r *run) roll(ctx context.Context) error {
	if err := r.reach(stepRoll); err != nil {
		return err
	}
	return r.timed("roll out", func() error {
		if err := r.s.Keep(noCanary); err != nil {
			return err
		}
		if err := r.s.UseImages(anys(r.plan.To)); err != nil {
			return err
		}
		return r.rollout(ctx)
	})
}

// rollout applies what the session has, and gives up early on pods that will never be ready.
func (r *run) rollout(ctx context.Context) error {
	limited, cancel := context.WithTimeoutCause(ctx, r.flags.limits.Rollout, fmt.Errorf("the servers were not replaced after %s", r.flags.limits.Rollout))
	defer cancel()
	watched, stop := context.WithCancelCause(limited)
	defer stop(nil)
	go r.watchRollout(watched, stop)
	err := r.apply(watched)
	if err == nil {
		err = r.replaced(watched, r.plan.To["tag"])
	}
	if err == nil {
		return nil
	}
	if cause := context.Cause(watched); ctx.Err() == nil && cause != nil {
		return fmt.Errorf("the rollout is stuck: %w", cause)
	}
	return err
}

// replaced waits until every server runs an image and is ready. The program waits for that, too, but not when the run before it was
// killed meanwhile: then it finds the change made, and nothing to wait for.
func (r *run) replaced(ctx context.Context, image string) error {
	if image == "" {
		return nil
	}
	for {
		pods, err := r.cluster.Pods(ctx, r.namespace, selectRunning)
		left := 0
		for _, pod := range pods {
			if !pod.Leaving && (pod.Image != image || !pod.Ready) {
				left++
			}
		}
		if err == nil && left == 0 && len(pods) > 0 {
			return nil
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
}

// stuckAfter is how long a pod of a rollout may be in trouble.
const stuckAfter = 20 * time.Second

// watchRollout stops a rollout of which a pod does not come up: a server, or a Job that the servers wait for.
func (r *run) watchRollout(ctx context.Context, stop context.CancelCauseFunc) {
	fresh := map[string]bool{}
	for name, image := range r.plan.To {
		fresh[image] = image != r.plan.From[name]
	}
	since := map[string]time.Time{}
	for pause(ctx, time.Second) == nil {
		pods, err := r.cluster.Pods(ctx, r.namespace, selectAll)
		if err != nil {
			continue
		}
		for _, pod := range pods {
			if pod.Leaving || pod.Ready || !fresh[pod.Image] || !pod.Hopeless && pod.Restarts < crashes {
				delete(since, pod.Name)
				continue
			}
			if _, known := since[pod.Name]; !known {
				since[pod.Name] = time.Now()
			}
			if time.Since(since[pod.Name]) > stuckAfter {
				stop(fmt.Errorf("%s does not start: %s%s", pod.Name, pod.Trouble, r.lastWords(ctx, pod)))
				return
			}
		}
	}
}

// back puts the stack to what it ran before.
func (r *run) back(ctx context.Context, reason string, cause error) error {
	if cause != nil && r.plan.Step != stepBack {
		r.p.Line(" ✗ %s", strings.TrimSpace(reason))
	}
	r.p.Line("   taking it back")
	r.plan.Reason = reason
	if err := r.reach(stepBack); err != nil {
		return err
	}
	r.message(r.plan.verb() + ", taken back,")
	err := r.timed("take back", func() error {
		if err := r.s.Keep(noCanary); err != nil {
			return err
		}
		if err := r.s.UseImages(anys(r.plan.From)); err != nil {
			return err
		}
		if err := r.apply(ctx); err != nil {
			return err
		}
		limited, cancel := context.WithTimeoutCause(ctx, r.flags.limits.Rollout, fmt.Errorf("the servers do not run as before after %s", r.flags.limits.Rollout))
		defer cancel()
		if err := r.replaced(limited, r.plan.From["tag"]); err != nil && ctx.Err() == nil {
			return fmt.Errorf("%w: see `patag status %s`", context.Cause(limited), r.s.Stack)
		}
		return ctx.Err()
	})
	if err != nil {
		return exit.New(exit.Code(err), "take the deployment of %s back: %w", r.s.Stack, err).WithHint("`patag deploy %s` goes on with that", r.s.Stack)
	}
	if err := r.s.DeploymentDone(); err != nil {
		return err
	}
	r.report.Result, r.report.Reason = rolledBack, reason
	if cause == nil {
		return nil
	}
	var known *exit.Error
	if errors.As(cause, &known) && known.Hint != "" {
		return exit.New(exit.Failed, "the new images were taken back: %s", reason).WithHint("%s", known.Hint)
	}
	return exit.New(exit.Failed, "the new images were taken back: %s", reason).WithHint("no more than one server ran them")
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
