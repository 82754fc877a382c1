package stacks

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/bidder"
	"patag/stacks/config"
)

// readCatalogue reads the demo catalogue, empty if the stack wants none.
func readCatalogue(ctx *pulumi.Context, s *config.Settings) (string, error) {
	if s.Catalogue != config.CatalogueDemo {
		return "", nil
	}
	raw, path, err := readFromRoot(ctx.RootDirectory(), s.CatalogueFile)
	if err != nil {
		return "", fmt.Errorf("patag:catalogueFile: %w; set it to an absolute path, or patag:catalogue to none", err)
	}
	if !json.Valid(raw) {
		return "", fmt.Errorf("patag:catalogueFile: %s is not JSON; check it with `tag catalogue validate`", path)
	}
	if err := hasPlacement(raw, s.DemoPlacement); err != nil {
		return "", fmt.Errorf("patag:demoPlacement: %s %w", path, err)
	}
	if s.DemoBidder {
		if raw, err = askBidder(raw, bidder.Endpoint(s.Namespace)); err != nil {
			return "", fmt.Errorf("patag:catalogueFile: %s: %w", path, err)
		}
	}
	return string(raw), nil
}

// hasPlacement refuses a placement that the catalogue does not have: no ad would ever be served for it.
func hasPlacement(raw []byte, want string) error {
	var c struct {
		Placements []struct {
			ID string `json:"id"`
		} `json:"placements"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return fmt.Errorf("is not a catalogue: %w", err)
	}
	var ids []string
	for _, p := range c.Placements {
		if p.ID == want {
			return nil
		}
		ids = append(ids, p.ID)
	}
	if len(ids) > 10 {
		ids = append(ids[:10], "…")
	}
	return fmt.Errorf("has no placement %q; it has %s", want, strings.Join(ids, ", "))
}

// readFromRoot reads a file by a path from the project's root: the folder that the engine names, else the nearest one
// above the working folder that has the file beside a Pulumi.yaml. (A program that runs inline has its workspace
// elsewhere, and the engine then names that.)
func readFromRoot(root, file string) (raw []byte, path string, err error) {
	candidates := []string{file}
	if !filepath.IsAbs(file) {
		candidates = nil
		if root != "" {
			candidates = append(candidates, filepath.Join(root, file))
		}
		dir, err := os.Getwd()
		if err != nil {
			return nil, "", fmt.Errorf("find the project's root: %w", err)
		}
		for ; ; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "Pulumi.yaml")); err == nil {
				candidates = append(candidates, filepath.Join(dir, file))
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	for _, path := range candidates {
		raw, err := os.ReadFile(path)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return raw, path, err
		}
	}
	if len(candidates) == 0 {
		return nil, "", fmt.Errorf("%s is relative, and no folder above the working folder is the project's root", file)
	}
	return nil, "", fmt.Errorf("there is no %s", strings.Join(candidates, " and no "))
}
