// Command backup copies the Mongo store into the bucket of backups and back. See package command for its verbs.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"patag/app/backup/command"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(command.Run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
