package decision

import (
	"patag/app/tag/catalogue"
)

// Trace explains one decision: what was asked, and what became of each candidate and source in the order of the waterfall.
type Trace struct {
	Placement string    `json:"placement"`
	Arm       string    `json:"arm,omitempty"`
	Country   string    `json:"country,omitempty"`
	Region    string    `json:"region,omitempty"`
	Device    string    `json:"device,omitempty"`
	Browser   string    `json:"browser,omitempty"`
	System    string    `json:"system,omitempty"`
	Page      string    `json:"page,omitempty"`
	User      bool      `json:"user"` // whether there was a user to cap by
	Filled    bool      `json:"filled"`
	Step      int       `json:"step"` // that filled, from 0; -1 for none
	LineItem  string    `json:"lineItem,omitempty"`
	Creative  string    `json:"creative,omitempty"`
	Source    string    `json:"source,omitempty"` // whose bid filled
	Deal      string    `json:"deal,omitempty"`
	Tags      []string  `json:"tags,omitempty"` // sources of the tags that the browser tries first, in this order
	NoFill    string    `json:"noFill,omitempty"`
	Attempts  []Attempt `json:"attempts,omitempty"`
}

// Attempt is one candidate or demand source at one step. NotReached is set at steps after the one that filled: the Outcome of a
// line item is then what the request alone said about it.
type Attempt struct {
	Step     int                `json:"step"`
	Kind     catalogue.StepKind `json:"kind"`
	Tier     catalogue.Tier     `json:"tier,omitempty"`
	LineItem string             `json:"lineItem,omitempty"`
	Source   string             `json:"source,omitempty"`
	// Deal, Seat and Domains are a bid's.
	Deal    string   `json:"deal,omitempty"`
	Seat    string   `json:"seat,omitempty"`
	Domains []string `json:"domains,omitempty"`
	// CPMMicros is the price in the catalogue's currency: of a line item, a bid, or what a tag is expected to pay. FloorMicros is
	// the least that would do.
	CPMMicros   int64  `json:"cpmMicros"`
	FloorMicros int64  `json:"floorMicros,omitempty"`
	Outcome     string `json:"outcome"`
	NotReached  bool   `json:"notReached,omitempty"`
}

func (t *Trace) record(s *scratch, d *Decision) {
	for i := range s.w.Steps {
		step := &s.w.Steps[i]
		late := d.Filled && i > s.reachedStep
		for j := range step.Groups {
			g := &step.Groups[j]
			for k := range g.Candidates {
				c := &g.Candidates[k]
				a := Attempt{
					Step: i, Kind: step.Kind, Tier: g.Tier, LineItem: c.Item.ID, CPMMicros: c.Item.BaseMicros,
					Outcome: s.reasons[c.Ordinal].String(), NotReached: late || d.Filled && i == s.reachedStep && j > s.reachedGroup,
				}
				if g.Tier != catalogue.Sponsorship {
					a.FloorMicros = step.FloorMicros
				}
				t.Attempts = append(t.Attempts, a)
			}
		}
		for j, src := range step.Sources {
			a := Attempt{
				Step: i, Kind: step.Kind, Source: src.ID, CPMMicros: step.TagMicros, FloorMicros: step.FloorMicros,
				Outcome: s.reasons[step.Ordinal+j].String(), NotReached: late,
			}
			a.bid(s, i, j)
			t.Attempts = append(t.Attempts, a)
		}
	}
}

// bid fills in what a source bid at a step.
func (a *Attempt) bid(s *scratch, step, source int) {
	for i := range s.auctions {
		run := &s.auctions[i]
		if run.index != step {
			continue
		}
		for j := range run.answers {
			b := &run.answers[j]
			if b.Source != s.w.Steps[step].Sources[source] || b.Problem != None {
				continue
			}
			a.CPMMicros, a.Seat, a.Domains = b.BaseMicros, b.Seat, b.Domains
			if b.Deal != nil {
				a.Deal, a.FloorMicros = b.Deal.ID, max(a.FloorMicros, b.Deal.FloorMicros)
			}
		}
	}
}

func (t *Trace) finish(r *Request, d *Decision) {
	t.Placement, t.Arm, t.Page, t.User = r.Placement.ID, d.Arm, r.Page, r.User != 0
	t.Country, t.Region, t.Device = r.Country.String(), r.Region.String(), r.Device.String()
	t.Browser, t.System = r.Browser.String(), r.System.String()
	t.Filled, t.Step = d.Filled, d.Step
	for _, tag := range d.Tags {
		t.Tags = append(t.Tags, tag.Source.ID)
	}
	switch {
	case !d.Filled:
		t.NoFill = d.NoFill.String()
	case d.Bid != nil:
		t.Source, t.Creative = d.Bid.Source.ID, d.Bid.CreativeID
		if d.Bid.Deal != nil {
			t.Deal = d.Bid.Deal.ID
		}
	default:
		t.LineItem, t.Creative = d.Item.ID, d.Creative.ID
	}
}
