package catalogue

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

func (v *validator) size(field string, s Size) {
	if s.Width < 1 || s.Width > maxSide || s.Height < 1 || s.Height > maxSide {
		v.bad(field, "width and height must be from 1 to %d pixels", maxSide)
	}
}

func (v *validator) placement(p *Placement) {
	v.at("placements", p.ID)
	v.named(p.Name)
	v.refers("site", p.Site, "site", v.sites[p.Site])
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
		if s.Width < 1 || s.Width > maxSide || s.Height < 1 || s.Height > maxSide {
			v.size(fmt.Sprintf("sizes[%d]", i), s)
		}
	}
	if p.Position != "" {
		v.oneOf("position", p.Position, Positions)
	}
	v.waterfall("", p.Waterfall, p.Order)
	for i := range p.Experiments {
		v.experiment(p, i)
	}
}

// waterfall checks one, of a placement or of an arm; at is the path before it.
func (v *validator) waterfall(at string, steps []Step, order Order) {
	if order != "" && order != Listed && order != ByPrice {
		v.bad(at+"order", "%q is no order; use listed or price", order)
	}
	if len(steps) == 0 || len(steps) > maxWaterfall {
		v.bad(at+"waterfall", "needs 1 to %d steps", maxWaterfall)
	}
	for i := range steps {
		v.step(at, i, &steps[i])
	}
}

func (v *validator) step(before string, i int, s *Step) {
	bad := func(field, format string, args ...any) {
		v.bad(fmt.Sprintf("%swaterfall[%d]%s", before, i, field), format, args...)
	}
	switch s.Kind {
	case Direct:
		for j, t := range s.Tiers {
			if t.Rank() < 0 || t == HouseTier {
				bad(fmt.Sprintf(".tiers[%d]", j), "%q is no tier of a direct step; use sponsorship, standard or price", t)
			}
		}
	case House:
		if len(s.Tiers) > 0 || s.Floor != nil {
			bad("", "a house step has neither tiers nor a floor")
		}
	case Auction, Tag:
		v.sourcesOf(bad, s)
	default:
		bad(".kind", "%q is no kind of step; use direct, auction, tag or house", s.Kind)
		return
	}
	if s.Kind == Direct || s.Kind == House {
		if len(s.Sources) > 0 || s.Deadline != "" {
			bad("", "a %s step has neither sources nor a deadline", s.Kind)
		}
	}
	if s.Floor != nil {
		v.money(fmt.Sprintf("%swaterfall[%d].floor", before, i), *s.Floor)
	}
}

// sourcesOf checks an auction or a tag step.
func (v *validator) sourcesOf(bad func(field, format string, args ...any), s *Step) {
	want, least, most := OpenRTB, 10*time.Millisecond, 2*time.Second
	if s.Kind == Tag {
		want, least, most = ThirdTag, 100*time.Millisecond, 10*time.Second
	}
	if len(s.Tiers) > 0 {
		bad(".tiers", "only direct steps have tiers")
	}
	switch {
	case s.Kind == Tag && len(s.Sources) != 1:
		bad(".sources", "a tag step needs exactly one")
	case len(s.Sources) == 0 || len(s.Sources) > maxSources:
		bad(".sources", "an auction step needs 1 to %d", maxSources)
	}
	for j, id := range s.Sources {
		src := v.sources[id]
		field := fmt.Sprintf(".sources[%d]", j)
		switch {
		case src == nil:
			bad(field, "there is no demand source %q", id)
		case src.Kind != want:
			bad(field, "demand source %q is of kind %q; a step of kind %s asks sources of kind %s", id, src.Kind, s.Kind, want)
		case slices.Contains(s.Sources[:j], id):
			bad(field, "%q is there already", id)
		}
	}
	if s.Deadline != "" {
		if d, err := time.ParseDuration(s.Deadline); err != nil || d < least || d > most {
			bad(".deadline", "%q is not a period from %s to %s, such as 200ms", s.Deadline, least, most)
		}
	}
}

// controlArm is what the visitors that no arm takes are in.
const controlArm = "control"

func (v *validator) experiment(p *Placement, i int) {
	e := &p.Experiments[i]
	at := fmt.Sprintf("experiments[%d].", i)
	if !isID(e.ID) {
		v.bad(at+"id", "must be 1 to %d letters, digits, dots, dashes or underscores, and start with a letter or digit", MaxID)
	}
	if slices.ContainsFunc(p.Experiments[:i], func(o Experiment) bool { return o.ID == e.ID }) {
		v.bad(at+"id", "is used twice")
	}
	if len(e.Arms) == 0 || len(e.Arms) > maxArms {
		v.bad(at+"arms", "needs 1 to %d", maxArms)
	}
	total := 0
	for j := range e.Arms {
		a := &e.Arms[j]
		arm := fmt.Sprintf("%sarms[%d].", at, j)
		if !isID(a.ID) || a.ID == controlArm {
			v.bad(arm+"id", "must be 1 to %d letters, digits, dots, dashes or underscores, and not %s", MaxID, controlArm)
		}
		if slices.ContainsFunc(e.Arms[:j], func(o Arm) bool { return o.ID == a.ID }) {
			v.bad(arm+"id", "is used twice")
		}
		if a.Share < 1 || a.Share > 100 {
			v.bad(arm+"share", "must be from 1 to 100 percent")
		}
		total += min(max(a.Share, 0), 101)
		v.waterfall(arm, a.Waterfall, a.Order)
	}
	if total > 100 {
		v.bad(at+"arms", "their shares add up to more than 100 percent")
	}
}

func (v *validator) creative(c *Creative) {
	v.at("creatives", c.ID)
	v.named(c.Name)
	v.refers("advertiser", c.Advertiser, "advertiser", v.advertisers[c.Advertiser])
	v.link("landing", c.Landing)
	v.list("categories", c.Categories, categoryPattern.MatchString, aCategory)
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
		v.native(c)
	default:
		v.bad("format", "%q is no format; use display or native", c.Format)
	}
}

func (v *validator) native(c *Creative) {
	if c.HTML != "" {
		v.bad("html", "a native creative has assets instead of markup")
	}
	if c.Native == nil {
		v.bad("native", "is missing")
		return
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
}

// Fits says whether the creative's format and size are among the placement's.
func (c *Creative) Fits(p *Placement) bool {
	if c.Format != p.Format {
		return false
	}
	return c.Format == Native || slices.Contains(p.Sizes, c.Size)
}
