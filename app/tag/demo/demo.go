// Package demo is a small catalogue to try everything out with: placements filled by line items (demo-top, demo-side, demo-native), by
// a real-time auction (demo-auction), by a partner's tag (demo-tag) and in an experiment (demo-test); invented advertisers,
// creatives drawn as inline SVG, house ads behind every paid one.
package demo

import (
	"bytes"
	"context"
	_ "embed" // catalogue.json
	"fmt"
	"slices"

	"patag/app/tag/catalogue"
)

// JSON is the catalogue as a file. The endpoint of its bidder is a loopback address: where none listens, it does not bid.
//
//go:embed catalogue.json
var JSON []byte

// BidderSource is the id of the demand source that asks a demo bidder.
const BidderSource = "demo-bidder"

// Catalogue reads JSON, with another endpoint of the bidder unless it is "".
func Catalogue(bidder string) (*catalogue.Catalogue, error) {
	c, err := catalogue.Parse(bytes.NewReader(JSON))
	if err != nil || bidder == "" {
		return c, err
	}
	i := slices.IndexFunc(c.DemandSources, func(d catalogue.DemandSource) bool { return d.ID == BidderSource })
	if i < 0 {
		return nil, fmt.Errorf("the demo catalogue has no source %q", BidderSource)
	}
	c.DemandSources[i].Endpoint = bidder
	return c, catalogue.Validate(c)
}

// Source serves the embedded catalogue as version 1. It implements refresh.Source.
type Source struct {
	Bidder string // endpoint of the demo bidder; "" for the one of JSON
}

// Version implements refresh.Source.
func (Source) Version(context.Context) (int64, error) { return 1, nil }

// Load implements refresh.Source.
func (s Source) Load(context.Context) (*catalogue.Catalogue, int64, error) {
	c, err := Catalogue(s.Bidder)
	return c, 1, err
}
