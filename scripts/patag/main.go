// Command patag provisions, deploys and operates the ad-tag platform; see package cli for its commands.
package main

import (
	"os"

	"patag/scripts/patag/app"
	"patag/scripts/patag/cli"
	"patag/scripts/patag/images"
	"patag/stacks"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(cli.Main(&app.App{Program: stacks.Run, Images: images.Make, Version: version})) }
