// Command program is what `pulumi up` runs; the stacks themselves are in package stacks.
package main

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/stacks"
)

func main() { pulumi.Run(stacks.Run) }
