package decision

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"patag/app/tag/catalogue"
	"patag/app/tag/inventory"
	"patag/app/tag/privacy"
)

// dice makes random catalogues and requests; everything follows from its seed.
type dice struct{ *rand.Rand }

func (d dice) maybe(percent int) bool { return d.IntN(100) < percent }

func pickOf[T any](d dice, of ...T) T { return of[d.IntN(len(of))] }

func some[T any](d dice, percent int, of ...T) []T {
	var out []T
	for _, x := range of {
		if d.maybe(percent) {
			out = append(out, x)
		}
	}
	return out
}

var (
	domains    = []string{"shoes.example", "casino.example", "bank.example", "cola.example"}
	iab        = []string{"IAB7", "IAB7-39", "IAB9", "IAB9-30", "IAB12", "IAB17"}
	blockwords = []string{"cure", "war", "sex"}
	regions    = []string{"DE-BY", "DE-BE", "FR-75"}
)

func (d dice) money() catalogue.Money {
	return catalogue.Money{Micros: int64(d.IntN(8)) * 500000, Currency: pickOf(d, "EUR", "USD")}
}

func (d dice) targeting() catalogue.Targeting {
	var t catalogue.Targeting
	switch d.IntN(7) {
	case 0:
		t.Countries.Include = []string{pickOf(d, "DE", "FR")}
	case 1:
		t.Regions.Exclude = some(d, 40, regions...)
	case 2:
		t.Categories = catalogue.Lists{Include: some(d, 40, iab...), Exclude: some(d, 10, iab...)}
	case 3:
		t.Pages.Exclude = []string{"s.example/a"}
	case 4:
		t.DayParts = []catalogue.DayPart{{From: d.IntN(12), To: 12 + d.IntN(12), Zone: "Europe/Berlin"}}
	}
	return t
}

func (d dice) waterfall() []catalogue.Step {
	var out []catalogue.Step
	for range 1 + d.IntN(6) {
		s := catalogue.Step{Kind: pickOf(d, catalogue.Direct, catalogue.Direct, catalogue.Auction, catalogue.Auction, catalogue.Tag, catalogue.House)}
		if s.Kind != catalogue.House && d.maybe(60) {
			m := d.money()
			s.Floor = &m
		}
		switch s.Kind {
		case catalogue.Direct:
			s.Tiers = some(d, 40, catalogue.Sponsorship, catalogue.Standard, catalogue.Price)
		case catalogue.Auction:
			s.Sources = some(d, 60, "r0", "r1", "r2")
			if len(s.Sources) == 0 {
				s.Sources = []string{"r0"}
			}
		case catalogue.Tag:
			s.Sources = []string{pickOf(d, "t0", "t1", "t2")}
		}
		out = append(out, s)
	}
	return out
}

func (d dice) catalogue() *catalogue.Catalogue {
	size := catalogue.Size{Width: 300, Height: 250}
	c := &catalogue.Catalogue{Settings: catalogue.Settings{Currency: "EUR", Rates: map[string]int64{"USD": 900000}}}
	for i := range 3 {
		id := fmt.Sprint("p", i)
		c.Publishers = append(c.Publishers, catalogue.Publisher{ID: id, Name: id, BlockedDomains: some(d, 30, domains...), BlockedCategories: some(d, 30, iab...), BlockedKeywords: some(d, 30, blockwords...)})
		c.Sites = append(c.Sites, catalogue.Site{ID: id, Name: id, Publisher: id, Categories: some(d, 30, iab...)})
	}
	var placements []string
	for i := range 8 {
		p := catalogue.Placement{
			ID: fmt.Sprint("place", i), Name: "P", Site: fmt.Sprint("p", d.IntN(3)), Format: catalogue.Display, Sizes: []catalogue.Size{size},
			Order: pickOf(d, catalogue.Listed, catalogue.ByPrice), Waterfall: d.waterfall(),
		}
		if d.maybe(30) {
			p.Experiments = []catalogue.Experiment{{ID: "x", Arms: []catalogue.Arm{{ID: "a", Share: 50, Waterfall: d.waterfall(), Order: pickOf(d, catalogue.Listed, catalogue.ByPrice)}}}}
		}
		placements = append(placements, p.ID)
		c.Placements = append(c.Placements, p)
	}
	for i, domain := range domains {
		id := fmt.Sprint("a", i)
		c.Advertisers = append(c.Advertisers, catalogue.Advertiser{ID: id, Name: id, Domain: domain, BlockedCategories: some(d, 10, iab...), BlockedKeywords: some(d, 10, blockwords...)})
		c.Campaigns = append(c.Campaigns, catalogue.Campaign{ID: id, Name: id, Advertiser: id})
		for j := range 3 {
			c.Creatives = append(c.Creatives, catalogue.Creative{ID: fmt.Sprint(id, "-", j), Name: "n", Advertiser: id, Format: catalogue.Display, Size: size,
				HTML: "ad " + strings.Join(some(d, 20, blockwords...), " "), Categories: some(d, 15, iab...), Landing: "https://" + domain + "/"})
		}
	}
	for i := range 30 {
		adv := fmt.Sprint("a", d.IntN(len(domains)))
		it := catalogue.LineItem{ID: fmt.Sprint("i", i), Name: "n", Campaign: adv, Tier: pickOf(d, catalogue.Tiers[:]...), CPM: d.money(), Weight: d.IntN(5),
			Placements: some(d, 40, placements...), Targeting: d.targeting(), ExclusionGroups: some(d, 20, "g", "h")}
		if len(it.Placements) == 0 {
			it.Placements = placements[:1]
		}
		if d.maybe(40) {
			it.MaxImpressions = int64(1 + d.IntN(5))
		}
		for j := range 1 + d.IntN(3) {
			it.Creatives = append(it.Creatives, catalogue.CreativeInItem{ID: fmt.Sprint(adv, "-", j)})
		}
		c.LineItems = append(c.LineItems, it)
	}
	c.DemandPartners = []catalogue.DemandPartner{{ID: "d", Name: "D", Domain: "d.example", Account: "1", VendorID: 3}, {ID: "e", Name: "E", Domain: "e.example", Account: "2"}}
	for i := range 3 {
		m := d.money()
		c.DemandSources = append(c.DemandSources,
			catalogue.DemandSource{ID: fmt.Sprint("r", i), Name: "n", Partner: pickOf(d, "d", "e"), Kind: catalogue.OpenRTB, Endpoint: "https://r.example/", BlockedSeats: some(d, 30, "s0", "s1"), Targeting: d.targeting(), Paused: d.maybe(10)},
			catalogue.DemandSource{ID: fmt.Sprint("t", i), Name: "n", Partner: pickOf(d, "d", "e"), Kind: catalogue.ThirdTag, HTML: "<script>{{PASSBACK}}</script>", CPM: &m, Targeting: d.targeting(), Paused: d.maybe(10)})
		c.Deals = append(c.Deals, catalogue.Deal{ID: fmt.Sprint("deal", i), Name: "n", Source: fmt.Sprint("r", i), Floor: d.money(), Placements: some(d, 60, placements...), Seats: some(d, 30, "s0", "s1"), Preferred: d.maybe(50)})
		if len(c.Deals[i].Placements) == 0 {
			c.Deals[i].Placements = placements
		}
	}
	return c
}

// Ask makes a dice a market: the bids follow from the request's seed, and bidders obey no rule.
func (dice) Ask(_ context.Context, r *Request, step *inventory.Step) []Answer {
	d := dice{rand.New(rand.NewPCG(r.Seed, uint64(len(step.Sources))))}
	var out []Answer
	for _, src := range step.Sources {
		a := Answer{Source: src, BaseMicros: int64(d.IntN(8)) * 500000, Seat: pickOf(d, "s0", "s1", "s2"), Domains: some(d, 40, domains...), Categories: some(d, 20, iab...), Markup: "<p>" + strings.Join(some(d, 15, blockwords...), ".")}
		if len(step.Deals) > 0 && d.maybe(40) {
			a.Deal = step.Deals[d.IntN(len(step.Deals))]
		}
		if d.maybe(15) {
			a.Problem = pickOf(d, NoBid, TimedOut, SourceFailed)
		}
		if !d.maybe(10) {
			out = append(out, a)
		}
	}
	return out
}

func (dice) Settle(*Request, *inventory.Step, []Answer, []Reason) {}

// served counts what is handed out against caps.
type served map[string]int64

func (s served) Open(*inventory.Item, uint64) Reason { return Eligible }

func (s served) Reserve(it *inventory.Item) bool {
	if s[it.ID] >= it.MaxImpressions {
		return false
	}
	s[it.ID]++
	return true
}

// Whatever the catalogue, the request and the bids: caps and floors hold, nothing blocked shows, chains end, and the trace tells the
// decision.
func TestProperties(t *testing.T) {
	catalogues, requests := 60, 300
	if testing.Short() {
		catalogues = 15
	}
	kinds := map[string]int{}
	for n := range uint64(catalogues) {
		d := dice{rand.New(rand.NewPCG(n, 1))}
		c := d.catalogue()
		s, err := inventory.Compile(c, 1, time.Unix(1778846400, 0))
		if err != nil {
			t.Fatalf("catalogue %d: %v", n, err)
		}
		caps := served{}
		fills := map[string]int64{}
		for i := range requests {
			r := d.request(s)
			e := Engine{Frequency: seen{}, Delivery: caps, Auctions: d}
			var trace Trace
			dec := e.Decide(t.Context(), &r, &trace)
			check := property{t: t, c: c, r: &r, d: &dec, trace: &trace}
			check.all()
			if dec.Item != nil {
				fills[dec.Item.ID]++
				kinds[string(dec.Item.Tier)]++
				if m := dec.Item.MaxImpressions; m > 0 && fills[dec.Item.ID] > m {
					t.Errorf("%s was served %d times, its cap is %d", dec.Item.ID, fills[dec.Item.ID], m)
				}
			} else {
				kinds[fmt.Sprint("bid ", dec.Bid != nil, ", tags ", len(dec.Tags) > 0)]++
			}
			// The same seed and the same state: the same decision.
			e.Delivery = served{}
			a := e.Decide(t.Context(), &r, nil)
			e.Delivery = served{}
			if b := e.Decide(t.Context(), &r, nil); !reflect.DeepEqual(a, b) {
				t.Errorf("the same request gets %+v, then %+v", a, b)
			}
			if t.Failed() {
				t.Fatalf("catalogue %d, request %d: %+v", n, i, trace)
			}
		}
	}
	// The test shows nothing unless all outcomes come up.
	for _, k := range []string{"sponsorship", "standard", "price", "house", "bid true, tags true", "bid true, tags false", "bid false, tags true", "bid false, tags false"} {
		if kinds[k] < catalogues {
			t.Errorf("only %d decisions of kind %q", kinds[k], k)
		}
	}
}

func (d dice) request(s *inventory.Snapshot) Request {
	r := Request{
		Placement: s.Placements[d.IntN(len(s.Placements))], Now: 1778846400 + int64(d.IntN(86400)), Country: inventory.ParseCountry(pickOf(d, "DE", "FR", "")),
		Region: inventory.ParseRegion(pickOf(d, regions...)), Device: inventory.Desktop, Page: pickOf(d, "", "s.example/a/b", "s.example/war"),
		Categories: some(d, 20, iab...), Keywords: some(d, 20, blockwords...), PageView: d.Uint64(), Seed: d.Uint64(), Privacy: &privacy.Permissions{GDPR: d.maybe(20)},
	}
	if d.maybe(20) {
		r.Excluded = []uint32{s.Group(pickOf(d, "g", "h"))}
	}
	return r
}

// property looks at a decision with the catalogue's documents, not with what was compiled of them.
type property struct {
	t     *testing.T
	c     *catalogue.Catalogue
	r     *Request
	d     *Decision
	trace *Trace
}

func (p *property) all() {
	p.t.Helper()
	pub := p.c.Publishers[slices.IndexFunc(p.c.Publishers, func(x catalogue.Publisher) bool { return x.ID == p.r.Placement.Publisher })]
	floor := func(step int) int64 { return p.d.Waterfall.Steps[step].FloorMicros }
	blocked := func(domains, categories []string, text string) string {
		for _, b := range pub.BlockedDomains {
			if slices.Contains(domains, b) {
				return b
			}
		}
		for _, b := range pub.BlockedCategories {
			for _, c := range categories {
				if c == b || strings.HasPrefix(c, b+"-") {
					return b
				}
			}
		}
		for _, b := range pub.BlockedKeywords {
			if strings.Contains(text, b) {
				return b
			}
		}
		return ""
	}
	switch {
	case p.d.Item != nil:
		if it := p.d.Item; it.Tier != catalogue.Sponsorship && it.BaseMicros < floor(p.d.Step) {
			p.t.Errorf("%s fills at %d, the floor is %d", it.ID, it.BaseMicros, floor(p.d.Step))
		}
		cr := p.c.Creatives[slices.IndexFunc(p.c.Creatives, func(x catalogue.Creative) bool { return x.ID == p.d.Creative.ID })]
		adv := p.c.Advertisers[slices.IndexFunc(p.c.Advertisers, func(x catalogue.Advertiser) bool { return x.ID == cr.Advertiser })]
		if b := blocked([]string{adv.Domain}, cr.Categories, cr.HTML); b != "" {
			p.t.Errorf("creative %s fills in spite of %q", cr.ID, b)
		}
		if shareGroup(p.d.Item.Groups, p.r.Excluded) {
			p.t.Errorf("%s fills, its group is taken", p.d.Item.ID)
		}
	case p.d.Bid != nil:
		b := p.d.Bid
		if b.BaseMicros <= 0 || b.BaseMicros < floor(p.d.Step) || b.Deal != nil && b.BaseMicros < b.Deal.FloorMicros {
			p.t.Errorf("a bid of %d fills, the floor is %d, the deal %+v", b.BaseMicros, floor(p.d.Step), b.Deal)
		}
		if x := blocked(b.Domains, b.Categories, b.Markup); x != "" || slices.Contains(b.Source.BlockedSeats, b.Seat) {
			p.t.Errorf("a bid fills in spite of %q, seat %q", x, b.Seat)
		}
		if b.Source.Paused || !p.r.Privacy.Vendor(b.Source.VendorID) {
			p.t.Errorf("source %s may not be asked", b.Source.ID)
		}
	}
	p.chain()
	p.told()
}

// chain: each tag is another step, may be tried, is worth its floor and has a time limit, so the chain ends.
func (p *property) chain() {
	steps := map[int]bool{}
	for _, tag := range p.d.Tags {
		if steps[tag.Step] || tag.Deadline <= 0 || tag.Source.Paused || !p.r.Privacy.Vendor(tag.Source.VendorID) || tag.Source.BaseMicros < p.d.Waterfall.Steps[tag.Step].FloorMicros {
			p.t.Errorf("tag %+v does not belong into the chain", tag)
		}
		if p.d.Filled && p.d.Waterfall.Runs == nil && tag.Step > p.d.Step {
			p.t.Errorf("tag at step %d comes before the fill at step %d", tag.Step, p.d.Step)
		}
		steps[tag.Step] = true
	}
}

// told: the trace says what was decided.
func (p *property) told() {
	filled, offered := 0, 0
	for _, a := range p.trace.Attempts {
		switch a.Outcome {
		case "filled":
			filled++
			if a.Step != p.d.Step || a.LineItem != p.trace.LineItem || a.Source != p.trace.Source || a.NotReached {
				p.t.Errorf("the trace has %+v filled", a)
			}
		case "offered":
			offered++
		case "outranked":
			if p.d.Waterfall.Runs == nil && !a.NotReached && a.Step < p.d.Step {
				p.t.Errorf("%+v was passed over", a)
			}
			if !p.d.Filled {
				p.t.Errorf("%+v by nothing", a)
			}
		}
	}
	if want := map[bool]int{true: 1}[p.d.Filled]; filled != want || offered != len(p.d.Tags) {
		p.t.Errorf("%d filled and %d offered in the trace, %v and %d decided", filled, offered, p.d.Filled, len(p.d.Tags))
	}
	if p.d.Filled != (p.d.NoFill == None) || p.d.Filled != (p.d.Item != nil || p.d.Bid != nil) || p.d.Item != nil && p.d.Bid != nil {
		p.t.Errorf("%+v contradicts itself", p.d)
	}
}
