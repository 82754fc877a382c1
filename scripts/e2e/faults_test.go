package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// visitors a second, each of whom makes two requests.
	lightTraffic, steadyTraffic = 25, 50
	// shipTime is the age that impressions may reach in a tag server's journal before they are in Mongo.
	shipTime = 6 * time.Second
)

// faults kills each part in turn under traffic, as the kernel's out-of-memory killer or a broken machine would. The
// service must come back by itself, to its full strength, with all it has acknowledged.
func faults(t *testing.T, m *machine, b *books) {
	pods := func(part string, n int) func(*testing.T, state) ([]int, func(state) bool) {
		return func(t *testing.T, s state) ([]int, func(state) bool) {
			var victims []int
			if len(s.of(part)) < n {
				t.Fatalf("%d pods %s, want at least %d", len(s.of(part)), part, n)
			}
			for _, p := range s.of(part)[:n] {
				victims = append(victims, container(p.uid)...)
			}
			return victims, func(now state) bool { return now.restarts(part) >= s.restarts(part)+n }
		}
	}
	processes := func(names ...string) func(*testing.T, state) ([]int, func(state) bool) {
		return func(t *testing.T, _ state) ([]int, func(state) bool) {
			victims := m.parts(names...)
			if len(victims) != len(names) {
				t.Fatalf("%d processes of %v, want %d", len(victims), names, len(names))
			}
			return victims, func(state) bool {
				return !slices.ContainsFunc(m.parts(names...), func(pid int) bool { return slices.Contains(victims, pid) })
			}
		}
	}
	node := func(of string) func(*testing.T, state) ([]int, func(state) bool) {
		return func(t *testing.T, s state) ([]int, func(state) bool) {
			name := s.of(of)[0].node
			return []int{m.node(name)}, func(now state) bool { return !slices.Contains(now.nodes, name) && len(now.nodes) >= len(s.nodes) }
		}
	}
	for _, f := range []struct {
		name   string
		victim func(*testing.T, state) (pids []int, back func(state) bool)
		// journal says that a tag server's journal goes with what is killed.
		journal bool
	}{
		{"tag", pods("tag", 1), false},
		{"redis", pods("redis", 1), false},
		{"twemproxy", pods("twemproxy", 1), false},
		{"both twemproxies", pods("twemproxy", 2), false},
		{"mongo", pods("mongo", 1), false},
		{"kube-apiserver", processes("kube-apiserver"), false},
		{"etcd", processes("etcd"), false},
		{"kube-controller-manager", processes("kube-controller-manager"), false},
		{"kube-scheduler", processes("kube-scheduler"), false},
		{"control plane", processes(controlPlane...), false},
		{"node of a tag server", node("tag"), true},
		{"node of mongo", node("mongo"), false},
	} {
		t.Run("kill "+f.name, func(t *testing.T) {
			victims, back := f.victim(t, m.settled(t, time.Minute))
			w := send(m.status(t).AdURL, lightTraffic)
			time.Sleep(2 * time.Second)
			begun := time.Now()
			kill(t, victims)
			m.await(t, 3*time.Minute, back)
			strength := time.Since(begun)
			time.Sleep(time.Second)
			seen := w.stop()
			b.add(seen)
			lost := b.checkLoss(t, atStake(seen, begun, f.journal))
			t.Logf("ROW kill -9 %s | full strength %s | %v | %d acknowledged, %d lost, 0 twice", f.name, tenths(strength), seen, len(seen.acknowledged), lost)
		})
	}
	t.Run("rolling restart", func(t *testing.T) { rollingRestart(t, m, b) })
	t.Run("preempt", func(t *testing.T) { preempt(t, m, b) })
	t.Run("kill the daemon", func(t *testing.T) { killDaemon(t, m, b) })
}

// atStake counts what may be lost with a node: what its tag server had acknowledged and not yet shipped.
func atStake(seen tally, killed time.Time, journal bool) int {
	n := 0
	for _, at := range seen.acknowledged {
		if journal && at.After(killed.Add(-shipTime)) && at.Before(killed.Add(time.Second)) {
			n++
		}
	}
	return n
}

// rollingRestart replaces every tag server under steady traffic; the old ones must be gone before it ends.
func rollingRestart(t *testing.T, m *machine, b *books) {
	before := m.settled(t, time.Minute)
	w := send(m.status(t).AdURL, steadyTraffic)
	time.Sleep(2 * time.Second)
	begun := time.Now()
	m.mustShell(t, "kubectl -n patag rollout restart deployment/tag")
	m.await(t, 3*time.Minute, func(now state) bool {
		return !slices.ContainsFunc(now.pods, func(p pod) bool {
			return slices.ContainsFunc(before.of("tag"), func(old pod) bool { return old.uid == p.uid })
		})
	})
	took := time.Since(begun)
	seen := w.stop()
	seen.flawless(t)
	b.add(seen)
	b.check(t)
	t.Logf("ROW rolling restart of tag at %d requests/s | %s | %v", 2*steadyTraffic, tenths(took), seen)
}

// killDaemon takes everything away at once; `patag sandbox start` is the only help.
func killDaemon(t *testing.T, m *machine, b *books) {
	m.settled(t, time.Minute)
	w := send(m.status(t).AdURL, lightTraffic)
	time.Sleep(2 * time.Second)
	url := m.status(t).AdURL
	kill(t, []int{m.daemon()})
	waitFor(t, 20*time.Second, "all that the daemon started ends with it", func() (string, bool) {
		var left []string
		for _, p := range processes() {
			if line := strings.Join(p.args, " "); strings.Contains(line, m.layout.Root) {
				left = append(left, line)
			}
		}
		return strings.Join(left, "\n"), len(left) == 0
	})
	begun := time.Now()
	m.start(t)
	servesAgain(t, url, 2*time.Minute)
	serves := time.Since(begun)
	m.await(t, 3*time.Minute, func(state) bool { return true })
	strength := time.Since(begun)
	seen := w.stop()
	b.add(seen)
	b.check(t)
	unchanged(t, m)
	t.Logf("ROW kill -9 sandbox daemon, then start | serves %s, full strength %s | %v | %d acknowledged, 0 lost, 0 twice",
		tenths(serves), tenths(strength), seen, len(seen.acknowledged))
}

// settled waits until all is well, three times in a row.
func (m *machine) settled(t *testing.T, limit time.Duration) state {
	t.Helper()
	return m.await(t, limit, func(state) bool { return true })
}

// await waits until all is well and what was broken is replaced, three times in a row.
func (m *machine) await(t *testing.T, limit time.Duration, replaced func(state) bool) state {
	t.Helper()
	var s state
	good := 0
	waitFor(t, limit, "all is well again", func() (string, bool) {
		var err error
		s, err = m.look()
		done := err == nil && replaced(s)
		if good++; !done || len(s.wrong) > 0 {
			good = 0
		}
		return fmt.Sprintf("%v; replaced: %v; not well: %s", err, done, strings.Join(s.wrong, ", ")), good == 3
	})
	return s
}
