package app

import (
	"context"
	"fmt"
	"time"

	"patag/scripts/patag/exit"
	"patag/scripts/patag/kube"
	"patag/scripts/patag/terminal"
)

// patience is how long Settle waits: for all (Google may have to add nodes), for a workload that does not come right by itself, and
// between two looks.
type patience struct{ most, hopeless, look time.Duration }

var settlePatience = patience{most: 5 * time.Minute, hopeless: time.Minute, look: 500 * time.Millisecond}

// Settle waits until the workloads of the session's stack are as its program says, all pods ready and of the newest revision, and fails
// with the pod that is not and the reason. The engine's wait does not do for a StatefulSet that was changed: see package kube.
func (s *Session) Settle(ctx context.Context, outputs map[string]any) error {
	namespace, _ := outputs["namespace"].(string)
	if asleep, _ := outputs["asleep"].(bool); !s.platform() || namespace == "" || asleep {
		return nil
	}
	cluster, _, err := s.Cluster(ctx, outputs)
	if err != nil {
		return err
	}
	return s.settle(ctx, settlePatience, func(ctx context.Context) ([]kube.Workload, error) { return cluster.Workloads(ctx, namespace) })
}

func (s *Session) settle(ctx context.Context, wait patience, look func(context.Context) ([]kube.Workload, error)) error {
	start := time.Now()
	hopeless := map[string]time.Time{}
	var step *terminal.Step
	for {
		open, err := unsettled(ctx, look)
		if err == nil && open == nil {
			if step != nil {
				step.Done("all are ready")
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if step == nil {
			step = s.Progress.Step("wait for the pods of %s", s.Stack)
		}
		if len(open) > 0 {
			step.Detail("%s: %s", open[0], open[0].Why)
		}
		end := time.Since(start) > wait.most
		for _, w := range open {
			if !w.Hopeless {
				delete(hopeless, w.String())
			} else if _, known := hopeless[w.String()]; !known {
				hopeless[w.String()] = time.Now()
			} else if time.Since(hopeless[w.String()]) > wait.hopeless {
				open, end = []kube.Workload{w}, true
				break
			}
		}
		if end {
			step.Fail()
			if err != nil {
				return fmt.Errorf("look at the workloads of %s: %w", s.Stack, err)
			}
			return exit.New(exit.Failed, "%s is not whole: %s: %s", s.Stack, open[0], open[0].Why).
				WithHint("`patag status %s` shows all; once the reason is gone, Kubernetes goes on by itself", s.Stack)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait.look):
		}
	}
}

// unsettled are the workloads that are waited for.
func unsettled(ctx context.Context, look func(context.Context) ([]kube.Workload, error)) ([]kube.Workload, error) {
	all, err := look(ctx)
	var open []kube.Workload
	for _, w := range all {
		if !w.Whole && !w.Unawaited {
			open = append(open, w)
		}
	}
	return open, err
}
