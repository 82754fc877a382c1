package stacks

import (
	"strings"
	"testing"
)

func TestHasPlacement(t *testing.T) {
	const catalogue = `{"placements":[{"id":"top"},{"id":"side"}]}`
	if err := hasPlacement([]byte(catalogue), "side"); err != nil {
		t.Error(err)
	}
	if err := hasPlacement([]byte(catalogue), "bottom"); err == nil || !strings.Contains(err.Error(), `no placement "bottom"; it has top, side`) {
		t.Error(err)
	}
	if err := hasPlacement([]byte(`[]`), "top"); err == nil {
		t.Error("a list passes for a catalogue")
	}
}
