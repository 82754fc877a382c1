// Package google is a small client of Google's REST APIs, for the few calls that patag makes itself: it looks at
// clusters, finishes what a killed run began, and sweeps up what a deleted cluster leaves behind. The typed clients
// would cost more to compile than all of patag.
package google

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"patag/scripts/patag/cloud"
)

// Client calls Google's APIs of one cloud.
type Client struct {
	Project                              string
	compute, container, logging, storage string
	token                                string
	http                                 *http.Client
}

// New takes the cloud's endpoints and credentials.
func New(ctx context.Context, c *cloud.Cloud) (*Client, error) {
	token, err := c.AccessToken(ctx)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: time.Minute}
	if c.Name == cloud.Sandbox {
		// On loopback, and with the administrator's token: no proxy may see it.
		client.Transport = &http.Transport{Proxy: nil}
	}
	return &Client{Project: c.Project, compute: c.Compute, container: c.Container, logging: c.Logging, storage: c.Storage, token: token, http: client}, nil
}

// Error is Google's answer when it refuses.
type Error struct {
	Code    int
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("Google answered %d: %s", e.Code, e.Message) }

// NotFound tells whether Google says that there is no such thing.
func NotFound(err error) bool { return code(err) == http.StatusNotFound }

func code(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// Compute is the address of a path below projects/P of Compute Engine: global/forwardingRules.
func (c *Client) Compute(path string) string {
	return c.compute + "projects/" + url.PathEscape(c.Project) + "/" + path
}

// Link is the address of a resource by its self link, which names Google's own host on every cloud.
func (c *Client) Link(selfLink string) string {
	if i := strings.Index(selfLink, "/projects/"); i >= 0 {
		return c.compute + selfLink[i+1:]
	}
	return selfLink
}

// Container is the address of a path of the GKE API: projects/P/locations/L/clusters/C.
func (c *Client) Container(path string) string { return c.container + "v1/" + path }

// Get reads a resource.
func (c *Client) Get(ctx context.Context, address string, into any) error {
	return c.call(ctx, http.MethodGet, address, nil, into)
}

func (c *Client) call(ctx context.Context, method, address string, body, into any) error {
	var sent io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, sent)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", address, err)
	}
	if resp.StatusCode != http.StatusOK {
		var body struct{ Error struct{ Message string } }
		_ = json.Unmarshal(raw, &body)
		if body.Error.Message == "" {
			body.Error.Message = resp.Status
		}
		return &Error{resp.StatusCode, body.Error.Message}
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("the answer of %s is not what Google says: %w", address, err)
	}
	return nil
}

// List reads all pages of a collection of Compute Engine; an aggregated one is flattened.
func (c *Client) List(ctx context.Context, path string) ([]map[string]any, error) {
	var all []map[string]any
	for token := ""; ; {
		address := c.Compute(path)
		if token != "" {
			address += "?pageToken=" + url.QueryEscape(token)
		}
		var page struct {
			Items         json.RawMessage
			NextPageToken string
		}
		if err := c.Get(ctx, address, &page); err != nil {
			return nil, fmt.Errorf("list %s: %w", path, err)
		}
		items, err := flatten(page.Items)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", path, err)
		}
		all = append(all, items...)
		if token = page.NextPageToken; token == "" {
			return all, nil
		}
	}
}

func flatten(raw json.RawMessage) ([]map[string]any, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var plain []map[string]any
	if raw[0] == '[' {
		return plain, json.Unmarshal(raw, &plain)
	}
	var scopes map[string]map[string]json.RawMessage
	if err := json.Unmarshal(raw, &scopes); err != nil {
		return nil, err
	}
	for _, scope := range scopes {
		for name, list := range scope {
			if name == "warning" {
				continue
			}
			var part []map[string]any
			if err := json.Unmarshal(list, &part); err != nil {
				return nil, err
			}
			plain = append(plain, part...)
		}
	}
	return plain, nil
}

type operation struct {
	Name, Status, SelfLink, StatusMessage string
	Error                                 *struct {
		Message string
		Errors  []struct{ Message string }
	}
}

func (o operation) failure() error {
	switch {
	case o.Error == nil:
		return nil
	case len(o.Error.Errors) > 0:
		return errors.New(o.Error.Errors[0].Message)
	case o.Error.Message != "":
		return errors.New(o.Error.Message)
	default:
		return errors.New("the operation failed: " + o.StatusMessage)
	}
}

// DeleteCompute deletes a resource of Compute Engine and waits until it is gone. One that is gone is no error.
func (c *Client) DeleteCompute(ctx context.Context, selfLink string) error {
	return c.delete(ctx, c.Link(selfLink), func(o operation) string { return c.Link(o.SelfLink) })
}

// DeleteContainer deletes a resource of GKE likewise. location is projects/P/locations/L.
func (c *Client) DeleteContainer(ctx context.Context, path, location string) error {
	return c.delete(ctx, c.Container(path), func(o operation) string { return c.Container(location + "/operations/" + o.Name) })
}

func (c *Client) delete(ctx context.Context, address string, at func(operation) string) error {
	var op operation
	err := c.call(ctx, http.MethodDelete, address, nil, &op)
	for err == nil && op.Status != "DONE" && op.Name != "" {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
		err = c.Get(ctx, at(op), &op)
	}
	if NotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return op.failure()
}
