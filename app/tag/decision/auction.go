package decision

import (
	"context"

	"patag/app/tag/catalogue"
	"patag/app/tag/inventory"
)

// Auctions asks demand sources for bids. Package rtb does so over the network; it must return by the step's deadline and never
// fail: a source that is slow, broken or silent has an Answer that says so.
type Auctions interface {
	// Ask sends bid requests for one step and returns what came back by its deadline: an Answer per source. The result belongs to the
	// caller. The step may be a copy with fewer sources and deals than the waterfall's: those that targeting and consent leave. Ask
	// is called from several goroutines at once.
	Ask(ctx context.Context, r *Request, step *inventory.Step) []Answer
	// Settle tells the sources what became of their bids: outcomes are by index of answers. It must not block. A bid that is Filled
	// may still be behind tags that the browser tries first.
	Settle(r *Request, step *inventory.Step, answers []Answer, outcomes []Reason)
}

// Answer is what one demand source said: one bid, its best that is well-formed, or why there is none.
type Answer struct {
	Source *inventory.Source
	// Problem is None for a bid, else NoBid, TimedOut, BadBid, SourceFailed, BreakerOpen, OverQPS or NotPermitted (privacy).
	Problem Reason
	// Price as bid, and in micros of the snapshot's currency after the source's adjustment: that is compared and held to floors.
	CPM        catalogue.Money
	BaseMicros int64
	Seat       string
	Deal       *inventory.Deal // nil for an open bid
	CreativeID string          // of the bidder, for reports and blocking
	Domains    []string        // advertiser domains, lower case
	Categories []string        // IAB categories of the ad
	Size       catalogue.Size
	Format     catalogue.Format
	// Markup with price macros filled in. Native has the assets of a native bid instead.
	Markup string
	Native *catalogue.NativeAssets
	// Landing of a native bid, for the click redirect; "" where markup has its own links.
	Landing string
	// Trackers and ClickTrackers of a native bid are images that the page loads when the ad is seen and when it is clicked.
	Trackers, ClickTrackers []string
	// BillingURL tells the bidder to pay: loaded by the page, or passed to rtb's Bill, once when the impression is counted; "" for none.
	BillingURL string
	// Bid is the bidder's own id and the URLs of its notices; opaque to the decision.
	Bid any
}

// auction is one auction step that was come to.
type auction struct {
	index    int             // of the step in the waterfall
	step     *inventory.Step // as asked
	answers  []Answer
	outcomes []Reason
	won      int // index of the answer to beat; -1 for none
}

// early is an auction that was asked ahead of its decision.
type early struct {
	index   int
	step    *inventory.Step
	answers []Answer
	done    chan struct{}
	used    bool
}

// admit writes down why sources of a step are not asked and returns the step with the others; nil if none is left.
func (s *scratch) admit(step *inventory.Step) *inventory.Step {
	left := 0
	for i := range step.Sources {
		reason := s.source(step, i)
		s.reasons[step.Ordinal+i] = reason
		if reason == Eligible {
			left++
		}
	}
	switch left {
	case 0:
		return nil
	case len(step.Sources):
		return step
	}
	some := &inventory.Step{Kind: step.Kind, Deadline: step.Deadline, FloorMicros: step.FloorMicros, Ordinal: step.Ordinal}
	for i, src := range step.Sources {
		if s.reasons[step.Ordinal+i] != Eligible {
			continue
		}
		some.Sources, some.Bars = append(some.Sources, src), append(some.Bars, inventory.NotBarred)
		for _, d := range step.Deals {
			if d.Source == src.ID {
				some.Deals = append(some.Deals, d)
			}
		}
	}
	return some
}

// auction asks the sources of a step and picks the bid to beat. It returns nil when there is none.
func (s *scratch) auction(ctx context.Context, a Auctions, index int) *auction {
	step := &s.w.Steps[index]
	some := s.admit(step)
	if some == nil {
		return nil
	}
	if a == nil {
		s.each(step, some.Sources, NotAsked)
		return nil
	}
	run := auction{index: index, step: some, won: -1}
	switch {
	case s.early != nil && s.early.index == index:
		<-s.early.done
		s.early.used = true
		run.step, run.answers = s.early.step, s.early.answers
	case ctx.Err() != nil: // the request's whole time is used up
		s.each(step, some.Sources, TimedOut)
		return nil
	default:
		run.answers = a.Ask(ctx, s.r, some)
	}
	s.each(step, some.Sources, SourceFailed) // what has no answer
	run.outcomes = make([]Reason, len(run.answers))
	for i := range run.answers {
		run.outcomes[i] = s.bid(some, &run.answers[i])
		if run.outcomes[i] == Eligible && (run.won < 0 || better(&run.answers[i], &run.answers[run.won])) {
			run.won = i
		}
	}
	s.auctions = append(s.auctions, run)
	if run.won < 0 {
		return nil
	}
	return &s.auctions[len(s.auctions)-1]
}

// each sets the reason of some of a step's sources.
func (s *scratch) each(step *inventory.Step, some []*inventory.Source, reason Reason) {
	for _, src := range some {
		s.reasons[s.sourceOrdinal(step, src)] = reason
	}
}

// sourceOrdinal is -1 for a source that is none of the step's.
func (s *scratch) sourceOrdinal(step *inventory.Step, src *inventory.Source) int {
	for i := range step.Sources {
		if step.Sources[i] == src {
			return step.Ordinal + i
		}
	}
	return -1
}

// better compares acceptable bids: preferred deals before all others, then the price; among equals the first stays.
func better(a, b *Answer) bool {
	pa, pb := a.Deal != nil && a.Deal.Preferred, b.Deal != nil && b.Deal.Preferred
	if pa != pb {
		return pa
	}
	return a.BaseMicros > b.BaseMicros
}

// bid says what rules a bid out; Eligible when nothing does.
func (s *scratch) bid(step *inventory.Step, a *Answer) Reason {
	src := a.Source
	if a.Problem != None {
		return a.Problem
	}
	safety := &s.r.Placement.On.Publisher.Safety
	switch {
	case !sold(step, src):
		return NotPermitted
	case has(src.BlockedSeats, a.Seat) || len(src.AllowedSeats) > 0 && !has(src.AllowedSeats, a.Seat):
		return BlockedSeat
	case a.Deal != nil && !s.dealOK(src, a):
		return NotInDeal
	case a.BaseMicros < step.FloorMicros, a.Deal != nil && a.BaseMicros < a.Deal.FloorMicros, a.BaseMicros <= 0:
		return BelowFloor
	case s.domainsBlocked(safety, a):
		return BlockedByPublisher
	case len(safety.Categories) > 0 && safety.Categories.Overlap(inventory.ParseCategories(a.Categories)):
		return BlockedCategory
	case safety.Keywords(a.texts()...):
		return BlockedKeyword
	}
	for _, domain := range a.Domains {
		if shareGroup(s.r.Placement.In.DomainGroups(domain), s.r.Excluded) {
			return ExclusionGroup
		}
	}
	return Eligible
}

// sold says whether a source is among those asked: an answer from elsewhere fills nothing.
func sold(step *inventory.Step, src *inventory.Source) bool {
	for _, x := range step.Sources {
		if x == src {
			return true
		}
	}
	return false
}

// domainsBlocked: where a publisher blocks domains, a bid has to say whose ad it is.
func (s *scratch) domainsBlocked(safety *inventory.Safety, a *Answer) bool {
	if len(safety.Domains) == 0 {
		return false
	}
	for _, d := range a.Domains {
		if safety.Domain(d) {
			return true
		}
	}
	return len(a.Domains) == 0
}

func (s *scratch) dealOK(src *inventory.Source, a *Answer) bool {
	d := a.Deal
	if d.Source != src.ID || !d.Open(s.r.Now) || len(d.Seats) > 0 && !has(d.Seats, a.Seat) {
		return false
	}
	if len(d.Domains) == 0 {
		return true
	}
	for _, domain := range a.Domains {
		if !has(d.Domains, domain) {
			return false
		}
	}
	return len(a.Domains) > 0
}

func (a *Answer) texts() []string {
	out := []string{a.Markup}
	if n := a.Native; n != nil {
		out = append(out, n.Title, n.Body, n.Sponsor, n.Action)
	}
	return out
}

func has(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// settle writes the outcome of every bid down and tells the sources.
func (s *scratch) settle(e *Engine, d *Decision) {
	for i := range s.auctions {
		run := &s.auctions[i]
		step := &s.w.Steps[run.index]
		for j := range run.answers {
			if n := s.sourceOrdinal(step, run.answers[j].Source); n >= 0 {
				s.reasons[n] = run.outcomes[j]
			}
		}
		for j := range step.Sources {
			d.Sources = append(d.Sources, SourceOutcome{step.Ordinal + j, s.reasons[step.Ordinal+j]})
		}
		e.Auctions.Settle(s.r, run.step, run.answers, run.outcomes)
	}
}
