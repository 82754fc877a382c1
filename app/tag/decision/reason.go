package decision

import "patag/app/tag/inventory"

// Reason says what became of a candidate, or why nothing filled. The values are ordered: the later, the further it came.
type Reason uint8

// Reasons. Their texts are part of the interface: reports, metrics and explanations use them.
const (
	None Reason = iota
	PlacementPaused
	NothingBooked
	Paused
	BlockedByPublisher
	BlockedByAdvertiser
	OutOfFlight
	Country
	Device
	KeyValues
	BelowFloor
	FrequencyUnknownUser
	FrequencyCapped
	HardCapped
	Eligible // ruled out by nothing, and another one was picked
	Filled

	reasonCount
)

var reasonTexts = [reasonCount]string{
	None: "none", PlacementPaused: "placement_paused", NothingBooked: "nothing_booked", Paused: "paused",
	BlockedByPublisher: "blocked_by_publisher", BlockedByAdvertiser: "blocked_by_advertiser", OutOfFlight: "out_of_flight",
	Country: "country", Device: "device", KeyValues: "key_values", BelowFloor: "below_floor",
	FrequencyUnknownUser: "frequency_unknown_user", FrequencyCapped: "frequency_capped", HardCapped: "hard_cap",
	Eligible: "outranked", Filled: "filled",
}

// A placement must have a counter for each reason.
const _ = uint(inventory.NoFillSlots - int(reasonCount))

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

var barReasons = [...]Reason{
	inventory.BarPaused: Paused, inventory.BarPublisher: BlockedByPublisher,
	inventory.BarSite: BlockedByAdvertiser, inventory.BarFloor: BelowFloor,
}
