package generate

import (
	"bytes"
	"testing"
	"time"

	"patag/app/tag/catalogue"
)

func options(placements int) Options {
	return Options{
		Placements: placements, Candidates: 10, Seed: 7, Sources: 3, Tags: 2, Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

func TestCataloguesAreValidAndReadBack(t *testing.T) {
	sizes := []int{1, 10, 21, 1000}
	if !testing.Short() {
		sizes = append(sizes, 100_000)
	}
	for _, n := range sizes {
		c, err := Generate(options(n))
		if err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		if err := catalogue.Write(&file, c); err != nil {
			t.Fatal(err)
		}
		begin, first := time.Now(), file.Len()
		back, err := catalogue.Parse(bytes.NewReader(file.Bytes()))
		if err != nil {
			t.Fatalf("%d placements: %.1000s", n, err)
		}
		took := time.Since(begin)
		begin = time.Now()
		if err := catalogue.Validate(back); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d placements: %d line items, %d creatives, %d KiB, parsed and checked in %s, validated in %s", n, len(c.LineItems), len(c.Creatives), first>>10, took, time.Since(begin))
		var again bytes.Buffer
		if err := catalogue.Write(&again, back); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(file.Bytes(), again.Bytes()) {
			t.Errorf("%d placements: written, read and written again, the file differs", n)
		}
		booked := map[string]int{}
		for _, l := range c.LineItems {
			for _, p := range l.Placements {
				booked[p]++
			}
		}
		for _, p := range c.Placements {
			if booked[p.ID] != 10 {
				t.Fatalf("%d placements: %s has %d candidates, want 10", n, p.ID, booked[p.ID])
			}
		}
	}
}

func TestTheSeedDecides(t *testing.T) {
	write := func(seed uint64) string {
		o := options(200)
		o.Seed = seed
		c, err := Generate(o)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := catalogue.Write(&b, c); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	first, again := write(1), write(1)
	if first != again {
		t.Error("the same seed makes different catalogues")
	}
	if first == write(2) {
		t.Error("different seeds make the same catalogue")
	}
}

// TestAllKindsOccur: a benchmark on a catalogue without them would measure something else.
func TestAllKindsOccur(t *testing.T) {
	c, err := Generate(options(2000))
	if err != nil {
		t.Fatal(err)
	}
	has := map[string]int{"deals": len(c.Deals)}
	for _, p := range c.Placements {
		for _, s := range p.Waterfall {
			has["step "+string(s.Kind)]++
		}
		has["experiments"] += len(p.Experiments)
		if p.Order == catalogue.ByPrice {
			has["by price"]++
		}
	}
	for _, l := range c.LineItems {
		has["tier "+string(l.Tier)]++
		has["frequency"] += len(l.Frequency)
		has["flights"] += len(l.Flights)
		has["groups"] += len(l.ExclusionGroups)
		has["day parts"] += len(l.Targeting.DayParts)
		has["key-values"] += len(l.Targeting.KeyValues.Include)
		if l.Goal != nil {
			has["goals"]++
		}
		if l.MaxImpressions > 0 {
			has["hard caps"]++
		}
		if l.Budget != nil {
			has["budgets"]++
		}
	}
	for _, kind := range []string{
		"deals", "step direct", "step auction", "step tag", "step house", "experiments", "by price", "tier sponsorship", "tier standard",
		"tier price", "tier house", "frequency", "flights", "groups", "day parts", "key-values", "goals", "hard caps", "budgets",
	} {
		if has[kind] == 0 {
			t.Errorf("no %s", kind)
		}
	}
	if _, err := Generate(options(0)); err == nil {
		t.Error("0 placements are accepted")
	}
}
