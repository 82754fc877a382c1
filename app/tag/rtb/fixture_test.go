package rtb

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prebid/openrtb/v20/openrtb2"
	"github.com/prometheus/client_golang/prometheus"

	"patag/app/tag/catalogue"
	"patag/app/tag/decision"
	"patag/app/tag/inventory"
	"patag/app/tag/privacy"
)

// world is auctions over a snapshot whose sources are real HTTP servers.
type world struct {
	*Auctions
	t    testing.TB
	snap *inventory.Snapshot
	reg  *prometheus.Registry
}

// document is a catalogue with a source for each endpoint, s0, s1 …; edit may change it. Placement "box" takes two sizes, "story" is native.
func document(t testing.TB, endpoints []string, edit func(*catalogue.Catalogue)) *inventory.Snapshot {
	t.Helper()
	var sources, ids []string
	for i, e := range endpoints {
		ids = append(ids, fmt.Sprintf(`"s%d"`, i))
		sources = append(sources, fmt.Sprintf(`{"id":"s%d","partner":"p","name":"S","kind":"openrtb","endpoint":%q,"currencies":["EUR","USD"]}`, i, e))
	}
	list := strings.Join(ids, ",")
	c, err := catalogue.Parse(strings.NewReader(`{
		"settings":{"currency":"EUR","rates":{"USD":900000,"XTS":1000},"exchange":{"domain":"exchange.example","contactEmail":"a@exchange.example"}},
		"publishers":[{"id":"press","name":"Press \"One\"","domain":"press.example","sellerId":"seller-1","blockedDomains":["bad.example"],"blockedCategories":["IAB26"]}],
		"sites":[{"id":"news","publisher":"press","name":"Néws","domain":"news.example","categories":["IAB12"]}],
		"placements":[
			{"id":"box","site":"news","name":"Box","format":"display","sizes":[{"width":300,"height":250},{"width":320,"height":50}],"position":"below","waterfall":[{"kind":"auction","sources":[` + list + `],"floor":{"micros":1250000,"currency":"EUR"},"deadline":"400ms"}]},
			{"id":"story","site":"news","name":"Story","format":"native","waterfall":[{"kind":"auction","sources":[` + list + `],"deadline":"400ms"}]}],
		"advertisers":[],"campaigns":[],"lineItems":[],"creatives":[],
		"demandPartners":[{"id":"p","name":"P","domain":"p.example","account":"1"}],
		"demandSources":[` + strings.Join(sources, ",") + `],
		"deals":[{"id":"deal-1","source":"s0","name":"D","floor":{"micros":2000000,"currency":"EUR"},"placements":["box"],"seats":["seat-a"],"domains":["shop.example"]},
			{"id":"deal-old","source":"s0","name":"D","floor":{"micros":1,"currency":"EUR"},"placements":["box"],"flights":[{"start":"2001-01-01T00:00:00Z","end":"2001-02-01T00:00:00Z"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(c)
		if err := catalogue.Check(c); err != nil {
			t.Fatal(err)
		}
	}
	snap, err := inventory.Compile(c, 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func newWorld(t testing.TB, o Options, snap *inventory.Snapshot) *world {
	t.Helper()
	w := &world{t: t, snap: snap, reg: prometheus.NewRegistry()}
	o.Metrics = w.reg
	var err error
	if w.Auctions, err = New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		w.Close(ctx)
	})
	return w
}

// listen is a source that does as it is told.
func listen(t testing.TB, h http.HandlerFunc) string {
	srv := httptest.NewServer(h)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return srv.URL
}

func (w *world) request(placement string) *decision.Request {
	p := privacy.Decide(privacy.Signals{GDPR: "0"}, 0)
	return &decision.Request{
		Placement: w.snap.Placement(placement), Now: time.Now().Unix(), Privacy: &p, Country: inventory.ParseCountry("DE"), Region: inventory.ParseRegion("DE-BY"),
		Device: inventory.Mobile, System: inventory.Android, Page: "news.example/a", Seed: 1,
		Visitor: decision.Visitor{UserAgent: "Mozilla/5.0", IP: netip.MustParseAddr("192.0.2.0"), Language: "de-AT"},
	}
}

// ask holds an auction for a placement, and sees to it that it keeps its deadline.
func (w *world) ask(placement string) []decision.Answer {
	w.t.Helper()
	r := w.request(placement)
	step := &r.Placement.Steps[0]
	begin := time.Now()
	answers := w.Ask(w.t.Context(), r, step)
	if took := time.Since(begin); took > step.Deadline+200*time.Millisecond {
		w.t.Errorf("an auction with a deadline of %s took %s", step.Deadline, took)
	}
	return answers
}

func (w *world) one(placement string) decision.Answer {
	w.t.Helper()
	answers := w.ask(placement)
	if len(answers) != 1 {
		w.t.Fatalf("%d answers", len(answers))
	}
	return answers[0]
}

// count of a counter of source s0 with a label.
func (w *world) count(name, label string) float64 {
	families, err := w.reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if l.GetValue() == label {
					sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
	}
	return sum
}

// bidding answers with text in which $ID is the request's id and $URL the source's own URL.
func bidding(t testing.TB, text string) string {
	var base string
	base = listen(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			return
		}
		var in struct{ ID string }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		io.WriteString(w, strings.NewReplacer("$ID", in.ID, "$URL", base).Replace(text))
	})
	return base
}

// one is a response of a single good bid, with members changed or added; null takes one away.
func oneBid(changes string) string {
	bid := map[string]any{
		"id": "b1", "impid": "1", "price": 2.5, "adm": "<b>ad</b>", "adomain": []string{"shop.example"}, "crid": "cr", "w": 300, "h": 250,
	}
	if err := json.Unmarshal([]byte("{"+changes+"}"), &bid); err != nil {
		panic(err)
	}
	for k, v := range bid {
		if v == nil {
			delete(bid, k)
		}
	}
	raw, _ := json.Marshal(bid)
	return `{"id":"$ID","bidid":"resp-1","cur":"EUR","seatbid":[{"seat":"seat-a","bid":[` + strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(raw)) + `]}]}`
}

// inbox is a source that bids and remembers the notices it gets.
type inbox struct {
	url string
	mu  sync.Mutex
	got []string
}

func newInbox(t testing.TB, bid func(w http.ResponseWriter, in *openrtb2.BidRequest, url string)) *inbox {
	b := &inbox{}
	b.url = listen(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.got = append(b.got, r.URL.RequestURI())
			return
		}
		in := new(openrtb2.BidRequest)
		if err := json.NewDecoder(r.Body).Decode(in); err != nil {
			t.Error(err)
		}
		bid(w, in, b.url)
	})
	return b
}

func (b *inbox) notices() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.got...)
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("in vain: " + what)
		}
	}
}
