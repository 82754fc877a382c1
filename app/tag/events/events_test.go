package events

import (
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	for k := Request; k < kindEnd; k++ {
		e := Event{Kind: k, Invalid: k%2 == 0, House: k%3 == 0, At: 1779999999999, Token: 1<<63 + 5, Count: 3, CPMMicros: 4500000, Currency: "EUR", Placement: "p", Item: "i", Creative: strings.Repeat("c", 64), Reason: "country"}
		got, err := Parse(e.Append(nil))
		if err != nil || got != e {
			t.Errorf("%s: %+v, %v; want %+v", k, got, err, e)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add((&Event{Kind: Click, Token: 9, Count: 1, Placement: "p"}).Append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Parse(data)
		if err != nil {
			return
		}
		// Varints have longer forms than the shortest, so bytes may differ; the event may not.
		if again, err := Parse(e.Append(nil)); err != nil || again != e {
			t.Fatalf("%+v reads back as %+v, %v", e, again, err)
		}
	})
}

func TestSeenForgetsTheOldestOnly(t *testing.T) {
	var s Seen
	if !s.Add(1, Impression) || s.Add(1, Impression) || !s.Add(1, Click) {
		t.Fatal("an event is new once for each kind")
	}
	for i := range uint64(seenPerShard - 10) {
		s.Add(1+(i+1)*uint64(len(s.shards)), Impression)
	}
	if !s.Has(1, Impression) {
		t.Error("forgotten before a shard was full")
	}
}
