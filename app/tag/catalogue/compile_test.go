package catalogue_test

import (
	"strings"
	"testing"
	"time"

	"patag/app/tag/catalogue"
	"patag/app/tag/inventory"
)

// FuzzCompile: what Parse accepts, servers can use.
func FuzzCompile(f *testing.F) {
	head := `{"settings":{"currency":"EUR","rates":{"USD":1000000000000}},"publishers":[{"id":"p","name":"P","blockedKeywords":["x"],"blockedCategories":["IAB7"]}],"sites":[{"id":"s","publisher":"p","name":"S"}],`
	seed := func(text string) {
		if _, err := catalogue.Parse(strings.NewReader(text)); err != nil {
			f.Fatalf("a seed that does not parse fuzzes nothing: %v", err)
		}
		f.Add(text)
	}
	seed(head + `"placements":[{"id":"x","site":"s","name":"X","format":"native","order":"price","waterfall":[{"kind":"auction","sources":["b"],"floor":{"micros":1,"currency":"USD"}},{"kind":"tag","sources":["t"],"deadline":"1s"},{"kind":"house"}],"experiments":[{"id":"e","arms":[{"id":"a","share":50,"waterfall":[{"kind":"direct"}]}]}]}],"demandPartners":[{"id":"d","name":"D"}],"demandSources":[{"id":"b","partner":"d","name":"B","kind":"openrtb","endpoint":"https://b.example/"},{"id":"t","partner":"d","name":"T","kind":"tag","html":"{{PASSBACK}}"}],"deals":[{"id":"l","source":"b","name":"L","floor":{"micros":1,"currency":"USD"},"placements":["x"]}]}`)
	seed(head + `"placements":[{"id":"x","site":"s","name":"X","format":"native","waterfall":[{"kind":"direct"}]}],"advertisers":[{"id":"a","name":"A"}],"campaigns":[{"id":"c","advertiser":"a","name":"C"}],"creatives":[{"id":"k","advertiser":"a","name":"K","format":"native","native":{"title":"t","sponsor":"s"},"landing":"https://a.example/"}],"lineItems":[{"id":"l","campaign":"c","name":"L","tier":"price","cpm":{"micros":1000000000000,"currency":"USD"},"placements":["x"],"creatives":[{"id":"k"}],"flights":[{"start":"2026-01-01T00:00:00Z","end":"2026-01-02T00:00:00Z"}],"goal":{"revenue":{"micros":1,"currency":"USD"}},"budget":{"micros":1000000,"currency":"USD"},"targeting":{"dayParts":[{"from":22,"to":6,"zone":"Europe/Berlin"}],"regions":{"include":["DE-BY"]},"pages":{"include":["*.a.example/x"]},"categories":{"exclude":["IAB1"]},"keyValues":{"include":{"a":["b"]}}}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := catalogue.Parse(strings.NewReader(text))
		if err != nil {
			return
		}
		if _, err := inventory.Compile(c, 1, time.Unix(1_800_000_000, 0)); err != nil {
			t.Fatalf("valid, and does not compile: %v", err)
		}
	})
}

// TestLargestPricesCompile: what Validate lets through at its bounds must not overflow.
func TestLargestPricesCompile(t *testing.T) {
	money := `{"micros":1000000000000,"currency":"USD"}`
	text := `{"settings":{"currency":"EUR","rates":{"USD":1000000000000}},"publishers":[{"id":"p","name":"P"}],"sites":[{"id":"s","publisher":"p","name":"S"}],"placements":[{"id":"x","site":"s","name":"X","format":"native","waterfall":[{"kind":"direct","floor":` + money + `}]}],"advertisers":[{"id":"a","name":"A"}],"campaigns":[{"id":"c","advertiser":"a","name":"C"}],"creatives":[{"id":"k","advertiser":"a","name":"K","format":"native","native":{"title":"t","sponsor":"s"},"landing":"https://a.example/"}],"lineItems":[{"id":"l","campaign":"c","name":"L","tier":"price","cpm":` + money + `,"budget":` + money + `,"placements":["x"],"creatives":[{"id":"k"}]}]}`
	c, err := catalogue.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inventory.Compile(c, 1, time.Unix(1_800_000_000, 0)); err != nil {
		t.Fatal(err)
	}
}
