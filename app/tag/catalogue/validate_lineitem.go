package catalogue

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const maxGroups = 16 // exclusion groups of one line item

func (v *validator) lineItem(l *LineItem) {
	v.at("lineItems", l.ID)
	v.named(l.Name)
	v.refers("campaign", l.Campaign, "campaign", v.campaigns[l.Campaign] != nil)
	if l.Tier.Rank() < 0 {
		v.bad("tier", "%q is no tier; use sponsorship, standard, price or house", l.Tier)
	}
	v.money("cpm", l.CPM)
	if l.Weight < 0 || l.Weight > maxWeight {
		v.bad("weight", "must be from 1 to %d, or 0 for 1", maxWeight)
	}
	if l.MaxImpressions < 0 {
		v.bad("maxImpressions", "must not be negative")
	}
	if l.MaxClicks < 0 {
		v.bad("maxClicks", "must not be negative")
	}
	if l.Budget != nil {
		v.amount("budget", *l.Budget)
	}
	v.flights(l.Flights)
	v.goal(l)
	if len(l.ExclusionGroups) > maxGroups {
		v.bad("exclusionGroups", "has %d; at most %d are allowed", len(l.ExclusionGroups), maxGroups)
	}
	v.list("exclusionGroups", l.ExclusionGroups, isID, "a label of letters, digits, dots, dashes or underscores")
	if len(l.Placements) == 0 {
		v.bad("placements", "needs at least one")
	}
	for i, f := range l.Frequency {
		at := fmt.Sprintf("frequency[%d]", i)
		if f.Impressions < 1 || f.Impressions > 100000 {
			v.bad(at+".impressions", "must be from 1 to 100000")
		}
		if d, err := time.ParseDuration(f.Window); err != nil || d < time.Minute || d > 720*time.Hour || d%time.Second != 0 {
			v.bad(at+".window", "%q is not a period in whole seconds from 1m to 720h, such as 24h", f.Window)
		}
	}
	v.targeting(&l.Targeting)
	v.rotation(l)
}

func (v *validator) goal(l *LineItem) {
	g := l.Goal
	if g == nil {
		return
	}
	set := 0
	for _, is := range []bool{g.Impressions != 0, g.Clicks != 0, g.Revenue != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		v.bad("goal", "needs exactly one of impressions, clicks and revenue")
	}
	if g.Impressions < 0 {
		v.bad("goal.impressions", "must be at least 1")
	}
	if g.Clicks < 0 {
		v.bad("goal.clicks", "must be at least 1")
	}
	if g.Revenue != nil {
		v.amount("goal.revenue", *g.Revenue)
		if l.CPM.Micros == 0 {
			v.bad("goal.revenue", "cannot be reached at a cpm of 0")
		}
	}
	switch g.Pacing {
	case "", Even:
		if len(l.Flights) == 0 {
			v.bad("goal.pacing", "even pacing needs flights to spread the goal over; add flights or use asap")
		}
	case ASAP:
	default:
		v.bad("goal.pacing", "%q is no pacing; use even or asap", g.Pacing)
	}
}

func (v *validator) targeting(t *Targeting) {
	lists := func(field string, l *Lists, ok func(string) bool, want string) {
		if len(l.Include)+len(l.Exclude) == 0 {
			return
		}
		v.list("targeting."+field+".include", l.Include, ok, want)
		v.list("targeting."+field+".exclude", l.Exclude, ok, want)
	}
	word := func(words []string) func(string) bool {
		return func(s string) bool { return slices.Contains(words, s) }
	}
	lists("countries", &t.Countries, countryPattern.MatchString, "a country code such as DE")
	lists("regions", &t.Regions, regionPattern.MatchString, "a region code such as DE-BY")
	lists("devices", &t.Devices, word(Devices), "desktop, mobile or tablet")
	lists("browsers", &t.Browsers, word(Browsers), "one of "+browserWords)
	lists("systems", &t.Systems, word(Systems), "one of "+systemWords)
	lists("sites", &t.Sites, func(s string) bool { return v.sites[s] }, "the id of a site")
	lists("pages", &t.Pages, isPagePattern, "a host and path without scheme and query, such as news.example/sport/ or *.news.example/")
	lists("categories", &t.Categories, categoryPattern.MatchString, aCategory)
	for i := range t.DayParts {
		v.dayPart(i, &t.DayParts[i])
	}
	v.keyValues("targeting.keyValues.include.", t.KeyValues.Include)
	v.keyValues("targeting.keyValues.exclude.", t.KeyValues.Exclude)
}

var browserWords, systemWords = strings.Join(Browsers, ", "), strings.Join(Systems, ", ")

func isPagePattern(s string) bool {
	if len(s) > 1024 || strings.ContainsAny(s, " \t\r\n?#\\") || strings.Contains(s, "://") {
		return false
	}
	host, _, _ := strings.Cut(strings.TrimPrefix(s, "*."), "/")
	host, port, ok := strings.Cut(host, ":")
	if ok && strings.Trim(port, "0123456789") != "" {
		return false
	}
	return isDomain(host)
}

func (v *validator) dayPart(i int, d *DayPart) {
	for j, day := range d.Days {
		if !slices.Contains(Days, day) {
			v.bad(fmt.Sprintf("targeting.dayParts[%d].days[%d]", i, j), "%q is not one of %s", day, strings.Join(Days, ", "))
		}
	}
	if d.From < 0 || d.From > 23 || d.To < 1 || d.To > 24 || d.From == d.To {
		v.badAt("targeting.dayParts", i, "from must be an hour from 0 to 23, to one from 1 to 24, and not the same")
	}
	loads, tried := v.zones[d.Zone]
	if !tried {
		_, err := time.LoadLocation(d.Zone)
		loads = err == nil && d.Zone != "" && d.Zone != "Local"
		v.zones[d.Zone] = loads
	}
	if !loads {
		v.bad(fmt.Sprintf("targeting.dayParts[%d].zone", i), "%q is no time zone; use an IANA name such as Europe/Berlin", d.Zone)
	}
}

func (v *validator) keyValues(at string, pairs map[string][]string) {
	if len(pairs) == 0 {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		values := pairs[key]
		if !keyPattern.MatchString(key) {
			v.bad(at+key, "a key has 1 to 64 letters, digits, dots, dashes or underscores")
		}
		if len(values) == 0 {
			v.bad(at+key, "needs at least one value")
		}
		for i, s := range values {
			if s == "" || len(s) > 128 {
				v.badAt(at+key, i, "a value has 1 to 128 characters")
			}
		}
	}
}

// rotation checks that each creative belongs to the item's advertiser and that at least one fits each placement.
func (v *validator) rotation(l *LineItem) {
	if len(l.Creatives) == 0 {
		v.bad("creatives", "needs at least one")
	}
	rotation := make([]*Creative, len(l.Creatives))
	campaign := v.campaigns[l.Campaign]
	for i, in := range l.Creatives {
		if in.Weight < 0 || in.Weight > maxWeight {
			v.bad(fmt.Sprintf("creatives[%d].weight", i), "must be from 1 to %d, or 0 for 1", maxWeight)
		}
		c := v.creatives[in.ID]
		rotation[i] = c
		switch {
		case in.ID == "":
			v.bad(fmt.Sprintf("creatives[%d].id", i), "is missing")
		case c == nil:
			v.bad(fmt.Sprintf("creatives[%d].id", i), "there is no creative %q", in.ID)
		case campaign != nil && campaign.Advertiser != "" && c.Advertiser != campaign.Advertiser:
			v.bad(fmt.Sprintf("creatives[%d].id", i), "creative %q belongs to advertiser %q, the campaign to %q", in.ID, c.Advertiser, campaign.Advertiser)
		}
	}
	for i, id := range l.Placements {
		p := v.placements[id]
		if p == nil {
			v.refers(fmt.Sprintf("placements[%d]", i), id, "placement", false)
			continue
		}
		fits := func(c *Creative) bool { return c != nil && c.Fits(p) }
		if len(rotation) > 0 && !slices.ContainsFunc(rotation, fits) {
			v.badAt("placements", i, "no creative of this line item fits placement %q (format %s, sizes %v)", id, p.Format, p.Sizes)
		}
	}
}
