// Package decision walks a placement's waterfall for one request and says which creative of which line item fills it, or why
// nothing does. In go a Snapshot and a Request in numbers; out comes a Decision, and a Trace of every candidate if asked for:
// the trace is written by the same code that decides, so that an explanation cannot tell another story. It does no I/O itself:
// frequency caps are asked once per decision through an interface, hard caps are reserved from what this process already holds.
package decision

import (
	"context"
	"math/bits"
	"net/netip"
	"sync"
	"time"

	"patag/app/tag/catalogue"
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
	// Excluded are exclusion groups that ads on this page view have taken.
	Excluded []string
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
}

// Decision is the outcome.
type Decision struct {
	Filled   bool
	House    bool
	Step     int // index in the waterfall
	Item     *inventory.Item
	Creative *inventory.Creative
	// Slot counts this fill, or this no-fill.
	Slot   int
	NoFill Reason // why nothing filled; None when filled
	// Bid that filled, where Item and Creative are nil.
	Bid *Answer
	// Tags that the browser tries, in this order, before it shows the fill: each passes back or ends the chain.
	Tags []TagStep
	// Arm is experiment/arm that the visitor is in, "" outside of experiments.
	Arm string
}

// TagStep is a client-side step of the chain.
type TagStep struct {
	Step   int // index in the waterfall
	Source *inventory.Source
	// Deadline is how long the tag has to fill before it counts as passed back.
	Deadline time.Duration
}

// FrequencyCaps answers which items have shown often enough to a user.
type FrequencyCaps interface {
	// Over sets over[i] for each item of items whose caps the user has used up. It must return within its own time budget
	// and never fail: without its store it answers from what it knows.
	Over(ctx context.Context, user uint64, now int64, items []*inventory.Item, over []bool)
}

// HardCaps hands out impressions of items with a hard cap.
type HardCaps interface {
	// Reserve takes one impression of the item's cap, or says that none can be had. It must not block.
	Reserve(item *inventory.Item) bool
}

// scratch is the working memory of one decision, reused.
type scratch struct {
	reasons []Reason // by Candidate.Ordinal
	capped  []*inventory.Item
	ordinal []int
	over    []bool
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// Decide walks the waterfall. trace may be nil.
func Decide(ctx context.Context, r *Request, frequency FrequencyCaps, hard HardCaps, trace *Trace) Decision {
	p := r.Placement
	d := Decision{Step: -1}
	switch {
	case p.Paused:
		d.NoFill = PlacementPaused
	case p.Candidates == 0:
		d.NoFill = NothingBooked
	default:
		s := scratches.Get().(*scratch)
		s.judge(r)
		s.ask(ctx, r, frequency)
		s.pick(r, hard, &d)
		if !d.Filled {
			d.NoFill = s.furthest()
		}
		if trace != nil {
			trace.record(p, s.reasons, &d)
		}
		s.capped = s.capped[:0]
		scratches.Put(s)
	}
	if !d.Filled {
		d.Slot = p.Slot + 1 + int(d.NoFill)
	}
	if trace != nil {
		trace.finish(r, &d)
	}
	return d
}

// judge says for every candidate why the request alone rules it out; Eligible where it does not.
func (s *scratch) judge(r *Request) {
	p := r.Placement
	if cap(s.reasons) < p.Candidates {
		s.reasons = make([]Reason, p.Candidates)
	}
	s.reasons = s.reasons[:p.Candidates]
	s.capped, s.ordinal = s.capped[:0], s.ordinal[:0]
	for i := range p.Steps {
		for j := range p.Steps[i].Groups {
			g := &p.Steps[i].Groups[j]
			for k := range g.Candidates {
				c := &g.Candidates[k]
				reason := judge(r, c)
				s.reasons[c.Ordinal] = reason
				if reason == Eligible && len(c.Item.Frequency) > 0 {
					if r.User == 0 {
						s.reasons[c.Ordinal] = FrequencyUnknownUser
						continue
					}
					s.capped = append(s.capped, c.Item)
					s.ordinal = append(s.ordinal, c.Ordinal)
				}
			}
		}
	}
}

func judge(r *Request, c *inventory.Candidate) Reason {
	if c.Barred != inventory.NotBarred {
		return barReasons[c.Barred]
	}
	t := &c.Item.Targeting
	switch {
	case !c.Item.InFlight(r.Now):
		return OutOfFlight
	case !t.CountryOK(r.Country):
		return Country
	case !t.DeviceOK(r.Device):
		return Device
	case !t.KeyValuesOK(r.KeyValues):
		return KeyValues
	}
	return Eligible
}

// ask looks all frequency caps up at once: one round trip per decision, and none for requests that meet no capped item.
func (s *scratch) ask(ctx context.Context, r *Request, frequency FrequencyCaps) {
	n := len(s.capped)
	if n == 0 {
		return
	}
	if cap(s.over) < n {
		s.over = make([]bool, n)
	}
	s.over = s.over[:n]
	clear(s.over)
	frequency.Over(ctx, r.User, r.Now, s.capped, s.over)
	for i, over := range s.over {
		if over {
			s.reasons[s.ordinal[i]] = FrequencyCapped
		}
	}
}

// pick takes the first group with an eligible candidate. A candidate whose hard cap cannot be reserved falls out, and the pick
// is made anew among the rest.
func (s *scratch) pick(r *Request, hard HardCaps, d *Decision) {
	rng := random(r.Seed)
	for i := range r.Placement.Steps {
		step := &r.Placement.Steps[i]
		for j := range step.Groups {
			g := &step.Groups[j]
			for {
				c := s.draw(g, &rng)
				if c == nil {
					break
				}
				if c.Item.CapIndex >= 0 && !hard.Reserve(c.Item) {
					s.reasons[c.Ordinal] = HardCapped
					continue
				}
				n := drawCreative(c, &rng)
				s.reasons[c.Ordinal] = Filled
				d.Filled, d.House, d.Step, d.Item = true, step.Kind == catalogue.House, i, c.Item
				d.Creative, d.Slot = c.Creatives[n].Creative, c.Slot+n
				return
			}
		}
	}
}

// draw picks by weight among the eligible candidates of a group; in a group by price, among those of the best price.
func (s *scratch) draw(g *inventory.Group, rng *random) *inventory.Candidate {
	var total uint64
	best := int64(-1)
	for i := range g.Candidates {
		c := &g.Candidates[i]
		if s.reasons[c.Ordinal] != Eligible {
			continue
		}
		if g.ByPrice {
			if best >= 0 && c.Item.BaseMicros < best {
				break // sorted: the rest is cheaper
			}
			best = c.Item.BaseMicros
		}
		total += uint64(c.Item.Weight)
	}
	if total == 0 {
		return nil
	}
	at := rng.below(total)
	for i := range g.Candidates {
		c := &g.Candidates[i]
		if s.reasons[c.Ordinal] != Eligible {
			continue
		}
		if w := uint64(c.Item.Weight); at >= w {
			at -= w
			continue
		}
		return c
	}
	return nil
}

func drawCreative(c *inventory.Candidate, rng *random) int {
	if len(c.Creatives) == 1 {
		return 0
	}
	var total uint64
	for i := range c.Creatives {
		total += uint64(c.Creatives[i].Weight)
	}
	at := rng.below(total)
	for i := range c.Creatives {
		if w := uint64(c.Creatives[i].Weight); at >= w {
			at -= w
			continue
		}
		return i
	}
	return len(c.Creatives) - 1
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

// random is splitmix64: a few instructions, no shared state, good enough for weights.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below is uniform in [0, n) but for a bias of n/2^64.
func (r *random) below(n uint64) uint64 {
	hi, _ := bits.Mul64(r.next(), n)
	return hi
}
