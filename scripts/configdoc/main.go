// Command configdoc writes docs/configuration.md from the table of keys. Run it from the project's root.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"patag/stacks/config"
)

//go:generate go -C ../.. run ./scripts/configdoc

func main() {
	file := filepath.Join("docs", "configuration.md")
	if err := os.WriteFile(file, []byte(config.Markdown()), 0o644); err != nil {
		fmt.Fprintf(os.Stderr, "configdoc: write the table of keys: %v; run it from the project's root\n", err)
		os.Exit(1)
	}
}
