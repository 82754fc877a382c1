package deploy

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Limits are what a new server may be worse by. Differences in time are allowed a share and an absolute part: a twice of half a
// millisecond is noise, and so is what a busy machine adds.
type Limits struct {
	// Window is how long the canary is watched under traffic.
	Window time.Duration `json:"window"`
	// Ready and Rollout are how long the canary may take to be ready, and the rollout to end.
	Ready   time.Duration `json:"ready"`
	Rollout time.Duration `json:"rollout"`
	// Errors is the share of failed requests that the canary may have above the others.
	Errors float64 `json:"errors"`
	// Fill is the share of the others' fill rate that the canary must reach.
	Fill float64 `json:"fill"`
	// Slower is how many times the others' time the canary may take, beside Slack.
	Slower float64 `json:"slower"`
	// AcceptFields takes missing fields for wanted.
	AcceptFields bool `json:"acceptFields"`
}

// What the times may differ by in any case: median and 95th percentile.
const (
	slackMedian = 30 * time.Millisecond
	slackTail   = 100 * time.Millisecond
)

// Standard limits.
func Standard() Limits {
	return Limits{Window: 30 * time.Second, Ready: 3 * time.Minute, Rollout: 10 * time.Minute, Errors: 0.01, Fill: 0.7, Slower: 2}
}

func (l *Limits) register(f *pflag.FlagSet) {
	f.DurationVar(&l.Window, "window", l.Window, "how long the new server is watched under traffic")
	f.DurationVar(&l.Ready, "ready-timeout", l.Ready, "how long the new server may take to be ready; a node may have to come first")
	f.DurationVar(&l.Rollout, "rollout-timeout", l.Rollout, "how long it may take to replace the servers")
	f.Float64Var(&l.Errors, "max-errors", l.Errors, "share of failed requests that the new server may have above the others")
	f.Float64Var(&l.Fill, "min-fill", l.Fill, "share of the others' fill rate that the new server must reach")
	f.Float64Var(&l.Slower, "max-slower", l.Slower, "how many times the others' time the new server may take")
	f.BoolVar(&l.AcceptFields, "accept-fields", l.AcceptFields, "let the new server's answers lack fields that the others' have")
}

// Figures are what one side showed.
type Figures struct {
	Requests int     `json:"requests"`
	Errors   int     `json:"errors"`
	FillRate float64 `json:"fillRate"`
	// Median and Tail (95th percentile) in milliseconds.
	Median float64 `json:"medianMs"`
	Tail   float64 `json:"p95Ms"`
	// First is the first error.
	First string `json:"firstError,omitempty"`
}

// Comparison is the running servers beside the new one.
type Comparison struct {
	Running Figures `json:"running"`
	Canary  Figures `json:"canary"`
	// Probes are of questions that were asked by this program, beside real traffic.
	Probes   *Comparison `json:"probes,omitempty"`
	Problems []string    `json:"problems,omitempty"`
}

func (c *Comparison) String() string {
	return fmt.Sprintf("%d requests, %d failed, fill %.0f%%, median %.1f ms, p95 %.1f ms; running: %d, %d, %.0f%%, %.1f ms, %.1f ms",
		c.Canary.Requests, c.Canary.Errors, 100*c.Canary.FillRate, c.Canary.Median, c.Canary.Tail,
		c.Running.Requests, c.Running.Errors, 100*c.Running.FillRate, c.Running.Median, c.Running.Tail)
}

// fewest requests of each side that say something about shares and times.
const fewest = 20

// judge says in what the canary is worse than it may be.
func (l Limits) judge(running, canary Figures) (problems []string) {
	if canary.Requests == 0 || running.Requests == 0 {
		return nil
	}
	bad, usual := share(canary), share(running)
	// One failure among few is more than one per cent: two are needed.
	if canary.Errors > 1 && bad > usual+l.Errors {
		text := fmt.Sprintf("the new server failed %d of %d requests (%.1f%%), the running ones %.1f%%", canary.Errors, canary.Requests, 100*bad, 100*usual)
		if canary.First != "" {
			text += ": " + canary.First
		}
		problems = append(problems, text)
	}
	if canary.Requests-canary.Errors < fewest || running.Requests-running.Errors < fewest {
		return problems
	}
	if canary.FillRate < running.FillRate*l.Fill {
		problems = append(problems, fmt.Sprintf("the new server fills %.0f%% of the requests, the running ones %.0f%%", 100*canary.FillRate, 100*running.FillRate))
	}
	for _, t := range []struct {
		name        string
		is, usual   float64
		unavoidable time.Duration
	}{{"median", canary.Median, running.Median, slackMedian}, {"95th percentile", canary.Tail, running.Tail, slackTail}} {
		if most := t.usual*l.Slower + float64(t.unavoidable.Milliseconds()); t.is > most {
			problems = append(problems, fmt.Sprintf("the new server is slow: %s %.0f ms, the running ones %.1f ms; %.0f ms is the most", t.name, t.is, t.usual, most))
			break
		}
	}
	return problems
}

func share(f Figures) float64 { return float64(f.Errors) / float64(max(1, f.Requests)) }

// answers are what one side said to the same questions.
type answers struct {
	times            []time.Duration
	requests, failed int
	filled, decided  int
	first            string
	statuses         map[string]map[int]int
	always           map[string]map[string]bool // fields that all answers to a question had
	ever             map[string]map[string]bool
}

func newAnswers() *answers {
	return &answers{statuses: map[string]map[int]int{}, always: map[string]map[string]bool{}, ever: map[string]map[string]bool{}}
}

// add notes an answer to a question. status 0 is none.
func (a *answers) add(question string, status int, took time.Duration, fields map[string]bool, problem string) {
	a.requests++
	if problem != "" {
		a.failed++
		if a.first == "" {
			a.first = question + ": " + problem
		}
		return
	}
	if a.statuses[question] == nil {
		a.statuses[question] = map[int]int{}
	}
	a.statuses[question][status]++
	if took > 0 {
		a.times = append(a.times, took)
	}
	if fields == nil {
		return
	}
	a.decided++
	if fields["chain"] {
		a.filled++
	}
	if a.always[question] == nil {
		a.always[question], a.ever[question] = map[string]bool{}, map[string]bool{}
		for f := range fields {
			a.always[question][f] = true
		}
	}
	for f := range a.always[question] {
		if !fields[f] {
			delete(a.always[question], f)
		}
	}
	for f := range fields {
		a.ever[question][f] = true
	}
}

func (a *answers) figures() Figures {
	f := Figures{Requests: a.requests, Errors: a.failed, First: a.first}
	if a.decided > 0 {
		f.FillRate = float64(a.filled) / float64(a.decided)
	}
	times := slices.Clone(a.times)
	slices.Sort(times)
	if n := len(times); n > 0 {
		ms := func(q float64) float64 {
			return math.Round(float64(times[min(n-1, int(q*float64(n)))])/float64(time.Microsecond)) / 1000
		}
		f.Median, f.Tail = ms(.5), ms(.95)
	}
	return f
}

// differences are statuses that only the canary answers with, and fields that it never has and the others always.
func (l Limits) differences(running, canary *answers) (problems []string) {
	for _, question := range keys(canary.statuses) {
		for status, n := range canary.statuses[question] {
			if len(running.statuses[question]) > 0 && running.statuses[question][status] == 0 && n > 1 {
				problems = append(problems, fmt.Sprintf("%s: the new server answers %d, the running ones %v", question, status, keys(running.statuses[question])))
			}
		}
		if l.AcceptFields || canary.ever[question] == nil {
			continue
		}
		var missing []string
		for _, field := range keys(running.always[question]) {
			if !canary.ever[question][field] {
				missing = append(missing, field)
			}
		}
		if missing != nil {
			problems = append(problems, fmt.Sprintf("%s: the new server's answers lack %s (--accept-fields if that is wanted)", question, strings.Join(missing, ", ")))
		}
	}
	return problems
}

func keys[K interface{ ~int | ~string }, V any](m map[K]V) []K {
	out := make([]K, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Slice(out, func(i, j int) bool { return out[i] < out[j] })
	return out
}
