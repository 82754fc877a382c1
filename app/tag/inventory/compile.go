package inventory

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"patag/app/tag/catalogue"
)

type builder struct {
	s           *Snapshot
	c           *catalogue.Catalogue
	advertisers map[string]*catalogue.Advertiser
	publishers  map[string]*catalogue.Publisher
	sites       map[string]*catalogue.Site
	campaigns   map[string]*catalogue.Campaign
	// byPlacement has the items that may show in a placement, in the catalogue's order.
	byPlacement map[string][]*booked
}

// booked is an item with what the compiler needs beyond it.
type booked struct {
	item      *Item
	doc       *catalogue.LineItem
	paused    bool
	creatives []WeightedCreative
}

// Compile validates a catalogue and compiles it. The error is catalogue.Problems when the documents are at fault: then there
// is no snapshot at all, and the caller keeps the last good one.
func Compile(c *catalogue.Catalogue, version int64, now time.Time) (*Snapshot, error) {
	if err := catalogue.Validate(c); err != nil {
		return nil, err
	}
	b := &builder{
		s: &Snapshot{
			Version: version, Built: now, Currency: c.Settings.Currency,
			placements: make(map[string]*Placement, len(c.Placements)),
			creatives:  make(map[string]*Creative, len(c.Creatives)),
			items:      make(map[string]*Item, len(c.LineItems)),
			keyValues:  make(map[KeyValue]uint32),
		},
		c:           c,
		advertisers: index(c.Advertisers, func(d *catalogue.Advertiser) string { return d.ID }),
		publishers:  index(c.Publishers, func(d *catalogue.Publisher) string { return d.ID }),
		sites:       index(c.Sites, func(d *catalogue.Site) string { return d.ID }),
		campaigns:   index(c.Campaigns, func(d *catalogue.Campaign) string { return d.ID }),
		byPlacement: make(map[string][]*booked, len(c.Placements)),
	}
	for i := range c.Creatives {
		cr, err := compileCreative(&c.Creatives[i])
		if err != nil {
			return nil, fmt.Errorf("creative %q: %w", c.Creatives[i].ID, err)
		}
		b.s.creatives[cr.ID] = cr
	}
	for i := range c.LineItems {
		if err := b.item(&c.LineItems[i]); err != nil {
			return nil, fmt.Errorf("line item %q: %w", c.LineItems[i].ID, err)
		}
	}
	for i := range c.Placements {
		if err := b.placement(&c.Placements[i]); err != nil {
			return nil, fmt.Errorf("placement %q: %w", c.Placements[i].ID, err)
		}
	}
	return b.s, nil
}

func index[T any](docs []T, id func(*T) string) map[string]*T {
	m := make(map[string]*T, len(docs))
	for i := range docs {
		m[id(&docs[i])] = &docs[i]
	}
	return m
}

// toBase converts to micros of the snapshot's currency, rounding down.
func (b *builder) toBase(m catalogue.Money) (int64, error) {
	if m.Currency == b.c.Settings.Currency {
		return m.Micros, nil
	}
	rate := b.c.Settings.Rates[m.Currency]
	if m.Micros < 0 || rate <= 0 {
		return 0, fmt.Errorf("convert %d micros of %q: no rate", m.Micros, m.Currency)
	}
	hi, lo := bits.Mul64(uint64(m.Micros), uint64(rate))
	if hi >= 1_000_000 {
		return 0, fmt.Errorf("convert %d micros of %s: the amount is too large", m.Micros, m.Currency)
	}
	q, _ := bits.Div64(hi, lo, 1_000_000)
	if q > 1<<62 {
		return 0, fmt.Errorf("convert %d micros of %s: the amount is too large", m.Micros, m.Currency)
	}
	return int64(q), nil
}

func (b *builder) item(doc *catalogue.LineItem) error {
	campaign := b.campaigns[doc.Campaign]
	base, err := b.toBase(doc.CPM)
	if err != nil {
		return err
	}
	it := &Item{
		ID: doc.ID, Campaign: doc.Campaign, Advertiser: campaign.Advertiser, Tier: doc.Tier,
		CPM: doc.CPM, BaseMicros: base, Weight: weight(doc.Weight),
		Targeting: b.targeting(&doc.Targeting), MaxImpressions: doc.MaxImpressions, CapIndex: -1,
	}
	if it.MaxImpressions > 0 {
		it.CapIndex = len(b.s.Capped)
		b.s.Capped = append(b.s.Capped, it)
	}
	for _, f := range doc.Flights {
		it.Flights = append(it.Flights, Flight{f.Start.Unix(), f.End.Unix()})
	}
	slices.SortFunc(it.Flights, func(a, b Flight) int { return int(a.Start - b.Start) })
	for _, f := range doc.Frequency {
		window, err := time.ParseDuration(f.Window)
		if err != nil {
			return err
		}
		it.Frequency = append(it.Frequency, FrequencyCap{uint32(f.Impressions), int64(window / time.Second)})
	}
	b.s.items[it.ID] = it
	bk := &booked{item: it, doc: doc, paused: doc.Paused || campaign.Paused}
	for _, in := range doc.Creatives {
		bk.creatives = append(bk.creatives, WeightedCreative{b.s.creatives[in.ID], weight(in.Weight)})
	}
	for _, p := range doc.Placements {
		b.byPlacement[p] = append(b.byPlacement[p], bk)
	}
	return nil
}

func weight(w int) uint32 {
	if w == 0 {
		return 1
	}
	return uint32(w)
}

func (b *builder) placement(doc *catalogue.Placement) error {
	site := b.sites[doc.Site]
	p := &Placement{
		ID: doc.ID, Site: doc.Site, Publisher: site.Publisher, Format: doc.Format, Sizes: slices.Clone(doc.Sizes),
		Paused: doc.Paused, Slot: b.s.Slots, Index: len(b.s.Placements),
	}
	b.s.Slots += 1 + NoFillSlots
	for i := range doc.Waterfall {
		step := &doc.Waterfall[i]
		var floor int64
		if step.Floor != nil {
			var err error
			if floor, err = b.toBase(*step.Floor); err != nil {
				return err
			}
		}
		out := Step{Kind: step.Kind}
		for _, tier := range tiersOf(step) {
			if g := b.group(p, doc, tier, floor); len(g.Candidates) > 0 {
				out.Groups = append(out.Groups, g)
			}
		}
		p.Steps = append(p.Steps, out)
	}
	b.s.placements[p.ID] = p
	b.s.Placements = append(b.s.Placements, p)
	return nil
}

func tiersOf(step *catalogue.Step) []catalogue.Tier {
	if step.Kind == catalogue.House {
		return []catalogue.Tier{catalogue.HouseTier}
	}
	if len(step.Tiers) == 0 {
		return []catalogue.Tier{catalogue.Sponsorship, catalogue.Standard, catalogue.Price}
	}
	tiers := slices.Clone(step.Tiers)
	slices.SortFunc(tiers, func(a, b catalogue.Tier) int { return a.Rank() - b.Rank() })
	return slices.Compact(tiers)
}

func (b *builder) group(p *Placement, doc *catalogue.Placement, tier catalogue.Tier, floor int64) Group {
	g := Group{Tier: tier, ByPrice: tier == catalogue.Price}
	for _, bk := range b.byPlacement[p.ID] {
		if bk.item.Tier != tier {
			continue
		}
		c := Candidate{Item: bk.item, Barred: b.bar(bk, p, tier, floor)}
		for _, w := range bk.creatives {
			if fits(w.Creative, doc) {
				c.Creatives = append(c.Creatives, w)
			}
		}
		g.Candidates = append(g.Candidates, c)
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
		g.Candidates[i].Ordinal = p.Candidates
		g.Candidates[i].Slot = b.s.Slots
		p.Candidates++
		b.s.Slots += len(g.Candidates[i].Creatives)
	}
	return g
}

func fits(c *Creative, p *catalogue.Placement) bool {
	doc := catalogue.Creative{Format: c.Format, Size: c.Size}
	return doc.Fits(p)
}

func (b *builder) bar(bk *booked, p *Placement, tier catalogue.Tier, floor int64) Bar {
	advertiser := b.advertisers[bk.item.Advertiser]
	switch {
	case bk.paused:
		return BarPaused
	case slices.Contains(advertiser.BlockedSites, p.Site):
		return BarSite
	case domainBlocked(advertiser.Domain, b.publishers[p.Publisher].BlockedDomains):
		return BarPublisher
	case tier != catalogue.Sponsorship && bk.item.BaseMicros < floor:
		return BarFloor
	}
	return NotBarred
}

// domainBlocked matches a domain or a parent domain of it, without regard to case.
func domainBlocked(domain string, blocked []string) bool {
	domain = strings.ToLower(domain)
	for _, b := range blocked {
		b = strings.ToLower(strings.TrimPrefix(b, "."))
		if b != "" && (domain == b || strings.HasSuffix(domain, "."+b)) {
			return true
		}
	}
	return false
}
