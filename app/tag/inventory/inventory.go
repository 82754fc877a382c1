// Package inventory is the catalogue compiled for use: one immutable, typed, indexed Snapshot. In goes a valid catalogue; out
// come placements with their waterfalls resolved to candidates and sources, prices in one currency, targeting as numbers and markup
// cut and escaped, so that a request parses no text. A Snapshot never changes; any number of requests read it without a lock.
// It knows nothing of requests, users or where the catalogue came from.
package inventory

import (
	"time"

	"patag/app/tag/catalogue"
	"patag/app/tag/supply"
)

// Snapshot is everything a decision needs to know, at one version of the catalogue.
type Snapshot struct {
	Version  int64
	Built    time.Time
	Currency string
	// Rates are those of the catalogue's settings: micros of Currency per unit of a foreign currency.
	Rates    map[string]int64
	Exchange catalogue.Exchange
	// Supply is the ads.txt and sellers.json files.
	Supply *supply.Files
	// Items that have a hard cap; Item.CapIndex points into it.
	Capped []*Item
	// Goals are the items with a goal, a budget or a limit on clicks; Item.GoalIndex points into it.
	Goals []*Item
	// Placements in the catalogue's order, and all their waterfalls, arms of experiments included; Waterfall.Index points there.
	Placements []*Placement
	Waterfalls []*Waterfall

	placements map[string]*Placement
	creatives  map[string]*Creative
	items      map[string]*Item
	sources    map[string]*Source
	keyValues  map[KeyValue]uint32
	buckets    []catalogue.PriceBucket
	// domainGroups are the exclusion groups of line items by their advertiser's domain: a bid for the same advertiser is held to them.
	domainGroups map[string][]uint32
	groups       map[string]uint32
	groupNames   []string
}

// Placement by id; nil if there is none.
func (s *Snapshot) Placement(id string) *Placement { return s.placements[id] }

// Creative by id; nil if there is none.
func (s *Snapshot) Creative(id string) *Creative { return s.creatives[id] }

// Item by id; nil if there is none.
func (s *Snapshot) Item(id string) *Item { return s.items[id] }

// Source by id; nil if there is none.
func (s *Snapshot) Source(id string) *Source { return s.sources[id] }

// KeyValue is a key and one value, as pages pass and line items target them.
type KeyValue struct{ Key, Value string }

// KeyValueID is the number of a pair that some line item targets; 0 for all others, which cannot matter.
func (s *Snapshot) KeyValueID(kv KeyValue) uint32 { return s.keyValues[kv] }

// Bucketed says whether the catalogue has price buckets: then pages are told the bucket of a bid rather than its price.
func (s *Snapshot) Bucketed() bool { return len(s.buckets) > 0 }

// Bucket rounds a CPM in micros of the snapshot's currency down to its price bucket; above the last bucket it stays as it is.
func (s *Snapshot) Bucket(micros int64) int64 {
	for _, b := range s.buckets {
		if micros < b.UpToMicros {
			return micros - micros%b.StepMicros
		}
	}
	return micros
}

// Publisher of sites, and what never shows on them.
type Publisher struct {
	ID, Name, Domain, SellerID, SellerType string
	Confidential                           bool
	Safety                                 Safety
}

// Site of a publisher.
type Site struct {
	ID, Name, Domain string
	Publisher        *Publisher
	CategoryNames    []string // as in the catalogue
	Categories       Categories
}

// Placement is a placement with its waterfalls resolved.
type Placement struct {
	Waterfall           // its own; the control arm of its experiment
	ID, Site, Publisher string
	On                  *Site
	In                  *Snapshot
	Index               int // in Snapshot.Placements
	Format              catalogue.Format
	Sizes               []catalogue.Size
	Position            string // as in the catalogue
	Paused              bool
	Experiment          *Experiment // that is on; nil for none
}

// Experiment shares visitors out among waterfalls.
type Experiment struct {
	ID string
	// Salt makes the shares of different experiments independent of each other.
	Salt uint64
	// Arms beside the control arm: a visitor's percentile below UpTo and not in an arm before it belongs to an arm.
	Arms []Arm
}

// Arm of an experiment.
type Arm struct {
	UpTo      uint32 // percent
	Waterfall *Waterfall
}

// Waterfall is an ordered list of steps. A visitor sees one waterfall of a placement.
type Waterfall struct {
	Placement *Placement
	Index     int    // in Snapshot.Waterfalls
	Arm       string // experiment/arm, experiment/control; "" outside of experiments
	Steps     []Step
	// Runs order the units of the steps where they compete by price; nil where each step has its turn as listed.
	Runs []Run
	// Candidates is their number over all steps, Outcomes that of candidates and sources: ordinals are below it, candidates' first.
	Candidates, Outcomes int
	// Slots is the number of counters of fills that candidates number through: see Candidate.Slot.
	Slots int
}

// Step of a waterfall. Groups are tried in order.
type Step struct {
	Kind   catalogue.StepKind
	Groups []Group // direct and house
	// Auction and tag steps: who is asked, how long it may take and the least that is accepted, in micros of the snapshot's currency.
	Sources []*Source
	// Bars say, by Sources, why one can never fill here, whatever the request. Ordinal numbers the first of Sources among those of the
	// waterfall, after its candidates; the others follow.
	Bars    []Bar
	Ordinal int
	// Deals of Sources for this placement that are not paused; see Deal.Open.
	Deals       []*Deal
	Deadline    time.Duration
	FloorMicros int64
	// TagMicros is what a tag is expected to pay: its CPM, or the step's floor where it has none.
	TagMicros int64
}

// Run is a part of a waterfall whose units compete by price; one unit has no one to compete with.
type Run []Unit

// Unit is a group of a step, or a whole auction or tag step: then Group is -1.
type Unit struct{ Step, Group int }

// Group is the candidates of one tier at one step. ByPrice groups are sorted by price, highest first, and the best price wins;
// in others the pick is by weight.
type Group struct {
	Tier       catalogue.Tier
	ByPrice    bool
	Candidates []Candidate
}

// Candidate is a line item at a step, with those of its creatives that fit the placement and its publisher's rules.
type Candidate struct {
	Item      *Item
	Creatives []WeightedCreative
	// Ordinal numbers the candidates of a waterfall, over all its steps.
	Ordinal int32
	// Slot is the counter, within the waterfall, of fills with the first of Creatives; the others follow.
	Slot int32
	// Barred is why it can never fill here, whatever the request: known when the catalogue was compiled.
	Barred Bar
}

// Bar is a reason, independent of the request, for which a candidate or source cannot fill.
type Bar uint8

// Bars.
const (
	NotBarred    Bar = iota
	BarPaused        // line item, campaign, source or partner paused
	BarPublisher     // the publisher blocks the advertiser's domain
	BarSite          // the advertiser blocks the site
	BarCategory      // the publisher blocks the ad's category, or the advertiser the site's
	BarKeyword       // the publisher blocks a word of the ad
	BarTarget        // targeting leaves the site out
	BarFloor         // priced under the step's floor
)

// WeightedCreative is a creative in a rotation.
type WeightedCreative struct {
	Creative *Creative
	Weight   uint32
}

// Item is a line item. What every decision looks at comes first: it shares cache lines.
type Item struct {
	// BaseMicros is CPM in micros of the snapshot's currency, for comparing.
	BaseMicros int64
	Weight     uint32
	Flights    []Flight // sorted by start; none means always
	Frequency  []FrequencyCap
	// Groups are exclusion groups by number.
	Groups []uint32
	// Avoid is pages that the advertiser keeps off; nil for none.
	Avoid *Avoid
	// CapIndex is the place in Snapshot.Capped of an item with a hard cap, GoalIndex that in Snapshot.Goals of one with a goal, a budget
	// or a limit on clicks; -1 for none.
	CapIndex, GoalIndex int
	Targeting           Targeting

	ID, Campaign, Advertiser string
	Tier                     catalogue.Tier
	CPM                      catalogue.Money // as booked
	// MaxImpressions is the hard cap; MaxClicks and BudgetMicros (of the snapshot's currency) end delivery once they are reported used
	// up; 0 for none. Goal is nil without one.
	MaxImpressions, MaxClicks, BudgetMicros int64
	Goal                                    *Goal
}

// Goal is what is to be delivered by the end of the flights: one of the three is not 0.
type Goal struct {
	Impressions, Clicks, RevenueMicros int64 // revenue in the snapshot's currency
	Even                               bool  // spread over the flights, else as fast as possible
}

// Flight is [Start, End) in Unix seconds.
type Flight struct{ Start, End int64 }

// FrequencyCap is at most Impressions per user in each window of Seconds.
type FrequencyCap struct {
	Impressions uint32
	Seconds     int64
}

// InFlight says whether the item may show at a time in Unix seconds.
func (it *Item) InFlight(now int64) bool { return inFlight(it.Flights, now) }

func inFlight(flights []Flight, now int64) bool {
	if len(flights) == 0 {
		return true
	}
	for _, f := range flights {
		if now >= f.Start && now < f.End {
			return true
		}
	}
	return false
}

// Creative is a creative ready to be written into a response.
type Creative struct {
	ID, Advertiser, Landing string
	Format                  catalogue.Format
	Size                    catalogue.Size
	Categories              Categories
	// Markup is a whole HTML document, cut where the click URL goes; MarkupJSON is the same, escaped for a JSON string.
	Markup, MarkupJSON [][]byte
	// NativeJSON is the object of native assets; nil for display.
	NativeJSON []byte

	host string // of Landing
}
