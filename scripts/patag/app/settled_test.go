package app

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"patag/scripts/patag/exit"
	"patag/scripts/patag/kube"
	"patag/scripts/patag/terminal"
)

func TestSettle(t *testing.T) {
	whole := kube.Workload{Kind: "StatefulSet", Namespace: "ns", Name: "redis", Whole: true}
	pending := kube.Workload{Kind: "StatefulSet", Namespace: "ns", Name: "redis", Why: "2 of 3 pods are ready; redis-2: no node has room for it"}
	broken := kube.Workload{Kind: "Deployment", Namespace: "ns", Name: "tag", Why: "tag-1: ImagePullBackOff", Hopeless: true}
	canary := kube.Workload{Kind: "Deployment", Namespace: "ns", Name: "canary", Why: "not ready", Unawaited: true}
	for name, c := range map[string]struct {
		looks [][]kube.Workload // the last one stays
		fail  error
		want  string
		most  time.Duration
	}{
		"whole":                         {looks: [][]kube.Workload{{whole, canary}}},
		"becomes whole":                 {looks: [][]kube.Workload{{pending}, {broken}, {whole}}},
		"never whole":                   {looks: [][]kube.Workload{{whole, pending}}, want: "StatefulSet ns/redis: 2 of 3 pods are ready; redis-2: no node has room for it"},
		"hopeless ends it early":        {looks: [][]kube.Workload{{pending, broken}}, most: time.Hour, want: "Deployment ns/tag: tag-1: ImagePullBackOff"},
		"an API server that is no more": {fail: errors.New("connection refused"), want: "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			p := terminal.NewProgress(terminal.Streams{Err: &bytes.Buffer{}})
			defer p.Close()
			wait := patience{most: 60 * time.Millisecond, hopeless: 20 * time.Millisecond, look: time.Millisecond}
			if c.most > 0 {
				wait.most = c.most
			}
			looks := c.looks
			err := (&Session{Stack: "production", Progress: p}).settle(t.Context(), wait, func(context.Context) ([]kube.Workload, error) {
				if len(looks) == 0 {
					return nil, c.fail
				}
				now := looks[0]
				if len(looks) > 1 {
					looks = looks[1:]
				}
				return now, c.fail
			})
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if err != nil && exit.Code(err) != exit.Failed {
				t.Errorf("code %d", exit.Code(err))
			}
		})
	}
}
