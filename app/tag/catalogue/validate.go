package catalogue

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // day parts name zones, and images have no zone database
)

// Limits on documents. Ids travel in every URL and token; markup is held in memory by every server.
const (
	MaxID        = 64
	MaxHTML      = 256 << 10
	maxWaterfall = 32
	maxSide      = 10000 // pixels
	maxWeight    = 1000
	maxSources   = 16   // of one auction step
	maxArms      = 16   // of one experiment
	maxList      = 1000 // entries of a block list
)

var (
	currencyPattern = regexp.MustCompile(`^[A-Z]{3}$`)
	countryPattern  = regexp.MustCompile(`^[A-Z]{2}$`)
	regionPattern   = regexp.MustCompile(`^[A-Z]{2}-[A-Z0-9]{1,3}$`)
	keyPattern      = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
	categoryPattern = regexp.MustCompile(`^IAB[0-9]{1,2}(-[0-9]{1,2})?$`)
	domainPattern   = regexp.MustCompile(`^(?i:[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*(?i:[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$`)
)

// Devices, Browsers, Systems, Days and Positions are the words that documents may use.
var (
	Devices   = []string{"desktop", "mobile", "tablet"}
	Browsers  = []string{"chrome", "safari", "firefox", "edge", "opera", "samsung", "other"}
	Systems   = []string{"windows", "macos", "linux", "android", "ios", "chromeos", "other"}
	Days      = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
	Positions = []string{"above", "below", "header", "footer", "sidebar", "fullscreen"}
)

// validator gathers problems; coll and id are the document that is looked at.
type validator struct {
	c        *Catalogue
	problems Problems
	coll, id string

	publishers, sites, advertisers, partners map[string]bool
	placements                               map[string]*Placement
	creatives                                map[string]*Creative
	campaigns                                map[string]*Campaign
	sources                                  map[string]*DemandSource
	zones                                    map[string]bool // that were tried, and whether they load
}

// Validate checks every document alone and every reference between documents. A non-nil error is Problems. It does not look into
// markup: see Check.
func Validate(c *Catalogue) error {
	v := &validator{c: c, zones: map[string]bool{}}
	v.settings()
	v.publishers = known(v, "publishers", c.Publishers, func(d *Publisher) string { return d.ID })
	v.sites = known(v, "sites", c.Sites, func(d *Site) string { return d.ID })
	v.placements = byID(v, "placements", c.Placements, func(d *Placement) string { return d.ID })
	v.advertisers = known(v, "advertisers", c.Advertisers, func(d *Advertiser) string { return d.ID })
	v.campaigns = byID(v, "campaigns", c.Campaigns, func(d *Campaign) string { return d.ID })
	known(v, "lineItems", c.LineItems, func(d *LineItem) string { return d.ID })
	v.creatives = byID(v, "creatives", c.Creatives, func(d *Creative) string { return d.ID })
	v.partners = known(v, "demandPartners", c.DemandPartners, func(d *DemandPartner) string { return d.ID })
	v.sources = byID(v, "demandSources", c.DemandSources, func(d *DemandSource) string { return d.ID })
	known(v, "deals", c.Deals, func(d *Deal) string { return d.ID })
	v.parties()
	each(c.Placements, v.placement)
	each(c.Creatives, v.creative)
	each(c.LineItems, v.lineItem)
	each(c.DemandPartners, v.partner)
	each(c.DemandSources, v.source)
	each(c.Deals, v.deal)
	if len(v.problems) > 0 {
		return v.problems
	}
	return nil
}

// Check is Validate, and a scan of all markup for what it must not do: for every way by which documents are written.
func Check(c *Catalogue) error {
	if err := Validate(c); err != nil {
		return err
	}
	if ps := scanAll(c); len(ps) > 0 {
		return ps
	}
	return nil
}

func each[T any](docs []T, check func(*T)) {
	for i := range docs {
		check(&docs[i])
	}
}

func (v *validator) at(coll, id string) { v.coll, v.id = coll, id }

func (v *validator) bad(field, format string, args ...any) {
	v.problems = append(v.problems, Problem{Collection: v.coll, Document: v.id, Field: field, Message: fmt.Sprintf(format, args...)})
}

// badAt is bad for an element of a list: paths are put together only when something is wrong.
func (v *validator) badAt(list string, i int, format string, args ...any) {
	v.bad(fmt.Sprintf("%s[%d]", list, i), format, args...)
}

func known[T any](v *validator, coll string, docs []T, id func(*T) string) map[string]bool {
	seen := make(map[string]bool, len(docs))
	for i := range docs {
		s := id(&docs[i])
		v.checkID(coll, s, i, seen[s])
		seen[s] = true
	}
	return seen
}

func byID[T any](v *validator, coll string, docs []T, id func(*T) string) map[string]*T {
	seen := make(map[string]*T, len(docs))
	for i := range docs {
		s := id(&docs[i])
		v.checkID(coll, s, i, seen[s] != nil)
		seen[s] = &docs[i]
	}
	return seen
}

func (v *validator) checkID(coll, id string, i int, twice bool) {
	v.at(coll, id)
	switch {
	case id == "":
		v.at(coll, fmt.Sprintf("#%d", i+1))
		v.bad("id", "is missing")
	case !isID(id):
		v.bad("id", "must be 1 to %d letters, digits, dots, dashes or underscores, and start with a letter or digit", MaxID)
	case twice:
		v.bad("id", "is used twice")
	}
}

func isID(s string) bool {
	if s == "" || len(s) > MaxID {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return true
}

func (v *validator) named(name string) {
	if strings.TrimSpace(name) == "" {
		v.bad("name", "is missing")
	}
}

func (v *validator) refers(field, id, kind string, there bool) {
	switch {
	case id == "":
		v.bad(field, "is missing")
	case !there:
		v.bad(field, "there is no %s %q", kind, id)
	}
}

func (v *validator) oneOf(field, value string, words []string) {
	if !slices.Contains(words, value) {
		v.bad(field, "%q is not one of %s", value, strings.Join(words, ", "))
	}
}

// list checks each value of a list, and its length.
func (v *validator) list(field string, values []string, ok func(string) bool, want string) {
	if len(values) > maxList {
		v.bad(field, "has %d entries; at most %d are allowed", len(values), maxList)
	}
	for i, s := range values {
		if !ok(s) {
			v.badAt(field, i, "%q is not %s", s, want)
		}
	}
}

func isDomain(s string) bool { return len(s) <= 253 && domainPattern.MatchString(s) }

// isBlockedDomain accepts a leading dot, as many block lists have it.
func isBlockedDomain(s string) bool { return isDomain(strings.TrimPrefix(s, ".")) }

func isWord(s string) bool { return strings.TrimSpace(s) != "" && len(s) <= 128 }

const (
	aDomain   = "a domain such as news.example"
	aCategory = "an IAB content category such as IAB7 or IAB7-39"
	aWord     = "a word of 1 to 128 characters"
)

func (v *validator) domain(field, s string) {
	if s != "" && !isDomain(s) {
		v.bad(field, "%q is not %s", s, aDomain)
	}
}

func (v *validator) settings() {
	v.at("settings", "")
	s := &v.c.Settings
	if !currencyPattern.MatchString(s.Currency) {
		v.bad("currency", "%q is not a currency code such as EUR", s.Currency)
	}
	for _, cur := range slices.Sorted(maps.Keys(s.Rates)) {
		if !currencyPattern.MatchString(cur) {
			v.bad("rates", "%q is not a currency code", cur)
		}
		// The upper bound keeps price × rate within 128 bits and any converted price within 64.
		if rate := s.Rates[cur]; rate <= 0 || rate > 1e12 {
			v.bad("rates."+cur, "must be from 1 to 10^12 micros of %s", s.Currency)
		}
	}
	v.domain("exchange.domain", s.Exchange.Domain)
	if m := s.Exchange.ContactEmail; m != "" && !isEmail(m) {
		v.bad("exchange.contactEmail", "%q is not an address such as ads@news.example", m)
	}
	if strings.ContainsAny(s.Exchange.ContactAddress, "\r\n") {
		v.bad("exchange.contactAddress", "must be one line")
	}
	var below int64
	for i, b := range s.PriceBuckets {
		if b.UpToMicros <= below || b.UpToMicros > maxPrice {
			v.badAt("priceBuckets", i, "upToMicros must be larger than in the bucket before, and at most 10^12")
		}
		if b.StepMicros < 1 || b.StepMicros > b.UpToMicros {
			v.badAt("priceBuckets", i, "stepMicros must be from 1 to upToMicros")
		}
		below = b.UpToMicros
	}
	v.list("blockedHosts", s.BlockedHosts, isBlockedDomain, aDomain)
}

func isEmail(s string) bool {
	name, host, ok := strings.Cut(s, "@")
	return ok && name != "" && !strings.ContainsAny(name, " \t\r\n<>,;\"") && isDomain(host) && strings.Contains(host, ".")
}

// Bounds on money, in micros. A CPM of a million units is a slip of the unit; so is an amount of a billion.
const (
	maxPrice  int64 = 1e12
	maxAmount int64 = 1e15
)

// money checks a price.
func (v *validator) money(field string, m Money) {
	if m.Micros < 0 || m.Micros > maxPrice {
		v.bad(field+".micros", "must be from 0 to 10^12")
	}
	v.currency(field+".currency", m.Currency)
}

// amount checks a budget or a goal in money.
func (v *validator) amount(field string, m Money) {
	if m.Micros < 1 || m.Micros > maxAmount {
		v.bad(field+".micros", "must be from 1 to 10^15")
	}
	v.currency(field+".currency", m.Currency)
	if rate := v.c.Settings.Rates[m.Currency]; m.Currency != v.c.Settings.Currency && float64(m.Micros)*float64(rate)/1e6 > 1<<61 {
		v.bad(field+".micros", "is too large in %s", v.c.Settings.Currency)
	}
}

func (v *validator) currency(field, cur string) {
	if cur != v.c.Settings.Currency && v.c.Settings.Rates[cur] == 0 {
		v.bad(field, "%q is neither the catalogue's currency nor in settings.rates", cur)
	}
}

func (v *validator) link(field, raw string) {
	u, ok := absolute(raw)
	switch {
	case !ok:
		v.bad(field, "%q is not an absolute URL", raw)
	case u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())):
		v.bad(field, "must start with https://")
	}
}

func absolute(raw string) (*url.URL, bool) {
	u, err := url.Parse(raw)
	return u, err == nil && u.Hostname() != "" && u.User == nil && !strings.ContainsAny(raw, " \t\r\n\\")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (v *validator) flights(flights []Flight) {
	for i, f := range flights {
		if f.Start.IsZero() || f.End.IsZero() || !f.Start.Before(f.End) {
			v.badAt("flights", i, "start must come before end")
		}
	}
}

// period checks a Go duration within bounds; an empty one is the default.
func (v *validator) period(field, s string, least, most time.Duration) {
	if s == "" {
		return
	}
	if d, err := time.ParseDuration(s); err != nil || d < least || d > most {
		v.bad(field, "%q is not a period from %s to %s, such as %s", s, least, most, (least+most)/4)
	}
}
