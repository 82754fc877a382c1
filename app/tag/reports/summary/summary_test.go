package summary

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"

	"patag/app/tag/events/ship"
)

const hour = 1793620800 // 2026-11-02T12:00Z

var rows = []ship.Row{
	{Hour: hour, Kind: "request", Placement: "top", Count: 2000},
	{Hour: hour, Kind: "request", Placement: "top", Count: 70, Invalid: true},
	{Hour: hour, Kind: "no_fill", Placement: "top", Reason: "country", Count: 500},
	{Hour: hour, Kind: "fill", Placement: "top", LineItem: "sedan", Currency: "EUR", Count: 1000, CPMMicros: 2_500_000_000},
	{Hour: hour, Kind: "fill", Placement: "top", LineItem: "own", House: true, Currency: "EUR", Count: 300},
	{Hour: hour, Kind: "impression", Placement: "top", LineItem: "sedan", Currency: "EUR", Count: 800, CPMMicros: 2_000_000_000},
	{Hour: hour, Kind: "impression", Placement: "top", LineItem: "sedan", Currency: "EUR", Count: 9, CPMMicros: 22_500_000, Invalid: true},
	{Hour: hour, Kind: "impression", Placement: "top", LineItem: "own", House: true, Currency: "EUR", Count: 200},
	{Hour: hour, Kind: "viewable", Placement: "top", LineItem: "sedan", Currency: "EUR", Count: 400, CPMMicros: 1_000_000_000},
	{Hour: hour, Kind: "click", Placement: "top", LineItem: "sedan", Currency: "EUR", Count: 4, CPMMicros: 10_000_000},
	{Hour: hour + 3600, Kind: "attempt", Placement: "top", Source: "exchange", Count: 100},
	{Hour: hour + 3600, Kind: "fill", Placement: "top", Source: "exchange", Count: 25},
	{Hour: hour + 3600, Kind: "impression", Placement: "top", Source: "exchange", Currency: "USD", Count: 20, CPMMicros: 60_000_000},
	{Hour: hour + 3600, Kind: "passback", Placement: "top", Source: "partner", Count: 3},
}

func find(t *testing.T, r *Report, keys ...string) *Line {
	t.Helper()
	for _, l := range r.Lines {
		if strings.Join(l.Keys, "/") == strings.Join(keys, "/") {
			return l
		}
	}
	t.Fatalf("there is no line %v", keys)
	return nil
}

func TestLinesAndWhatIsComputed(t *testing.T) {
	r := Make(rows, []Dimension{Placement}, nil)
	l := find(t, r, "top")
	want := Counts{Requests: 2000, Attempts: 100, Fills: 1325, NoFills: 500, Passbacks: 3, Impressions: 1020, Viewables: 400, Clicks: 4, Invalid: 79}
	if l.Counts != want || r.Total.Counts != want {
		t.Errorf("line %+v, total %+v; want %+v", l.Counts, r.Total.Counts, want)
	}
	if *l.FillRate != 66.25 {
		t.Errorf("fill rate %v, want 66.25", *l.FillRate)
	}
	// 800 impressions at a CPM of 2.50 earn 2.00; house ads and invalid traffic neither earn nor lower the eCPM.
	if len(l.Revenue) != 2 || l.Revenue[0] != (Revenue{"EUR", 2_000_000, 800, 2_500_000, 2_000_000_000}) || l.Revenue[1].Micros != 60_000 || l.Revenue[1].ECPMMicros != 3_000_000 {
		t.Errorf("revenue %+v", l.Revenue)
	}
	item := find(t, Make(rows, []Dimension{LineItem}, nil), "sedan")
	if *item.CTR != 0.5 || *item.Viewability != 50 || item.FillRate != nil {
		t.Errorf("ctr %v, viewability %v, fill rate %v; want 0.5, 50 and none", *item.CTR, *item.Viewability, item.FillRate)
	}
	if source := find(t, Make(rows, []Dimension{Source}, nil), "exchange"); *source.FillRate != 25 {
		t.Errorf("a source's fill rate is %v, want 25 of its attempts", *source.FillRate)
	}
	by := Make(rows, []Dimension{Advertiser, Hour}, func(item string) string { return "adv-of-" + item })
	if got := find(t, by, "adv-of-sedan", "2026-11-02T12:00Z").Clicks; got != 4 {
		t.Errorf("%d clicks by advertiser and hour, want 4", got)
	}
	if got := find(t, Make(rows, []Dimension{Day}, nil), "2026-11-02").Requests; got != 2000 {
		t.Errorf("%d requests of the day", got)
	}
}

func TestCSVColumnsAddUp(t *testing.T) {
	var out bytes.Buffer
	if err := Make(rows, []Dimension{Placement}, nil).CSV(&out); err != nil {
		t.Fatal(err)
	}
	recs, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(recs) != 3 {
		t.Fatalf("%v, %v; want a header and a record for each currency", recs, err)
	}
	if recs[0][0] != "placement" || recs[1][1] != "2000" || recs[2][1] != "0" || recs[1][14] != "EUR" || recs[2][14] != "USD" || recs[2][15] != "60000" {
		t.Errorf("%v", recs)
	}
}

func TestTableForPeople(t *testing.T) {
	var out bytes.Buffer
	if err := Make(rows, []Dimension{Placement, LineItem}, nil).Table(&out); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{"PLACEMENT", "TOTAL", "2,000", "2.00 EUR", "0.06 USD", "66.25"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "ERRORS") {
		t.Errorf("a column that holds nothing is shown:\n%s", text)
	}
	t.Log("\n" + text)
	out.Reset()
	if err := Make(nil, []Dimension{Placement}, nil).Table(&out); err != nil || !strings.Contains(out.String(), "nothing") {
		t.Errorf("an empty report: %q, %v", out.String(), err)
	}
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	if err := Make(rows, []Dimension{Placement}, nil).JSON(&out); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Lines []struct {
			Requests int64
			Revenue  []struct{ Micros int64 }
		}
		Total struct{ Clicks int64 }
	}
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back.Lines[0].Requests != 2000 || back.Lines[0].Revenue[0].Micros != 2_000_000 || back.Total.Clicks != 4 {
		t.Errorf("%+v, %v from %s", back, err, out.String())
	}
}

func TestParseBy(t *testing.T) {
	if ds, err := ParseBy("placement, day"); err != nil || len(ds) != 2 || ds[1] != Day {
		t.Errorf("%v, %v", ds, err)
	}
	for _, bad := range []string{"", "placements", "day,day"} {
		if ds, err := ParseBy(bad); err == nil {
			t.Errorf("%q is read as %v", bad, ds)
		}
	}
}
