package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// missing takes parts of production away by hand: status must name each, and up put them back and wait for their pods.
func missing(t *testing.T, m *machine) {
	if s := m.status(t); !s.Healthy {
		t.Fatalf("not well before anything was done: %q", s.Problems)
	}
	m.must(t, time.Minute, "status", "production")
	must := func(args ...string) {
		t.Helper()
		if out, err := m.kubectl(args...); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	must("delete", "deployment", "twemproxy")
	must("delete", "ingress", "--all")
	must("set", "image", "statefulset/redis", "*=europe-west1-docker.pkg.dev/patag-sandbox/patag/redis:no-such-tag")
	var s status
	for _, want := range []string{"Deployment patag/twemproxy is gone", "no forwarding rule leads from the address", "redis-2: ErrImagePull|redis-2: ImagePullBackOff", "no ad at"} {
		waitFor(t, time.Minute, "status says "+want, func() (string, bool) {
			s = m.status(t)
			return strings.Join(s.Problems, "\n"), slices.ContainsFunc(s.Problems, func(p string) bool {
				return slices.ContainsFunc(strings.Split(want, "|"), func(w string) bool { return strings.Contains(p, w) })
			})
		})
	}
	m.refused(t, 6, "production is not well", "status", "production")
	begun := time.Now()
	m.must(t, 5*time.Minute, append([]string{"up", "production", "--yes", "--refresh"}, spot...)...)
	took := time.Since(begun)
	// Nothing is left to be waited for when up has ended.
	if s := m.status(t); !s.Healthy {
		t.Errorf("up has ended, and %q", s.Problems)
	}
	// A changed StatefulSet is waited for, too: the engine alone ends before its first pod is replaced.
	m.must(t, 5*time.Minute, append([]string{"up", "production", "--yes", "-c", "patag:redisMemoryMiB=72"}, spot...)...)
	if s := m.status(t); !s.Healthy {
		t.Errorf("up with another size of Redis has ended, and %q", s.Problems)
	}
	m.must(t, 5*time.Minute, append([]string{"up", "production", "--yes"}, spot...)...)
	t.Logf("ROW status after a Deployment, the Ingress and Redis' image were changed by hand | code 6, each named | up --refresh made it good in %s", tenths(took))
}
