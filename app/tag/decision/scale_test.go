package decision

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"patag/app/tag/catalogue"
	"patag/app/tag/inventory"
)

// network is a catalogue of n placements with ten candidates each: targeted, capped, under floors and block lists.
func network(n int) *catalogue.Catalogue {
	size := catalogue.Size{Width: 300, Height: 250}
	c := &catalogue.Catalogue{Settings: catalogue.Settings{Currency: "EUR"}}
	for i := range max(1, n/50) {
		id := fmt.Sprint("pub", i)
		c.Publishers = append(c.Publishers, catalogue.Publisher{ID: id, Name: id, BlockedDomains: []string{"casino.example"}, BlockedCategories: []string{"IAB9"}, BlockedKeywords: []string{"miracle cure"}})
		c.Sites = append(c.Sites, catalogue.Site{ID: id, Name: id, Publisher: id, Categories: []string{"IAB12"}})
	}
	floor := catalogue.Money{Micros: 500000, Currency: "EUR"}
	for i := range n {
		c.Placements = append(c.Placements, catalogue.Placement{
			ID: fmt.Sprint("place", i), Name: "P", Site: c.Sites[i%len(c.Sites)].ID, Format: catalogue.Display, Sizes: []catalogue.Size{size},
			Waterfall: []catalogue.Step{{Kind: catalogue.Direct, Floor: &floor}, {Kind: catalogue.House}},
		})
	}
	c.Advertisers = []catalogue.Advertiser{{ID: "adv", Name: "A", Domain: "adv.example", BlockedKeywords: []string{"war"}}}
	c.Campaigns = []catalogue.Campaign{{ID: "camp", Advertiser: "adv", Name: "C"}}
	for i := range 20 {
		c.Creatives = append(c.Creatives, catalogue.Creative{ID: fmt.Sprint("cr", i), Name: "n", Advertiser: "adv", Format: catalogue.Display, Size: size, HTML: "<p>ad</p>", Landing: "https://adv.example/"})
	}
	// A line item runs on up to 1,000 placements; each placement gets ten of them.
	tiers := []catalogue.Tier{catalogue.Sponsorship, catalogue.Standard, catalogue.Standard, catalogue.Standard, catalogue.Price, catalogue.Price, catalogue.Price, catalogue.Price, catalogue.Price, catalogue.HouseTier}
	for at := 0; at < n; at += 1000 {
		var ids []string
		for i := at; i < min(n, at+1000); i++ {
			ids = append(ids, c.Placements[i].ID)
		}
		for k, tier := range tiers {
			it := catalogue.LineItem{
				ID: fmt.Sprint("item", at, "-", k), Name: "n", Campaign: "camp", Tier: tier, CPM: catalogue.Money{Micros: int64(1+k) * 300000, Currency: "EUR"}, Placements: ids,
				Creatives: []catalogue.CreativeInItem{{ID: fmt.Sprint("cr", k)}, {ID: fmt.Sprint("cr", 10+k)}},
			}
			switch k % 4 {
			case 0:
				it.Targeting.KeyValues.Include = map[string][]string{"section": {"sport"}}
			case 1:
				it.Targeting.Countries.Include = []string{"DE", "AT"}
			case 2:
				it.Targeting.Devices.Include = []string{"desktop", "mobile"}
				it.MaxImpressions = 1 << 40
			case 3:
				it.Targeting.DayParts = []catalogue.DayPart{{From: 6, To: 22, Zone: "Europe/Berlin"}}
			}
			c.LineItems = append(c.LineItems, it)
		}
	}
	return c
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{100, 10000, 100000} {
		c := network(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var before, after runtime.MemStats
			var s *inventory.Snapshot
			for b.Loop() {
				s = nil
				runtime.GC()
				runtime.ReadMemStats(&before)
				var err error
				if s, err = inventory.Compile(c, 1, time.Now()); err != nil {
					b.Fatal(err)
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/float64(n), "B/placement")
			runtime.KeepAlive(s)
		})
	}
}

// BenchmarkScale decides for random placements of catalogues of several sizes.
func BenchmarkScale(b *testing.B) {
	for _, n := range []int{100, 1000, 10000, 100000} {
		s, err := inventory.Compile(network(n), 1, time.Now())
		if err != nil {
			b.Fatal(err)
		}
		for _, hot := range slices.Compact([]int{100, n}) { // placements that are asked for; of all, most are in no cache
			b.Run(fmt.Sprintf("%d/hot=%d", n, hot), func(b *testing.B) {
				e := Engine{Frequency: seen{}, Delivery: delivered{}}
				r := Request{Now: 1778846400, Country: inventory.ParseCountry("DE"), Device: inventory.Desktop, Page: "s.example/peace"}
				ctx := b.Context()
				b.ReportAllocs()
				rng := rand.New(rand.NewPCG(1, 2))
				order := make([]*inventory.Placement, 4096)
				for i := range order {
					order[i] = s.Placements[rng.IntN(hot)]
				}
				for b.Loop() {
					r.Seed++
					r.Placement = order[r.Seed%uint64(len(order))]
					e.Decide(ctx, &r, nil)
				}
			})
		}
	}
}

// constantBids is one bid per source, for measuring what a decision adds.
type constantBids struct{}

func (constantBids) Ask(_ context.Context, _ *Request, step *inventory.Step) []Answer {
	out := make([]Answer, len(step.Sources))
	for i, src := range step.Sources {
		out[i] = Answer{Source: src, BaseMicros: 2_000_000, Domains: shoesOnly, Markup: "<p>shoes</p>"}
	}
	return out
}

func (constantBids) Settle(*Request, *inventory.Step, []Answer, []Reason) {}

var shoesOnly = []string{"shoes.example"}

// Direct decisions allocate nothing; an auction among two sources, without what the sources cost, stays within ten.
func TestAllocations(t *testing.T) {
	s := compiled(t, "catalogue-market.json")
	for placement, most := range map[string]float64{"before-direct": 10, "auction": 10, "tags": 2, "experiment": 0} {
		e := Engine{Frequency: seen{}, Delivery: delivered{}, Auctions: constantBids{}}
		c := testCase{Request: testRequest{Placement: placement, User: "ben"}}
		r := c.request(t, s, 1)
		if got := testing.AllocsPerRun(1000, func() { e.Decide(t.Context(), &r, nil) }); got > most {
			t.Errorf("%s: %v allocations, want at most %v", placement, got, most)
		}
	}
}
