// Command runbooks writes what the pages of docs/runbooks have from the commands themselves: usage, flags, exit codes and the list of
// pages. All else in them is written by hand. Run it from the project's root.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"patag/scripts/runbooks/page"
)

//go:generate go -C ../.. run ./scripts/runbooks

func main() {
	if err := run("."); err != nil {
		fmt.Fprintf(os.Stderr, "runbooks: %v\n", err)
		os.Exit(1)
	}
}

func run(root string) error {
	dir := filepath.Join(root, "docs", "runbooks")
	texts, err := generate(dir)
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, name+".md"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return err
}

// generate answers the pages as they should be, by name.
func generate(dir string) (map[string]string, error) {
	pages, err := page.Read(dir)
	if err != nil {
		return nil, fmt.Errorf("%w; run it from the project's root", err)
	}
	commands := verbs()
	if missing := slices.DeleteFunc(names(commands), func(name string) bool { _, ok := pages[name]; return ok }); len(missing) > 0 {
		return nil, fmt.Errorf("%s has no page for %v: write one as its neighbours are, with the lines %s and %s", dir, missing, opening("usage"), closing)
	}
	texts := map[string]string{}
	for name, p := range pages {
		parts := map[string]string{}
		if name == index {
			parts["pages"], parts["exit codes"], parts["flags"] = list(pages, commands), codes(""), global()
		} else if cmd, ok := commands[name]; ok {
			parts["usage"] = usage(cmd)
		} else {
			return nil, fmt.Errorf("%s.md is the page of no command: patag has no verb of that name", filepath.Join(dir, name))
		}
		if texts[name], err = fill(p.Text, parts); err != nil {
			return nil, fmt.Errorf("%s.md: %w", filepath.Join(dir, name), err)
		}
	}
	return texts, nil
}
