// Command pulumi-resource-gcp is the Pulumi plugin for Google Cloud of package gcpplugin. Pulumi finds it on PATH.
package main

import (
	"context"
	"fmt"
	"os"

	"patag/infra/sandbox/gcpplugin"
)

func main() {
	if err := gcpplugin.Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "pulumi-resource-gcp:", err)
		os.Exit(1)
	}
}
