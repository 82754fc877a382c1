package inventory

import (
	"fmt"
	"math/bits"
	"slices"
	"time"

	"patag/app/tag/catalogue"
	"patag/app/tag/supply"
)

type builder struct {
	s           *Snapshot
	advertisers map[string]*advertiser
	publishers  map[string]*Publisher
	sites       map[string]*Site
	campaigns   map[string]*catalogue.Campaign
	partners    map[string]*catalogue.DemandPartner
	creatives   map[string]*catalogue.Creative
	zones       map[string]*zone
	deals       map[string][]*Deal // by placement
	// byPlacement has the items that may show in a placement, in the catalogue's order.
	byPlacement [][]*booked
	// What a decision walks lies side by side in memory, as it is walked.
	steps      arena[Step]
	groups     arena[Group]
	candidates arena[Candidate]
	shapes     map[string]int
	key        []byte            // scratch of shape
	words      map[string][]byte // of creatives' texts, by id
}

type advertiser struct {
	*catalogue.Advertiser
	avoid *Avoid
}

// booked is an item with what the compiler needs beyond it.
type booked struct {
	item       *Item
	advertiser *advertiser
	paused     bool
	creatives  []WeightedCreative
	fit        fit
}

// Compile validates a catalogue and compiles it. The error is catalogue.Problems when the documents are at fault: then there
// is no snapshot at all, and the caller keeps the last good one.
func Compile(c *catalogue.Catalogue, version int64, now time.Time) (*Snapshot, error) {
	if err := catalogue.Validate(c); err != nil {
		return nil, err
	}
	return compile(c, version, now)
}

// compile takes a catalogue that Validate has found sound.
func compile(c *catalogue.Catalogue, version int64, now time.Time) (*Snapshot, error) {
	b := newBuilder(c, version, now)
	var err error
	if b.s.Supply, err = supply.Compile(c); err != nil {
		return nil, err
	}
	if err := b.parties(c); err != nil {
		return nil, err
	}
	for i := range c.LineItems {
		if err := b.item(&c.LineItems[i]); err != nil {
			return nil, fmt.Errorf("line item %q: %w", c.LineItems[i].ID, err)
		}
	}
	for i := range c.Placements {
		if err := b.placement(&c.Placements[i], b.s.Placements[i]); err != nil {
			return nil, fmt.Errorf("placement %q: %w", c.Placements[i].ID, err)
		}
	}
	return b.s, nil
}

func newBuilder(c *catalogue.Catalogue, version int64, now time.Time) *builder {
	b := &builder{
		s: &Snapshot{
			Version: version, Built: now, Currency: c.Settings.Currency, Rates: c.Settings.Rates, Exchange: c.Settings.Exchange,
			Placements:   make([]*Placement, len(c.Placements)),
			placements:   make(map[string]*Placement, len(c.Placements)),
			creatives:    make(map[string]*Creative, len(c.Creatives)),
			items:        make(map[string]*Item, len(c.LineItems)),
			sources:      make(map[string]*Source, len(c.DemandSources)),
			keyValues:    make(map[KeyValue]uint32),
			buckets:      c.Settings.PriceBuckets,
			domainGroups: make(map[string][]uint32),
			groups:       make(map[string]uint32),
			groupNames:   []string{""},
		},
		advertisers: make(map[string]*advertiser, len(c.Advertisers)),
		publishers:  make(map[string]*Publisher, len(c.Publishers)),
		sites:       make(map[string]*Site, len(c.Sites)),
		campaigns:   index(c.Campaigns, func(d *catalogue.Campaign) string { return d.ID }),
		partners:    index(c.DemandPartners, func(d *catalogue.DemandPartner) string { return d.ID }),
		creatives:   index(c.Creatives, func(d *catalogue.Creative) string { return d.ID }),
		zones:       make(map[string]*zone),
		deals:       make(map[string][]*Deal),
		byPlacement: make([][]*booked, len(c.Placements)),
		shapes:      make(map[string]int),
		words:       make(map[string][]byte),
	}
	// Placements exist before their waterfalls: line items point at them by index.
	all := make([]Placement, len(c.Placements))
	for i := range all {
		all[i].ID, all[i].Index = c.Placements[i].ID, i
		b.s.Placements[i], b.s.placements[all[i].ID] = &all[i], &all[i]
	}
	return b
}

// parties compiles all that line items and placements refer to.
func (b *builder) parties(c *catalogue.Catalogue) error {
	for i := range c.Publishers {
		b.publisher(&c.Publishers[i])
	}
	for i := range c.Sites {
		d := &c.Sites[i]
		b.sites[d.ID] = &Site{
			ID: d.ID, Name: d.Name, Domain: d.Domain, Publisher: b.publishers[d.Publisher],
			CategoryNames: d.Categories, Categories: ParseCategories(d.Categories),
		}
	}
	for i := range c.Advertisers {
		a := &advertiser{Advertiser: &c.Advertisers[i]}
		if len(a.BlockedCategories)+len(a.BlockedKeywords) > 0 {
			a.avoid = &Avoid{ParseCategories(a.BlockedCategories), keywords(a.BlockedKeywords)}
		}
		b.advertisers[a.ID] = a
	}
	for i := range c.Creatives {
		cr, err := compileCreative(&c.Creatives[i])
		if err != nil {
			return fmt.Errorf("creative %q: %w", c.Creatives[i].ID, err)
		}
		b.s.creatives[cr.ID] = cr
	}
	for i := range c.DemandSources {
		src, err := b.source(&c.DemandSources[i])
		if err != nil {
			return fmt.Errorf("demand source %q: %w", c.DemandSources[i].ID, err)
		}
		b.s.sources[src.ID] = src
	}
	for i := range c.Deals {
		if err := b.deal(&c.Deals[i]); err != nil {
			return fmt.Errorf("deal %q: %w", c.Deals[i].ID, err)
		}
	}
	return nil
}

func (b *builder) publisher(d *catalogue.Publisher) {
	p := &Publisher{
		ID: d.ID, Name: d.Name, Domain: d.Domain, SellerID: d.SellerID, SellerType: d.SellerType, Confidential: d.Confidential,
		Safety: Safety{
			Domains: blockedDomains(d.BlockedDomains), CategoryNames: d.BlockedCategories,
			Categories: ParseCategories(d.BlockedCategories), keywords: keywords(d.BlockedKeywords),
		},
	}
	if p.SellerID == "" {
		p.SellerID = p.ID
	}
	if p.SellerType == "" {
		p.SellerType = "PUBLISHER"
	}
	b.publishers[p.ID] = p
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
	if m.Currency == b.s.Currency {
		return m.Micros, nil
	}
	rate := b.s.Rates[m.Currency]
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

func flights(docs []catalogue.Flight) []Flight {
	var out []Flight
	for _, f := range docs {
		out = append(out, Flight{f.Start.Unix(), f.End.Unix()})
	}
	slices.SortFunc(out, func(a, b Flight) int { return int(a.Start - b.Start) })
	return out
}

func (b *builder) item(doc *catalogue.LineItem) error {
	campaign := b.campaigns[doc.Campaign]
	adv := b.advertisers[campaign.Advertiser]
	base, err := b.toBase(doc.CPM)
	if err != nil {
		return err
	}
	it := &Item{
		ID: doc.ID, Campaign: doc.Campaign, Advertiser: campaign.Advertiser, Tier: doc.Tier,
		CPM: doc.CPM, BaseMicros: base, Weight: weight(doc.Weight), Flights: flights(doc.Flights),
		MaxImpressions: doc.MaxImpressions, CapIndex: -1, MaxClicks: doc.MaxClicks, GoalIndex: -1, Avoid: adv.avoid,
	}
	if it.Targeting, err = b.targeting(&doc.Targeting); err != nil {
		return err
	}
	if it.MaxImpressions > 0 {
		it.CapIndex = len(b.s.Capped)
		b.s.Capped = append(b.s.Capped, it)
	}
	if err := b.goal(it, doc); err != nil {
		return err
	}
	for _, f := range doc.Frequency {
		window, err := time.ParseDuration(f.Window)
		if err != nil {
			return err
		}
		it.Frequency = append(it.Frequency, FrequencyCap{uint32(f.Impressions), int64(window / time.Second)})
	}
	b.exclusion(it, doc.ExclusionGroups, adv.Domain)
	b.s.items[it.ID] = it
	bk := &booked{item: it, advertiser: adv, paused: doc.Paused || campaign.Paused}
	for _, in := range doc.Creatives {
		bk.creatives = append(bk.creatives, WeightedCreative{b.s.creatives[in.ID], weight(in.Weight)})
	}
	for _, p := range doc.Placements {
		i := b.s.placements[p].Index
		b.byPlacement[i] = append(b.byPlacement[i], bk)
	}
	return nil
}

// goal compiles what delivery is measured against.
func (b *builder) goal(it *Item, doc *catalogue.LineItem) (err error) {
	if doc.Budget != nil {
		if it.BudgetMicros, err = b.toBase(*doc.Budget); err != nil {
			return fmt.Errorf("budget: %w", err)
		}
	}
	if g := doc.Goal; g != nil {
		it.Goal = &Goal{Impressions: g.Impressions, Clicks: g.Clicks, Even: g.Pacing != catalogue.ASAP}
		if g.Revenue != nil {
			if it.Goal.RevenueMicros, err = b.toBase(*g.Revenue); err != nil {
				return fmt.Errorf("goal: %w", err)
			}
		}
	}
	if it.Goal != nil || it.MaxClicks > 0 || it.BudgetMicros > 0 {
		it.GoalIndex = len(b.s.Goals)
		b.s.Goals = append(b.s.Goals, it)
	}
	return nil
}

func weight(w int) uint32 {
	if w == 0 {
		return 1
	}
	return uint32(w)
}

// arena hands out parts of large arrays: a snapshot lives and dies as a whole.
type arena[T any] struct{ left []T }

const arenaSize = 4096

func (a *arena[T]) take(n int) []T {
	if n > len(a.left) {
		a.left = make([]T, max(n, arenaSize))
	}
	out := a.left[:n:n]
	a.left = a.left[n:]
	return out
}
