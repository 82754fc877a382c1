// Command tag is the ad-tag server and the tools around its catalogue. See package command for its verbs and settings.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"patag/app/tag/command"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(command.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
