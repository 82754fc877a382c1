package command

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"patag/app/bidder/bidder"
)

// --demo has an auction that is real from end to end: the bidder of this process bids, its ad is answered in a document of its own, and
// it learns of the win and, once, of the impression that it pays for.
func TestDemoAuctionIsReal(t *testing.T) {
	r := start(t, "--demo", "--listen=127.0.0.1:0", "--journal-dir="+t.TempDir())
	m := regexp.MustCompile(`"url":"(http://127\.0\.0\.1:\d+)/openrtb2"`).FindStringSubmatch(r.text())
	if m == nil {
		t.Fatalf("no demo bidder is named: %s", r.text())
	}
	stats := func() (s bidder.Stats) {
		t.Helper()
		code, body := get(t, m[1]+"/stats")
		if err := json.Unmarshal([]byte(body), &s); err != nil || code != http.StatusOK {
			t.Fatalf("%d %v: %s", code, err, body)
		}
		return s
	}
	type entry struct {
		Source, DemandSource, Markup string
		Price                        struct {
			CPMMicros int64
			Currency  string
		}
		URLs struct{ Impression string }
	}
	var won int64
	var last entry
	for range 10 { // it bids on nine of ten
		_, body := get(t, r.traffic+"/v1/ad?placement=demo-auction&gdpr=0")
		var a struct{ Chain []entry }
		if err := json.Unmarshal([]byte(body), &a); err != nil || len(a.Chain) != 1 {
			t.Fatalf("%v: %s", err, body)
		}
		if e := a.Chain[0]; e.Source == "auction" {
			won++
			last = e
		}
	}
	if won < 5 || last.DemandSource != "demo-bidder" || last.Price.Currency != "EUR" || last.Price.CPMMicros < 500_000 {
		t.Fatalf("%d auctions of 10 filled; the last: %+v", won, last)
	}
	if !strings.Contains(last.Markup, "Content-Security-Policy") && !strings.Contains(last.Markup, "<!doctype html>") || !strings.Contains(last.Markup, ".example/?from=ad") {
		t.Errorf("the bid's markup is not a document: %.300s", last.Markup)
	}
	for range 3 { // an impression that is told three times is billed once
		req, err := http.NewRequest("POST", last.URLs.Impression, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusNoContent {
			t.Fatalf("%s %s", res.Status, text)
		}
	}
	var s bidder.Stats
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if s = stats(); s.Wins == won && s.Billed == 1 {
			break
		}
	}
	// The page is told the price bucket, after the source's adjustment of 95 per cent; the bidder pays what it bid.
	told := s.BilledMicros * 95 / 100
	if told < 5_000_000 {
		told -= told % 50_000
	} else {
		told -= told % 500_000
	}
	if s.Wins != won || s.Billed != 1 || told != last.Price.CPMMicros || s.DuplicateNotices+s.UnknownNotices != 0 {
		t.Errorf("%d auctions filled, one impression at %d micros; the bidder counts %+v", won, last.Price.CPMMicros, s)
	}
	if _, body := get(t, r.admin+"/metrics"); !strings.Contains(body, `tag_rtb_notices_total{kind="billing",outcome="sent",source="demo-bidder"} 1`) {
		t.Error("the notice is not counted")
	}
}
