package decision

import (
	"bytes"
	"context"
	"encoding/json"
	"hash/fnv"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"patag/app/tag/catalogue"
	"patag/app/tag/inventory"
	"patag/app/tag/privacy"
)

// testCase is a request against a catalogue and what must come of it. A file in testdata/cases is one case, named by the file, or
// {"catalogue", "cases"} with a list of named ones. What expect leaves out is not looked at, but that a fill has a line item or a source, that
// a no-fill has a reason, and which tags come first.
type testCase struct {
	Name      string
	Catalogue string // file in testdata; default catalogue.json
	Request   testRequest
	// Bids that demand sources answer with; a source that is asked and not named here has no bid.
	Bids   map[string]testBid
	Expect struct {
		LineItem, Source, Creative, Deal, NoFill, Arm string
		Step                                          *int
		House                                         *bool
		Tags                                          []string
		Outcomes                                      map[string]string // by line item or source
	}
}

type testRequest struct {
	Placement, Country, Region, Device, Browser, System, Page, User string
	PageView                                                        uint64
	At                                                              time.Time
	KeyValues                                                       []string // key=value
	Categories, Keywords                                            []string
	Excluded                                                        []string       // exclusion groups that other ads of the page have taken
	Seen                                                            map[string]int // impressions of items that the user has had
	UsedUp                                                          []string       // items whose hard cap is used up
	Paced, BudgetUsedUp, ClicksUsedUp                               []string       // items
	NoConsent                                                       bool           // consent rules apply, and there is none
	ConsentString                                                   string         // of the TCF; the rules apply
	NoTime                                                          bool           // the request's whole time is used up
	NoAuctions                                                      bool           // a preview asks nobody
}

type testBid struct {
	Price                        float64 // of the catalogue's currency, after adjustment
	Problem                      string  // a reason instead of a bid
	Silent                       bool    // not even an answer
	Seat, Deal, Creative, Markup string
	Title                        string // of a native bid
	Domains, Categories          []string
}

func compiled(t testing.TB, file string) *inventory.Snapshot {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := catalogue.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	s, err := inventory.Compile(c, 1, time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func strict(t *testing.T, data []byte, into any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatal(err)
	}
}

// readCases reads all files, ordered by name.
func readCases(t *testing.T) []testCase {
	t.Helper()
	files, err := filepath.Glob("testdata/cases/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	var all []testCase
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var list struct {
			Catalogue string
			Cases     []testCase
		}
		if bytes.Contains(data, []byte(`"cases"`)) {
			strict(t, data, &list)
		} else {
			list.Cases = make([]testCase, 1)
			strict(t, data, &list.Cases[0])
			list.Cases[0].Name = strings.TrimSuffix(filepath.Base(file), ".json")
		}
		for _, c := range list.Cases {
			if c.Catalogue = list.Catalogue; c.Catalogue == "" {
				c.Catalogue = "catalogue.json"
			}
			if c.Name == "" {
				t.Fatalf("%s: a case without a name", file)
			}
			all = append(all, c)
		}
	}
	return all
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

// delivered is delivery from lists of items.
type delivered struct{ hard, paced, budget, clicks []string }

func (d delivered) Reserve(it *inventory.Item) bool { return !slices.Contains(d.hard, it.ID) }

func (d delivered) Open(it *inventory.Item, _ uint64) Reason {
	switch {
	case slices.Contains(d.paced, it.ID):
		return Paced
	case slices.Contains(d.budget, it.ID):
		return BudgetUsedUp
	case slices.Contains(d.clicks, it.ID):
		return ClicksUsedUp
	}
	return Eligible
}

// bidders answers from a table, and remembers what they are told.
type bidders struct {
	bids    map[string]testBid
	settled map[string]Reason
	asked   []string
}

func (b *bidders) Ask(_ context.Context, _ *Request, step *inventory.Step) []Answer {
	var out []Answer
	for _, src := range step.Sources {
		b.asked = append(b.asked, src.ID)
		bid, ok := b.bids[src.ID]
		switch {
		case bid.Silent:
		case !ok:
			out = append(out, Answer{Source: src, Problem: NoBid})
		case bid.Problem != "":
			out = append(out, Answer{Source: src, Problem: Reason(slices.Index(reasonTexts[:], bid.Problem))})
		default:
			a := Answer{
				Source: src, BaseMicros: int64(bid.Price*1e6 + 0.5), Seat: bid.Seat, CreativeID: bid.Creative, Markup: bid.Markup, Domains: bid.Domains, Categories: bid.Categories,
			}
			if bid.Title != "" {
				a.Native = &catalogue.NativeAssets{Title: bid.Title}
			}
			if bid.Deal != "" {
				i := slices.IndexFunc(step.Deals, func(d *inventory.Deal) bool { return d.ID == bid.Deal })
				if i < 0 { // rtb refuses deals that were not offered
					out = append(out, Answer{Source: src, Problem: BadBid})
					continue
				}
				a.Deal = step.Deals[i]
			}
			out = append(out, a)
		}
	}
	return out
}

func (b *bidders) Settle(_ *Request, _ *inventory.Step, answers []Answer, outcomes []Reason) {
	for i := range answers {
		b.settled[answers[i].Source.ID] = outcomes[i]
	}
}

func (c *testCase) request(t *testing.T, s *inventory.Snapshot, seed uint64) Request {
	t.Helper()
	q := &c.Request
	r := Request{
		Placement: s.Placement(q.Placement), Now: q.At.Unix(), Country: inventory.ParseCountry(q.Country), Region: inventory.ParseRegion(q.Region),
		Device: inventory.Desktop, Browser: inventory.ParseBrowser(q.Browser), System: inventory.ParseSystem(q.System), Page: q.Page,
		Categories: q.Categories, Keywords: q.Keywords, PageView: q.PageView, Seed: seed,
	}
	signals := privacy.Signals{GDPR: "0"}
	if q.NoConsent || q.ConsentString != "" {
		signals = privacy.Signals{GDPR: "1", TCString: q.ConsentString}
	}
	permissions := privacy.Decide(signals, 0)
	r.Privacy = &permissions
	if r.Placement == nil {
		t.Fatalf("the catalogue has no placement %q", q.Placement)
	}
	if q.Device != "" {
		r.Device = inventory.ParseDevice(q.Device)
	}
	if q.User != "" {
		h := fnv.New64a()
		h.Write([]byte(q.User))
		r.User = h.Sum64()
	}
	for _, kv := range q.KeyValues {
		k, v, _ := strings.Cut(kv, "=")
		if id := s.KeyValueID(inventory.KeyValue{Key: k, Value: v}); id != 0 {
			r.KeyValues = append(r.KeyValues, id)
		}
	}
	for _, name := range q.Excluded {
		if g := s.Group(name); g != 0 {
			r.Excluded = append(r.Excluded, g)
		}
	}
	return r
}

func TestCases(t *testing.T) {
	snapshots := map[string]*inventory.Snapshot{}
	cases := readCases(t)
	if len(cases) < 150 {
		t.Errorf("%d cases, want at least 150", len(cases))
	}
	occurred := map[string]bool{"none": true}
	for i := range cases {
		c := &cases[i]
		s := snapshots[c.Catalogue]
		if s == nil {
			s = compiled(t, c.Catalogue)
			snapshots[c.Catalogue] = s
		}
		t.Run(c.Name, func(t *testing.T) {
			// The picks of these cases do not depend on chance: any seed must give them.
			for seed := range uint64(20) {
				trace := run(t, s, c, seed)
				if t.Failed() {
					t.Fatalf("seed %d: %+v", seed, trace)
				}
				occurred[trace.NoFill] = true
				for _, a := range trace.Attempts {
					occurred[a.Outcome] = true
				}
			}
		})
	}
	for r := range reasonCount {
		if !occurred[r.String()] {
			t.Errorf("no case has the reason %s", r)
		}
	}
}

func run(t *testing.T, s *inventory.Snapshot, c *testCase, seed uint64) *Trace {
	t.Helper()
	r := c.request(t, s, seed)
	q := &c.Request
	ctx := t.Context()
	if q.NoTime {
		done, cancel := context.WithCancel(ctx)
		cancel()
		ctx = done
	}
	market := &bidders{bids: c.Bids, settled: map[string]Reason{}}
	e := Engine{Frequency: seen(q.Seen), Delivery: delivered{q.UsedUp, q.Paced, q.BudgetUsedUp, q.ClicksUsedUp}, Auctions: market}
	if q.NoAuctions {
		e.Auctions = nil
	}
	var trace Trace
	d := e.Decide(ctx, &r, &trace)
	c.compare(t, &d, &trace)
	for source, reason := range market.settled {
		if got := outcome(&trace, source); got != reason.String() {
			t.Errorf("%s was told %s, the trace says %s", source, reason, got)
		}
	}
	// The same decision without a trace must be the same.
	if plain := e.Decide(ctx, &r, nil); !reflect.DeepEqual(plain, d) {
		t.Errorf("without a trace: %+v, with: %+v", plain, d)
	}
	// And one of a page's: alone on it.
	if all := e.DecideAll(ctx, []Request{r}, nil); !q.NoTime && !reflect.DeepEqual(all[0], d) {
		t.Errorf("as one of a page's: %+v, alone: %+v", all[0], d)
	}
	return &trace
}

func (c *testCase) compare(t *testing.T, d *Decision, trace *Trace) {
	t.Helper()
	e := &c.Expect
	same := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s %q, want %q", what, got, want)
		}
	}
	same("filled by line item", trace.LineItem, e.LineItem)
	same("filled by source", trace.Source, e.Source)
	same("no fill because of", trace.NoFill, e.NoFill)
	same("tags", strings.Join(trace.Tags, " "), strings.Join(e.Tags, " "))
	if e.Creative != "" {
		same("creative", trace.Creative, e.Creative)
	}
	if e.Deal != "" {
		same("deal", trace.Deal, e.Deal)
	}
	if e.Arm != "" {
		same("arm", trace.Arm, e.Arm)
	}
	if e.Step != nil && trace.Step != *e.Step {
		t.Errorf("step %d, want %d", trace.Step, *e.Step)
	}
	if e.House != nil && d.House != *e.House {
		t.Errorf("house %v, want %v", d.House, *e.House)
	}
	for who, want := range e.Outcomes {
		same(who, outcome(trace, who), want)
	}
}

// outcome of a line item or source: the first one that was come to, else the first.
func outcome(t *Trace, who string) string {
	out := ""
	for _, a := range t.Attempts {
		if a.LineItem != who && a.Source != who {
			continue
		}
		if out == "" || !a.NotReached {
			out = a.Outcome
		}
		if !a.NotReached {
			break
		}
	}
	return out
}
