package inventory

import (
	"fmt"
	"regexp"
	"time"

	"patag/app/tag/catalogue"
)

// Source is a demand source, ready to be asked. All steps share it.
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
	Paused     bool // or its partner is
	// Tag is a tag's document, cut at its macros.
	Tag []TagPart
	// CPM that a tag is expected to pay, as booked and in the snapshot's currency; zero where none is booked.
	CPM        catalogue.Money
	BaseMicros int64
}

// TagPart is literal markup, followed by a macro's value; Macro (CLICK, PASSBACK …) is "" after the last one. JSON is Text escaped for a
// JSON string.
type TagPart struct {
	Text  string
	JSON  []byte
	Macro string
}

// Deal of a source, as it holds for one placement.
type Deal struct {
	ID             string
	Source         string
	FloorMicros    int64 // in the snapshot's currency
	Floor          catalogue.Money
	Seats, Domains []string // domains in lower case
	Flights        []Flight
	Preferred      bool
}

// Open says whether the deal holds at a time in Unix seconds.
func (d *Deal) Open(now int64) bool { return inFlight(d.Flights, now) }

// Defaults of a step's deadline.
const (
	AuctionDeadline = 200 * time.Millisecond
	TagDeadline     = 2 * time.Second
)

func (b *builder) source(doc *catalogue.DemandSource) (*Source, error) {
	partner := b.partners[doc.Partner]
	s := &Source{
		ID: doc.ID, Partner: doc.Partner, Kind: doc.Kind, Endpoint: doc.Endpoint, MaxQPS: doc.MaxQPS, Currencies: doc.Currencies,
		AllowedSeats: doc.AllowedSeats, BlockedSeats: doc.BlockedSeats, Adjustment: int64(doc.BidAdjustment),
		Paused: doc.Paused || partner.Paused, VendorID: partner.VendorID,
	}
	if s.Adjustment == 0 {
		s.Adjustment = 100
	}
	if len(s.Currencies) == 0 {
		s.Currencies = []string{b.s.Currency}
	}
	var err error
	if s.Targeting, err = b.targeting(&doc.Targeting); err != nil {
		return nil, err
	}
	if doc.Timeout != "" {
		if s.Timeout, err = time.ParseDuration(doc.Timeout); err != nil {
			return nil, fmt.Errorf("timeout: %w", err)
		}
	}
	if doc.CPM != nil {
		s.CPM = *doc.CPM
		if s.BaseMicros, err = b.toBase(*doc.CPM); err != nil {
			return nil, err
		}
	}
	if doc.Kind == catalogue.ThirdTag {
		if s.Tag, err = cutTag(doc.HTML); err != nil {
			return nil, err
		}
	}
	return s, nil
}

var tagMacro = regexp.MustCompile(`\{\{(CLICK|PASSBACK|WIDTH|HEIGHT|PAGE|CONSENT|GDPR|GPP|US_PRIVACY|CACHEBUSTER)\}\}`)

// cutTag makes a document of a tag's markup. The last part has no macro.
func cutTag(html string) ([]TagPart, error) {
	doc := head + html + tail
	var parts []TagPart
	at := 0
	add := func(text, macro string) error {
		quoted, err := quote(text)
		parts = append(parts, TagPart{Text: text, JSON: quoted, Macro: macro})
		return err
	}
	for _, m := range tagMacro.FindAllStringSubmatchIndex(doc, -1) {
		if err := add(doc[at:m[0]], doc[m[2]:m[3]]); err != nil {
			return nil, err
		}
		at = m[1]
	}
	return parts, add(doc[at:], "")
}

func (b *builder) deal(doc *catalogue.Deal) error {
	d := &Deal{ID: doc.ID, Source: doc.Source, Floor: doc.Floor, Seats: doc.Seats, Domains: lower(doc.Domains), Preferred: doc.Preferred, Flights: flights(doc.Flights)}
	var err error
	if d.FloorMicros, err = b.toBase(doc.Floor); err != nil {
		return err
	}
	if doc.Paused {
		return nil
	}
	for _, p := range doc.Placements {
		b.deals[p] = append(b.deals[p], d)
	}
	return nil
}

// sourceStep compiles an auction or tag step of a placement.
func (b *builder) sourceStep(p *Placement, doc *catalogue.Step, out *Step) error {
	out.Deadline = AuctionDeadline
	if doc.Kind == catalogue.Tag {
		out.Deadline = TagDeadline
	}
	if doc.Deadline != "" {
		var err error
		if out.Deadline, err = time.ParseDuration(doc.Deadline); err != nil {
			return fmt.Errorf("deadline: %w", err)
		}
	}
	for _, id := range doc.Sources {
		src := b.s.sources[id]
		bar := NotBarred
		if src.Kind == catalogue.ThirdTag {
			if out.TagMicros = src.BaseMicros; src.CPM.Currency == "" {
				out.TagMicros = out.FloorMicros
			}
			if out.TagMicros < out.FloorMicros {
				bar = BarFloor
			}
		}
		switch {
		case src.Paused:
			bar = BarPaused
		case !src.Targeting.SiteOK(p.On.ID):
			bar = BarTarget
		}
		out.Sources, out.Bars = append(out.Sources, src), append(out.Bars, bar)
		for _, d := range b.deals[p.ID] {
			if d.Source == id {
				out.Deals = append(out.Deals, d)
			}
		}
	}
	return nil
}
