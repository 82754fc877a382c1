package generate

import (
	"fmt"
	"time"

	"patag/app/tag/catalogue"
)

// buyers makes the house and as many advertisers as the line items need, each with campaigns and a creative per shape.
func (g *generator) buyers() {
	blocks := (g.o.Placements + block - 1) / block
	g.paying = max(5, blocks*(g.o.Candidates-1)/perBuyer)
	for i := range 1 + g.paying {
		a := catalogue.Advertiser{ID: advertiserID(i), Name: fmt.Sprintf("Brand %d", i), Domain: fmt.Sprintf("brand%d.example", i)}
		if i == 0 {
			a.Name, a.Domain = "House", "network.example"
		} else if g.chance(5) {
			a.BlockedSites = []string{siteID(g.rng.IntN(len(g.c.Sites)))}
		} else if g.chance(5) {
			a.BlockedCategories = some(g, []string{"IAB14", "IAB25", "IAB26"}, 2)
		}
		g.c.Advertisers = append(g.c.Advertisers, a)
		for j := range perCampaign {
			g.c.Campaigns = append(g.c.Campaigns, catalogue.Campaign{
				ID: campaignID(i, j), Advertiser: a.ID, Name: fmt.Sprintf("%s, campaign %d", a.Name, j+1), Paused: i > 0 && g.chance(1),
			})
		}
		topic := pick(g, []string{"IAB2", "IAB3-1", "IAB8-5", "IAB13", "IAB17-44", "IAB19", "IAB20-3", "IAB22"})
		for s := range shapes {
			g.c.Creatives = append(g.c.Creatives, creative(&a, s, topic))
		}
	}
}

func campaignID(advertiser, i int) string { return fmt.Sprintf("cam-%06d-%d", advertiser, i+1) }
func creativeID(advertiser, shape int) string {
	return fmt.Sprintf("cr-%06d-%d", advertiser, shape+1)
}

func creative(a *catalogue.Advertiser, s int, topic string) catalogue.Creative {
	c := catalogue.Creative{
		ID: "cr-" + a.ID[len("adv-"):] + fmt.Sprintf("-%d", s+1), Advertiser: a.ID, Name: a.Name + ", " + shapes[s].name,
		Format: shapes[s].format, Categories: []string{topic}, Landing: "https://" + a.Domain + "/offer",
	}
	if c.Format == catalogue.Native {
		c.Native = &catalogue.NativeAssets{
			Title: "What " + a.Name + " has made", Body: "Made with care, and with you by Thursday.", Sponsor: a.Name, Action: "See more",
			Image: "https://cdn." + a.Domain + "/native.webp",
		}
		return c
	}
	c.Size = shapes[s].sizes[0]
	c.HTML = fmt.Sprintf(`<a href="{{CLICK}}" rel="noopener sponsored" style="display:block;line-height:0"><svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" role="img" aria-label="%s"><rect width="100%%" height="100%%" fill="#14453d"/><text x="50%%" y="50%%" fill="#fff" text-anchor="middle" font-family="system-ui,sans-serif">%s</text></svg></a>`,
		c.Size.Width, c.Size.Height, a.Name, a.Name)
	return c
}

// lineItems books each block of placements: one house ad, and paid items of mixed tiers.
func (g *generator) lineItems() {
	n, buyer := 0, 0
	for from := 0; from < g.o.Placements; from += block {
		placements := g.placements(from, min(from+block, g.o.Placements))
		s := shapeOf(from)
		for i := range g.o.Candidates {
			n++
			l := catalogue.LineItem{ID: fmt.Sprintf("li-%07d", n), Name: fmt.Sprintf("%s, item %d", shapes[s].name, n), Placements: placements}
			advertiser := 0
			if i == 0 {
				l.Tier, l.CPM = catalogue.HouseTier, eur(0)
			} else {
				buyer = buyer%g.paying + 1
				advertiser = buyer
				g.book(&l)
			}
			l.Campaign = campaignID(advertiser, g.rng.IntN(perCampaign))
			l.Creatives = []catalogue.CreativeInItem{{ID: creativeID(advertiser, s), Weight: 1}}
			g.c.LineItems = append(g.c.LineItems, l)
		}
	}
}

// book gives a paid item its price, period, limits and targeting.
func (g *generator) book(l *catalogue.LineItem) {
	switch at := g.rng.IntN(100); {
	case at < 10:
		l.Tier = catalogue.Sponsorship
	case at < 50:
		l.Tier = catalogue.Standard
	default:
		l.Tier = catalogue.Price
	}
	l.CPM = catalogue.Money{Micros: int64(3+g.rng.IntN(90)) * 100_000, Currency: pick(g, []string{"EUR", "EUR", "EUR", "USD", "GBP"})}
	l.Weight = 1 + g.rng.IntN(10)
	l.Flights = g.flights()
	if g.chance(25) {
		l.Frequency = []catalogue.FrequencyCap{{Impressions: 1 + g.rng.IntN(5), Window: "24h"}}
		if g.chance(30) {
			l.Frequency = append(l.Frequency, catalogue.FrequencyCap{Impressions: 1, Window: "1h"})
		}
	}
	if g.chance(10) {
		l.MaxImpressions = int64(1+g.rng.IntN(100)) * 100_000
	}
	if g.chance(5) {
		l.MaxClicks = int64(1+g.rng.IntN(50)) * 1000
	}
	if g.chance(5) {
		budget := eur(int64(1+g.rng.IntN(50)) * 1_000_000_000)
		l.Budget = &budget
	}
	if g.chance(10) {
		l.ExclusionGroups = some(g, []string{"airlines", "banks", "cars", "telecoms"}, 1)
	}
	if len(l.Flights) > 0 && g.chance(30) {
		l.Goal = &catalogue.Goal{Impressions: int64(1+g.rng.IntN(500)) * 10_000}
		if g.chance(20) {
			l.Goal.Pacing = catalogue.ASAP
		}
	}
	l.Paused = g.chance(2)
	l.Targeting = g.targeting()
}

// flights: three in four items run now, one in twelve is over, one in twelve is to come, the rest always runs.
func (g *generator) flights() []catalogue.Flight {
	day := 24 * time.Hour
	begin := g.o.Start.Add(-time.Duration(g.rng.IntN(60)) * day)
	switch at := g.rng.IntN(12); {
	case at < 9:
		return []catalogue.Flight{{Start: begin, End: g.o.Start.Add(time.Duration(365+g.rng.IntN(365)) * day)}}
	case at == 9:
		return []catalogue.Flight{{Start: begin.Add(-90 * day), End: begin}}
	case at == 10:
		return []catalogue.Flight{{Start: g.o.Start.Add(800 * day), End: g.o.Start.Add(900 * day)}}
	}
	return nil
}

func (g *generator) targeting() catalogue.Targeting {
	var t catalogue.Targeting
	if g.chance(30) {
		t.Countries.Include = some(g, []string{"AT", "CH", "DE", "FR", "GB", "NL", "US"}, 4)
	} else if g.chance(5) {
		t.Regions.Include = some(g, []string{"DE-BE", "DE-BY", "DE-HH", "DE-NW"}, 2)
	}
	if g.chance(20) {
		t.Devices.Include = some(g, catalogue.Devices, 2)
	}
	if g.chance(5) {
		t.Browsers.Exclude = some(g, catalogue.Browsers, 2)
	}
	if g.chance(5) {
		t.Systems.Include = some(g, catalogue.Systems, 4)
	}
	if g.chance(10) {
		t.Categories.Exclude = some(g, []string{"IAB7", "IAB14", "IAB25", "IAB26"}, 2)
	}
	if g.chance(3) {
		t.Sites.Exclude = []string{siteID(g.rng.IntN(len(g.c.Sites)))}
	}
	if g.chance(3) {
		t.Pages.Exclude = []string{fmt.Sprintf("*.pub%d.example/comments/", 1+g.rng.IntN(len(g.c.Publishers)))}
	}
	if g.chance(8) {
		t.DayParts = []catalogue.DayPart{{Days: some(g, catalogue.Days, 5), From: g.rng.IntN(8), To: 12 + g.rng.IntN(12), Zone: "Europe/Berlin"}}
	}
	if g.chance(15) {
		t.KeyValues.Include = map[string][]string{"section": some(g, []string{"culture", "economy", "local", "politics", "sport", "travel"}, 3)}
	}
	if g.chance(5) {
		t.KeyValues.Exclude = map[string][]string{"mood": {"grief"}}
	}
	return t
}
