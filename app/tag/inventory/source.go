package inventory

import (
	"time"

	"patag/app/tag/catalogue"
)

// Source is a demand source at a step, ready to be asked.
type Source struct {
	ID, Partner string
	Kind        catalogue.SourceKind
	Endpoint    string
	Timeout     time.Duration // of one bid request; 0 is the step's deadline
	MaxQPS      int
	Currencies  []string
	// AllowedSeats empty allows all.
	AllowedSeats, BlockedSeats []string
	// Adjustment is percent of a bid that counts, 100 for all of it.
	Adjustment int64
	VendorID   int // TCF; 0 for none
	Targeting  Targeting
	Paused     bool
	// Parts of a tag's HTML and the macros between them: compiled like creatives' markup.
	Tag []TagPart
	// CPM that a tag is expected to pay, as booked and in the snapshot's currency.
	CPM        catalogue.Money
	BaseMicros int64
}

// TagPart is literal markup, followed by a macro's value; Macro is "" after the last one.
type TagPart struct {
	Text  string
	Macro string
}

// Deal of a source, as it holds for one placement.
type Deal struct {
	ID             string
	Source         string
	FloorMicros    int64 // in the snapshot's currency
	Floor          catalogue.Money
	Seats, Domains []string
	Flights        []Flight
	Preferred      bool
}
