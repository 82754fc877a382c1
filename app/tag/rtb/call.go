package rtb

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/prebid/openrtb/v20/openrtb2"

	"patag/app/tag/decision"
)

// maxResponse is how long a bid response may be, decompressed.
const maxResponse = 256 << 10

// call is one bid request on its way.
type call struct {
	auctions *Auctions
	round    *round
	seat     *seat
	at       int // in the round's answers
	body     []byte
	timeout  time.Duration
	begin    time.Time
	release  func(error)
}

var errLate = errors.New("the answer came too late")

// run asks, and leaves an answer in time or tells the bidder that it came too late.
func (c *call) run(ctx context.Context) {
	defer c.round.end()
	if c.timeout < c.round.step.Deadline { // the source has less time than the step
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, c.begin.Add(c.timeout+c.auctions.o.Grace))
		defer cancel()
	}
	resp, err := c.ask(ctx)
	took := time.Since(c.begin)
	c.seat.seconds.Observe(took.Seconds())
	var answer decision.Answer
	var refused []refusal
	outcome := outcomeBid
	switch {
	case errors.Is(err, context.Canceled):
		answer.Problem, outcome = decision.TimedOut, outcomeCancelled
	case errors.Is(err, context.DeadlineExceeded):
		answer.Problem, outcome, err = decision.TimedOut, outcomeTimedOut, errLate
	case errors.Is(err, errGarbage):
		answer.Problem, outcome = decision.BadBid, outcomeBad
	case err != nil:
		answer.Problem, outcome = decision.SourceFailed, outcomeFailed
	case resp == nil:
		answer.Problem, outcome = decision.NoBid, outcomeNoBid
	default:
		answer, refused = best(&c.round.lot, c.seat.current().source, resp)
		switch answer.Problem {
		case decision.NoBid:
			outcome = outcomeNoBid
		case decision.BadBid:
			outcome = outcomeBad
		}
	}
	late := took > c.timeout
	if late {
		kept := answer
		answer = decision.Answer{Problem: decision.TimedOut}
		if err == nil {
			err, outcome = errLate, outcomeTimedOut
		}
		c.round.put(c.at, &answer)
		answer = kept
	} else if late = !c.round.put(c.at, &answer); late && err == nil {
		err, outcome = errLate, outcomeTimedOut
	}
	c.seat.count(outcome)
	c.release(err)
	if err != nil && !errors.Is(err, errLate) && !errors.Is(err, context.Canceled) {
		c.auctions.o.Logger.Debug("a demand source failed", "source", c.seat.current().source.ID, "err", err)
	}
	for i := range refused {
		c.seat.refused[refused[i].why].Inc()
		c.auctions.notices.send(c.seat, noticeLoss, refused[i].bid.lost(refusals[refused[i].why].code))
	}
	if bid, ok := answer.Bid.(*Bid); ok && late {
		c.auctions.notices.send(c.seat, noticeLoss, bid.lost(lossExpired))
	}
}

// errGarbage is a response that arrived and cannot be understood.
var errGarbage = errors.New("not an OpenRTB bid response")

// ask sends the request and reads the response; nil is a bidder that does not bid.
func (c *call) ask(ctx context.Context) (*openrtb2.BidResponse, error) {
	st := c.seat.current()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "", bytes.NewReader(c.body))
	if err != nil {
		return nil, err
	}
	req.URL, req.Host, req.Header = st.url, st.url.Host, st.header
	// The transport, not a client: it follows no redirects.
	resp, err := c.auctions.o.Transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("ask for a bid: %w", cause(ctx, err))
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusNoContent:
		return nil, nil
	case http.StatusOK:
	default:
		io.CopyN(io.Discard, resp.Body, 4<<10) // so that the connection can be used again
		return nil, fmt.Errorf("ask for a bid: the source answered %s", resp.Status)
	}
	var buf bytes.Buffer
	if n := resp.ContentLength; n > maxResponse {
		return nil, fmt.Errorf("%w: %d bytes are too many", errGarbage, n)
	} else if n > 0 {
		buf.Grow(int(n) + bytes.MinRead)
	}
	if _, err := buf.ReadFrom(io.LimitReader(resp.Body, maxResponse+1)); err != nil {
		return nil, fmt.Errorf("read the bid response: %w", cause(ctx, err))
	}
	if buf.Len() > maxResponse {
		return nil, fmt.Errorf("%w: more than %d bytes", errGarbage, maxResponse)
	}
	return parse(buf.Bytes())
}

// parse decodes a response; nil without an error is an empty one.
func parse(data []byte) (*openrtb2.BidResponse, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, nil
	}
	resp := new(openrtb2.BidResponse)
	if err := json.Unmarshal(data, resp); err != nil {
		return nil, fmt.Errorf("%w: %v", errGarbage, err)
	}
	return resp, nil
}

// cause is why a request ended: its own end comes out of the transport as errors of many kinds.
func cause(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	return err
}

// newTransport keeps connections to use them again, and speaks HTTP/2 where it is offered. control may refuse addresses.
func newTransport(perHost int, control func(network, address string, c syscall.RawConn) error) *http.Transport {
	dialer := &net.Dialer{Timeout: time.Second, KeepAlive: 30 * time.Second, Control: control}
	return &http.Transport{
		DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(64)},
		TLSHandshakeTimeout: time.Second, MaxIdleConnsPerHost: perHost, MaxConnsPerHost: perHost, IdleConnTimeout: 90 * time.Second,
		MaxResponseHeaderBytes: 16 << 10, ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10,
	}
}
