// Command patag-sandbox is the sandbox's daemon. `patag sandbox start` starts it; nobody else needs to.
//
//	patag-sandbox --state DIR --tools DIR
//	patag-sandbox node CONFIG               one node, started by the daemon inside its namespaces
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"patag/infra/sandbox/daemon"
	"patag/infra/sandbox/gke/node"
)

// version is set by the build.
var version = "dev"

func main() {
	daemon.Version = version
	if len(os.Args) > 1 && os.Args[1] == "node" {
		os.Exit(node.Main(os.Args[2:]))
	}
	state := flag.String("state", "", "state folder with settings.json and token")
	tools := flag.String("tools", "", "folder with kube, coredns and metrics-server")
	flag.Parse()
	if *state == "" || *tools == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := daemon.Main(ctx, *state, *tools); err != nil {
		fmt.Fprintln(os.Stderr, "patag-sandbox:", err)
		os.Exit(1)
	}
}
