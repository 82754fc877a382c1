package rtb

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The documentation has every cause with its code, every outcome and every kind.
func TestDocumentation(t *testing.T) {
	raw, err := os.ReadFile("../../../docs/openrtb.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, r := range refusals {
		if row := fmt.Sprintf("| `%s` | %d |", r.name, r.code); !strings.Contains(text, row) {
			t.Errorf("docs/openrtb.md lacks %s", row)
		}
	}
	if n := strings.Count(text[strings.Index(text, "| cause |"):strings.Index(text, "The others lose")], "\n| `"); n != len(refusals) {
		t.Errorf("docs/openrtb.md has %d causes, there are %d", n, len(refusals))
	}
	for _, names := range [][]string{outcomeNames[:], noticeNames[:], noticeOutcomeNames[:]} {
		for _, name := range names {
			if !strings.Contains(text, "`"+name+"`") {
				t.Errorf("docs/openrtb.md lacks %s", name)
			}
		}
	}
}
