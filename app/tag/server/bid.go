package server

import (
	"encoding/json"

	"patag/app/tag/catalogue"
	"patag/app/tag/decision"
	"patag/app/tag/inventory"
)

// bidMarkup is the document of a bid, cut where the click URL goes: native assets are laid out as those of the catalogue, markup
// has links of its own.
func bidMarkup(a *decision.Answer) []string {
	if a.Native == nil {
		return []string{inventory.Document(a.Markup)}
	}
	parts, err := inventory.LayOutNative(a.Native)
	if err != nil { // a template that runs for the catalogue's assets runs for these; the page may still use the assets
		return nil
	}
	out := make([]string, len(parts))
	for i, p := range parts {
		out[i] = string(p)
	}
	return out
}

// toldPrice is what a page is told of a bid's price: its bucket, where there are buckets. Reports and notices have what was bid.
func toldPrice(s *inventory.Snapshot, a *decision.Answer) catalogue.Money {
	if !s.Bucketed() {
		return a.CPM
	}
	return catalogue.Money{Micros: s.Bucket(a.BaseMicros), Currency: s.Currency}
}

func appendNative(b []byte, n *catalogue.NativeAssets) []byte {
	assets, err := json.Marshal(n)
	if err != nil { // strings only: it cannot fail
		return b
	}
	b = append(b, `"native":`...)
	return append(append(b, assets...), ',')
}
