// Package rtb holds real-time auctions: it asks demand sources for bids over OpenRTB 2.6. In go a decision's request and the auction
// step of its waterfall; out comes one answer per source by the step's deadline, whatever the sources do. What became of each bid is
// told to its bidder afterwards, out of the request's way. It knows nothing of line items, and decides nothing: it leaves out only
// bids that could not be shown.
package rtb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"patag/app/tag/decision"
	"patag/app/tag/inventory"
)

// Options of auctions. Zero values mean the defaults named.
type Options struct {
	Logger  *slog.Logger          // default: nothing is logged
	Metrics prometheus.Registerer // default: nothing is registered
	// Margin is what the network takes of a bidder's time: bidders are told that much less. Default 10ms, at most half of the time.
	Margin time.Duration
	// Grace is how long after its time a bidder's answer is still read, so that the bidder learns that it came too late and the
	// connection can be used again. Default 100ms.
	Grace time.Duration
	// MaxInFlight is how many bid requests to one source may be out at a time; default 256.
	MaxInFlight int
	// MaxNotices is how many notices to one source may wait; more are dropped and counted. Default 512.
	MaxNotices int
	// Transport of bid requests; default one that keeps connections and follows nothing.
	Transport http.RoundTripper
}

// Auctions asks sources. Make it with New; it is for any number of goroutines, and outlives snapshots.
type Auctions struct {
	o       Options
	metrics *metrics
	notices *notices
	seats   sync.Map // source id → *seat

	base context.Context
	stop context.CancelFunc

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
}

var _ decision.Auctions = (*Auctions)(nil)

// New makes auctions. Close them.
func New(o Options) (*Auctions, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Margin == 0 {
		o.Margin = 10 * time.Millisecond
	}
	if o.Grace == 0 {
		o.Grace = 100 * time.Millisecond
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 256
	}
	if o.MaxNotices == 0 {
		o.MaxNotices = 512
	}
	if o.Transport == nil {
		o.Transport = newTransport(o.MaxInFlight, nil)
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("register the metrics of auctions: %w", err)
	}
	base, stop := context.WithCancel(context.Background())
	return &Auctions{o: o, metrics: m, notices: newNotices(base, o.MaxNotices), base: base, stop: stop}, nil
}

// Close waits until ctx ends for notices that are queued, then ends everything that is still out. Ask answers at once after it.
func (a *Auctions) Close(ctx context.Context) error {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	idle := make(chan struct{})
	go func() {
		a.calls.Wait()
		a.notices.wait() // after the calls, which tell losses
		close(idle)
	}()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = errors.New("notices to demand sources were given up: they did not go out in time")
	}
	a.stop()
	<-idle
	if t, ok := a.o.Transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
	a.notices.closeIdle()
	return err
}

// lot is what is auctioned and the rules that bids are held to. Calls may outlive the request, which is reused: so the lot has copies of
// what is the request's, and pointers only to what never changes.
type lot struct {
	id        string // of the bid request
	placement *inventory.Placement
	step      *inventory.Step
	now       int64
	secure    bool
}

// impID is the id of the only impression of our bid requests.
const impID = "1"

// round is one Ask: where its calls leave their answers.
type round struct {
	lot
	mu      sync.Mutex
	over    bool // Ask has returned: answers are late
	answers []decision.Answer
	left    int // calls without an answer
	running int // calls that still run
	done    chan struct{}
	cancel  context.CancelFunc
}

// Ask implements decision.Auctions. Sources that can never fill at this step are not asked and have no answer.
func (a *Auctions) Ask(ctx context.Context, r *decision.Request, step *inventory.Step) []decision.Answer {
	begin := time.Now()
	most := step.Deadline
	if end, ok := ctx.Deadline(); ok {
		most = min(most, end.Sub(begin))
	}
	rd := &round{
		lot:     lot{id: newID(), placement: r.Placement, step: step, now: r.Now, secure: !r.Visitor.Insecure},
		answers: make([]decision.Answer, 0, len(step.Sources)),
		done:    make(chan struct{}),
	}
	calls := make([]call, 0, len(step.Sources))
	var head []byte
	var longest time.Duration
	for i, src := range step.Sources {
		if i < len(step.Bars) && step.Bars[i] != inventory.NotBarred {
			continue
		}
		rd.answers = append(rd.answers, decision.Answer{Source: src, Problem: decision.TimedOut})
		out := &rd.answers[len(rd.answers)-1]
		s := a.seat(src)
		timeout := most
		if src.Timeout > 0 {
			timeout = min(timeout, src.Timeout)
		}
		release, problem := a.admit(ctx, r, s, timeout)
		if problem != decision.None {
			out.Problem = problem
			continue
		}
		if head == nil {
			head = appendHead(make([]byte, 0, 1536), rd, r)
		}
		body := appendTail(append(make([]byte, 0, len(head)+768), head...), rd, src, a.tmax(timeout))
		calls = append(calls, call{auctions: a, round: rd, seat: s, at: len(rd.answers) - 1, body: body, timeout: timeout, begin: begin, release: release})
		longest = max(longest, timeout)
	}
	if len(calls) == 0 {
		return rd.answers
	}
	callCtx, cancel := context.WithTimeout(a.base, longest+a.o.Grace)
	rd.left, rd.running, rd.cancel = len(calls), len(calls), cancel
	for i := range calls {
		go calls[i].run(callCtx)
	}
	return rd.wait(ctx, longest-time.Since(begin))
}

// wait returns the answers when all are there, at the latest after some time. Whoever asked and went away ends the calls.
func (rd *round) wait(ctx context.Context, most time.Duration) []decision.Answer {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-rd.done:
	case <-timer.C:
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			rd.cancel()
		}
	}
	rd.mu.Lock()
	defer rd.mu.Unlock()
	rd.over = true
	return rd.answers
}

// put leaves an answer, and says whether it came in time to count.
func (rd *round) put(at int, answer *decision.Answer) bool {
	rd.mu.Lock()
	defer rd.mu.Unlock()
	if rd.over {
		return false
	}
	answer.Source = rd.answers[at].Source
	rd.answers[at] = *answer
	if rd.left--; rd.left == 0 {
		close(rd.done)
	}
	return true
}

// end is said by each call last.
func (rd *round) end() {
	rd.mu.Lock()
	rd.running--
	last := rd.running == 0
	rd.mu.Unlock()
	if last {
		rd.cancel()
	}
}

// admit says whether a source may be asked now; then release must be called with what came of it.
func (a *Auctions) admit(ctx context.Context, r *decision.Request, s *seat, timeout time.Duration) (func(error), decision.Reason) {
	src := s.current().source
	if !r.Privacy.Vendor(src.VendorID) {
		s.count(outcomeNotPermitted)
		return nil, decision.NotPermitted
	}
	if timeout <= a.o.Margin/2 || ctx.Err() != nil {
		s.count(outcomeTimedOut)
		return nil, decision.TimedOut
	}
	if !s.limiter.Allow() {
		s.count(outcomeOverQPS)
		return nil, decision.OverQPS
	}
	if s.inFlight.Add(1) > int64(a.o.MaxInFlight) {
		s.inFlight.Add(-1)
		s.count(outcomeInFlight)
		return nil, decision.OverQPS
	}
	done, err := s.breaker.Allow()
	if err != nil {
		s.inFlight.Add(-1)
		s.count(outcomeBreakerOpen)
		return nil, decision.BreakerOpen
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		s.inFlight.Add(-1)
		done(context.Canceled)
		s.count(outcomeFailed)
		return nil, decision.SourceFailed
	}
	a.calls.Add(1)
	return func(err error) {
		done(err)
		s.inFlight.Add(-1)
		a.calls.Done()
	}, decision.None
}

// tmax is the time that a bidder is told it has.
func (a *Auctions) tmax(timeout time.Duration) int64 {
	return max(1, (timeout - min(a.o.Margin, timeout/2)).Milliseconds())
}

// Settle implements decision.Auctions: the bid that filled is told that it won, the others why they lost.
func (a *Auctions) Settle(_ *decision.Request, _ *inventory.Step, answers []decision.Answer, outcomes []decision.Reason) {
	dealWon := false
	for i := range answers {
		if i < len(outcomes) && outcomes[i] == decision.Filled {
			dealWon = answers[i].Deal != nil
		}
	}
	for i := range answers {
		bid, ok := answers[i].Bid.(*Bid)
		if !ok || i >= len(outcomes) {
			continue
		}
		s := a.seat(answers[i].Source)
		if outcomes[i] == decision.Filled {
			a.notices.send(s, noticeWin, bid.nurl)
			continue
		}
		a.notices.send(s, noticeLoss, bid.lost(lossCode(outcomes[i], answers[i].Deal != nil, dealWon)))
	}
}

// Bill tells a source that the impression it must pay for was counted: call it once per fill, with the BillingURL of its answer. It
// does not block.
func (a *Auctions) Bill(src *inventory.Source, billingURL string) {
	a.notices.send(a.seat(src), noticeBilling, billingURL)
}

func newID() string {
	var b [16]byte
	return string(strconv.AppendUint(b[:0], rand.Uint64()|1<<63, 16))
}
