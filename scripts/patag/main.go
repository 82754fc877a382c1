// Command patag provisions, deploys and operates the ad-tag platform; see package cli for its commands.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"patag/scripts/patag/app"
	"patag/scripts/patag/cli"
	"patag/scripts/patag/images"
	"patag/stacks"
	"patag/stacks/policy"
)

// version is set by the linker.
var version = "dev"

func main() {
	// Pulumi's engine starts this program by that name, as its policy pack.
	if filepath.Base(os.Args[0]) == policy.Analyzer {
		if err := policy.Serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(cli.Main(&app.App{Program: stacks.Run, Policies: true, Images: images.Make, Version: version}))
}
