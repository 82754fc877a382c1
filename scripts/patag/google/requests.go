package google

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Requested answers the URLs of requests that load balancers logged since a time, newest first, as far as their text has part in it.
func (c *Client) Requested(ctx context.Context, part string, since time.Time, most int) ([]*url.URL, error) {
	var page struct {
		Entries []struct{ HTTPRequest struct{ RequestURL string } }
	}
	err := c.call(ctx, http.MethodPost, c.logging+"entries:list", map[string]any{
		"resourceNames": []string{"projects/" + c.Project}, "orderBy": "timestamp desc", "pageSize": most,
		"filter": fmt.Sprintf(`resource.type="http_load_balancer" AND timestamp>=%q AND httpRequest.requestUrl:%q`, since.UTC().Format(time.RFC3339), part),
	}, &page)
	if err != nil {
		return nil, fmt.Errorf("read the load balancers' log: %w", err)
	}
	var all []*url.URL
	for _, e := range page.Entries {
		if u, err := url.Parse(e.HTTPRequest.RequestURL); err == nil { // what visitors send need not be an address
			all = append(all, u)
		}
	}
	return all, nil
}
