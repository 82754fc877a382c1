package cli

import (
	"github.com/spf13/cobra"

	"patag/scripts/patag/app"
)

// Tree is all commands, for documents that are made of them. They are read, never run.
func Tree() *cobra.Command { return newRoot(&app.App{}) }
