// Package inventory is the catalogue compiled for use: one immutable, typed, indexed Snapshot. In goes a valid catalogue; out
// come placements with their waterfalls resolved to candidates, prices in one currency, targeting as numbers and markup cut
// and escaped, so that a request parses no text. A Snapshot never changes; any number of requests read it without a lock.
// It knows nothing of requests, users or where the catalogue came from.
package inventory

import (
	"time"

	"patag/app/tag/catalogue"
)

// Snapshot is everything a decision needs to know, at one version of the catalogue.
type Snapshot struct {
	Version  int64
	Built    time.Time
	Currency string
	// Items that have a hard cap; Item.CapIndex points into it.
	Capped []*Item
	// Slots is the number of counters that the placements and candidates number through: see Placement.Slot, Candidate.Slot.
	Slots int
	// Placements in the catalogue's order.
	Placements []*Placement

	placements map[string]*Placement
	creatives  map[string]*Creative
	items      map[string]*Item
	keyValues  map[KeyValue]uint32
}

// Placement by id; nil if there is none.
func (s *Snapshot) Placement(id string) *Placement { return s.placements[id] }

// Creative by id; nil if there is none.
func (s *Snapshot) Creative(id string) *Creative { return s.creatives[id] }

// Item by id; nil if there is none.
func (s *Snapshot) Item(id string) *Item { return s.items[id] }

// KeyValue is a key and one value, as pages pass and line items target them.
type KeyValue struct{ Key, Value string }

// KeyValueID is the number of a pair that some line item targets; 0 for all others, which cannot matter.
func (s *Snapshot) KeyValueID(kv KeyValue) uint32 { return s.keyValues[kv] }

// Placement is a placement with its waterfall resolved.
type Placement struct {
	ID, Site, Publisher string
	Index               int // in Snapshot.Placements
	Format              catalogue.Format
	Sizes               []catalogue.Size
	Paused              bool
	Steps               []Step
	// Slot is this placement's first counter: requests there, then one per no-fill reason (NoFillSlots of them).
	Slot int
	// Candidates is their number over all steps; Candidate.Ordinal is below it.
	Candidates int
}

// NoFillSlots is how many counters a placement keeps for reasons of no fill; decision.Reason values stay below it.
const NoFillSlots = 64

// Step of a waterfall. Groups are tried in order.
type Step struct {
	Kind   catalogue.StepKind
	Groups []Group // direct and house
	// Auction and tag steps: who is asked, how long it may take and the least that is accepted, in micros of the snapshot's currency.
	Sources     []*Source
	Deals       []*Deal // of Sources, for this placement
	Deadline    time.Duration
	FloorMicros int64
	// SourceSlot is the counter of the first source's attempts at this step: see SourceSlots.
	SourceSlot int
}

// SourceSlots is how many counters each source of a step has: attempts, fills, then one per decision.Reason.
const SourceSlots = 2 + NoFillSlots

// Group is the candidates of one tier at one step. ByPrice groups are sorted by price, highest first, and the best price wins;
// in others the pick is by weight.
type Group struct {
	Tier       catalogue.Tier
	ByPrice    bool
	Candidates []Candidate
}

// Candidate is a line item at a step, with those of its creatives that fit the placement.
type Candidate struct {
	Item      *Item
	Creatives []WeightedCreative
	// Ordinal numbers the candidates of a placement, over all its steps.
	Ordinal int
	// Slot is the counter of fills with the first of Creatives; the others follow.
	Slot int
	// Barred is why it can never fill here, whatever the request: known when the catalogue was compiled.
	Barred Bar
}

// Bar is a reason, independent of the request, for which a candidate cannot fill.
type Bar uint8

// Bars.
const (
	NotBarred    Bar = iota
	BarPaused        // line item or campaign paused
	BarPublisher     // the publisher blocks the advertiser's domain
	BarSite          // the advertiser blocks the site
	BarFloor         // priced under the step's floor
)

// WeightedCreative is a creative in a rotation.
type WeightedCreative struct {
	Creative *Creative
	Weight   uint32
}

// Item is a line item.
type Item struct {
	ID, Campaign, Advertiser string
	Tier                     catalogue.Tier
	// CPM as booked, and in micros of the snapshot's currency for comparing.
	CPM        catalogue.Money
	BaseMicros int64
	Weight     uint32
	Flights    []Flight // sorted by start; none means always
	Targeting  Targeting
	Frequency  []FrequencyCap
	// MaxImpressions is the hard cap, 0 for none; CapIndex is its place in Snapshot.Capped, -1 for none.
	MaxImpressions int64
	CapIndex       int
}

// Flight is [Start, End) in Unix seconds.
type Flight struct{ Start, End int64 }

// FrequencyCap is at most Impressions per user in each window of Seconds.
type FrequencyCap struct {
	Impressions uint32
	Seconds     int64
}

// InFlight says whether the item may show at a time in Unix seconds.
func (it *Item) InFlight(now int64) bool {
	if len(it.Flights) == 0 {
		return true
	}
	for _, f := range it.Flights {
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
	// Markup is a whole HTML document, cut where the click URL goes; MarkupJSON is the same, escaped for a JSON string.
	Markup, MarkupJSON [][]byte
	// NativeJSON is the object of native assets; nil for display.
	NativeJSON []byte
}
