package mongostore

import (
	"encoding/json"

	"go.mongodb.org/mongo-driver/bson"
)

// canonical is a document as its stored form would read back: through BSON (times in milliseconds and UTC, empty parts left out),
// then JSON, which sorts the keys of maps.
func canonical[T any](doc *T) ([]byte, error) {
	raw, err := bson.Marshal(doc)
	if err != nil {
		return nil, err
	}
	var back T
	if err := bson.Unmarshal(raw, &back); err != nil {
		return nil, err
	}
	return json.Marshal(&back)
}
