package inventory

import (
	"fmt"
	"hash/fnv"
	"slices"

	"patag/app/tag/catalogue"
)

// ControlArm is the arm of the visitors that an experiment leaves to the placement's own waterfall.
const ControlArm = "control"

func (b *builder) placement(doc *catalogue.Placement, p *Placement) error {
	p.On = b.sites[doc.Site]
	p.In, p.Site, p.Publisher, p.Format, p.Position = b.s, doc.Site, p.On.Publisher.ID, doc.Format, doc.Position
	p.Sizes, p.Paused = doc.Sizes, doc.Paused
	shape := b.shape(p)
	if err := b.waterfall(&p.Waterfall, p, shape, doc.Waterfall, doc.Order); err != nil {
		return err
	}
	for i := range doc.Experiments {
		if e := &doc.Experiments[i]; !e.Off {
			return b.experiment(p, shape, e)
		}
	}
	return nil
}

func (b *builder) experiment(p *Placement, shape int, doc *catalogue.Experiment) error {
	h := fnv.New64a()
	h.Write([]byte(doc.ID))
	e := &Experiment{ID: doc.ID, Salt: h.Sum64()}
	p.Experiment, p.Arm = e, doc.ID+"/"+ControlArm
	upTo := uint32(0)
	for i := range doc.Arms {
		w := &Waterfall{Arm: doc.ID + "/" + doc.Arms[i].ID}
		if err := b.waterfall(w, p, shape, doc.Arms[i].Waterfall, doc.Arms[i].Order); err != nil {
			return fmt.Errorf("experiment %q, arm %q: %w", doc.ID, doc.Arms[i].ID, err)
		}
		upTo += uint32(doc.Arms[i].Share)
		e.Arms = append(e.Arms, Arm{upTo, w})
	}
	return nil
}

func (b *builder) waterfall(w *Waterfall, p *Placement, shape int, docs []catalogue.Step, order catalogue.Order) error {
	w.Placement, w.Index = p, len(b.s.Waterfalls)
	b.s.Waterfalls = append(b.s.Waterfalls, w)
	w.Steps = b.steps.take(len(docs))
	for i := range docs {
		doc, out := &docs[i], &w.Steps[i]
		out.Kind = doc.Kind
		if doc.Floor != nil {
			var err error
			if out.FloorMicros, err = b.toBase(*doc.Floor); err != nil {
				return err
			}
		}
		if doc.Kind == catalogue.Auction || doc.Kind == catalogue.Tag {
			if err := b.sourceStep(p, doc, out); err != nil {
				return err
			}
			continue
		}
		tiers := tiersOf(doc)
		out.Groups = b.groups.take(len(tiers))[:0]
		for _, tier := range tiers {
			if g := b.group(w, shape, tier, out.FloorMicros); len(g.Candidates) > 0 {
				out.Groups = append(out.Groups, g)
			}
		}
	}
	w.Outcomes = w.Candidates
	for i := range w.Steps {
		w.Steps[i].Ordinal = w.Outcomes
		w.Outcomes += len(w.Steps[i].Sources)
	}
	if order == catalogue.ByPrice {
		w.Runs = runs(w)
	}
	return nil
}

// runs puts units that follow each other and have a price of their own into one run.
func runs(w *Waterfall) []Run {
	var out []Run
	open := false // whether the last run takes more
	add := func(u Unit, priced bool) {
		if open && priced {
			out[len(out)-1] = append(out[len(out)-1], u)
		} else {
			out = append(out, Run{u})
		}
		open = priced
	}
	for i := range w.Steps {
		if len(w.Steps[i].Sources) > 0 {
			add(Unit{i, -1}, true)
		}
		for j := range w.Steps[i].Groups {
			add(Unit{i, j}, w.Steps[i].Groups[j].ByPrice)
		}
	}
	return out
}

var directTiers = []catalogue.Tier{catalogue.Sponsorship, catalogue.Standard, catalogue.Price}
var houseTiers = []catalogue.Tier{catalogue.HouseTier}

func tiersOf(step *catalogue.Step) []catalogue.Tier {
	if step.Kind == catalogue.House {
		return houseTiers
	}
	if len(step.Tiers) == 0 {
		return directTiers
	}
	tiers := slices.Clone(step.Tiers)
	slices.SortFunc(tiers, func(a, b catalogue.Tier) int { return a.Rank() - b.Rank() })
	return slices.Compact(tiers)
}

func (b *builder) group(w *Waterfall, shape int, tier catalogue.Tier, floor int64) Group {
	p := w.Placement
	g := Group{Tier: tier, ByPrice: tier == catalogue.Price}
	items := b.byPlacement[p.Index]
	n := 0
	for _, bk := range items {
		if bk.item.Tier == tier {
			n++
		}
	}
	if n == 0 {
		return g
	}
	g.Candidates = b.candidates.take(n)[:0]
	for _, bk := range items {
		if bk.item.Tier == tier {
			g.Candidates = append(g.Candidates, b.candidate(bk, p, shape, floor))
		}
	}
	if g.ByPrice {
		slices.SortStableFunc(g.Candidates, func(a, b Candidate) int {
			switch {
			case a.Item.BaseMicros > b.Item.BaseMicros:
				return -1
			case a.Item.BaseMicros < b.Item.BaseMicros:
				return 1
			}
			return 0
		})
	}
	for i := range g.Candidates {
		g.Candidates[i].Ordinal, g.Candidates[i].Slot = int32(w.Candidates), int32(w.Slots)
		w.Candidates++
		w.Slots += len(g.Candidates[i].Creatives)
	}
	return g
}
