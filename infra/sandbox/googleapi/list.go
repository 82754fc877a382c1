package googleapi

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"

	"patag/infra/sandbox/store"
)

// Page is a part of a list.
type Page[T any] struct {
	Items []T
	// Next is the token of the next page, "" on the last.
	Next string
}

// Paginate cuts the page that the request asks for (pageSize or maxResults, and pageToken) out of a list whose order
// does not change between calls. key names an item, for the token. limit is Google's default and upper bound.
func Paginate[T any](r *Request, items []T, key func(T) string, limit int) (Page[T], error) {
	size := limit
	for _, name := range []string{"pageSize", "maxResults"} {
		if v := r.Query(name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 {
				return Page[T]{}, InvalidArgument("Invalid value at '%s' (TYPE_INT32), %q", snake(name), v)
			}
			if n > 0 && n < limit {
				size = n
			}
		}
	}
	start := 0
	if token := r.Query("pageToken"); token != "" {
		raw, err := base64.RawURLEncoding.DecodeString(token)
		after, ok := strings.CutPrefix(string(raw), "after:")
		if err != nil || !ok {
			return Page[T]{}, InvalidArgument("Invalid value for field 'pageToken': '%s'.", token)
		}
		// The item itself may be gone by now: go on behind where it was.
		for start = 0; start < len(items) && key(items[start]) != after; start++ {
		}
		if start == len(items) {
			for start = 0; start < len(items) && key(items[start]) <= after; start++ {
			}
		} else {
			start++
		}
	}
	end := min(start+size, len(items))
	p := Page[T]{Items: items[start:end]}
	if end < len(items) && end > 0 {
		p.Next = base64.RawURLEncoding.EncodeToString([]byte("after:" + key(items[end-1])))
	}
	return p, nil
}

// Children reads the documents directly under a collection's key ("secretmanager/projects/p/secrets"), by name.
func Children(tx store.Tx, collection string) ([]Doc, error) {
	var docs []Doc
	prefix := collection + "/"
	err := tx.List(prefix, func(key string, raw []byte) error {
		if strings.Contains(key[len(prefix):], "/") {
			return nil
		}
		var d Doc
		if err := json.Unmarshal(raw, &d); err != nil {
			return err
		}
		docs = append(docs, d)
		return nil
	})
	return docs, err
}
