// Package generate makes catalogues of any size for tests and benchmarks: in go a number of placements and a seed, out comes a
// valid catalogue with targeting, caps, flights, goals, tiers, demand sources, deals and experiments in the proportions of a
// publisher network. The same options always make the same catalogue, its documents in the order of ids.
package generate

import (
	"fmt"
	"math/rand/v2"
	"time"

	"patag/app/tag/catalogue"
)

// Options say what to make.
type Options struct {
	Placements int    // 1 to 1,000,000
	Candidates int    // line items of each placement, the house ad among them: 1 to 100
	Seed       uint64 // of all choices
	Sources    int    // demand sources of kind openrtb, 0 to 16; with 0 there are no auction steps and no deals
	Tags       int    // demand sources of kind tag, 0 to 16; with 0 there are no tag steps
	// Endpoint of all bidders; default https://bid-<n>.partner.example/openrtb, which does not exist.
	Endpoint string
	// Start is the day around which flights lie: most have begun before it and last for a year after it.
	Start time.Time
}

// Bounds of Options.
const (
	MaxPlacements = 1_000_000
	MaxCandidates = 100
	MaxSources    = 16
)

const (
	block       = 20 // placements that share their line items
	perSite     = 25 // placements of a site
	perOwner    = 4  // sites of a publisher
	perBuyer    = 12 // line items of an advertiser
	perCampaign = 4
)

// Generate makes a catalogue, or says which option is out of bounds.
func Generate(o Options) (*catalogue.Catalogue, error) {
	switch {
	case o.Placements < 1 || o.Placements > MaxPlacements:
		return nil, fmt.Errorf("placements must be from 1 to %d, not %d", MaxPlacements, o.Placements)
	case o.Candidates < 1 || o.Candidates > MaxCandidates:
		return nil, fmt.Errorf("candidates must be from 1 to %d, not %d", MaxCandidates, o.Candidates)
	case o.Sources < 0 || o.Sources > MaxSources || o.Tags < 0 || o.Tags > MaxSources:
		return nil, fmt.Errorf("sources and tags must be from 0 to %d, not %d and %d", MaxSources, o.Sources, o.Tags)
	case o.Start.IsZero():
		return nil, fmt.Errorf("a start is needed: flights lie around it")
	}
	g := &generator{o: o, rng: rand.New(rand.NewPCG(o.Seed, 0x7061746167)), c: &catalogue.Catalogue{}}
	g.o.Start = o.Start.UTC().Truncate(time.Hour)
	g.settings()
	g.inventory()
	g.demand()
	g.buyers()
	g.lineItems()
	return g.c, nil
}

type generator struct {
	o   Options
	rng *rand.Rand
	c   *catalogue.Catalogue
	// paying is the number of advertisers beside the house, which is the first.
	paying int
}

// chance says yes in so many of a hundred cases.
func (g *generator) chance(percent int) bool { return g.rng.IntN(100) < percent }

func pick[T any](g *generator, from []T) T { return from[g.rng.IntN(len(from))] }

// some picks one to most different values, in the order of from.
func some[T any](g *generator, from []T, most int) []T {
	n := 1 + g.rng.IntN(min(most, len(from)))
	out := make([]T, 0, n)
	for i := range from {
		if g.rng.IntN(len(from)-i) < n-len(out) {
			out = append(out, from[i])
		}
	}
	return out
}

func eur(micros int64) catalogue.Money { return catalogue.Money{Micros: micros, Currency: "EUR"} }

func (g *generator) settings() {
	g.c.Settings = catalogue.Settings{
		Currency: "EUR", Rates: map[string]int64{"CHF": 1_060_000, "GBP": 1_150_000, "USD": 920_000},
		Exchange:     catalogue.Exchange{Domain: "ads.network.example", ContactEmail: "adops@network.example"},
		PriceBuckets: []catalogue.PriceBucket{{UpToMicros: 5_000_000, StepMicros: 50_000}, {UpToMicros: 20_000_000, StepMicros: 500_000}},
		BlockedHosts: []string{"malware.example", "tracker.bad.example"},
	}
}

// shape is what a placement has room for.
type shape struct {
	name   string
	format catalogue.Format
	sizes  []catalogue.Size
	at     string
}

var shapes = []shape{
	{"Rectangle", catalogue.Display, []catalogue.Size{{Width: 300, Height: 250}}, "above"},
	{"Leaderboard", catalogue.Display, []catalogue.Size{{Width: 728, Height: 90}, {Width: 970, Height: 90}}, "header"},
	{"Skyscraper", catalogue.Display, []catalogue.Size{{Width: 160, Height: 600}, {Width: 120, Height: 600}}, "sidebar"},
	{"Mobile banner", catalogue.Display, []catalogue.Size{{Width: 320, Height: 50}, {Width: 320, Height: 100}}, "footer"},
	{"Billboard", catalogue.Display, []catalogue.Size{{Width: 970, Height: 250}}, "below"},
	{"Native", catalogue.Native, nil, "below"},
}

// shapeOf a placement is that of its block: line items are booked by block.
func shapeOf(placement int) int { return placement / block % len(shapes) }

func placementID(i int) string  { return fmt.Sprintf("pl-%07d", i+1) }
func siteID(i int) string       { return fmt.Sprintf("site-%06d", i+1) }
func publisherID(i int) string  { return fmt.Sprintf("pub-%05d", i+1) }
func sourceID(i int) string     { return fmt.Sprintf("bidder-%02d", i+1) }
func tagID(i int) string        { return fmt.Sprintf("tag-%02d", i+1) }
func advertiserID(i int) string { return fmt.Sprintf("adv-%06d", i) }

var topics = []string{"IAB1", "IAB2", "IAB3", "IAB8", "IAB9", "IAB13", "IAB17", "IAB19", "IAB20", "IAB22"}

func (g *generator) inventory() {
	n := g.o.Placements
	sites := (n + perSite - 1) / perSite
	for i := range (sites + perOwner - 1) / perOwner {
		p := catalogue.Publisher{ID: publisherID(i), Name: fmt.Sprintf("Publisher %d", i+1), Domain: fmt.Sprintf("pub%d.example", i+1)}
		if g.chance(40) {
			p.BlockedCategories = some(g, []string{"IAB7-39", "IAB14", "IAB25", "IAB26"}, 3)
		}
		if g.chance(20) {
			p.BlockedDomains = []string{fmt.Sprintf("brand%d.example", 1+g.rng.IntN(50))}
		}
		if g.chance(10) {
			p.BlockedKeywords = []string{"casino"}
		}
		p.Confidential = g.chance(5)
		g.c.Publishers = append(g.c.Publishers, p)
	}
	for i := range sites {
		owner := i / perOwner
		g.c.Sites = append(g.c.Sites, catalogue.Site{
			ID: siteID(i), Publisher: publisherID(owner), Name: fmt.Sprintf("Site %d", i+1),
			Domain: fmt.Sprintf("s%d.pub%d.example", i+1, owner+1), Categories: some(g, topics, 2),
		})
	}
	g.c.Placements = make([]catalogue.Placement, n)
	for i := range n {
		s := &shapes[shapeOf(i)]
		p := &g.c.Placements[i]
		*p = catalogue.Placement{
			ID: placementID(i), Site: siteID(i / perSite), Name: fmt.Sprintf("%s %d", s.name, i+1),
			Format: s.format, Sizes: s.sizes, Position: s.at, Waterfall: g.waterfall(), Paused: g.chance(1),
		}
		if g.chance(20) {
			p.Order = catalogue.ByPrice
		}
		if g.chance(5) {
			p.Experiments = []catalogue.Experiment{{ID: "floors", Arms: []catalogue.Arm{{ID: "higher", Share: 20, Waterfall: g.waterfall()}}}}
		}
	}
}

func (g *generator) waterfall() []catalogue.Step {
	floor := eur(int64(2+g.rng.IntN(20)) * 100_000)
	steps := []catalogue.Step{{Kind: catalogue.Direct, Tiers: []catalogue.Tier{catalogue.Sponsorship, catalogue.Standard}}}
	if g.o.Sources > 0 && g.chance(70) {
		sources := make([]string, g.o.Sources)
		for i := range sources {
			sources[i] = sourceID(i)
		}
		steps = append(steps, catalogue.Step{Kind: catalogue.Auction, Sources: some(g, sources, 4), Floor: &floor, Deadline: "150ms"})
	}
	steps = append(steps, catalogue.Step{Kind: catalogue.Direct, Tiers: []catalogue.Tier{catalogue.Price}, Floor: &floor})
	if g.o.Tags > 0 && g.chance(40) {
		steps = append(steps, catalogue.Step{Kind: catalogue.Tag, Sources: []string{tagID(g.rng.IntN(g.o.Tags))}, Floor: &floor})
	}
	return append(steps, catalogue.Step{Kind: catalogue.House})
}

func (g *generator) demand() {
	for i := range max(g.o.Sources, g.o.Tags) {
		id := fmt.Sprintf("partner-%02d", i+1)
		g.c.DemandPartners = append(g.c.DemandPartners, catalogue.DemandPartner{
			ID: id, Name: fmt.Sprintf("Partner %d", i+1), Domain: fmt.Sprintf("partner%d.example", i+1), Account: fmt.Sprintf("acc-%d", 1000+i), VendorID: 10 + i,
		})
	}
	for i := range g.o.Sources {
		endpoint := g.o.Endpoint
		if endpoint == "" {
			endpoint = fmt.Sprintf("https://bid-%d.partner.example/openrtb", i+1)
		}
		g.c.DemandSources = append(g.c.DemandSources, catalogue.DemandSource{
			ID: sourceID(i), Partner: fmt.Sprintf("partner-%02d", i+1), Name: fmt.Sprintf("Bidder %d", i+1), Kind: catalogue.OpenRTB, Endpoint: endpoint,
			Timeout: "120ms", MaxQPS: 500, Currencies: []string{"EUR", "USD"}, BidAdjustment: 100 - g.rng.IntN(15),
		})
	}
	for i := range g.o.Tags {
		cpm := eur(int64(5+g.rng.IntN(20)) * 100_000)
		g.c.DemandSources = append(g.c.DemandSources, catalogue.DemandSource{
			ID: tagID(i), Partner: fmt.Sprintf("partner-%02d", i+1), Name: fmt.Sprintf("Tag %d", i+1), Kind: catalogue.ThirdTag, CPM: &cpm,
			HTML: fmt.Sprintf(`<script src="https://cdn.partner%d.example/tag.js?w={{WIDTH}}&amp;h={{HEIGHT}}&amp;cb={{CACHEBUSTER}}"></script><script>{{PASSBACK}}</script>`, i+1),
		})
	}
	if g.o.Sources == 0 {
		return
	}
	for i := range max(1, g.o.Placements/500) {
		at := g.rng.IntN(g.o.Placements)
		g.c.Deals = append(g.c.Deals, catalogue.Deal{
			ID: fmt.Sprintf("deal-%05d", i+1), Source: sourceID(g.rng.IntN(g.o.Sources)), Name: fmt.Sprintf("Deal %d", i+1),
			Floor: eur(int64(20+g.rng.IntN(60)) * 100_000), Placements: g.placements(at, min(at+block, g.o.Placements)), Preferred: g.chance(20),
		})
	}
}

func (g *generator) placements(from, to int) []string {
	ids := make([]string, to-from)
	for i := range ids {
		ids[i] = g.c.Placements[from+i].ID // shared, not made again
	}
	return ids
}
