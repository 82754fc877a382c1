// Package google speaks to Google's REST APIs: addresses, credentials, retries, errors, long-running operations.
package google

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// Client sends requests.
type Client struct {
	http      *http.Client
	endpoints Endpoints
	token     oauth2.TokenSource
	log       *slog.Logger
	agent     string
	// patience bounds the retries of one request; tests shorten it.
	patience time.Duration
}

// New makes a client. token may be nil: then every request fails with what is needed.
func New(endpoints Endpoints, token oauth2.TokenSource, version string, log *slog.Logger) *Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// Pulumi works on many resources at once, most of them behind one host.
	transport.MaxIdleConnsPerHost = 64
	return &Client{http: &http.Client{Transport: transport}, endpoints: endpoints, token: token, log: log,
		agent: "pulumi-resource-gcp/" + version, patience: 2 * time.Minute}
}

// ErrNoCredentials says that there is nothing to show to Google.
var ErrNoCredentials = errors.New("no credentials for Google: set the config gcp:accessToken (pulumi config set --secret gcp:accessToken), " +
	"or the environment variable GOOGLE_OAUTH_ACCESS_TOKEN, or GOOGLE_APPLICATION_CREDENTIALS to a key file, or run \"gcloud auth application-default login\"")

// Request is one call.
type Request struct {
	Method, Service string
	// Path is relative to the service's address, and may have a query; with a scheme it is the whole URL.
	Path  string
	Query url.Values
	// Body is sent as JSON; Raw, with its ContentType, as it is.
	Body        any
	Raw         []byte
	ContentType string
}

// Do sends a request and decodes the answer. Requests that Google asks to repeat are repeated.
func (c *Client) Do(ctx context.Context, r Request) (map[string]any, error) {
	raw, err := c.Raw(ctx, r)
	if err != nil || len(bytes.TrimSpace(raw)) == 0 {
		return map[string]any{}, err
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("%s %s: the answer is not JSON: %w (%.120q)", r.Method, r.Path, err, raw)
	}
	return out, nil
}

// Raw is Do for an answer that is not JSON.
func (c *Client) Raw(ctx context.Context, r Request) ([]byte, error) {
	target, err := c.url(r)
	if err != nil {
		return nil, err
	}
	body := r.Raw
	if r.Body != nil {
		if body, err = json.Marshal(r.Body); err != nil {
			return nil, fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
		}
	}
	start := time.Now()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		answer, err := c.once(ctx, r, target, body)
		if err == nil || ctx.Err() != nil || time.Since(start) > c.patienceWith(r.Method, err) {
			return answer, err
		}
		c.log.DebugContext(ctx, "repeat request", "method", r.Method, "url", target, "error", err)
		// The jitter keeps parallel resources from knocking in step.
		if wait(ctx, pause+rand.N(pause/2)) != nil {
			return nil, err
		}
	}
}

// patienceWith is how long a request is repeated after this error.
func (c *Client) patienceWith(method string, err error) time.Duration {
	switch {
	case busy(err):
		// The operation that is in the way may take as long as any: the caller's time limit counts.
		return time.Duration(math.MaxInt64)
	case refused(err):
		return min(c.patience, 5*time.Second)
	case repeatable(method, err):
		return c.patience
	}
	return -1
}

func (c *Client) url(r Request) (string, error) {
	target := r.Path
	if !strings.Contains(target, "://") {
		base, err := c.endpoints.Base(r.Service)
		if err != nil {
			return "", err
		}
		target = base + r.Path
	}
	if len(r.Query) > 0 {
		sep := "?"
		if strings.Contains(target, "?") {
			sep = "&"
		}
		target += sep + r.Query.Encode()
	}
	return target, nil
}

func (c *Client) once(ctx context.Context, r Request, target string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, r.Method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
		if r.ContentType != "" {
			req.Header.Set("Content-Type", r.ContentType)
		}
	}
	req.Header.Set("User-Agent", c.agent)
	if c.token == nil {
		return nil, ErrNoCredentials
	}
	token, err := c.token.Token()
	if err != nil {
		return nil, fmt.Errorf("get an access token for Google: %w", err)
	}
	token.SetAuthHeader(req)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, &unreachable{err}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, &unreachable{fmt.Errorf("%s %s: read the answer: %w", r.Method, target, err)}
	}
	if resp.StatusCode >= 300 {
		return nil, parseError(r.Method, target, resp.StatusCode, answer)
	}
	return answer, nil
}

// wait pauses, unless ctx ends first.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
