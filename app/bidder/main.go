// Command bidder is a demand source to try the tag server with: an OpenRTB 2.6 seat that bids, or behaves as badly as it is told to.
// See package bidder for what it does.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"patag/app/bidder/command"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(command.Run(ctx, os.Args[1:], os.Stderr))
}
