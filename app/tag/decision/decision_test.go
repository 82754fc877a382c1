package decision

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"patag/app/tag/catalogue"
	"patag/app/tag/inventory"
)

// testCase is a file in testdata/cases: a request against testdata/catalogue.json and what must come of it. What expect leaves out
// is not looked at, but that a fill has a line item and a no-fill a reason.
type testCase struct {
	Request struct {
		Placement, Country, Device, User string
		At                               time.Time
		KeyValues                        []string       // key=value
		Seen                             map[string]int // impressions of items that the user has had
		UsedUp                           []string       // items whose hard cap is used up
	}
	Expect struct {
		LineItem, Creative, NoFill string
		Step                       *int
		House                      *bool
		Outcomes                   map[string]string // by line item
	}
}

func snapshot(t testing.TB) *inventory.Snapshot {
	t.Helper()
	f, err := os.Open("testdata/catalogue.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := catalogue.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	s, err := inventory.Compile(c, 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// seen is frequency caps from a table.
type seen map[string]int

func (s seen) Over(_ context.Context, _ uint64, _ int64, items []*inventory.Item, over []bool) {
	for i, it := range items {
		for _, f := range it.Frequency {
			over[i] = over[i] || s[it.ID] >= int(f.Impressions)
		}
	}
}

// usedUp is hard caps from a list.
type usedUp []string

func (u usedUp) Open(*inventory.Item, uint64) Reason { return Eligible }

func (u usedUp) Reserve(it *inventory.Item) bool {
	for _, id := range u {
		if id == it.ID {
			return false
		}
	}
	return true
}

func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	s := snapshot(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var c testCase
			d := json.NewDecoder(bytes.NewReader(data))
			d.DisallowUnknownFields()
			if err := d.Decode(&c); err != nil {
				t.Fatal(err)
			}
			// The picks of these cases do not depend on chance: any seed must give them.
			for seed := range uint64(50) {
				run(t, s, &c, seed)
			}
		})
	}
}

func run(t *testing.T, s *inventory.Snapshot, c *testCase, seed uint64) {
	t.Helper()
	r := Request{Placement: s.Placement(c.Request.Placement), Now: c.Request.At.Unix(), Country: inventory.ParseCountry(c.Request.Country), Device: inventory.Desktop, Seed: seed}
	if r.Placement == nil {
		t.Fatalf("the catalogue has no placement %q", c.Request.Placement)
	}
	if c.Request.Device != "" {
		r.Device = inventory.ParseDevice(c.Request.Device)
	}
	if c.Request.User != "" {
		r.User = 7
	}
	for _, kv := range c.Request.KeyValues {
		k, v, _ := strings.Cut(kv, "=")
		if id := s.KeyValueID(inventory.KeyValue{Key: k, Value: v}); id != 0 {
			r.KeyValues = append(r.KeyValues, id)
		}
	}
	var trace Trace
	d := (&Engine{Frequency: seen(c.Request.Seen), Delivery: usedUp(c.Request.UsedUp)}).Decide(t.Context(), &r, &trace)
	e := &c.Expect
	if got := trace.LineItem; got != e.LineItem {
		t.Fatalf("seed %d: filled by %q, want %q; %+v", seed, got, e.LineItem, trace)
	}
	if trace.NoFill != e.NoFill {
		t.Errorf("no fill because of %q, want %q", trace.NoFill, e.NoFill)
	}
	if e.Creative != "" && trace.Creative != e.Creative {
		t.Errorf("creative %q, want %q", trace.Creative, e.Creative)
	}
	if e.Step != nil && trace.Step != *e.Step {
		t.Errorf("step %d, want %d", trace.Step, *e.Step)
	}
	if e.House != nil && d.House != *e.House {
		t.Errorf("house %v, want %v", d.House, *e.House)
	}
	outcomes := map[string]string{}
	for _, a := range trace.Attempts {
		outcomes[a.LineItem] = a.Outcome
	}
	for item, want := range e.Outcomes {
		if outcomes[item] != want {
			t.Errorf("%s: %q, want %q", item, outcomes[item], want)
		}
	}
	// The same decision without a trace must be the same.
	if plain := (&Engine{Frequency: seen(c.Request.Seen), Delivery: usedUp(c.Request.UsedUp)}).Decide(t.Context(), &r, nil); !reflect.DeepEqual(plain, d) {
		t.Errorf("without a trace: %+v, with: %+v", plain, d)
	}
}

// Weights of line items and of creatives hold within 2 % over many requests.
func TestWeights(t *testing.T) {
	s := snapshot(t)
	const n = 40000
	items, creatives := map[string]int{}, map[string]int{}
	for seed := range uint64(n) {
		d := (&Engine{Frequency: seen{}, Delivery: usedUp{}}).Decide(t.Context(), &Request{Placement: s.Placement("story"), Now: 1, Seed: seed * 0x9e3779b97f4a7c15}, nil)
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

func BenchmarkDecide(b *testing.B) {
	s := snapshot(b)
	r := Request{Placement: s.Placement("top"), Now: time.Date(2026, 5, 15, 0, 0, 0, 0, time.UTC).Unix(), Country: inventory.ParseCountry("IT"), Device: inventory.Desktop}
	e := Engine{Frequency: seen{}, Delivery: usedUp{}}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		r.Seed++
		e.Decide(ctx, &r, nil)
	}
}
