package decision

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// docs/decision.md has every reason once, in the order of the code.
func TestReasonsAreDocumented(t *testing.T) {
	page := docs(t)
	_, table, _ := strings.Cut(page, "\n## Reasons\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var got []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(table, -1) {
		got = append(got, m[1])
	}
	var want []string
	for r := None + 1; r < reasonCount; r++ {
		want = append(want, r.String())
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the table has %q, the code %q", got, want)
	}
}

// The trace that the docs show is the one that comes out.
func TestDocumentedTrace(t *testing.T) {
	_, block, _ := strings.Cut(docs(t), "```json\n")
	block, _, _ = strings.Cut(block, "```")
	var want Trace
	if err := json.Unmarshal([]byte(block), &want); err != nil {
		t.Fatal(err)
	}
	s := compiled(t, "catalogue-market.json")
	c := testCase{Request: testRequest{Placement: "price"}}
	r := c.request(t, s, 1)
	e := Engine{Frequency: seen{}, Delivery: delivered{}, Auctions: &bidders{bids: map[string]testBid{"fast": {Price: 1.6, Domains: []string{"shoes.example"}}}, settled: map[string]Reason{}}}
	var got Trace
	e.Decide(t.Context(), &r, &got)
	got.Device = "" // left out there
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func docs(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../../../docs/decision.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
