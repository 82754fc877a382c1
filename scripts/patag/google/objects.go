package google

import (
	"context"
	"encoding/json"
	"net/url"
)

// Objects reads all objects of a bucket, JSON each, whose names begin with prefix.
func (c *Client) Objects(ctx context.Context, bucket, prefix string) (map[string]json.RawMessage, error) {
	base := c.storage + "b/" + url.PathEscape(bucket) + "/o"
	all := map[string]json.RawMessage{}
	for token := ""; ; {
		query := url.Values{"prefix": {prefix}}
		if token != "" {
			query.Set("pageToken", token)
		}
		var page struct {
			Items         []struct{ Name string }
			NextPageToken string
		}
		if err := c.Get(ctx, base+"?"+query.Encode(), &page); err != nil {
			return nil, err
		}
		for _, item := range page.Items {
			var raw json.RawMessage
			if err := c.Get(ctx, base+"/"+url.PathEscape(item.Name)+"?alt=media", &raw); err != nil {
				if NotFound(err) {
					continue // gone meanwhile
				}
				return nil, err
			}
			all[item.Name] = raw
		}
		if token = page.NextPageToken; token == "" {
			return all, nil
		}
	}
}
