// Command cataloguedoc writes docs/catalogue.md from the types and comments of app/tag/catalogue, with examples from the demo
// catalogue. Run it from the project's root.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

//go:generate go -C ../.. run ./scripts/cataloguedoc

func main() {
	text, err := markdown(".")
	if err == nil {
		err = os.WriteFile(filepath.Join("docs", "catalogue.md"), []byte(text), 0o644)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "cataloguedoc: write docs/catalogue.md: %v; run it from the project's root\n", err)
		os.Exit(1)
	}
}
