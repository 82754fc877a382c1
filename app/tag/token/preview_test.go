package token

import (
	"errors"
	"testing"
	"time"
)

func TestPreview(t *testing.T) {
	k, other := keys(t, one), keys(t, two)
	p := Preview{Placement: "top", LineItem: "item", Creative: "creative", Until: now.Add(time.Hour)}
	text := k.Preview(&p)
	if got, err := k.ParsePreview(text, now); err != nil || got != p {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := keys(t, two, one).ParsePreview(text, now); err != nil {
		t.Errorf("after rotation: %v", err)
	}
	if _, err := other.ParsePreview(text, now); !errors.Is(err, ErrForged) {
		t.Errorf("another's key: %v", err)
	}
	if _, err := k.ParsePreview(text, now.Add(time.Hour+time.Second)); !errors.Is(err, ErrExpired) {
		t.Errorf("too late: %v", err)
	}
	for i := range text {
		changed := text[:i] + "A" + text[i+1:]
		if changed == text {
			continue
		}
		if _, err := k.ParsePreview(changed, now); err == nil {
			t.Fatalf("changed at %d and accepted", i)
		}
	}
	// Neither kind passes for the other.
	if _, err := k.Parse(text, now, time.Hour); err == nil {
		t.Error("a preview is accepted as a fill")
	}
	if _, err := k.ParsePreview(string(k.Append(nil, &fill)), now); err == nil {
		t.Error("a fill is accepted as a preview")
	}
}

func TestLandingTooLongIsLeftOut(t *testing.T) {
	k := keys(t, one)
	c := fill
	c.Landing = "https://x.example/" + string(make([]byte, MaxLanding))
	got, err := k.Parse(string(k.Append(nil, &c)), now, time.Hour)
	if err != nil || got.Landing != "" {
		t.Errorf("landing of %d bytes: %d bytes, %v", len(c.Landing), len(got.Landing), err)
	}
}

func TestBillingTravelsInLandingsPlace(t *testing.T) {
	k := keys(t, one)
	c := fill
	c.Landing, c.Billing = "", "https://dsp.example/bill?p=1"
	if got, err := k.Parse(string(k.Append(nil, &c)), now, time.Hour); err != nil || got != c {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzPreview(f *testing.F) {
	k := keys(f, one)
	f.Add(k.Preview(&Preview{Placement: "top", Until: now.Add(time.Hour)}))
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := k.ParsePreview(text, now); err == nil && k.Preview(&p) != text {
			t.Fatalf("accepted %q, which signs as %q", text, k.Preview(&p))
		}
	})
}
