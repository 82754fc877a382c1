package decision

import (
	"context"

	"patag/app/tag/catalogue"
	"patag/app/tag/inventory"
)

// Auctions asks demand sources for bids. Package rtb does so over the network; it must return by the step's deadline and never
// fail: a source that is slow, broken or silent has an Answer that says so.
type Auctions interface {
	// Ask sends bid requests for one step and returns what came back by its deadline. The result belongs to the caller.
	Ask(ctx context.Context, r *Request, step *inventory.Step) []Answer
	// Settle tells the sources what became of their bids: outcomes are by index of answers. It must not block.
	Settle(r *Request, step *inventory.Step, answers []Answer, outcomes []Reason)
}

// Answer is what one demand source said: one bid, its best that is well-formed, or why there is none.
type Answer struct {
	Source *inventory.Source
	// Problem is None for a bid, else NoBid, TimedOut, BadBid, SourceFailed, BreakerOpen, OverQPS or NotPermitted (privacy).
	Problem Reason
	// Price as bid, and in micros of the snapshot's currency after the source's adjustment: that is compared and held to floors.
	CPM        catalogue.Money
	BaseMicros int64
	Seat       string
	Deal       *inventory.Deal // nil for an open bid
	CreativeID string          // of the bidder, for reports and blocking
	Domains    []string        // advertiser domains, lower case
	Categories []string        // IAB categories of the ad
	Size       catalogue.Size
	Format     catalogue.Format
	// Markup with price macros filled in. Native has the assets of a native bid instead.
	Markup string
	Native *catalogue.NativeAssets
	// Landing of a native bid, for the click redirect; "" where markup has its own links.
	Landing string
	// Bid is the bidder's own id and the URLs of its notices; opaque to the decision.
	Bid any
}
