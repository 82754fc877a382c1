package command

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"patag/app/bidder/bidder"
)

// demoBidder runs a demand source on a loopback address of this process, so that the embedded catalogue's auctions are real ones, over
// HTTP. It returns its endpoint and what ends it.
func demoBidder() (endpoint string, stop func(), err error) {
	o := bidder.Defaults()
	o.Fill, o.Latency, o.Jitter = 0.9, 5*time.Millisecond, 20*time.Millisecond
	b, err := bidder.New(o)
	if err != nil {
		return "", nil, fmt.Errorf("make the demo bidder: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listen for bid requests on a loopback address: %w", err)
	}
	srv := &http.Server{Handler: b, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute}
	go srv.Serve(l)
	return "http://" + l.Addr().String() + "/openrtb2", func() { srv.Close() }, nil
}
