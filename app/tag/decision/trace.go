package decision

import (
	"patag/app/tag/catalogue"
	"patag/app/tag/inventory"
)

// Trace explains one decision: what was asked, and what became of each candidate in the order of the waterfall.
type Trace struct {
	Placement string    `json:"placement"`
	Country   string    `json:"country,omitempty"`
	Device    string    `json:"device,omitempty"`
	User      bool      `json:"user"` // whether there was a user to cap by
	Filled    bool      `json:"filled"`
	Step      int       `json:"step"` // that filled, from 0; -1 for none
	LineItem  string    `json:"lineItem,omitempty"`
	Creative  string    `json:"creative,omitempty"`
	NoFill    string    `json:"noFill,omitempty"`
	Attempts  []Attempt `json:"attempts,omitempty"`
}

// Attempt is one candidate at one step. NotReached is set on candidates of steps after the one that filled: Outcome is then
// what the request alone said about them.
type Attempt struct {
	Step       int                `json:"step"`
	Kind       catalogue.StepKind `json:"kind"`
	Tier       catalogue.Tier     `json:"tier"`
	LineItem   string             `json:"lineItem"`
	CPMMicros  int64              `json:"cpmMicros"` // in the catalogue's currency
	Outcome    string             `json:"outcome"`
	NotReached bool               `json:"notReached,omitempty"`
}

func (t *Trace) record(p *inventory.Placement, reasons []Reason, d *Decision) {
	reached := true
	for i := range p.Steps {
		for j := range p.Steps[i].Groups {
			g := &p.Steps[i].Groups[j]
			inGroup := false
			for k := range g.Candidates {
				c := &g.Candidates[k]
				inGroup = inGroup || reasons[c.Ordinal] == Filled
				t.Attempts = append(t.Attempts, Attempt{
					Step: i, Kind: p.Steps[i].Kind, Tier: g.Tier, LineItem: c.Item.ID,
					CPMMicros: c.Item.BaseMicros, Outcome: reasons[c.Ordinal].String(), NotReached: !reached,
				})
			}
			reached = reached && !inGroup
		}
	}
}

func (t *Trace) finish(r *Request, d *Decision) {
	t.Placement, t.Country, t.Device, t.User = r.Placement.ID, r.Country.String(), r.Device.String(), r.User != 0
	t.Filled, t.Step = d.Filled, d.Step
	if d.Filled {
		t.LineItem, t.Creative = d.Item.ID, d.Creative.ID
	} else {
		t.NoFill = d.NoFill.String()
	}
}
