package events

import (
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	for k := Request; k < kindEnd; k++ {
		e := Event{Kind: k, Invalid: k%2 == 0, House: k%3 == 0, At: 1779999999999, Token: 1<<63 + 5, Count: 3, CPMMicros: 4500000, Currency: "EUR", Placement: "p", Item: "i", Creative: strings.Repeat("c", 64), Reason: "country", Source: "exchange", Arm: "floors/high"}
		got, err := Parse(e.Append(nil))
		if err != nil || got != e {
			t.Errorf("%s: %+v, %v; want %+v", k, got, err, e)
		}
	}
}

// v1 is a click as the first version wrote it.
var v1 = []byte("\x01\x06\x01" + "\x80\x01" + "\x07\x00\x00\x00\x00\x00\x00\x00" + "\x02" + "\xd0\x0f" + "\x03EUR" + "\x01p" + "\x01i" + "\x01c" + "\x00")

func TestReadsTheFirstVersion(t *testing.T) {
	want := Event{Kind: Click, Invalid: true, At: 64, Token: 7, Count: 1, CPMMicros: 1000, Currency: "EUR", Placement: "p", Item: "i", Creative: "c"}
	if got, err := Parse(v1); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for n := range len(v1) {
		if e, err := Parse(v1[:n]); err == nil {
			t.Errorf("the first %d of %d bytes read as %+v", n, len(v1), e)
		}
	}
}

func TestOnceIsForTokens(t *testing.T) {
	for _, c := range []struct {
		kind  Kind
		token uint64
		once  bool
	}{{Request, 0, false}, {Fill, 0, false}, {NoFill, 0, false}, {Impression, 1, true}, {Viewable, 1, true}, {Click, 1, true},
		{Attempt, 0, false}, {Attempt, 1, true}, {Passback, 1, true}, {Error, 1, true}} {
		if got := (&Event{Kind: c.kind, Token: c.token}).Once(); got != c.once {
			t.Errorf("%s with token %d counts once: %t", c.kind, c.token, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add((&Event{Kind: Click, Token: 9, Count: 1, Placement: "p"}).Append(nil))
	f.Add(v1)
	f.Add((&Event{Kind: Passback, Token: 9, Count: 1, Placement: "p", Source: "s", Arm: "e/a"}).Append(nil))
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
	if !s.Add(1, Impression, "") || s.Add(1, Impression, "") || !s.Add(1, Click, "") || !s.Add(1, Impression, "tag-a") || s.Add(1, Impression, "tag-a") {
		t.Fatal("an event is new once for each kind and source")
	}
	for i := range uint64(seenPerShard - 10) {
		s.Add(1+(i+1)*uint64(len(s.shards)), Impression, "")
	}
	if !s.Has(1, Impression, "") {
		t.Error("forgotten before a shard was full")
	}
}
