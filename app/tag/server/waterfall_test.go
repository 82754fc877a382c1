package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"patag/app/tag/catalogue"
	"patag/app/tag/counters"
	"patag/app/tag/decision"
	"patag/app/tag/events"
	"patag/app/tag/hardcap"
	"patag/app/tag/inventory"
	"patag/app/tag/pacing"
	"patag/app/tag/token"
)

// bidder answers every auction with one bid.
type bidder struct {
	mu      sync.Mutex
	answer  decision.Answer
	asked   []*decision.Request
	settled []decision.Reason
}

func (b *bidder) Ask(_ context.Context, r *decision.Request, step *inventory.Step) []decision.Answer {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, r)
	a := b.answer
	a.Source = step.Sources[0]
	return []decision.Answer{a}
}

func (b *bidder) Settle(_ *decision.Request, _ *inventory.Step, _ []decision.Answer, outcomes []decision.Reason) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settled = append(b.settled, outcomes...)
}

const evil = "<p title=\"a\\b\">\u2028\x01\xff</p><script>1</script>"

// waterfall is a fixture with tags, an auction and exclusion groups.
func waterfall(t testing.TB) (*fixture, *bidder) {
	t.Helper()
	f := newFixture(t)
	b := &bidder{answer: decision.Answer{
		CPM: catalogue.Money{Micros: 3_000_000, Currency: "USD"}, BaseMicros: 2_700_000, Seat: "seat", CreativeID: `c"<1>`, Domains: []string{"shop.example"},
		Size: catalogue.Size{Width: 300, Height: 250}, Format: catalogue.Display, Markup: evil, BillingURL: "https://dsp.example/bill?x=1",
	}}
	f.o.Auctions = b
	file, err := os.Open("testdata/waterfall.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c, err := catalogue.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := inventory.Compile(c, 7, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	f.Publish(&State{Snapshot: snap, Tally: counters.NewTally(snap), Delivery: pacing.New(pacing.Options{}).View(t.Context(), snap, hardcap.New(nil, slog.New(slog.DiscardHandler)).View(t.Context(), snap))})
	return f, b
}

func TestTagsComeBeforeTheBid(t *testing.T) {
	f, b := waterfall(t)
	var billed []string
	f.o.Bill = func(src *inventory.Source, u string) { billed = append(billed, src.ID+" "+u) }
	a := f.answer(t, "placement=mix&gdpr=0&gdpr_consent=C%22P&page=https://news.example/a%22%3Cb")
	if len(a.Chain) != 2 {
		t.Fatalf("%+v", a)
	}
	tag, bid := &a.Chain[0], &a.Chain[1]
	if tag.Source != "tag" || tag.DemandSource != "partner-tag" || tag.TimeoutMs != 1500 || tag.Price.CPMMicros != 2_000_000 || tag.Price.Currency != "USD" {
		t.Errorf("%+v", tag)
	}
	for _, want := range []string{"?w=300&h=250&u=news.example%2Fa%22%3Cb&c=C%22P&g=0&r=", "&k=" + tag.URLs.Click + `"`, `onerror="parent.postMessage({pa:` + "`passback`},`*`)\""} {
		if !strings.Contains(tag.Markup, want) {
			t.Errorf("the tag's markup has no %q: %s", want, tag.Markup)
		}
	}
	if want := strings.ToValidUTF8(evil, "\ufffd"); bid.Source != "auction" || !strings.Contains(bid.Markup, want) || bid.Price.CPMMicros != 3_000_000 {
		t.Errorf("%+v", bid)
	}
	if len(b.settled) != 1 || b.settled[0] != decision.Filled {
		t.Errorf("settled %v", b.settled)
	}
	// The chain is walked: the tag passes back, the bid shows.
	for _, u := range []string{tag.URLs.Attempt, tag.URLs.Passback, bid.URLs.Impression, bid.URLs.Impression, bid.URLs.Viewable, bid.URLs.Error} {
		if w := f.do("POST", u); w.Code != http.StatusNoContent {
			t.Errorf("%.40s: %d %s", u, w.Code, w.Body)
		}
	}
	if w := f.do("GET", bid.URLs.Click); w.Code != http.StatusNoContent || w.Header().Get("Location") != "" {
		t.Errorf("a click on markup with own links: %d", w.Code)
	}
	if got := f.journal.kinds(); got != "attempt passback impression viewable error click" {
		t.Errorf("journal: %s", got)
	}
	for _, e := range f.journal.events {
		if want := map[bool]string{true: "partner-tag", false: "dsp"}[e.Kind == events.Attempt || e.Kind == events.Passback]; e.Source != want || e.Item != "" {
			t.Errorf("%s of source %q, item %q; want %q", e.Kind, e.Source, e.Item, want)
		}
	}
	if len(billed) != 1 || billed[0] != "dsp https://dsp.example/bill?x=1" {
		t.Errorf("billed %v", billed)
	}
	// A direct ad is neither attempted nor passed back.
	direct := f.ad(t, "placement=left")
	if w := f.do("POST", strings.Replace(direct.URLs.Impression, "impression", "passback", 1)); w.Code != http.StatusForbidden {
		t.Errorf("passback of a line item: %d", w.Code)
	}
}

func TestOnlyTagsIsAFillWithoutAFallback(t *testing.T) {
	f, _ := waterfall(t)
	if a := f.answer(t, "placement=only-tag&gdpr=0"); !a.Fill || len(a.Chain) != 1 || a.Chain[0].Source != "tag" {
		t.Errorf("%+v", a)
	}
	if w := f.do("GET", "/v1/ad?placement=only-tag&format=html&gdpr=0"); w.Code != http.StatusNoContent || w.Header().Get("X-No-Fill") == "" {
		t.Errorf("as a document: %d %v", w.Code, w.Header())
	}
}

func TestNativeBidLandsWhereItWasSigned(t *testing.T) {
	f, b := waterfall(t)
	b.answer.Format, b.answer.Markup, b.answer.Size = catalogue.Native, "", catalogue.Size{}
	b.answer.Native = &catalogue.NativeAssets{Title: `<b>"T`, Sponsor: "Shop", Image: "javascript:alert(1)"}
	b.answer.Landing = "https://shop.example/landing?x=1&y=2"
	e := f.ad(t, "placement=story&gdpr=0")
	if e.Native == nil || e.Native.Title != `<b>"T` || strings.Contains(e.Markup, "javascript:") || strings.Contains(e.Markup, "<b>\"T") || !strings.Contains(e.Markup, e.URLs.Click) {
		t.Errorf("%+v", e)
	}
	if w := f.do("GET", e.URLs.Click+"&url=https://evil.example&landing=https://evil.example"); w.Code != http.StatusFound || w.Header().Get("Location") != b.answer.Landing {
		t.Errorf("click: %d to %q", w.Code, w.Header().Get("Location"))
	}
	// Only the click's token carries the page; others are as short as any.
	if len(e.URLs.Viewable) >= len(e.URLs.Click) {
		t.Errorf("viewable %d bytes, click %d", len(e.URLs.Viewable), len(e.URLs.Click))
	}
	for _, bad := range []string{"javascript:alert(1)", "data:text/html,x", "//evil.example", "https://x.example/" + strings.Repeat("l", token.MaxLanding)} {
		b.answer.Landing = bad
		e := f.ad(t, "placement=story&gdpr=0")
		if w := f.do("GET", e.URLs.Click); w.Header().Get("Location") != "" {
			t.Errorf("%.30s: sent to %q", bad, w.Header().Get("Location"))
		}
	}
	// Nor does a signed token lead there, should one ever be made.
	forged := string(f.keys.Append(nil, &token.Claims{ID: 9, Issued: time.Now().Unix(), Placement: "story", Source: "dsp", Landing: "javascript:alert(1)"}))
	if w := f.do("GET", "/v1/click?t="+forged); w.Code != http.StatusGone || w.Header().Get("Location") != "" {
		t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
	}
}

func TestBatchKeepsExclusionGroupsApart(t *testing.T) {
	f, b := waterfall(t)
	w := f.post("/v1/ads", `{"page":{"url":"https://news.example/","view":"1"},"consent":{"gdpr":false},"placements":[{"id":"left"},{"id":"gone\"<"},{"id":"right"},{"id":"mix"},{"id":"story"}]}`)
	var got struct{ Ads []answer }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.Ads) != 5 {
		t.Fatalf("%d %v %s", w.Code, err, w.Body)
	}
	if got.Ads[0].Chain[0].LineItem != "red-car" || got.Ads[2].Chain[0].LineItem != "subscribe" {
		t.Errorf("%s, then %s: both are cars", got.Ads[0].Chain[0].LineItem, got.Ads[2].Chain[0].LineItem)
	}
	if got.Ads[1].Fill || got.Ads[1].Reason != "unknown_placement" || got.Ads[1].Placement != `gone"<` {
		t.Errorf("%+v", got.Ads[1])
	}
	if got.Ads[3].last().Source != "auction" || len(b.asked) != 2 {
		t.Errorf("%d auctions, the first filled by %s", len(b.asked), got.Ads[3].last().Source)
	}
	// Alone, the right one shows a car too.
	if e := f.ad(t, "placement=right"); e.LineItem != "red-car" {
		t.Errorf("alone: %s", e.LineItem)
	}
}

func TestPreviewExplainsAndCountsNothing(t *testing.T) {
	f, b := waterfall(t)
	before := f.State().Delivery
	reserved := &counting{Delivery: before}
	f.State().Delivery = reserved
	link := func(p token.Preview) string {
		p.Until = time.Now().Add(time.Hour)
		return PreviewURL("", f.keys, &p)
	}
	w := f.do("GET", link(token.Preview{Placement: "left"}))
	var seen struct {
		LineItem, Forced string
		Attempts         []struct{ LineItem, Outcome string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &seen); err != nil || seen.LineItem != "red-car" || len(seen.Attempts) != 2 {
		t.Errorf("%v %s", err, w.Body)
	}
	page := f.do("GET", link(token.Preview{Placement: "left", LineItem: "subscribe"}), "Accept", "text/html,*/*;q=0.8")
	body := page.Body.String()
	if !strings.Contains(body, "creative paper") || !strings.Contains(body, "<iframe") || strings.Contains(page.Header().Get("Content-Security-Policy"), "unsafe-inline'; script") {
		t.Errorf("%s", body)
	}
	frame := f.do("GET", link(token.Preview{Placement: "left", Creative: "paper"})+"&format=html").Body.String()
	if !strings.Contains(frame, `href="https://press.example/subscribe"`) || strings.Contains(frame, "/v1/") {
		t.Errorf("the frame counts: %s", frame)
	}
	f.do("GET", link(token.Preview{Placement: "mix"}))
	f.State().Tally.Drain(func(e *events.Event) bool { t.Errorf("a preview counted a %s", e.Kind); return true })
	if reserved.n != 0 || len(b.asked) != 0 || len(f.journal.events) != 0 {
		t.Errorf("%d caps used, %d auctions, %d events", reserved.n, len(b.asked), len(f.journal.events))
	}
	stale := PreviewURL("", f.keys, &token.Preview{Placement: "left", Until: time.Now().Add(-time.Minute)})
	foreign := PreviewURL("", newFixture(t).keys, &token.Preview{Placement: "left", Until: time.Now().Add(time.Minute)})
	for target, want := range map[string]int{
		stale: http.StatusGone, foreign: http.StatusForbidden, strings.Replace(link(token.Preview{Placement: "left"}), "=left", "=right", 1): http.StatusForbidden,
		"/v1/ad?placement=left&preview=x": http.StatusBadRequest, link(token.Preview{Placement: "left", Creative: "nope"}): http.StatusNotFound, link(token.Preview{Placement: "left", LineItem: "nope"}): http.StatusNotFound,
	} {
		if w := f.do("GET", target); w.Code != want {
			t.Errorf("%.60s: %d, want %d: %s", target, w.Code, want, w.Body)
		}
	}
}

// counting counts reservations.
type counting struct {
	decision.Delivery
	n int
}

func (c *counting) Reserve(it *inventory.Item) bool { c.n++; return c.Delivery.Reserve(it) }

func TestAdsTxtAndSellers(t *testing.T) {
	f, _ := waterfall(t)
	const want = "OWNERDOMAIN=press.example\nexchange.example, press, DIRECT\npartner.example, pub-1, DIRECT\nbuyer.example, 77, RESELLER\n"
	for _, target := range []string{"/ads.txt?site=news", "/ads.txt?site=www.news.example", "http://news.example:8080/ads.txt"} {
		if w := f.do("GET", target); w.Code != http.StatusOK || !strings.HasSuffix(w.Body.String(), want) {
			t.Errorf("%s: %d\n%s", target, w.Code, w.Body)
		}
	}
	if w := f.do("GET", "/ads.txt?site=other.example"); w.Code != http.StatusNotFound {
		t.Errorf("a stranger's: %d", w.Code)
	}
	if w := f.do("GET", "/sellers.json"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"seller_id": "press"`) {
		t.Errorf("sellers.json: %d %s", w.Code, w.Body)
	}
}
