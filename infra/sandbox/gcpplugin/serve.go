package gcpplugin

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
)

// Main serves a provider until the engine that started it goes, or an interrupt comes. args are those after the
// program's name: the address of the engine, or none when an engine is to attach later. The port is written to
// stdout as its first line.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("pulumi-resource-gcp", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.String("tracing", "", "accepted for the engine's sake; this plugin sends no traces")
	version := flags.Bool("version", false, "print the version that this plugin stands in for")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *version {
		_, err := fmt.Fprintln(stdout, Version)
		return err
	}
	if flags.NArg() > 1 {
		return fmt.Errorf("one argument expected, the address of Pulumi's engine, not %d", flags.NArg())
	}
	level := slog.LevelWarn
	if os.Getenv("PULUMI_GCP_DEBUG") != "" {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if engine := flags.Arg(0); engine != "" {
		// An engine that was killed must not leave the plugin behind.
		if err := rpcutil.Healthcheck(ctx, engine, 5*time.Minute, cancel); err != nil {
			return fmt.Errorf("watch the engine at %s: %w", engine, err)
		}
	}
	provider := New(log)
	ended := make(chan bool)
	go func() {
		<-ctx.Done()
		provider.stop(fmt.Errorf("the plugin is stopping"))
		close(ended)
	}()
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Cancel: ended,
		Init: func(s *grpc.Server) error {
			pulumirpc.RegisterResourceProviderServer(s, provider)
			return nil
		},
	})
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	if _, err := fmt.Fprintf(stdout, "%d\n", handle.Port); err != nil {
		return err
	}
	return <-handle.Done
}
