package inventory

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"patag/app/tag/catalogue"
)

// Day parts agree with Go's own clocks, in odd zones and around changes of the clock.
func TestDayPartsFollowTheClock(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	held := 0
	for _, name := range []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia", "Africa/Casablanca"} {
		loc, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		b := &builder{s: &Snapshot{Built: now}, zones: map[string]*zone{}}
		for range 40 {
			doc := catalogue.DayPart{From: rng.IntN(24), Zone: name}
			if doc.To = 1 + rng.IntN(24); doc.To == doc.From {
				doc.To++
			}
			for _, d := range dayNames {
				if rng.IntN(3) > 0 {
					doc.Days = append(doc.Days, d)
				}
			}
			d, err := b.dayPart(&doc)
			if err != nil {
				t.Fatal(err)
			}
			for range 300 {
				at := now.Add(time.Duration(rng.Int64N(int64(4*365*24*time.Hour)))).AddDate(-1, 0, 0)
				if rng.IntN(2) == 0 { // near the next change of the clock
					if _, end := at.In(loc).ZoneBounds(); !end.IsZero() && end.Before(now.AddDate(3, 0, 0)) {
						at = end.Add(time.Duration(rng.Int64N(int64(6*time.Hour))) - 3*time.Hour)
					}
				}
				want := onTheWall(&doc, at.In(loc))
				if d.Holds(at.Unix()) != want {
					t.Fatalf("%+v at %s: %v, want %v", doc, at.In(loc), !want, want)
				}
				if want {
					held++
				}
			}
		}
	}
	if held < 1000 {
		t.Errorf("only %d times did a day part hold", held)
	}
}

func onTheWall(doc *catalogue.DayPart, at time.Time) bool {
	on := func(day time.Weekday) bool {
		return len(doc.Days) == 0 || slices.Contains(doc.Days, strings.ToLower(day.String()[:3]))
	}
	h := at.Hour()
	if doc.From < doc.To {
		return on(at.Weekday()) && h >= doc.From && h < doc.To
	}
	return on(at.Weekday()) && h >= doc.From || on((at.Weekday()+6)%7) && h < doc.To
}

func TestPriceBuckets(t *testing.T) {
	s := &Snapshot{buckets: []catalogue.PriceBucket{{UpToMicros: 1_000_000, StepMicros: 50_000}, {UpToMicros: 5_000_000, StepMicros: 500_000}}}
	for in, want := range map[int64]int64{0: 0, 49_999: 0, 999_999: 950_000, 1_000_000: 1_000_000, 1_499_999: 1_000_000, 4_999_999: 4_500_000, 5_000_001: 5_000_001} {
		if got := s.Bucket(in); got != want {
			t.Errorf("%d goes to %d, want %d", in, got, want)
		}
	}
}

func TestTagsAreCutAtMacros(t *testing.T) {
	parts, err := cutTag(`<a href="{{CLICK}}">"{{CACHEBUSTER}}"</a>{{OTHER}}`)
	if err != nil {
		t.Fatal(err)
	}
	var got, macros []string
	for _, p := range parts {
		got, macros = append(got, string(p.JSON)), append(macros, p.Macro)
	}
	if !slices.Equal(macros, []string{"CLICK", "CACHEBUSTER", ""}) {
		t.Errorf("macros %q", macros)
	}
	if !strings.HasSuffix(got[0], `<a href=\"`) || got[1] != `\">\"` || !strings.HasPrefix(got[2], `\"</a>{{OTHER}}`) {
		t.Errorf("parts %q", got)
	}
}
