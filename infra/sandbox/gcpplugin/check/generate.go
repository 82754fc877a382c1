package check

import (
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"patag/infra/sandbox/gcpplugin/description"
	"patag/infra/sandbox/gcpplugin/value"
)

// randomDigits is the length of the random part of a name, as pulumi-gcp has it.
const randomDigits = 7

// generate fills in what comes from elsewhere than the description: parts of a parent's id, the provider's
// place, the automatic name.
func (c *checker) generate(news *value.Tree, olds value.Tree, place Place, naming Naming) {
	c.parent(news)
	fill := func(name, v string) {
		p := c.t.Root.Child(name)
		if p == nil || p.Kind != description.String || v == "" || (!p.Computed && !p.Required) {
			return
		}
		if _, given := news.Map[name]; !given {
			news.Map[name] = v
			news.Defaults[name] = true
		}
	}
	fill("project", place.Project)
	if c.t.Service == "compute" {
		fill("region", place.Region)
		fill("zone", place.Zone)
	}
	for _, from := range c.t.Location {
		switch from {
		case "zone":
			fill("location", place.Zone)
		case "region":
			fill("location", place.Region)
		}
	}
	c.name(news, olds, naming)
}

// parent takes missing properties out of a property that holds a whole id.
func (c *checker) parent(news *value.Tree) {
	if c.t.Parent == nil {
		return
	}
	switch v := news.Map[c.t.Parent.Property].(type) {
	case value.Unknown:
		// The id may bring its own project and location, so they are not known either; but a program that
		// gives a plain name gets the provider's. Both cases look alike before the cluster exists.
	case string:
		vars, ok := c.t.Parent.Pattern.Match(v)
		if !ok {
			return
		}
		for name, part := range vars {
			if _, given := news.Map[name]; !given && name != c.t.Parent.Property {
				news.Map[name] = part
				news.Defaults[name] = true
			}
		}
	}
}

func (c *checker) name(news *value.Tree, olds value.Tree, naming Naming) {
	rule := c.t.Name
	if rule == nil {
		return
	}
	if _, given := news.Map[rule.Property]; given {
		return
	}
	// A name generated once stays.
	if old, ok := olds.Map[rule.Property].(string); ok && olds.Defaults[rule.Property] {
		news.Map[rule.Property] = old
		news.Defaults[rule.Property] = true
		return
	}
	if naming.Disabled {
		return
	}
	name := naming.Proposed
	if name == "" || (!naming.Fixed && len(name) > rule.Max) {
		prefix := naming.Name + "-"
		if given, ok := news.Map[rule.Prefix].(string); ok && rule.Prefix != "" {
			prefix = given
		}
		var err error
		if name, err = resource.NewUniqueName(naming.Seed, prefix, randomDigits, rule.Max, nil); err != nil {
			c.fail(rule.Property, "no name can be made for %s: %v; shorten the resource's name or give %q", c.t.Token, err, rule.Property)
			return
		}
		if rule.Lower {
			name = strings.ToLower(name)
		}
	}
	news.Map[rule.Property] = name
	news.Defaults[rule.Property] = true
}

// suggest names the closest property that may be given.
func suggest(parent *description.Property, name string) string {
	best, distance := "", len(name)/2+2
	for _, p := range parent.Children {
		if p.Output {
			continue
		}
		if d := editDistance(strings.ToLower(name), strings.ToLower(p.Name)); d < distance {
			best, distance = p.Name, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean \"" + best + "\"?"
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
