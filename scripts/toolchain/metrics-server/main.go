// Command metrics-server is the Kubernetes metrics server.
package main

import (
	"fmt"
	"os"

	"k8s.io/component-base/cli"
	"sigs.k8s.io/metrics-server/cmd/metrics-server/app"

	"patag/toolchain/asuser"
)

func main() {
	if err := asuser.Switch(); err != nil {
		fmt.Fprintln(os.Stderr, "metrics-server:", err)
		os.Exit(1)
	}
	os.Exit(cli.Run(app.NewMetricsServerCommand(nil)))
}
