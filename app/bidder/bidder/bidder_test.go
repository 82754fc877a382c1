package bidder

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prebid/openrtb/v20/native1/response"
	"github.com/prebid/openrtb/v20/openrtb2"
)

// serve runs a bidder with changed defaults.
func serve(t *testing.T, change func(*Options)) (*Bidder, string) {
	t.Helper()
	o := Defaults()
	if change != nil {
		change(&o)
	}
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(b)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return b, srv.URL
}

func post(t *testing.T, url, body string) (int, *openrtb2.BidResponse, string) {
	t.Helper()
	res, err := http.Post(url+"/openrtb2", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		return res.StatusCode, nil, string(raw)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	out := new(openrtb2.BidResponse)
	if err := d.Decode(out); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return res.StatusCode, out, string(raw)
}

const banner = `"imp":[{"id":"1","banner":{"format":[{"w":300,"h":250}]}}]`

func TestBidsKeepTheRules(t *testing.T) {
	for _, c := range []struct {
		name, request string
		change        func(*Options)
		bids          int
		check         func(openrtb2.Bid, *openrtb2.BidResponse) string
	}{
		{"banner", banner, nil, 1, func(b openrtb2.Bid, r *openrtb2.BidResponse) string {
			if b.W != 300 || b.H != 250 || b.MType != 1 || b.Price < 0.5 || b.Price > 6 || len(b.ADomain) != 1 || r.Cur != "USD" || r.SeatBid[0].Seat != "demo" || b.CrID == "" {
				return fmt.Sprintf("%+v", b)
			}
			return ""
		}},
		{"first currency of the request", banner + `,"cur":["EUR","USD"]`, nil, 1, func(_ openrtb2.Bid, r *openrtb2.BidResponse) string {
			if r.Cur != "EUR" {
				return r.Cur
			}
			return ""
		}},
		{"its currency is not wanted", banner + `,"cur":["EUR"]`, func(o *Options) { o.Currency = "GBP" }, 0, nil},
		{"floor", strings.Replace(banner, `"banner"`, `"bidfloor":100,"banner"`, 1), nil, 0, nil},
		{"seat blocked", banner + `,"bseat":["demo"]`, nil, 0, nil},
		{"other seats wanted", banner + `,"wseat":["x"]`, nil, 0, nil},
		{"all categories blocked", banner + `,"bcat":["IAB8","IAB17","IAB20","IAB10-7"]`, nil, 0, nil},
		{"one brand left", banner + `,"badv":["nordlys-coffee.example","velora-bikes.example","isla-tide.example"]`, nil, 1, func(b openrtb2.Bid, _ *openrtb2.BidResponse) string {
			if b.ADomain[0] != "fern-field.example" {
				return b.ADomain[0]
			}
			return ""
		}},
		{"deal", strings.Replace(banner, `"banner"`, `"pmp":{"deals":[{"id":"other","wseat":["x"]},{"id":"d","bidfloor":0.2}]},"banner"`, 1), func(o *Options) { o.Deals = 1 }, 1, func(b openrtb2.Bid, _ *openrtb2.BidResponse) string { return strings.TrimPrefix(b.DealID, "d") }},
		{"no size", `"imp":[{"id":"1","banner":{}}]`, nil, 0, nil},
		{"video", `"imp":[{"id":"1","video":{"mimes":["video/mp4"]}}]`, nil, 0, nil},
		{"never", banner, func(o *Options) { o.Fill = 0 }, 0, nil},
		{"categories of its own", banner, func(o *Options) { o.Categories = []string{"IAB17"} }, 1, func(b openrtb2.Bid, _ *openrtb2.BidResponse) string {
			if b.Cat[0] != "IAB17-3" {
				return b.Cat[0]
			}
			return ""
		}},
		{"native", `"imp":[{"id":"1","native":{"request":"{\"assets\":[{\"id\":7,\"required\":1,\"title\":{\"len\":90}},{\"id\":8,\"img\":{\"type\":3}},{\"id\":9,\"data\":{\"type\":1}}]}"}}]`, nil, 1, func(b openrtb2.Bid, _ *openrtb2.BidResponse) string {
			var n response.Response
			if err := json.Unmarshal([]byte(b.AdM), &n); err != nil || b.MType != 4 || len(n.Assets) != 3 || *n.Assets[0].ID != 7 || n.Assets[0].Title.Text == "" || !strings.HasPrefix(n.Assets[1].Img.URL, "data:image/svg+xml,") || n.Assets[2].Data.Value == "" || n.Link.URL == "" {
				return b.AdM
			}
			return ""
		}},
		{"native that wants what it has not", `"imp":[{"id":"1","native":{"request":"{\"assets\":[{\"id\":7,\"required\":1,\"video\":{}}]}"}}]`, nil, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, url := serve(t, c.change)
			for i := range 20 {
				code, resp, text := post(t, url, fmt.Sprintf(`{"id":"r%d",%s}`, i, c.request))
				n := 0
				if resp != nil && len(resp.SeatBid) > 0 {
					n = len(resp.SeatBid[0].Bid)
				}
				if n != c.bids || n == 0 && resp == nil && code != http.StatusNoContent || n == 0 && resp != nil && resp.NBR == nil {
					t.Fatalf("%d with %d bids: %s", code, n, text)
				}
				if n > 0 && c.check != nil {
					if fault := c.check(resp.SeatBid[0].Bid[0], resp); fault != "" {
						t.Fatal(fault)
					}
				}
			}
		})
	}
}

// The same seed and request make the same answer: a run can be repeated.
func TestTheSameSeedBidsTheSame(t *testing.T) {
	answer := func(seed uint64) string {
		_, url := serve(t, func(o *Options) { o.Seed, o.PublicURL = seed, "https://b.example" })
		_, _, text := post(t, url, `{"id":"r",`+banner+`}`)
		return text
	}
	first, again, other := answer(3), answer(3), answer(4)
	if first != again || first == other {
		t.Error("the seed does not decide")
	}
}

func TestSharesAndFaults(t *testing.T) {
	b, url := serve(t, func(o *Options) { o.Fill, o.Errors = 0.7, 0.2 })
	for i := range 400 {
		post(t, url, fmt.Sprintf(`{"id":"r%d",%s}`, i, banner))
	}
	s := b.Stats()
	if s.Requests != 400 || s.Errors < 50 || s.Errors > 110 || s.Bids < 190 || s.Bids > 260 || s.Bids+s.NoBids+s.Errors != 400 {
		t.Errorf("%+v", s)
	}
	b, url = serve(t, func(o *Options) { o.Latency, o.Jitter = 30*time.Millisecond, 10*time.Millisecond })
	begin := time.Now()
	post(t, url, `{"id":"r",`+banner+`}`)
	if took := time.Since(begin); took < 30*time.Millisecond {
		t.Errorf("answered after %s", took)
	}
	for _, body := range []string{"", "{", `{"id":"x"}`, `[]`, `{"id":"x","imp":[]}`, strings.Repeat(" ", maxBody+10)} {
		if code, _, _ := post(t, url, body); code != http.StatusBadRequest {
			t.Errorf("%.20q: %d", body, code)
		}
	}
	if n := b.Stats().Malformed; n != 6 {
		t.Errorf("%d malformed", n)
	}
}

// A hanging request ends with its client, and is counted.
func TestHang(t *testing.T) {
	b, url := serve(t, func(o *Options) { o.Hang = 1 })
	client := http.Client{Timeout: 50 * time.Millisecond}
	if _, err := client.Post(url+"/openrtb2", "application/json", strings.NewReader(`{"id":"r",`+banner+`}`)); err == nil {
		t.Fatal("answered")
	}
	for end := time.Now().Add(5 * time.Second); b.Stats().Abandoned != 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", b.Stats())
		}
	}
}

func TestNoticesAreCountedOnce(t *testing.T) {
	b, url := serve(t, func(o *Options) { o.MinCPM, o.MaxCPM = 2, 2 })
	_, resp, _ := post(t, url, `{"id":"r",`+banner+`}`)
	bid := resp.SeatBid[0].Bid[0]
	fill := strings.NewReplacer("${AUCTION_ID}", "r", "${AUCTION_PRICE}", "2", "${AUCTION_CURRENCY}", "USD", "${AUCTION_LOSS}", "102")
	for _, u := range []string{bid.NURL, bid.BURL, bid.BURL, bid.LURL, url + "/win?bid=other&price=9"} {
		res, err := http.Get(fill.Replace(u))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusNoContent || !strings.HasPrefix(u, url) {
			t.Errorf("%s: %s", u, res.Status)
		}
	}
	s := b.Stats()
	if s.Wins != 1 || s.Billed != 1 || s.Losses != 1 || s.LossReasons["102"] != 1 || s.BilledMicros != 2_000_000 || s.DuplicateNotices != 1 || s.UnknownNotices != 1 {
		t.Errorf("%+v", s)
	}
	res, err := http.Get(url + "/stats")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var told Stats
	if err := json.NewDecoder(res.Body).Decode(&told); err != nil || told.Billed != 1 {
		t.Errorf("%v %+v", err, told)
	}
}

// What is remembered of bids is bounded.
func TestOldBidsAreForgotten(t *testing.T) {
	var s stats
	s.init()
	for i := range maxBids + 10 {
		s.bid(fmt.Sprint(i))
	}
	s.notice(kindWin, "0", 1, "")
	s.notice(kindWin, fmt.Sprint(maxBids), 1, "")
	if len(s.told) != maxBids || s.UnknownNotices != 1 || s.Wins != 1 {
		t.Errorf("%d remembered, %+v", len(s.told), s.Stats)
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"fill is 2; it is a share":    func(o *Options) { o.Fill = 2 },
		"the least must be above 0":   func(o *Options) { o.MinCPM = 0 },
		"must not be negative":        func(o *Options) { o.Latency = -1 },
		"needs a seat":                func(o *Options) { o.Seat = "" },
		"no brand is in categories X": func(o *Options) { o.Categories = []string{"X"} },
	} {
		o := Defaults()
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// Creatives load nothing, in any size.
func TestCreativesAreSelfContained(t *testing.T) {
	for i := range brands {
		for _, size := range [][2]int64{{300, 250}, {728, 90}, {160, 600}, {320, 50}, {970, 250}, {88, 31}} {
			html := brands[i].banner(size[0], size[1])
			if strings.Contains(html, "src=") || strings.Contains(html, "url(") || strings.Contains(html, "http://") || strings.Contains(html, "ZgotmplZ") || !strings.Contains(html, fmt.Sprintf("width:%dpx;height:%dpx", size[0], size[1])) {
				t.Errorf("%s %v: %s", brands[i].id, size, html)
			}
		}
	}
}
