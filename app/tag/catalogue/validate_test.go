package catalogue

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// whole is a catalogue with every kind of document; it is valid.
func whole() *Catalogue {
	eur := func(m int64) *Money { return &Money{Micros: m, Currency: "EUR"} }
	return &Catalogue{
		Settings: Settings{
			Currency: "EUR", Rates: map[string]int64{"USD": 920_000, "XTS": 1e12}, Exchange: Exchange{Domain: "ads.example", ContactEmail: "ops@ads.example"},
			PriceBuckets: []PriceBucket{{1_000_000, 10_000}, {5_000_000, 100_000}}, BlockedHosts: []string{"bad.example"},
		},
		Publishers: []Publisher{
			{ID: "p", Name: "P", Domain: "p.example", SellerID: "1", SellerType: "BOTH", BlockedDomains: []string{".x.example"}, BlockedCategories: []string{"IAB7-39"}, BlockedKeywords: []string{"war"}, AdsTxt: []string{"# ours", "contact=a@p.example", "x.example, 12, RESELLER, abc # old", "X.example,1,direct"}},
			{ID: "q", Name: "Q"},
		},
		Sites: []Site{{ID: "s", Publisher: "p", Name: "S", Domain: "s.example", Categories: []string{"IAB1"}}},
		Placements: []Placement{{
			ID: "x", Site: "s", Name: "X", Format: Display, Sizes: []Size{{300, 250}}, Position: "above", Order: ByPrice,
			Waterfall: []Step{
				{Kind: Direct, Floor: eur(1)}, {Kind: Auction, Sources: []string{"b1", "b2"}, Deadline: "2s"}, {Kind: Tag, Sources: []string{"t"}, Deadline: "10s"}, {Kind: House},
			},
			Experiments: []Experiment{{ID: "e", Arms: []Arm{{ID: "a", Share: 60, Waterfall: []Step{{Kind: House}}}, {ID: "b", Share: 40, Waterfall: []Step{{Kind: House}}, Order: Listed}}}},
		}},
		Advertisers: []Advertiser{{ID: "a", Name: "A", Domain: "a.example", BlockedSites: []string{"s"}, BlockedCategories: []string{"IAB26"}, BlockedKeywords: []string{"crash"}}},
		Campaigns:   []Campaign{{ID: "c", Advertiser: "a", Name: "C"}},
		LineItems: []LineItem{{
			ID: "l", Campaign: "c", Name: "L", Tier: Standard, CPM: *eur(1), Placements: []string{"x"}, Creatives: []CreativeInItem{{ID: "k"}},
			Flights: []Flight{{time.Unix(0, 0), time.Unix(9, 0)}}, Goal: &Goal{Impressions: 1}, MaxClicks: 5, Budget: eur(7), ExclusionGroups: []string{"cars"},
			Targeting: Targeting{
				Regions: Lists{Include: []string{"DE-BY"}}, Browsers: Lists{Exclude: []string{"other"}}, Systems: Lists{Include: []string{"ios"}},
				Sites: Lists{Include: []string{"s"}}, Pages: Lists{Include: []string{"*.s.example/a/", "s.example", "localhost:8080/x"}}, Categories: Lists{Exclude: []string{"IAB1-2"}},
				DayParts: []DayPart{{Days: []string{"mon", "sun"}, From: 22, To: 6, Zone: "Europe/Berlin"}, {From: 0, To: 24, Zone: "UTC"}},
			},
		}},
		Creatives:      []Creative{{ID: "k", Advertiser: "a", Name: "K", Format: Display, Size: Size{300, 250}, HTML: "<b>k</b>", Landing: "https://a.example/", Categories: []string{"IAB2"}}},
		DemandPartners: []DemandPartner{{ID: "d", Name: "D", Domain: "d.example", Account: "7", Relationship: "RESELLER", CertID: "f08c47fec0942fa0", VendorID: 12}},
		DemandSources: []DemandSource{
			{ID: "b1", Partner: "d", Name: "B", Kind: OpenRTB, Endpoint: "https://bid.d.example/rtb?x=1", Timeout: "100ms", MaxQPS: 10, Currencies: []string{"USD"}, AllowedSeats: []string{"1"}, BlockedSeats: []string{"2"}, BidAdjustment: 90},
			{ID: "b2", Partner: "d", Name: "B", Kind: OpenRTB, Endpoint: "http://bidder.app.svc:8080/bid"},
			{ID: "t", Partner: "d", Name: "T", Kind: ThirdTag, HTML: "<script>{{PASSBACK}}</script>", CPM: eur(3)},
		},
		Deals: []Deal{{ID: "deal", Source: "b1", Name: "Deal", Floor: *eur(2), Placements: []string{"x"}, Seats: []string{"1"}, Domains: []string{"a.example"}}},
	}
}

func TestWholeIsValid(t *testing.T) {
	if err := Check(whole()); err != nil {
		t.Fatal(err)
	}
}

func TestEveryFieldIsChecked(t *testing.T) {
	step := func(c *Catalogue, i int) *Step { return &c.Placements[0].Waterfall[i] }
	target := func(c *Catalogue) *Targeting { return &c.LineItems[0].Targeting }
	for want, change := range map[string]func(*Catalogue){
		`settings: exchange.domain: "a b" is not a domain`:         func(c *Catalogue) { c.Settings.Exchange.Domain = "a b" },
		`settings: exchange.contactEmail: "ops" is not an address`: func(c *Catalogue) { c.Settings.Exchange.ContactEmail = "ops" },
		`settings: exchange.contactAddress: must be one line`:      func(c *Catalogue) { c.Settings.Exchange.ContactAddress = "a\nb" },
		`settings: priceBuckets[1]: upToMicros must be larger`:     func(c *Catalogue) { c.Settings.PriceBuckets[1].UpToMicros = 1_000_000 },
		`settings: priceBuckets[0]: stepMicros must be`:            func(c *Catalogue) { c.Settings.PriceBuckets[0].StepMicros = 0 },
		`settings: blockedHosts[0]: "https://x" is not a domain`:   func(c *Catalogue) { c.Settings.BlockedHosts[0] = "https://x" },
		`publishers "p": blockedDomains[0]: "x/y" is not`:          func(c *Catalogue) { c.Publishers[0].BlockedDomains[0] = "x/y" },
		`publishers "p": blockedCategories[0]: "IAB7-" is not`:     func(c *Catalogue) { c.Publishers[0].BlockedCategories[0] = "IAB7-" },
		`publishers "p": blockedKeywords[0]: " " is not a word`:    func(c *Catalogue) { c.Publishers[0].BlockedKeywords[0] = " " },
		`publishers "p": sellerType: "SELLER" is not one of`:       func(c *Catalogue) { c.Publishers[0].SellerType = "SELLER" },
		`publishers "q": sellerId: "1" is publisher "p"'s already`: func(c *Catalogue) { c.Publishers[1].SellerID = "1" },
		`publishers "p": sellerId: must be`:                        func(c *Catalogue) { c.Publishers[0].SellerID = "1, 2" },
		`adsTxt[0]: "x.example, 1" is no line`:                     func(c *Catalogue) { c.Publishers[0].AdsTxt[0] = "x.example, 1" },
		`adsTxt[0]: "x.example, 1, OWNER" says "OWNER"`:            func(c *Catalogue) { c.Publishers[0].AdsTxt[0] = "x.example, 1, OWNER" },
		`adsTxt[0]: "x y, 1, DIRECT" names "x y"`:                  func(c *Catalogue) { c.Publishers[0].AdsTxt[0] = "x y, 1, DIRECT" },
		`must be one line`: func(c *Catalogue) { c.Publishers[0].AdsTxt[0] = "#a\nb.example,1,DIRECT" },
		`sites "s": categories[0]: "sport" is not an IAB`:           func(c *Catalogue) { c.Sites[0].Categories[0] = "sport" },
		`placements "x": position: "left" is not one of above`:      func(c *Catalogue) { c.Placements[0].Position = "left" },
		`placements "x": order: "random" is no order`:               func(c *Catalogue) { c.Placements[0].Order = "random" },
		`waterfall[1].sources: an auction step needs 1 to 16`:       func(c *Catalogue) { step(c, 1).Sources = nil },
		`waterfall[1].sources[0]: there is no demand source "zz"`:   func(c *Catalogue) { step(c, 1).Sources[0] = "zz" },
		`waterfall[1].sources[0]: demand source "t" is of kind`:     func(c *Catalogue) { step(c, 1).Sources[0] = "t" },
		`waterfall[1].sources[1]: "b1" is there already`:            func(c *Catalogue) { step(c, 1).Sources[1] = "b1" },
		`waterfall[1].deadline: "2001ms" is not a period from 10ms`: func(c *Catalogue) { step(c, 1).Deadline = "2001ms" },
		`waterfall[1].tiers: only direct steps`:                     func(c *Catalogue) { step(c, 1).Tiers = []Tier{Price} },
		`waterfall[2].sources: a tag step needs exactly one`:        func(c *Catalogue) { step(c, 2).Sources = []string{"t", "t"} },
		`waterfall[2].sources[0]: demand source "b1" is of kind`:    func(c *Catalogue) { step(c, 2).Sources[0] = "b1" },
		`waterfall[2].deadline: "11s" is not a period`:              func(c *Catalogue) { step(c, 2).Deadline = "11s" },
		`waterfall[0]: a direct step has neither sources`:           func(c *Catalogue) { step(c, 0).Sources = []string{"b1"} },
		`waterfall[3]: a house step has neither sources`:            func(c *Catalogue) { step(c, 3).Deadline = "1s" },
		`waterfall[3].kind: "video" is no kind`:                     func(c *Catalogue) { step(c, 3).Kind = "video" },
		`waterfall[2].floor.currency: "GBP" is neither`:             func(c *Catalogue) { step(c, 2).Floor = &Money{1, "GBP"} },
		`experiments[0].arms: their shares add up`:                  func(c *Catalogue) { c.Placements[0].Experiments[0].Arms[0].Share = 61 },
		`experiments[0].arms[0].share: must be from 1 to 100`:       func(c *Catalogue) { c.Placements[0].Experiments[0].Arms[0].Share = 0 },
		`experiments[0].arms[1].id: is used twice`:                  func(c *Catalogue) { c.Placements[0].Experiments[0].Arms[1].ID = "a" },
		`experiments[0].arms[0].id: must be`:                        func(c *Catalogue) { c.Placements[0].Experiments[0].Arms[0].ID = "control" },
		`experiments[0].id: must be`:                                func(c *Catalogue) { c.Placements[0].Experiments[0].ID = "a/b" },
		`experiments[0].arms: needs 1 to`:                           func(c *Catalogue) { c.Placements[0].Experiments[0].Arms = nil },
		`experiments[0].arms[0].waterfall[0].kind: "x" is no kind`:  func(c *Catalogue) { c.Placements[0].Experiments[0].Arms[0].Waterfall[0].Kind = "x" },
		`advertisers "a": blockedSites[0]: there is no site "r"`:    func(c *Catalogue) { c.Advertisers[0].BlockedSites[0] = "r" },
		`advertisers "a": blockedCategories[0]: "x" is not`:         func(c *Catalogue) { c.Advertisers[0].BlockedCategories[0] = "x" },
		`lineItems "l": maxClicks: must not be negative`:            func(c *Catalogue) { c.LineItems[0].MaxClicks = -1 },
		`lineItems "l": budget.micros: must be from 1`:              func(c *Catalogue) { c.LineItems[0].Budget.Micros = 0 },
		`lineItems "l": budget.micros: is too large in EUR`:         func(c *Catalogue) { *c.LineItems[0].Budget = Money{1e15, "XTS"} },
		`lineItems "l": goal: needs exactly one of`:                 func(c *Catalogue) { c.LineItems[0].Goal.Clicks = 1 },
		`lineItems "l": goal.impressions: must be at least 1`:       func(c *Catalogue) { c.LineItems[0].Goal.Impressions = -1 },
		`lineItems "l": goal.pacing: even pacing needs flights`:     func(c *Catalogue) { c.LineItems[0].Flights = nil },
		`lineItems "l": goal.pacing: "slow" is no pacing`:           func(c *Catalogue) { c.LineItems[0].Goal.Pacing = "slow" },
		`lineItems "l": goal.revenue: cannot be reached`: func(c *Catalogue) {
			c.LineItems[0].CPM.Micros, c.LineItems[0].Goal = 0, &Goal{Revenue: &Money{1, "EUR"}}
		},
		`lineItems "l": exclusionGroups[0]: "a b" is not a label`:   func(c *Catalogue) { c.LineItems[0].ExclusionGroups[0] = "a b" },
		`targeting.regions.include[0]: "Bavaria" is not`:            func(c *Catalogue) { target(c).Regions.Include[0] = "Bavaria" },
		`targeting.browsers.exclude[0]: "netscape" is not`:          func(c *Catalogue) { target(c).Browsers.Exclude[0] = "netscape" },
		`targeting.systems.include[0]: "IOS" is not`:                func(c *Catalogue) { target(c).Systems.Include[0] = "IOS" },
		`targeting.sites.include[0]: "r" is not the id of a site`:   func(c *Catalogue) { target(c).Sites.Include[0] = "r" },
		`targeting.pages.include[0]: "https://s.example/" is not`:   func(c *Catalogue) { target(c).Pages.Include[0] = "https://s.example/" },
		`targeting.categories.exclude[0]: "IAB100" is not`:          func(c *Catalogue) { target(c).Categories.Exclude[0] = "IAB100" },
		`targeting.dayParts[0].days[0]: "monday" is not`:            func(c *Catalogue) { target(c).DayParts[0].Days[0] = "monday" },
		`targeting.dayParts[0].zone: "Berlin" is no time zone`:      func(c *Catalogue) { target(c).DayParts[0].Zone = "Berlin" },
		`targeting.dayParts[1].zone: "" is no time zone`:            func(c *Catalogue) { target(c).DayParts[1].Zone = "" },
		`targeting.dayParts[1]: from must be an hour`:               func(c *Catalogue) { target(c).DayParts[1].To = 25 },
		`creatives "k": categories[0]: "cars" is not`:               func(c *Catalogue) { c.Creatives[0].Categories[0] = "cars" },
		`creatives "k": html: <base> changes`:                       func(c *Catalogue) { c.Creatives[0].HTML = "<base>" },
		`demandPartners "d": relationship: "FRIEND" is not one of`:  func(c *Catalogue) { c.DemandPartners[0].Relationship = "FRIEND" },
		`demandPartners "d": domain: is missing`:                    func(c *Catalogue) { c.DemandPartners[0].Domain = "" },
		`demandPartners "d": account: must have no spaces`:          func(c *Catalogue) { c.DemandPartners[0].Account = "a, b" },
		`demandPartners "d": certificationAuthorityId: must be`:     func(c *Catalogue) { c.DemandPartners[0].CertID = "a b" },
		`demandPartners "d": vendorId: must be from 1`:              func(c *Catalogue) { c.DemandPartners[0].VendorID = 65536 },
		`demandSources "b1": partner: there is no demand partner`:   func(c *Catalogue) { c.DemandSources[0].Partner = "zz" },
		`demandSources "b1": endpoint: must start with https://`:    func(c *Catalogue) { c.DemandSources[0].Endpoint = "http://bid.d.example/" },
		`demandSources "b1": endpoint: "https://u:p@d.example/" is`: func(c *Catalogue) { c.DemandSources[0].Endpoint = "https://u:p@d.example/" },
		`demandSources "b1": endpoint: is missing`:                  func(c *Catalogue) { c.DemandSources[0].Endpoint = "" },
		`demandSources "b1": timeout: "3s" is not a period`:         func(c *Catalogue) { c.DemandSources[0].Timeout = "3s" },
		`demandSources "b1": maxQps: must be from 1`:                func(c *Catalogue) { c.DemandSources[0].MaxQPS = -1 },
		`demandSources "b1": currencies[0]: "GBP" is neither`:       func(c *Catalogue) { c.DemandSources[0].Currencies[0] = "GBP" },
		`demandSources "b1": blockedSeats[0]: "1" is allowed, too`:  func(c *Catalogue) { c.DemandSources[0].BlockedSeats[0] = "1" },
		`demandSources "b1": bidAdjustment: must be from 1 to 100`:  func(c *Catalogue) { c.DemandSources[0].BidAdjustment = 101 },
		`demandSources "b1": kind: a source of kind openrtb has`:    func(c *Catalogue) { c.DemandSources[0].HTML = "<b>" },
		`demandSources "t": kind: a source of kind tag has no`:      func(c *Catalogue) { c.DemandSources[2].MaxQPS = 1 },
		`demandSources "t": html: is missing`:                       func(c *Catalogue) { c.DemandSources[2].HTML = "" },
		`demandSources "t": html: {{CLIK}} is no macro`:             func(c *Catalogue) { c.DemandSources[2].HTML = "{{CLIK}}" },
		`demandSources "t": kind: "carrier pigeon" is no kind`:      func(c *Catalogue) { c.DemandSources[2].Kind = "carrier pigeon" },
		`deals "deal": source: demand source "t" is of kind "tag"`:  func(c *Catalogue) { c.Deals[0].Source = "t" },
		`deals "deal": source: there is no demand source "zz"`:      func(c *Catalogue) { c.Deals[0].Source = "zz" },
		`deals "deal": placements: needs at least one`:              func(c *Catalogue) { c.Deals[0].Placements = nil },
		`deals "deal": placements[0]: there is no placement "y"`:    func(c *Catalogue) { c.Deals[0].Placements[0] = "y" },
		`deals "deal": domains[0]: "a b" is not a domain`:           func(c *Catalogue) { c.Deals[0].Domains[0] = "a b" },
		`deals "deal": flights[0]: start must come before end`:      func(c *Catalogue) { c.Deals[0].Flights = []Flight{{time.Unix(9, 0), time.Unix(0, 0)}} },
		`deals "deal": floor.currency: "GBP" is neither`:            func(c *Catalogue) { c.Deals[0].Floor.Currency = "GBP" },
	} {
		c := whole()
		change(c)
		err := Check(c)
		var ps Problems
		if !errors.As(err, &ps) {
			t.Errorf("accepted, want: %s", want)
			continue
		}
		if !slices.ContainsFunc(ps, func(p Problem) bool { return strings.Contains(p.Error(), want) }) {
			t.Errorf("%v\nwant: %s", err, want)
		}
	}
}

func TestWriteAndParseAgree(t *testing.T) {
	var first, second strings.Builder
	if err := Write(&first, whole()); err != nil {
		t.Fatal(err)
	}
	c, err := Parse(strings.NewReader(first.String()))
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(&second, c); err != nil {
		t.Fatal(err)
	}
	if first.String() != second.String() {
		t.Errorf("written, read and written again:\n%s\nwas\n%s", second.String(), first.String())
	}
}

func TestParseTellsWhereTheFileIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		`[]`: "line 1: \"[\" stands where \"{\" is expected",
		"{\"settings\":{\"currency\":\"EUR\"}}\n{}":                                   "line 2: something follows its end",
		"{\"sites\":[],\n\"sites\":[]}":                                               "sites: stands twice",
		`{"sites":{"id":"a"},"publishers":[]}`:                                        "sites: must be a list of documents",
		`{"settings":{"currency":"EUR"},"deals":[{"id":"d","floor":{"micros":1.5}}]}`: `deals "d": floor.micros: a number 1.5 cannot stand here`,
		`{"sites":[{"name":1}`:                                                        "line 1: it ends too early",
		``:                                                                            "line 1: it ends too early",
	} {
		if _, err := Parse(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
