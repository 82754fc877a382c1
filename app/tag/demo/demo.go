// Package demo is a small catalogue to try everything out with: three placements (demo-top, demo-side, demo-native), invented
// advertisers, creatives drawn as inline SVG, house ads behind every paid one.
package demo

import (
	"bytes"
	"context"
	_ "embed" // catalogue.json

	"patag/app/tag/catalogue"
)

// JSON is the catalogue as a file.
//
//go:embed catalogue.json
var JSON []byte

// Source serves the embedded catalogue as version 1. It implements refresh.Source.
type Source struct{}

// Version implements refresh.Source.
func (Source) Version(context.Context) (int64, error) { return 1, nil }

// Load implements refresh.Source.
func (Source) Load(context.Context) (*catalogue.Catalogue, int64, error) {
	c, err := catalogue.Parse(bytes.NewReader(JSON))
	return c, 1, err
}
