package catalogue

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Limits on documents. Ids travel in every URL and token; markup is held in memory by every server.
const (
	MaxID        = 64
	MaxHTML      = 256 << 10
	maxWaterfall = 32
	maxSide      = 10000 // pixels
	maxWeight    = 1000
)

var (
	idPattern       = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	currencyPattern = regexp.MustCompile(`^[A-Z]{3}$`)
	countryPattern  = regexp.MustCompile(`^[A-Z]{2}$`)
	keyPattern      = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
)

// Devices that targeting knows.
var Devices = []string{"desktop", "mobile", "tablet"}

// validator gathers problems; doc is the document that is looked at.
type validator struct {
	c        *Catalogue
	problems Problems
	coll, id string

	publishers, sites, placements, advertisers, campaigns map[string]bool
	creatives                                             map[string]*Creative
	campaignAdvertiser                                    map[string]string
	placementFormat                                       map[string]*Placement
}

// Validate checks every document alone and every reference between documents. A non-nil error is Problems.
func Validate(c *Catalogue) error {
	v := &validator{c: c}
	v.settings()
	v.publishers = ids(v, "publishers", c.Publishers, func(d *Publisher) string { return d.ID })
	v.sites = ids(v, "sites", c.Sites, func(d *Site) string { return d.ID })
	v.placements = ids(v, "placements", c.Placements, func(d *Placement) string { return d.ID })
	v.advertisers = ids(v, "advertisers", c.Advertisers, func(d *Advertiser) string { return d.ID })
	v.campaigns = ids(v, "campaigns", c.Campaigns, func(d *Campaign) string { return d.ID })
	ids(v, "lineItems", c.LineItems, func(d *LineItem) string { return d.ID })
	ids(v, "creatives", c.Creatives, func(d *Creative) string { return d.ID })
	v.creatives = make(map[string]*Creative, len(c.Creatives))
	for i := range c.Creatives {
		v.creatives[c.Creatives[i].ID] = &c.Creatives[i]
	}
	v.campaignAdvertiser = make(map[string]string, len(c.Campaigns))
	v.placementFormat = make(map[string]*Placement, len(c.Placements))
	for i := range c.Publishers {
		p := &c.Publishers[i]
		v.at("publishers", p.ID)
		v.named(p.Name)
	}
	for i := range c.Sites {
		s := &c.Sites[i]
		v.at("sites", s.ID)
		v.named(s.Name)
		v.refers("publisher", s.Publisher, "publisher", v.publishers)
	}
	for i := range c.Placements {
		v.placementFormat[c.Placements[i].ID] = &c.Placements[i]
		v.placement(&c.Placements[i])
	}
	for i := range c.Advertisers {
		a := &c.Advertisers[i]
		v.at("advertisers", a.ID)
		v.named(a.Name)
		for j, s := range a.BlockedSites {
			v.refers(fmt.Sprintf("blockedSites[%d]", j), s, "site", v.sites)
		}
	}
	for i := range c.Campaigns {
		d := &c.Campaigns[i]
		v.at("campaigns", d.ID)
		v.named(d.Name)
		v.refers("advertiser", d.Advertiser, "advertiser", v.advertisers)
		v.campaignAdvertiser[d.ID] = d.Advertiser
	}
	for i := range c.Creatives {
		v.creative(&c.Creatives[i])
	}
	for i := range c.LineItems {
		v.lineItem(&c.LineItems[i])
	}
	if len(v.problems) > 0 {
		return v.problems
	}
	return nil
}

func (v *validator) at(coll, id string) { v.coll, v.id = coll, id }

func (v *validator) bad(field, format string, args ...any) {
	v.problems = append(v.problems, Problem{Collection: v.coll, Document: v.id, Field: field, Message: fmt.Sprintf(format, args...)})
}

func ids[T any](v *validator, coll string, docs []T, id func(*T) string) map[string]bool {
	seen := make(map[string]bool, len(docs))
	for i := range docs {
		s := id(&docs[i])
		v.at(coll, s)
		switch {
		case s == "":
			v.at(coll, fmt.Sprintf("#%d", i+1))
			v.bad("id", "is missing")
		case !idPattern.MatchString(s):
			v.bad("id", "must be 1 to %d letters, digits, dots, dashes or underscores, and start with a letter or digit", MaxID)
		case seen[s]:
			v.bad("id", "is used twice")
		}
		seen[s] = true
	}
	return seen
}

func (v *validator) named(name string) {
	if strings.TrimSpace(name) == "" {
		v.bad("name", "is missing")
	}
}

func (v *validator) refers(field, id, kind string, known map[string]bool) {
	switch {
	case id == "":
		v.bad(field, "is missing")
	case !known[id]:
		v.bad(field, "there is no %s %q", kind, id)
	}
}

func (v *validator) settings() {
	v.at("settings", "")
	if !currencyPattern.MatchString(v.c.Settings.Currency) {
		v.bad("currency", "%q is not a currency code such as EUR", v.c.Settings.Currency)
	}
	for cur, rate := range v.c.Settings.Rates {
		if !currencyPattern.MatchString(cur) {
			v.bad("rates", "%q is not a currency code", cur)
		}
		// The upper bound keeps price × rate within 128 bits and any converted price within 64.
		if rate <= 0 || rate > 1e12 {
			v.bad("rates."+cur, "must be from 1 to 10^12 micros of %s", v.c.Settings.Currency)
		}
	}
}

func (v *validator) money(field string, m Money) {
	// 10^12 micros are a CPM of a million: more is a slip of the unit.
	if m.Micros < 0 || m.Micros > 1e12 {
		v.bad(field+".micros", "must be from 0 to 10^12")
	}
	if m.Currency != v.c.Settings.Currency && v.c.Settings.Rates[m.Currency] == 0 {
		v.bad(field+".currency", "%q is neither the catalogue's currency nor in settings.rates", m.Currency)
	}
}

func (v *validator) size(field string, s Size) {
	if s.Width < 1 || s.Width > maxSide || s.Height < 1 || s.Height > maxSide {
		v.bad(field, "width and height must be from 1 to %d pixels", maxSide)
	}
}

func (v *validator) placement(p *Placement) {
	v.at("placements", p.ID)
	v.named(p.Name)
	v.refers("site", p.Site, "site", v.sites)
	switch p.Format {
	case Display:
		if len(p.Sizes) == 0 {
			v.bad("sizes", "a display placement needs at least one")
		}
	case Native:
	default:
		v.bad("format", "%q is no format; use display or native", p.Format)
	}
	for i, s := range p.Sizes {
		v.size(fmt.Sprintf("sizes[%d]", i), s)
	}
	if len(p.Waterfall) == 0 || len(p.Waterfall) > maxWaterfall {
		v.bad("waterfall", "needs 1 to %d steps", maxWaterfall)
	}
	for i, s := range p.Waterfall {
		at := fmt.Sprintf("waterfall[%d]", i)
		if s.Kind != Direct && s.Kind != House {
			v.bad(at+".kind", "%q is no kind of step; use direct or house", s.Kind)
		}
		if s.Kind == House && (len(s.Tiers) > 0 || s.Floor != nil) {
			v.bad(at, "a house step has neither tiers nor a floor")
		}
		for j, t := range s.Tiers {
			if t.Rank() < 0 || t == HouseTier {
				v.bad(fmt.Sprintf("%s.tiers[%d]", at, j), "%q is no tier of a direct step; use sponsorship, standard or price", t)
			}
		}
		if s.Floor != nil {
			v.money(at+".floor", *s.Floor)
		}
	}
}

func (v *validator) creative(c *Creative) {
	v.at("creatives", c.ID)
	v.named(c.Name)
	v.refers("advertiser", c.Advertiser, "advertiser", v.advertisers)
	v.link("landing", c.Landing)
	switch c.Format {
	case Display:
		v.size("size", c.Size)
		if strings.TrimSpace(c.HTML) == "" {
			v.bad("html", "is missing")
		}
		if len(c.HTML) > MaxHTML {
			v.bad("html", "is larger than %d KiB", MaxHTML>>10)
		}
		if c.Native != nil {
			v.bad("native", "a display creative has no native assets")
		}
	case Native:
		if c.HTML != "" {
			v.bad("html", "a native creative has assets instead of markup")
		}
		if c.Native == nil {
			v.bad("native", "is missing")
			break
		}
		if strings.TrimSpace(c.Native.Title) == "" {
			v.bad("native.title", "is missing")
		}
		if strings.TrimSpace(c.Native.Sponsor) == "" {
			v.bad("native.sponsor", "is missing: native ads say who pays")
		}
		if img := c.Native.Image; img != "" && !strings.HasPrefix(img, "https://") && !strings.HasPrefix(img, "data:image/") {
			v.bad("native.image", "must be an https:// or data:image/ URL")
		}
	default:
		v.bad("format", "%q is no format; use display or native", c.Format)
	}
}

func (v *validator) link(field, raw string) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || strings.ContainsAny(raw, " \t\r\n\\") {
		v.bad(field, "%q is not an absolute URL", raw)
		return
	}
	if u.Scheme == "https" {
		return
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
		return
	}
	v.bad(field, "must start with https://")
}

func (v *validator) lineItem(l *LineItem) {
	v.at("lineItems", l.ID)
	v.named(l.Name)
	v.refers("campaign", l.Campaign, "campaign", v.campaigns)
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
	for i, f := range l.Flights {
		if f.Start.IsZero() || f.End.IsZero() || !f.Start.Before(f.End) {
			v.bad(fmt.Sprintf("flights[%d]", i), "start must come before end")
		}
	}
	if len(l.Placements) == 0 {
		v.bad("placements", "needs at least one")
	}
	for i, p := range l.Placements {
		v.refers(fmt.Sprintf("placements[%d]", i), p, "placement", v.placements)
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

func (v *validator) targeting(t *Targeting) {
	each := func(field string, values []string, ok func(string) bool, want string) {
		for i, s := range values {
			if !ok(s) {
				v.bad(fmt.Sprintf("targeting.%s[%d]", field, i), "%q is not %s", s, want)
			}
		}
	}
	each("countries.include", t.Countries.Include, countryPattern.MatchString, "a country code such as DE")
	each("countries.exclude", t.Countries.Exclude, countryPattern.MatchString, "a country code such as DE")
	device := func(s string) bool { return s == "desktop" || s == "mobile" || s == "tablet" }
	each("devices.include", t.Devices.Include, device, "desktop, mobile or tablet")
	each("devices.exclude", t.Devices.Exclude, device, "desktop, mobile or tablet")
	for part, m := range map[string]map[string][]string{"include": t.KeyValues.Include, "exclude": t.KeyValues.Exclude} {
		for key, values := range m {
			at := "targeting.keyValues." + part + "." + key
			if !keyPattern.MatchString(key) {
				v.bad(at, "a key has 1 to 64 letters, digits, dots, dashes or underscores")
			}
			if len(values) == 0 {
				v.bad(at, "needs at least one value")
			}
			for i, s := range values {
				if s == "" || len(s) > 128 {
					v.bad(fmt.Sprintf("%s[%d]", at, i), "a value has 1 to 128 characters")
				}
			}
		}
	}
}

// rotation checks that each creative belongs to the item's advertiser and that at least one fits each placement.
func (v *validator) rotation(l *LineItem) {
	if len(l.Creatives) == 0 {
		v.bad("creatives", "needs at least one")
	}
	for i, in := range l.Creatives {
		at := fmt.Sprintf("creatives[%d]", i)
		if in.Weight < 0 || in.Weight > maxWeight {
			v.bad(at+".weight", "must be from 1 to %d, or 0 for 1", maxWeight)
		}
		c := v.creatives[in.ID]
		switch {
		case in.ID == "":
			v.bad(at+".id", "is missing")
		case c == nil:
			v.bad(at+".id", "there is no creative %q", in.ID)
		case v.campaignAdvertiser[l.Campaign] != "" && c.Advertiser != v.campaignAdvertiser[l.Campaign]:
			v.bad(at+".id", "creative %q belongs to advertiser %q, the campaign to %q", in.ID, c.Advertiser, v.campaignAdvertiser[l.Campaign])
		}
	}
	for i, id := range l.Placements {
		p := v.placementFormat[id]
		if p == nil {
			continue
		}
		fits := false
		for _, in := range l.Creatives {
			if c := v.creatives[in.ID]; c != nil && c.Fits(p) {
				fits = true
				break
			}
		}
		if !fits && len(l.Creatives) > 0 {
			v.bad(fmt.Sprintf("placements[%d]", i), "no creative of this line item fits placement %q (format %s, sizes %v)", id, p.Format, p.Sizes)
		}
	}
}

// Fits says whether the creative's format and size are among the placement's.
func (c *Creative) Fits(p *Placement) bool {
	if c.Format != p.Format {
		return false
	}
	if c.Format == Native {
		return true
	}
	for _, s := range p.Sizes {
		if s == c.Size {
			return true
		}
	}
	return false
}
