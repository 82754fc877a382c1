package decision

import (
	"testing"
	"time"

	"patag/app/tag/inventory"
)

// Weights of line items and of creatives hold within 2 % over many requests.
func TestWeights(t *testing.T) {
	s := compiled(t, "catalogue.json")
	const n = 40000
	items, creatives := map[string]int{}, map[string]int{}
	e := Engine{Frequency: seen{}, Delivery: delivered{}}
	for seed := range uint64(n) {
		d := e.Decide(t.Context(), &Request{Placement: s.Placement("story"), Now: 1, Seed: seed * 0x9e3779b97f4a7c15}, nil)
		items[d.Item.ID]++
		creatives[d.Creative.ID]++
	}
	near := func(what string, got, want int) {
		if diff := got - want; diff > n/50 || diff < -n/50 {
			t.Errorf("%s: %d of %d, want about %d", what, got, n, want)
		}
	}
	near("light", items["light"], n/4)
	near("heavy", items["heavy"], n*3/4)
	near("story-a", creatives["story-a"], n*3/16)
	near("story-b", creatives["story-b"], n/16)
}

// Shares of an experiment's arms hold within 2 %, and a visitor stays in his arm whatever page he is on and whatever the chance.
func TestArms(t *testing.T) {
	s := compiled(t, "catalogue-market.json")
	const n = 20000
	arms := map[string]int{}
	for user := uint64(1); user <= n; user++ {
		r := Request{Placement: s.Placement("experiment"), User: user * 0x9e3779b97f4a7c15, Seed: user, PageView: user}
		arm := assign(&r).Arm
		arms[arm]++
		r.Seed, r.PageView = user+1, user+2
		if again := assign(&r).Arm; again != arm {
			t.Fatalf("user %d is in %s, then in %s", user, arm, again)
		}
	}
	for arm, percent := range map[string]int{"layout/control": 40, "layout/house": 30, "layout/tags": 30} {
		if diff := arms[arm] - n*percent/100; diff > n/50 || diff < -n/50 {
			t.Errorf("%s: %d of %d, want about %d %%", arm, arms[arm], n, percent)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	s := compiled(b, "catalogue.json")
	r := Request{Placement: s.Placement("top"), Now: time.Date(2026, 5, 15, 0, 0, 0, 0, time.UTC).Unix(), Country: inventory.ParseCountry("IT"), Device: inventory.Desktop}
	e := Engine{Frequency: seen{}, Delivery: delivered{}}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		r.Seed++
		e.Decide(ctx, &r, nil)
	}
}
