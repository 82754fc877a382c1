// Package decision walks a placement's waterfall for one request and says what fills it, or why nothing does: a creative of a line
// item, a bid, and which third-party tags the browser tries first. In go a Snapshot and a Request in numbers; out comes a Decision,
// and a Trace of every candidate if asked for: the trace is written by the same code that decides, so that an explanation cannot
// tell another story. It does no I/O itself: frequency caps are asked once per decision and demand sources once per auction step,
// through interfaces; goals, budgets and hard caps are answered from what this process already holds.
package decision

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"patag/app/tag/inventory"
	"patag/app/tag/privacy"
)

// Request is what a decision depends on.
type Request struct {
	Placement *inventory.Placement
	Now       int64 // Unix seconds
	Country   inventory.Country
	Device    inventory.Device
	// KeyValues of the page as ids of the snapshot; pairs that nobody targets are left out.
	KeyValues []uint32
	// User is the hash that frequency caps are kept under; 0 when there is none or the law forbids one.
	User    uint64
	Region  inventory.Region
	Browser inventory.Browser
	System  inventory.System
	// Page is the URL of the page without scheme, query and fragment, lower case; "" if unknown. Categories are the page's IAB
	// categories and Keywords its words, beyond those of the site; PageView tells apart views of a page.
	Page       string
	Categories []string
	Keywords   []string
	PageView   uint64
	// Privacy says what may be done with this visitor, and what of it; Visitor is what bid requests may tell of him.
	Privacy *privacy.Permissions
	Visitor Visitor
	// Excluded are exclusion groups that ads on this page view have taken: see Decision.Groups and Snapshot.Group.
	Excluded []uint32
	// Seed decides every random pick: the same seed gives the same decision.
	Seed uint64
}

// Visitor is what demand sources are told about the visitor, as far as Privacy permits: package rtb looks at both.
type Visitor struct {
	UserAgent string
	IP        netip.Addr // truncated already
	Language  string
	// UserID is the page's first-party id, "" without permission.
	UserID string
	// Insecure is set for a page without TLS: then ads need none either.
	Insecure bool
}

// Decision is the outcome.
type Decision struct {
	Filled   bool
	House    bool
	Step     int // index in the waterfall; -1 when nothing filled
	Item     *inventory.Item
	Creative *inventory.Creative
	// Waterfall that was walked: the placement's own or that of the arm that the visitor is in.
	Waterfall *inventory.Waterfall
	// Slot counts a fill by a line item, within the waterfall.
	Slot   int
	NoFill Reason // why nothing filled; None when filled. Offered: nothing but Tags can fill
	// Bid that filled, where Item and Creative are nil.
	Bid *Answer
	// Tags that the browser tries, in this order, before it shows the fill: each passes back or ends the chain.
	Tags []TagStep
	// Sources are the demand sources of auction steps that were come to, and what became of each.
	Sources []SourceOutcome
	// Arm is experiment/arm that the visitor is in, "" outside of experiments.
	Arm string
}

// SourceOutcome is what became of a demand source; Ordinal is its own in the waterfall.
type SourceOutcome struct {
	Ordinal int
	Outcome Reason
}

// TagStep is a client-side step of the chain.
type TagStep struct {
	Step   int // index in the waterfall
	Source *inventory.Source
	// Deadline is how long the tag has to fill before it counts as passed back.
	Deadline time.Duration
}

// Groups are the exclusion groups that the fill takes: further placements of the same page view have them in Request.Excluded.
func (d *Decision) Groups(s *inventory.Snapshot) []uint32 {
	switch {
	case d.Item != nil:
		return d.Item.Groups
	case d.Bid != nil:
		var out []uint32
		for _, domain := range d.Bid.Domains {
			out = append(out, s.DomainGroups(domain)...)
		}
		return out
	}
	return nil
}

// FrequencyCaps answers which items have shown often enough to a user.
type FrequencyCaps interface {
	// Over sets over[i] for each item of items whose caps the user has used up. It must return within its own time budget
	// and never fail: without its store it answers from what it knows.
	Over(ctx context.Context, user uint64, now int64, items []*inventory.Item, over []bool)
}

// Delivery knows how far line items are with what was booked, and hands out what is left. It does no I/O and must not block.
type Delivery interface {
	// Open says whether an item may show now: Eligible, or Paced, BudgetUsedUp or ClicksUsedUp. It is asked only for items with a
	// GoalIndex. Pacing lets a share of the requests pass: seed, the request's, mixed with the item's GoalIndex decides which, so that
	// the same request gets the same answer.
	Open(item *inventory.Item, seed uint64) Reason
	// Reserve takes one impression of the item's hard cap, or says that none can be had. It is asked only for items with a CapIndex.
	Reserve(item *inventory.Item) bool
}

// Engine is what decisions ask beyond their request. Auctions may be nil: then auction steps ask nobody, as in previews.
type Engine struct {
	Frequency FrequencyCaps
	Delivery  Delivery
	Auctions  Auctions
}

// scratch is the working memory of one decision, reused.
type scratch struct {
	r *Request
	w *inventory.Waterfall
	// reasons by ordinal: of candidates, then of sources.
	reasons []Reason
	capped  []*inventory.Item
	ordinal []int32
	over    []bool
	rng     random
	// What is worked out of the page only when something asks for it.
	categories                inventory.Categories
	words                     []byte
	haveCategories, haveWords bool
	auctions                  []auction
	early                     *early
	reachedStep, reachedGroup int // the last unit that was come to
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// Decide walks the waterfall. trace may be nil.
func (e *Engine) Decide(ctx context.Context, r *Request, trace *Trace) (d Decision) {
	e.decide(ctx, r, trace, nil, &d)
	return d
}

func (e *Engine) decide(ctx context.Context, r *Request, trace *Trace, asked *early, d *Decision) {
	w := assign(r)
	d.Step, d.Waterfall, d.Arm = -1, w, w.Arm
	switch {
	case r.Placement.Paused:
		d.NoFill = PlacementPaused
	case w.Outcomes == 0:
		d.NoFill = NothingBooked
	default:
		s := scratches.Get().(*scratch)
		s.begin(r, w)
		s.early = asked
		s.judge(e.Delivery)
		s.ask(ctx, e.Frequency)
		s.walk(ctx, e, d)
		s.settle(e, d)
		if !d.Filled {
			d.NoFill = s.furthest()
		}
		if trace != nil {
			trace.record(s, d)
		}
		s.end()
	}
	if trace != nil {
		trace.finish(r, d)
	}
}

// assign picks the visitor's waterfall: by user, else by page view, else at random, and always the same for the same.
func assign(r *Request) *inventory.Waterfall {
	e := r.Placement.Experiment
	if e == nil {
		return &r.Placement.Waterfall
	}
	who := r.User
	if who == 0 {
		who = r.PageView
	}
	if who == 0 {
		who = r.Seed
	}
	rng := random(who ^ e.Salt)
	at := uint32(rng.below(100))
	for i := range e.Arms {
		if at < e.Arms[i].UpTo {
			return e.Arms[i].Waterfall
		}
	}
	return &r.Placement.Waterfall
}

func (s *scratch) begin(r *Request, w *inventory.Waterfall) {
	s.r, s.w, s.rng = r, w, random(r.Seed)
	if cap(s.reasons) < w.Outcomes {
		s.reasons = make([]Reason, w.Outcomes)
	}
	s.reasons = s.reasons[:w.Outcomes]
	s.capped, s.ordinal = s.capped[:0], s.ordinal[:0]
	s.haveCategories, s.haveWords = false, false
	s.reachedStep, s.reachedGroup = -1, -1
}

func (s *scratch) end() {
	clear(s.auctions) // bids are large and not to be kept alive by the pool
	s.auctions, s.early, s.r, s.w = s.auctions[:0], nil, nil, nil
	scratches.Put(s)
}

// furthest is the reason of the candidate that came furthest: what an ad-ops person would have to change to get a fill.
func (s *scratch) furthest() Reason {
	out := NothingBooked
	for _, r := range s.reasons {
		if r > out {
			out = r
		}
	}
	return out
}
