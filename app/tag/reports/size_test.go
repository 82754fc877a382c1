package reports

import (
	"fmt"
	"testing"

	"go.mongodb.org/mongo-driver/bson"

	"patag/app/tag/events"
	"patag/app/tag/events/ship"
)

// The sizes that docs/counting.md gives and maxRows relies on: of ids of 16 bytes, and of the longest ones.
func TestSizesAreWhatTheDocumentSays(t *testing.T) {
	id := func(n int) string { return fmt.Sprintf("%0*d", n, 7) }
	for _, c := range []struct{ id, event, row int }{{16, 90, 200}, {64, 370, 500}} {
		e := events.Event{Kind: events.Impression, At: 1_790_000_000_000, Token: 1 << 63, Count: 1, CPMMicros: 4_500_000, Currency: "EUR",
			Placement: id(c.id), Item: id(c.id), Creative: id(c.id)}
		r := ship.Row{Hour: 1_790_000_000, Kind: "impression", Placement: e.Placement, LineItem: e.Item, Creative: e.Creative, Currency: "EUR", Count: 1, CPMMicros: 1}
		if c.id == 64 {
			e.Source, e.Arm, r.Source, r.Arm = id(64), id(64), id(64), id(64)
		}
		b, err := bson.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		const frame, element = 8, 7 // of the journal; of an array's key
		event, row := frame+len(e.Append(nil)), element+len(b)
		t.Logf("ids of %d bytes: %d bytes an event in the journal, %d bytes a row", c.id, event, row)
		if event > c.event || row > c.row || row*maxRows > 14<<20 {
			t.Errorf("ids of %d bytes: %d bytes an event, %d bytes a row; the document says %d and %d", c.id, event, row, c.event, c.row)
		}
	}
}
