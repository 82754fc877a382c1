package supply

import (
	"encoding/json"
	"strings"
	"testing"

	"patag/app/tag/catalogue"
)

func files(t *testing.T) *Files {
	t.Helper()
	steps := func(sources ...string) []catalogue.Step {
		return []catalogue.Step{{Kind: catalogue.Auction, Sources: sources}, {Kind: catalogue.House}}
	}
	f, err := Compile(&catalogue.Catalogue{
		Settings: catalogue.Settings{Exchange: catalogue.Exchange{Domain: "exchange.example", ContactEmail: "sell@exchange.example"}},
		Publishers: []catalogue.Publisher{
			{ID: "news", Name: "News\nInc", Domain: "news.example", AdsTxt: []string{"other.example, 1, RESELLER", "CONTACT=ads@news.example", "bad\nline, 1, DIRECT"}},
			{ID: "quiet", Name: "Quiet", Domain: "quiet.example", Confidential: true, SellerID: "q-7", SellerType: "BOTH"},
		},
		Sites: []catalogue.Site{
			{ID: "sport", Publisher: "news", Domain: "sport.example"}, {ID: "local", Publisher: "news"}, {ID: "blog", Publisher: "quiet", Domain: "blog.example"},
		},
		Placements: []catalogue.Placement{
			{ID: "a", Site: "sport", Waterfall: steps("rtb-1")},
			{ID: "b", Site: "local", Waterfall: steps("rtb-1"), Experiments: []catalogue.Experiment{{ID: "x", Arms: []catalogue.Arm{{ID: "y", Waterfall: steps("rtb-2")}}}}},
		},
		DemandPartners: []catalogue.DemandPartner{
			{ID: "one", Domain: "one.example", Account: "pub-1", CertID: "abc123"}, {ID: "two", Domain: "two.example", Account: "pub-2", Relationship: "RESELLER"},
			{ID: "nameless"},
		},
		DemandSources: []catalogue.DemandSource{{ID: "rtb-1", Partner: "one"}, {ID: "rtb-2", Partner: "two"}, {ID: "rtb-3", Partner: "nameless"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAdsTxtByHost(t *testing.T) {
	f := files(t)
	sport := "# ads.txt 1.1 of News Inc\nOWNERDOMAIN=news.example\nexchange.example, news, DIRECT\none.example, pub-1, DIRECT, abc123\n" +
		"other.example, 1, RESELLER\nCONTACT=ads@news.example\nbad line, 1, DIRECT\n"
	whole := strings.Replace(sport, "abc123\n", "abc123\ntwo.example, pub-2, RESELLER\n", 1)
	for host, want := range map[string]string{
		"sport.example": sport, "www.Sport.example.": sport, "sport": sport, "news.example": whole, "local": whole,
		"blog.example": "# ads.txt 1.1 of Quiet\nOWNERDOMAIN=quiet.example\nexchange.example, q-7, DIRECT\nexchange.example, q-7, RESELLER\n",
		"example":      "", "evilsport.example": "", "": "",
	} {
		if got := string(f.AdsTxt(host)); got != want {
			t.Errorf("%q:\n%s\nwant\n%s", host, got, want)
		}
	}
}

func TestOneOwner(t *testing.T) {
	f, err := Compile(&catalogue.Catalogue{
		Publishers: []catalogue.Publisher{{ID: "p", Name: "P", Domain: "p.example", AdsTxt: []string{"ownerdomain = group.example", "MANAGERDOMAIN=sales.example"}}},
		Sites:      []catalogue.Site{{ID: "s", Publisher: "p"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(f.AdsTxt("s")); got != "# ads.txt 1.1 of P\nownerdomain = group.example\nMANAGERDOMAIN=sales.example\n"+nobody+"\n" {
		t.Error(got)
	}
}

func TestNobodyMaySell(t *testing.T) {
	f, err := Compile(&catalogue.Catalogue{Publishers: []catalogue.Publisher{{ID: "p", Name: "P"}}, Sites: []catalogue.Site{{ID: "s", Publisher: "p"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(f.AdsTxt("s")); got != "# ads.txt 1.1 of P\n"+nobody+"\n" {
		t.Error(got)
	}
}

func TestSellers(t *testing.T) {
	var got struct {
		Version string
		Email   string `json:"contact_email"`
		Sellers []map[string]any
	}
	if err := json.Unmarshal(files(t).SellersJSON, &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != "1.0" || got.Email != "sell@exchange.example" || len(got.Sellers) != 2 {
		t.Fatalf("%+v", got)
	}
	quiet := got.Sellers[1]
	if quiet["seller_id"] != "q-7" || quiet["is_confidential"] != 1.0 || quiet["seller_type"] != "BOTH" || quiet["name"] != nil || quiet["domain"] != nil {
		t.Errorf("a confidential seller: %v", quiet)
	}
}
