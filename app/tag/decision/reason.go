package decision

import "patag/app/tag/inventory"

// Reason says what became of a candidate, or why nothing filled. The values are ordered: the later, the further it came.
type Reason uint8

// Reasons. Their texts are part of the interface: reports, metrics and explanations use them.
const (
	None Reason = iota
	PlacementPaused
	NothingBooked
	NotAsked // a source of a step that was not come to
	Paused
	BlockedByPublisher
	BlockedByAdvertiser
	OutOfFlight
	DayPart
	Country
	Region
	Device
	Browser
	System
	Site
	Page
	Category
	KeyValues
	BlockedCategory
	BlockedKeyword
	ExclusionGroup
	NotPermitted // privacy: consent or its lack rules the source out
	OverQPS
	BreakerOpen
	SourceFailed
	TimedOut
	BadBid
	NoBid
	BlockedSeat
	NotInDeal // the bid names a deal that is not open to its seat or advertiser, or not at this time
	BelowFloor
	FrequencyUnknownUser
	FrequencyCapped
	ClicksUsedUp
	BudgetUsedUp
	Paced // held back to spread the goal over the flight
	HardCapped
	Offered  // a tag that the browser tries first; as a no-fill: only tags are left to fill
	Eligible // ruled out by nothing, and another one was picked
	Filled

	reasonCount
)

var reasonTexts = [reasonCount]string{
	None: "none", PlacementPaused: "placement_paused", NothingBooked: "nothing_booked", NotAsked: "not_asked", Paused: "paused",
	BlockedByPublisher: "blocked_by_publisher", BlockedByAdvertiser: "blocked_by_advertiser", OutOfFlight: "out_of_flight",
	DayPart: "day_part", Country: "country", Region: "region", Device: "device", Browser: "browser", System: "system", Site: "site",
	Page: "page", Category: "category", KeyValues: "key_values", BlockedCategory: "blocked_category",
	BlockedKeyword: "blocked_keyword", ExclusionGroup: "exclusion_group", NotPermitted: "not_permitted", OverQPS: "over_qps",
	BreakerOpen: "breaker_open", SourceFailed: "source_failed", TimedOut: "timed_out", BadBid: "bad_bid", NoBid: "no_bid",
	BlockedSeat: "blocked_seat", NotInDeal: "not_in_deal", BelowFloor: "below_floor", ClicksUsedUp: "clicks_used_up", BudgetUsedUp: "budget_used_up", Paced: "paced",
	FrequencyUnknownUser: "frequency_unknown_user", FrequencyCapped: "frequency_capped", HardCapped: "hard_cap", Offered: "offered",
	Eligible: "outranked", Filled: "filled",
}

// Reasons is how many there are: values lie below it.
const Reasons = int(reasonCount)

func (r Reason) String() string {
	if int(r) < len(reasonTexts) {
		return reasonTexts[r]
	}
	return "unknown"
}

// NoFillReasons are the reasons that a Decision's NoFill takes: the bounded label values of metrics.
func NoFillReasons() []Reason {
	var out []Reason
	for r := PlacementPaused; r < Eligible; r++ {
		out = append(out, r)
	}
	return out
}

// Asked says whether a demand source with this outcome was sent a bid request.
func (r Reason) Asked() bool {
	switch r {
	case NotAsked, Paused, NotPermitted, OverQPS, BreakerOpen, OutOfFlight, DayPart, Country, Region, Device, Browser, System, Site, Page, Category, KeyValues:
		return false
	}
	return true
}

var barReasons = [...]Reason{
	inventory.BarPaused: Paused, inventory.BarPublisher: BlockedByPublisher, inventory.BarSite: BlockedByAdvertiser,
	inventory.BarCategory: BlockedCategory, inventory.BarKeyword: BlockedKeyword, inventory.BarTarget: Site, inventory.BarFloor: BelowFloor,
}
