// Package catalogue is what ad-ops people write: publishers, sites, placements with their waterfalls, advertisers, campaigns,
// line items and creatives. In go JSON files or documents of a store; out come typed documents that Validate has found sound,
// or Problems that name document and field. It knows nothing of requests, decisions or how the documents are stored.
package catalogue

import (
	"slices"
	"time"
)

// Catalogue is everything there is to sell and to show, as documents. Package inventory compiles it for use.
type Catalogue struct {
	Settings    Settings     `json:"settings" bson:"settings"`
	Publishers  []Publisher  `json:"publishers" bson:"publishers"`
	Sites       []Site       `json:"sites" bson:"sites"`
	Placements  []Placement  `json:"placements" bson:"placements"`
	Advertisers []Advertiser `json:"advertisers" bson:"advertisers"`
	Campaigns   []Campaign   `json:"campaigns" bson:"campaigns"`
	LineItems   []LineItem   `json:"lineItems" bson:"lineItems"`
	Creatives   []Creative   `json:"creatives" bson:"creatives"`
}

// Settings hold for the whole catalogue.
type Settings struct {
	// Currency (ISO 4217) in which prices and floors are compared.
	Currency string `json:"currency" bson:"currency"`
	// Rates give, per foreign currency, the micros of Currency that one unit of it is worth: {"USD": 920000} means 1 USD = 0.92.
	Rates map[string]int64 `json:"rates,omitempty" bson:"rates,omitempty"`
}

// Money is an amount in millionths of its currency's unit; floating point has no place in a bill.
type Money struct {
	Micros   int64  `json:"micros" bson:"micros"`
	Currency string `json:"currency" bson:"currency"`
}

// Publisher owns sites.
type Publisher struct {
	ID     string `json:"id" bson:"_id"`
	Name   string `json:"name" bson:"name"`
	Domain string `json:"domain,omitempty" bson:"domain,omitempty"`
	// BlockedDomains are advertiser domains that never show on this publisher's pages; a domain blocks its subdomains too.
	BlockedDomains []string `json:"blockedDomains,omitempty" bson:"blockedDomains,omitempty"`
}

// Site is one web site (or app) of a publisher.
type Site struct {
	ID        string `json:"id" bson:"_id"`
	Publisher string `json:"publisher" bson:"publisher"`
	Name      string `json:"name" bson:"name"`
	Domain    string `json:"domain,omitempty" bson:"domain,omitempty"`
}

// Format of a placement or creative.
type Format string

// Formats.
const (
	Display Format = "display"
	Native  Format = "native"
)

// Size in CSS pixels.
type Size struct {
	Width  int `json:"width" bson:"width"`
	Height int `json:"height" bson:"height"`
}

// Placement is a place on a site's pages where an ad may show.
type Placement struct {
	ID     string `json:"id" bson:"_id"`
	Site   string `json:"site" bson:"site"`
	Name   string `json:"name" bson:"name"`
	Format Format `json:"format" bson:"format"`
	// Sizes that fit, for display; native adapts to the page.
	Sizes []Size `json:"sizes,omitempty" bson:"sizes,omitempty"`
	// Waterfall steps are tried in order; the first fill wins.
	Waterfall []Step `json:"waterfall" bson:"waterfall"`
	Paused    bool   `json:"paused,omitempty" bson:"paused,omitempty"`
}

// StepKind says who may fill at a step.
type StepKind string

// Kinds of waterfall steps that are served today.
const (
	Direct StepKind = "direct" // line items of campaigns
	House  StepKind = "house"  // the publisher's own line items, never paid
)

// Step is one waterfall step.
type Step struct {
	Kind StepKind `json:"kind" bson:"kind"`
	// Tiers narrows a direct step to these priority tiers; empty means sponsorship, standard and price, in this order.
	Tiers []Tier `json:"tiers,omitempty" bson:"tiers,omitempty"`
	// Floor is the least CPM that this step may fill at; sponsorships are sold by the day and are not held to it.
	Floor *Money `json:"floor,omitempty" bson:"floor,omitempty"`
}

// Advertiser pays for campaigns.
type Advertiser struct {
	ID     string `json:"id" bson:"_id"`
	Name   string `json:"name" bson:"name"`
	Domain string `json:"domain,omitempty" bson:"domain,omitempty"`
	// BlockedSites are site ids on which this advertiser never shows.
	BlockedSites []string `json:"blockedSites,omitempty" bson:"blockedSites,omitempty"`
}

// Campaign groups an advertiser's line items.
type Campaign struct {
	ID         string `json:"id" bson:"_id"`
	Advertiser string `json:"advertiser" bson:"advertiser"`
	Name       string `json:"name" bson:"name"`
	Paused     bool   `json:"paused,omitempty" bson:"paused,omitempty"`
}

// Tier is the priority tier of a line item.
type Tier string

// Tiers, highest first. Within sponsorship, standard and house the pick is by weight; within price the highest price wins.
const (
	Sponsorship Tier = "sponsorship"
	Standard    Tier = "standard"
	Price       Tier = "price"
	HouseTier   Tier = "house"
)

// Tiers in the order of priority.
var Tiers = [...]Tier{Sponsorship, Standard, Price, HouseTier}

// Rank of a tier, 0 is the highest; -1 if it is none.
func (t Tier) Rank() int { return slices.Index(Tiers[:], t) }

// LineItem is what was booked: where, when, to whom, how often, at which price, with which creatives.
type LineItem struct {
	ID       string `json:"id" bson:"_id"`
	Campaign string `json:"campaign" bson:"campaign"`
	Name     string `json:"name" bson:"name"`
	Tier     Tier   `json:"tier" bson:"tier"`
	// CPM is the price of a thousand impressions.
	CPM Money `json:"cpm" bson:"cpm"`
	// Weight among the items of its tier, 1 to 1000; 0 means 1.
	Weight int `json:"weight,omitempty" bson:"weight,omitempty"`
	// Flights are the periods in which it may show; none means always.
	Flights []Flight `json:"flights,omitempty" bson:"flights,omitempty"`
	// Placements it may show in.
	Placements []string  `json:"placements" bson:"placements"`
	Targeting  Targeting `json:"targeting,omitzero" bson:"targeting,omitempty"`
	// Frequency caps per user; all must hold.
	Frequency []FrequencyCap `json:"frequency,omitempty" bson:"frequency,omitempty"`
	// MaxImpressions is a hard cap over the item's life, over all servers: it is reserved before an ad is served. 0: none.
	MaxImpressions int64            `json:"maxImpressions,omitempty" bson:"maxImpressions,omitempty"`
	Creatives      []CreativeInItem `json:"creatives" bson:"creatives"`
	Paused         bool             `json:"paused,omitempty" bson:"paused,omitempty"`
}

// IsHouse says whether items of the tier are the publisher's own.
func (t Tier) IsHouse() bool { return t == HouseTier }

// CreativeInItem is a creative of a line item and its weight in the rotation (0 means 1).
type CreativeInItem struct {
	ID     string `json:"id" bson:"id"`
	Weight int    `json:"weight,omitempty" bson:"weight,omitempty"`
}

// Flight is a period [Start, End).
type Flight struct {
	Start time.Time `json:"start" bson:"start"`
	End   time.Time `json:"end" bson:"end"`
}

// FrequencyCap allows at most Impressions per user in each Window, a Go duration from 1m to 720h. Windows are fixed periods
// counted from the Unix epoch, not sliding ones.
type FrequencyCap struct {
	Impressions int    `json:"impressions" bson:"impressions"`
	Window      string `json:"window" bson:"window"`
}

// Targeting: each part narrows; an empty part does not.
type Targeting struct {
	// Countries, ISO 3166-1 alpha-2, upper case.
	Countries Lists `json:"countries,omitzero" bson:"countries,omitempty"`
	// Devices: desktop, mobile, tablet.
	Devices Lists `json:"devices,omitzero" bson:"devices,omitempty"`
	// KeyValues that the page passes. Include: for each key one of its values must be passed. Exclude: none may be.
	KeyValues KeyValues `json:"keyValues,omitzero" bson:"keyValues,omitempty"`
}

// Lists of accepted and refused values.
type Lists struct {
	Include []string `json:"include,omitempty" bson:"include,omitempty"`
	Exclude []string `json:"exclude,omitempty" bson:"exclude,omitempty"`
}

// KeyValues of a page, accepted and refused.
type KeyValues struct {
	Include map[string][]string `json:"include,omitempty" bson:"include,omitempty"`
	Exclude map[string][]string `json:"exclude,omitempty" bson:"exclude,omitempty"`
}

// Creative is what is shown.
type Creative struct {
	ID         string `json:"id" bson:"_id"`
	Advertiser string `json:"advertiser" bson:"advertiser"`
	Name       string `json:"name" bson:"name"`
	Format     Format `json:"format" bson:"format"`
	Size       Size   `json:"size,omitzero" bson:"size,omitempty"`
	// HTML is the markup of a display creative. {{CLICK}} in it becomes the URL that counts the click and goes to Landing.
	HTML string `json:"html,omitempty" bson:"html,omitempty"`
	// Native assets of a native creative.
	Native *NativeAssets `json:"native,omitempty" bson:"native,omitempty"`
	// Landing is the page that a click leads to, https (http is accepted for loopback hosts).
	Landing string `json:"landing" bson:"landing"`
}

// NativeAssets are the parts from which a native ad is put together.
type NativeAssets struct {
	Title   string `json:"title" bson:"title"`
	Body    string `json:"body,omitempty" bson:"body,omitempty"`
	Sponsor string `json:"sponsor" bson:"sponsor"`
	Action  string `json:"action,omitempty" bson:"action,omitempty"`
	// Image is an https or data:image/… URL.
	Image string `json:"image,omitempty" bson:"image,omitempty"`
}
