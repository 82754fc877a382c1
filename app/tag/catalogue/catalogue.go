// Package catalogue is what ad-ops people write: publishers, sites, placements with their waterfalls, advertisers, campaigns,
// line items and creatives, demand partners, their sources and deals. In go JSON files or documents of a store; out come typed
// documents that Validate has found sound, or Problems that name document and field. It knows nothing of requests, decisions or how
// the documents are stored.
package catalogue

import (
	"slices"
	"time"
)

// Catalogue is everything there is to sell and to show, as documents. Package inventory compiles it for use.
type Catalogue struct {
	Settings       Settings        `json:"settings" bson:"settings"`
	Publishers     []Publisher     `json:"publishers" bson:"publishers"`
	Sites          []Site          `json:"sites" bson:"sites"`
	Placements     []Placement     `json:"placements" bson:"placements"`
	Advertisers    []Advertiser    `json:"advertisers" bson:"advertisers"`
	Campaigns      []Campaign      `json:"campaigns" bson:"campaigns"`
	LineItems      []LineItem      `json:"lineItems" bson:"lineItems"`
	Creatives      []Creative      `json:"creatives" bson:"creatives"`
	DemandPartners []DemandPartner `json:"demandPartners,omitempty" bson:"demandPartners,omitempty"`
	DemandSources  []DemandSource  `json:"demandSources,omitempty" bson:"demandSources,omitempty"`
	Deals          []Deal          `json:"deals,omitempty" bson:"deals,omitempty"`
}

// Settings hold for the whole catalogue.
type Settings struct {
	// Currency (ISO 4217) in which prices and floors are compared.
	Currency string `json:"currency" bson:"currency"`
	// Rates give, per foreign currency, the micros of Currency that one unit of it is worth: {"USD": 920000} means 1 USD = 0.92.
	Rates map[string]int64 `json:"rates,omitempty" bson:"rates,omitempty"`
	// Exchange is who sells: the seller system of ads.txt, sellers.json and the supply chain object.
	Exchange Exchange `json:"exchange,omitzero" bson:"exchange,omitempty"`
	// PriceBuckets round auction prices down for reports and key-values, in ascending order of UpTo; none leaves prices as they are.
	PriceBuckets []PriceBucket `json:"priceBuckets,omitempty" bson:"priceBuckets,omitempty"`
	// BlockedHosts are hosts that no creative's markup may mention; a host blocks its subdomains too.
	BlockedHosts []string `json:"blockedHosts,omitempty" bson:"blockedHosts,omitempty"`
}

// Exchange is the operator of this platform as the advertising system that ads.txt files name.
type Exchange struct {
	Domain         string `json:"domain,omitempty" bson:"domain,omitempty"`                 // that ads.txt files name
	ContactEmail   string `json:"contactEmail,omitempty" bson:"contactEmail,omitempty"`     // in sellers.json
	ContactAddress string `json:"contactAddress,omitempty" bson:"contactAddress,omitempty"` // in sellers.json, one line
}

// PriceBucket rounds CPMs below UpTo down to a multiple of Step, both in micros of the catalogue's currency.
type PriceBucket struct {
	UpToMicros int64 `json:"upToMicros" bson:"upToMicros"` // the bucket holds prices below it
	StepMicros int64 `json:"stepMicros" bson:"stepMicros"` // prices become multiples of it
}

// Money is an amount in millionths of its currency's unit; floating point has no place in a bill.
type Money struct {
	Micros   int64  `json:"micros" bson:"micros"`     // millionths of the unit
	Currency string `json:"currency" bson:"currency"` // ISO 4217, the catalogue's or one of settings.rates
}

// Publisher owns sites.
type Publisher struct {
	ID     string `json:"id" bson:"_id"`                            // what other documents, URLs and tokens call it
	Name   string `json:"name" bson:"name"`                         // for people
	Domain string `json:"domain,omitempty" bson:"domain,omitempty"` // of the business, for sellers.json
	// BlockedDomains are advertiser domains that never show on this publisher's pages; a domain blocks its subdomains too.
	BlockedDomains []string `json:"blockedDomains,omitempty" bson:"blockedDomains,omitempty"`
	// BlockedCategories are IAB content categories (IAB7, IAB7-39) of ads that never show; IAB7 blocks all of IAB7-x.
	BlockedCategories []string `json:"blockedCategories,omitempty" bson:"blockedCategories,omitempty"`
	// BlockedKeywords are words that no ad's name, title, text or markup may have, without regard to case.
	BlockedKeywords []string `json:"blockedKeywords,omitempty" bson:"blockedKeywords,omitempty"`
	// SellerID names the publisher in sellers.json and the supply chain; default its ID. SellerType: PUBLISHER (default),
	// INTERMEDIARY or BOTH. Confidential keeps name and domain out of sellers.json.
	SellerID     string `json:"sellerId,omitempty" bson:"sellerId,omitempty"`
	SellerType   string `json:"sellerType,omitempty" bson:"sellerType,omitempty"`     // PUBLISHER (default), INTERMEDIARY or BOTH
	Confidential bool   `json:"confidential,omitempty" bson:"confidential,omitempty"` // keeps name and domain out of sellers.json
	// AdsTxt are lines of ads.txt beyond those that follow from the catalogue.
	AdsTxt []string `json:"adsTxt,omitempty" bson:"adsTxt,omitempty"`
}

// Site is one web site (or app) of a publisher.
type Site struct {
	ID        string `json:"id" bson:"_id"`                            // what other documents, URLs and tokens call it
	Publisher string `json:"publisher" bson:"publisher"`               // its owner's id
	Name      string `json:"name" bson:"name"`                         // for people
	Domain    string `json:"domain,omitempty" bson:"domain,omitempty"` // that its pages are under
	// Categories are IAB content categories of its pages; a request may add the page's own.
	Categories []string `json:"categories,omitempty" bson:"categories,omitempty"`
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
	Width  int `json:"width" bson:"width"`   // 1 to 10000
	Height int `json:"height" bson:"height"` // 1 to 10000
}

// Placement is a place on a site's pages where an ad may show.
type Placement struct {
	ID     string `json:"id" bson:"_id"`        // what other documents, URLs and tokens call it
	Site   string `json:"site" bson:"site"`     // the site's id
	Name   string `json:"name" bson:"name"`     // for people
	Format Format `json:"format" bson:"format"` // of ads that fit
	// Sizes that fit, for display; native adapts to the page.
	Sizes []Size `json:"sizes,omitempty" bson:"sizes,omitempty"`
	// Position on the page for bidders: above, below (the fold), header, footer, sidebar, fullscreen; empty is unknown.
	Position string `json:"position,omitempty" bson:"position,omitempty"`
	// Waterfall steps are tried in order; the first fill wins.
	Waterfall []Step `json:"waterfall" bson:"waterfall"`
	// Order is listed (default) or price: then runs of direct price, auction and tag steps that follow each other compete by
	// CPM, and the listed order decides only among equals.
	Order Order `json:"order,omitempty" bson:"order,omitempty"`
	// Experiments run other waterfalls for a share of the visitors, each visitor always in the same arm.
	Experiments []Experiment `json:"experiments,omitempty" bson:"experiments,omitempty"`
	Paused      bool         `json:"paused,omitempty" bson:"paused,omitempty"` // keeps it as it is, out of use
}

// Order of a waterfall.
type Order string

// Orders.
const (
	Listed  Order = "listed"
	ByPrice Order = "price"
)

// Experiment is an A/B test of waterfalls. Shares are percents of the visitors; what they leave is the control arm, which has
// the placement's own waterfall. The first experiment that is on applies.
type Experiment struct {
	ID   string `json:"id" bson:"id"`                       // in reports, as experiment/arm
	Arms []Arm  `json:"arms" bson:"arms"`                   // beside the control arm
	Off  bool   `json:"off,omitempty" bson:"off,omitempty"` // all visitors get the placement's own waterfall
}

// Arm of an experiment.
type Arm struct {
	ID        string `json:"id" bson:"id"`                           // not "control"
	Share     int    `json:"share" bson:"share"`                     // percent
	Waterfall []Step `json:"waterfall" bson:"waterfall"`             // instead of the placement's
	Order     Order  `json:"order,omitempty" bson:"order,omitempty"` // of this waterfall
}

// StepKind says who may fill at a step.
type StepKind string

// Kinds of waterfall steps.
const (
	Direct  StepKind = "direct"  // line items of campaigns
	Auction StepKind = "auction" // real-time auction among demand sources of kind openrtb, by the server
	Tag     StepKind = "tag"     // one demand source of kind tag, tried by the browser, which passes back
	House   StepKind = "house"   // the publisher's own line items, never paid
)

// Step is one waterfall step.
type Step struct {
	Kind StepKind `json:"kind" bson:"kind"` // who may fill
	// Tiers narrows a direct step to these priority tiers; empty means sponsorship, standard and price, in this order.
	Tiers []Tier `json:"tiers,omitempty" bson:"tiers,omitempty"`
	// Floor is the least CPM that this step may fill at; sponsorships are sold by the day and are not held to it.
	Floor *Money `json:"floor,omitempty" bson:"floor,omitempty"`
	// Sources are ids of demand sources: at least one for an auction step, exactly one for a tag step.
	Sources []string `json:"sources,omitempty" bson:"sources,omitempty"`
	// Deadline of an auction step (default 200ms, at most 2s) or the time a tag has to fill (default 2s, at most 10s).
	Deadline string `json:"deadline,omitempty" bson:"deadline,omitempty"`
}

// DemandPartner is a company that buys.
type DemandPartner struct {
	ID   string `json:"id" bson:"_id"`    // what other documents, URLs and tokens call it
	Name string `json:"name" bson:"name"` // for people
	// Domain of its advertising system, and Account, our publishers' account there: they make lines of ads.txt.
	Domain       string `json:"domain,omitempty" bson:"domain,omitempty"`
	Account      string `json:"account,omitempty" bson:"account,omitempty"`                                   // our publishers' account at the partner
	Relationship string `json:"relationship,omitempty" bson:"relationship,omitempty"`                         // DIRECT (default) or RESELLER
	CertID       string `json:"certificationAuthorityId,omitempty" bson:"certificationAuthorityId,omitempty"` // fourth field of its line of ads.txt
	// VendorID is its id in the TCF's Global Vendor List; without one it is never sent to where consent is needed.
	VendorID int  `json:"vendorId,omitempty" bson:"vendorId,omitempty"`
	Paused   bool `json:"paused,omitempty" bson:"paused,omitempty"` // keeps it as it is, out of use
}

// SourceKind says how a demand source is asked.
type SourceKind string

// Kinds of demand sources.
const (
	OpenRTB  SourceKind = "openrtb" // bid requests to Endpoint
	ThirdTag SourceKind = "tag"     // HTML in the browser
)

// DemandSource is one way to a demand partner's ads.
type DemandSource struct {
	ID      string     `json:"id" bson:"_id"`          // what other documents, URLs and tokens call it
	Partner string     `json:"partner" bson:"partner"` // the demand partner's id
	Name    string     `json:"name" bson:"name"`       // for people
	Kind    SourceKind `json:"kind" bson:"kind"`       // how it is asked
	// Endpoint of kind openrtb, https (http is accepted for loopback hosts and for names inside the cluster).
	Endpoint string `json:"endpoint,omitempty" bson:"endpoint,omitempty"`
	// Timeout of one bid request, within the step's deadline; default the deadline.
	Timeout string `json:"timeout,omitempty" bson:"timeout,omitempty"`
	// MaxQPS bounds bid requests a second of one server; 0 is unbounded.
	MaxQPS int `json:"maxQps,omitempty" bson:"maxQps,omitempty"`
	// Currencies that bids may be in; default the catalogue's currency.
	Currencies []string `json:"currencies,omitempty" bson:"currencies,omitempty"`
	// AllowedSeats and BlockedSeats of bidders; an empty AllowedSeats allows all.
	AllowedSeats []string `json:"allowedSeats,omitempty" bson:"allowedSeats,omitempty"`
	BlockedSeats []string `json:"blockedSeats,omitempty" bson:"blockedSeats,omitempty"` // that never win
	// BidAdjustment is percent of a bid that counts in comparisons (fees, discrepancies); 0 means 100.
	BidAdjustment int `json:"bidAdjustment,omitempty" bson:"bidAdjustment,omitempty"`
	// HTML of kind tag. Macros: {{CLICK}}, {{PASSBACK}} (script that calls it passes back), {{WIDTH}}, {{HEIGHT}}, {{PAGE}}, {{CONSENT}},
	// {{GDPR}}, {{GPP}}, {{US_PRIVACY}}, {{CACHEBUSTER}}. It may also call parent.postMessage({pa:"passback"}, "*").
	HTML string `json:"html,omitempty" bson:"html,omitempty"`
	// CPM that a tag is expected to pay: its place by price, and its revenue in reports.
	CPM       *Money    `json:"cpm,omitempty" bson:"cpm,omitempty"`
	Targeting Targeting `json:"targeting,omitzero" bson:"targeting,omitempty"` // requests for which it is asked at all
	Paused    bool      `json:"paused,omitempty" bson:"paused,omitempty"`      // keeps it as it is, out of use
}

// Deal is an agreement on a price with buyers of one demand source (OpenRTB private marketplace).
type Deal struct {
	ID     string `json:"id" bson:"_id"`        // what other documents, URLs and tokens call it
	Source string `json:"source" bson:"source"` // id of a demand source of kind openrtb
	Name   string `json:"name" bson:"name"`     // for people
	Floor  Money  `json:"floor" bson:"floor"`   // least CPM of its bids
	// Placements it holds for; Seats and Domains (of advertisers) that may use it, empty for all.
	Placements []string `json:"placements" bson:"placements"`
	Seats      []string `json:"seats,omitempty" bson:"seats,omitempty"`     // of buyers that may use it; none means all
	Domains    []string `json:"domains,omitempty" bson:"domains,omitempty"` // of advertisers that may use it; none means all
	Flights    []Flight `json:"flights,omitempty" bson:"flights,omitempty"` // none means always
	// Preferred deals win over open bids whatever the price.
	Preferred bool `json:"preferred,omitempty" bson:"preferred,omitempty"`
	Paused    bool `json:"paused,omitempty" bson:"paused,omitempty"` // keeps it as it is, out of use
}

// Advertiser pays for campaigns.
type Advertiser struct {
	ID     string `json:"id" bson:"_id"`                            // what other documents, URLs and tokens call it
	Name   string `json:"name" bson:"name"`                         // for people
	Domain string `json:"domain,omitempty" bson:"domain,omitempty"` // of its site: block lists name it
	// BlockedSites are site ids on which this advertiser never shows.
	BlockedSites []string `json:"blockedSites,omitempty" bson:"blockedSites,omitempty"`
	// BlockedCategories are IAB content categories of pages on which this advertiser never shows, BlockedKeywords words in a
	// page's URL or keywords.
	BlockedCategories []string `json:"blockedCategories,omitempty" bson:"blockedCategories,omitempty"`
	BlockedKeywords   []string `json:"blockedKeywords,omitempty" bson:"blockedKeywords,omitempty"` // of pages on which this advertiser never shows
}

// Campaign groups an advertiser's line items.
type Campaign struct {
	ID         string `json:"id" bson:"_id"`                            // what other documents, URLs and tokens call it
	Advertiser string `json:"advertiser" bson:"advertiser"`             // the advertiser's id
	Name       string `json:"name" bson:"name"`                         // for people
	Paused     bool   `json:"paused,omitempty" bson:"paused,omitempty"` // keeps it as it is, out of use
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
	ID       string `json:"id" bson:"_id"`            // what other documents, URLs and tokens call it
	Campaign string `json:"campaign" bson:"campaign"` // the campaign's id
	Name     string `json:"name" bson:"name"`         // for people
	Tier     Tier   `json:"tier" bson:"tier"`         // of priority
	// CPM is the price of a thousand impressions.
	CPM Money `json:"cpm" bson:"cpm"`
	// Weight among the items of its tier, 1 to 1000; 0 means 1.
	Weight int `json:"weight,omitempty" bson:"weight,omitempty"`
	// Flights are the periods in which it may show; none means always.
	Flights []Flight `json:"flights,omitempty" bson:"flights,omitempty"`
	// Placements it may show in.
	Placements []string  `json:"placements" bson:"placements"`
	Targeting  Targeting `json:"targeting,omitzero" bson:"targeting,omitempty"` // who may see it
	// Frequency caps per user; all must hold.
	Frequency []FrequencyCap `json:"frequency,omitempty" bson:"frequency,omitempty"`
	// MaxImpressions is a hard cap over the item's life, over all servers: it is reserved before an ad is served. 0: none.
	MaxImpressions int64 `json:"maxImpressions,omitempty" bson:"maxImpressions,omitempty"`
	// MaxClicks and Budget stop the item when so many clicks were counted or so much was earned; a few more may come from ads that
	// are out already, and they are counted.
	MaxClicks int64  `json:"maxClicks,omitempty" bson:"maxClicks,omitempty"`
	Budget    *Money `json:"budget,omitempty" bson:"budget,omitempty"` // what it may earn
	// Goal is what is to be delivered by the end of the flights, and how it is spread over them.
	Goal *Goal `json:"goal,omitempty" bson:"goal,omitempty"`
	// ExclusionGroups are labels: two items that share one never show on one page view at the same time. An advertiser's own
	// items exclude each other only when told so here.
	ExclusionGroups []string         `json:"exclusionGroups,omitempty" bson:"exclusionGroups,omitempty"`
	Creatives       []CreativeInItem `json:"creatives" bson:"creatives"`               // in rotation, all of the campaign's advertiser
	Paused          bool             `json:"paused,omitempty" bson:"paused,omitempty"` // keeps it as it is, out of use
}

// Goal of a line item: one of Impressions, Clicks or Revenue.
type Goal struct {
	Impressions int64  `json:"impressions,omitempty" bson:"impressions,omitempty"` // rendered
	Clicks      int64  `json:"clicks,omitempty" bson:"clicks,omitempty"`           // counted once each
	Revenue     *Money `json:"revenue,omitempty" bson:"revenue,omitempty"`         // earned
	// Pacing: even (default) spreads delivery over the flights, asap does not hold back.
	Pacing Pacing `json:"pacing,omitempty" bson:"pacing,omitempty"`
}

// Pacing of a goal.
type Pacing string

// Pacings.
const (
	Even Pacing = "even"
	ASAP Pacing = "asap"
)

// IsHouse says whether items of the tier are the publisher's own.
func (t Tier) IsHouse() bool { return t == HouseTier }

// CreativeInItem is a creative of a line item and its weight in the rotation (0 means 1).
type CreativeInItem struct {
	ID     string `json:"id" bson:"id"`                             // the creative's id
	Weight int    `json:"weight,omitempty" bson:"weight,omitempty"` // 1 to 1000, 0 means 1
}

// Flight is a period [Start, End). Times carry their offset.
type Flight struct {
	Start time.Time `json:"start" bson:"start"` // first moment
	End   time.Time `json:"end" bson:"end"`     // first moment after it
}

// FrequencyCap allows at most Impressions per user in each Window, a Go duration from 1m to 720h. Windows are fixed periods
// counted from the Unix epoch, not sliding ones.
type FrequencyCap struct {
	Impressions int    `json:"impressions" bson:"impressions"` // 1 to 100000
	Window      string `json:"window" bson:"window"`           // such as 24h
}

// Targeting: each part narrows; an empty part does not.
type Targeting struct {
	// Countries, ISO 3166-1 alpha-2, upper case.
	Countries Lists `json:"countries,omitzero" bson:"countries,omitempty"`
	// Regions, ISO 3166-2, such as DE-BY.
	Regions Lists `json:"regions,omitzero" bson:"regions,omitempty"`
	// Devices: desktop, mobile, tablet.
	Devices Lists `json:"devices,omitzero" bson:"devices,omitempty"`
	// Browsers: chrome, safari, firefox, edge, opera, samsung, other. Systems: windows, macos, linux, android, ios, chromeos, other.
	Browsers Lists `json:"browsers,omitzero" bson:"browsers,omitempty"`
	Systems  Lists `json:"systems,omitzero" bson:"systems,omitempty"` // windows, macos, linux, android, ios, chromeos, other
	// Sites by id.
	Sites Lists `json:"sites,omitzero" bson:"sites,omitempty"`
	// Pages by URL: a pattern is a prefix of host and path without scheme, such as news.example/sport/; a leading *. stands for any
	// subdomain.
	Pages Lists `json:"pages,omitzero" bson:"pages,omitempty"`
	// Categories of the page, IAB content categories: IAB17 stands for all of IAB17-x.
	Categories Lists `json:"categories,omitzero" bson:"categories,omitempty"`
	// DayParts: one must hold; none means always.
	DayParts []DayPart `json:"dayParts,omitempty" bson:"dayParts,omitempty"`
	// KeyValues that the page passes. Include: for each key one of its values must be passed. Exclude: none may be.
	KeyValues KeyValues `json:"keyValues,omitzero" bson:"keyValues,omitempty"`
}

// DayPart is hours of days: [From, To) of each of Days in Zone.
type DayPart struct {
	Days []string `json:"days,omitempty" bson:"days,omitempty"` // mon … sun; none means all
	From int      `json:"from" bson:"from"`                     // hour, 0 to 23
	To   int      `json:"to" bson:"to"`                         // hour, 1 to 24; below From it ends the next day
	Zone string   `json:"zone" bson:"zone"`                     // IANA name, such as Europe/Berlin
}

// Lists of accepted and refused values.
type Lists struct {
	Include []string `json:"include,omitempty" bson:"include,omitempty"` // one of these must be it; none means all
	Exclude []string `json:"exclude,omitempty" bson:"exclude,omitempty"` // none of these may be it
}

// KeyValues of a page, accepted and refused.
type KeyValues struct {
	Include map[string][]string `json:"include,omitempty" bson:"include,omitempty"` // per key, one of its values must be passed
	Exclude map[string][]string `json:"exclude,omitempty" bson:"exclude,omitempty"` // none of these pairs may be passed
}

// Creative is what is shown.
type Creative struct {
	ID         string `json:"id" bson:"_id"`                       // what other documents, URLs and tokens call it
	Advertiser string `json:"advertiser" bson:"advertiser"`        // the advertiser's id
	Name       string `json:"name" bson:"name"`                    // for people
	Format     Format `json:"format" bson:"format"`                // display or native
	Size       Size   `json:"size,omitzero" bson:"size,omitempty"` // of a display creative
	// HTML is the markup of a display creative. {{CLICK}} in it becomes the URL that counts the click and goes to Landing.
	HTML string `json:"html,omitempty" bson:"html,omitempty"`
	// Native assets of a native creative.
	Native *NativeAssets `json:"native,omitempty" bson:"native,omitempty"`
	// Categories are IAB content categories of what is advertised.
	Categories []string `json:"categories,omitempty" bson:"categories,omitempty"`
	// Landing is the page that a click leads to, https (http is accepted for loopback hosts).
	Landing string `json:"landing" bson:"landing"`
}

// NativeAssets are the parts from which a native ad is put together.
type NativeAssets struct {
	Title   string `json:"title" bson:"title"`                       // headline
	Body    string `json:"body,omitempty" bson:"body,omitempty"`     // text below it
	Sponsor string `json:"sponsor" bson:"sponsor"`                   // who pays: shown with the ad
	Action  string `json:"action,omitempty" bson:"action,omitempty"` // text of the link, such as See more
	// Image is an https or data:image/… URL.
	Image string `json:"image,omitempty" bson:"image,omitempty"`
}
