package catalogue

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func demo(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("../demo/catalogue.json")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestProblemsNameDocumentAndField(t *testing.T) {
	for _, c := range []struct{ replace, with, want string }{
		{`"tier": "sponsorship"`, `"tier": "gold"`, `lineItems "alpenweg-sport": tier: "gold" is no tier`},
		{`"campaign": "radhaus-city"`, `"campaign": "nope"`, `lineItems "radhaus-top": campaign: there is no campaign "nope"`},
		{`"weight": 3`, `"wieght": 3`, `lineItems "alpenweg-top": wieght: unknown field`},
		{`"weight": 3`, `"weight": "3"`, `lineItems "alpenweg-top": weight: a string cannot stand here`},
		{`"weight": 3`, `"weight": 1001`, `lineItems "alpenweg-top": weight: must be from 1 to 1000`},
		{`"window": "24h"`, `"window": "1d"`, `lineItems "morgenrot-side": frequency[0].window: "1d" is not a period`},
		{`"landing": "https://alpenweg.example/routes"`, `"landing": "javascript:alert(1)"`, `creatives "alpenweg-728x90": landing: "javascript:alert(1)" is not an absolute URL`},
		{`"landing": "https://alpenweg.example/routes"`, `"landing": "http://alpenweg.example/"`, `creatives "alpenweg-728x90": landing: must start with https://`},
		{`"currency": "USD"`, `"currency": "GBP"`, `lineItems "morgenrot-side": cpm.currency: "GBP" is neither`},
		{`"id": "demo-side"`, `"id": "demo-top"`, `placements "demo-top": id: is used twice`},
		{`"id": "demo-side"`, `"id": "demo side"`, `placements "demo side": id: must be 1 to 64`},
		{`"sites": [`, `"sitse": [`, `sitse: unknown collection`},
		{`"exclude": [`, `"exclude": ["fridge",`, `lineItems "radhaus-top": targeting.devices.exclude[0]: "fridge" is not desktop, mobile or tablet`},
		{`{"id": "radhaus-728x90"}`, `{"id": "radhaus-300x250"}`, `lineItems "radhaus-top": placements[0]: no creative of this line item fits`},
		{`{"id": "radhaus-728x90"}`, `{"id": "alpenweg-728x90"}`, `belongs to advertiser "alpenweg", the campaign to "radhaus"`},
	} {
		text := demo(t)
		if !strings.Contains(text, c.replace) {
			t.Fatalf("the demo catalogue has no %s", c.replace)
		}
		_, err := Parse(strings.NewReader(strings.Replace(text, c.replace, c.with, 1)))
		var ps Problems
		if !errors.As(err, &ps) {
			t.Errorf("%s: %v, want problems", c.with, err)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n%v\nwant %s", c.with, err, c.want)
		}
	}
}

func TestBrokenJSONNamesTheLine(t *testing.T) {
	_, err := Parse(strings.NewReader("{\n\"sites\": [\n}"))
	if err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	// Small seeds: the engine spends its time on minimizing large ones.
	f.Add(`{"settings":{"currency":"EUR"},"publishers":[{"id":"p","name":"P"}],"sites":[{"id":"s","publisher":"p","name":"S"}],"placements":[{"id":"x","site":"s","name":"X","format":"native","waterfall":[{"kind":"direct","floor":{"micros":1,"currency":"EUR"}}]}]}`)
	f.Add(`{"settings":{"currency":"EUR","rates":{"USD":1}},"advertisers":[{"id":"a","name":"A"}],"campaigns":[{"id":"c","advertiser":"a","name":"C"}],"creatives":[{"id":"k","advertiser":"a","name":"K","format":"native","native":{"title":"t","sponsor":"s"},"landing":"https://a.example/"}],"lineItems":[{"id":"l","campaign":"c","name":"L","tier":"price","cpm":{"micros":1,"currency":"USD"},"placements":["x"],"creatives":[{"id":"k"}],"flights":[{"start":"2026-01-01T00:00:00Z","end":"2026-01-02T00:00:00Z"}]}]}`)
	f.Add(`{"settings":{"currency":"EUR"},"lineItems":[{"id":1}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(strings.NewReader(text))
		if err != nil {
			var ps Problems
			if errors.As(err, &ps) {
				for _, p := range ps {
					if strings.ContainsAny(p.Error(), "\n\r") {
						t.Fatalf("a problem of more than one line: %q", p.Error())
					}
				}
			}
			return
		}
		if Validate(c) != nil {
			t.Fatal("parsed and not valid")
		}
	})
}
