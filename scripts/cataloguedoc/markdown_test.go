package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestDocIsCurrent compares docs/catalogue.md with the types.
func TestDocIsCurrent(t *testing.T) {
	root := filepath.Join("..", "..")
	want, err := markdown(root)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(root, "docs", "catalogue.md"))
	if err != nil {
		t.Fatal(err)
	}
	if string(raw) != want {
		t.Error("docs/catalogue.md is not what the types say: go run ./scripts/cataloguedoc")
	}
}
