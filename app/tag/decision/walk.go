package decision

import (
	"context"
	"math/bits"

	"patag/app/tag/catalogue"
	"patag/app/tag/inventory"
)

// walk goes through the steps until one fills. Tags on the way are handed to the browser, which tries them before the fill.
func (s *scratch) walk(ctx context.Context, e *Engine, d *Decision) {
	if s.w.Runs != nil {
		for _, run := range s.w.Runs {
			if s.compete(ctx, e, run, d); d.Filled {
				return
			}
		}
		return
	}
	for i := range s.w.Steps {
		step := &s.w.Steps[i]
		switch step.Kind {
		case catalogue.Auction:
			s.reach(i, -1)
			if a := s.auction(ctx, e.Auctions, i); a != nil {
				s.fillBid(a, d)
				return
			}
		case catalogue.Tag:
			s.reach(i, -1)
			if s.admit(step) != nil {
				s.offer(i, d)
			}
		default:
			for j := range step.Groups {
				s.reach(i, j)
				if c := s.take(&step.Groups[j], e.Delivery); c != nil {
					s.fillItem(i, c, d)
					return
				}
			}
		}
	}
}

func (s *scratch) reach(step, group int) { s.reachedStep, s.reachedGroup = step, group }

// rival is a tag or an auction's best bid in a run.
type rival struct {
	unit    int
	micros  int64
	auction int // index in scratch.auctions
}

// compete lets the units of a run compete by price; among equals the listed order decides. Tags that expect no more than the fill are
// not offered: the fill is as good and certain.
func (s *scratch) compete(ctx context.Context, e *Engine, run inventory.Run, d *Decision) {
	var tags []rival
	var bids []rival
	for n, u := range run {
		s.reach(u.Step, u.Group)
		step := &s.w.Steps[u.Step]
		switch {
		case u.Group >= 0:
		case isTag(step):
			if s.admit(step) != nil {
				tags = insert(tags, rival{unit: n, micros: step.TagMicros})
			}
		default:
			if a := s.auction(ctx, e.Auctions, u.Step); a != nil {
				bids = insert(bids, rival{unit: n, micros: a.answers[a.won].BaseMicros, auction: len(s.auctions) - 1})
			}
		}
	}
	unit, micros := len(run), int64(-1)
	for {
		c, n := s.bestDirect(run)
		if len(bids) > 0 && (c == nil || bids[0].micros > c.Item.BaseMicros || bids[0].micros == c.Item.BaseMicros && bids[0].unit < n) {
			s.fillBid(&s.auctions[bids[0].auction], d)
			unit, micros = bids[0].unit, bids[0].micros
			break
		}
		if c == nil {
			break
		}
		if !s.reserve(c, e.Delivery) {
			continue
		}
		s.fillItem(run[n].Step, c, d)
		unit, micros = n, c.Item.BaseMicros
		break
	}
	for _, t := range tags {
		if t.micros > micros || t.micros == micros && t.unit < unit {
			s.offer(run[t.unit].Step, d)
		}
	}
}

// insert keeps rivals by price, highest first, and equals as they came.
func insert(to []rival, r rival) []rival {
	i := len(to)
	for i > 0 && to[i-1].micros < r.micros {
		i--
	}
	to = append(to, rival{})
	copy(to[i+1:], to[i:])
	to[i] = r
	return to
}

// bestDirect draws from the first group of the run that has the best price; the second result is its unit.
func (s *scratch) bestDirect(run inventory.Run) (*inventory.Candidate, int) {
	best, at := int64(-1), -1
	for n, u := range run {
		if u.Group < 0 {
			continue
		}
		g := &s.w.Steps[u.Step].Groups[u.Group]
		for i := range g.Candidates {
			if c := &g.Candidates[i]; s.reasons[c.Ordinal] == Eligible {
				price := c.Item.BaseMicros
				// A group by weight is alone in its run: no price is better than any other.
				if price > best {
					best, at = price, n
				}
				break // sorted: the rest is cheaper
			}
		}
	}
	if at < 0 {
		return nil, -1
	}
	return s.draw(&s.w.Steps[run[at].Step].Groups[run[at].Group]), at
}

// take draws from a group until a candidate's hard cap, if it has one, can be reserved.
func (s *scratch) take(g *inventory.Group, delivery Delivery) *inventory.Candidate {
	for {
		c := s.draw(g)
		if c == nil || s.reserve(c, delivery) {
			return c
		}
	}
}

func (s *scratch) reserve(c *inventory.Candidate, delivery Delivery) bool {
	if c.Item.CapIndex < 0 || delivery.Reserve(c.Item) {
		return true
	}
	s.reasons[c.Ordinal] = HardCapped
	return false
}

func (s *scratch) fillItem(step int, c *inventory.Candidate, d *Decision) {
	n := s.drawCreative(c)
	s.reasons[c.Ordinal] = Filled
	d.Filled, d.House, d.Step, d.Item = true, c.Item.Tier.IsHouse(), step, c.Item
	d.Creative, d.Slot = c.Creatives[n].Creative, int(c.Slot)+n
}

func (s *scratch) fillBid(a *auction, d *Decision) {
	a.outcomes[a.won] = Filled
	d.Filled, d.Step, d.Bid = true, a.index, &a.answers[a.won]
}

func (s *scratch) offer(step int, d *Decision) {
	st := &s.w.Steps[step]
	s.reasons[st.Ordinal] = Offered
	d.Tags = append(d.Tags, TagStep{Step: step, Source: st.Sources[0], Deadline: st.Deadline})
}

// draw picks by weight among the eligible candidates of a group; in a group by price, among those of the best price.
func (s *scratch) draw(g *inventory.Group) *inventory.Candidate {
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
	at := s.rng.below(total)
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

func (s *scratch) drawCreative(c *inventory.Candidate) int {
	if len(c.Creatives) == 1 {
		return 0
	}
	var total uint64
	for i := range c.Creatives {
		total += uint64(c.Creatives[i].Weight)
	}
	at := s.rng.below(total)
	for i := range c.Creatives {
		if w := uint64(c.Creatives[i].Weight); at >= w {
			at -= w
			continue
		}
		return i
	}
	return len(c.Creatives) - 1
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
