// Package client speaks to a running sandbox's own calls (/sandbox/v1/…): what it is doing, stop, preempt a node.
// It finds the daemon through the state folder and knows nothing of Google's API.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"patag/infra/sandbox/layout"
)

// ErrNotRunning says that no daemon holds the state folder.
var ErrNotRunning = errors.New("the sandbox is not running")

// Status is what the daemon answers on GET /sandbox/v1/status.
type Status struct {
	// Ready is true once every cluster that should run serves.
	Ready bool `json:"ready"`
	// Phase says what the daemon is doing, in words for a person.
	Phase    string    `json:"phase"`
	Clusters []Cluster `json:"clusters"`
	// NetworkPolicies is true when the sandbox enforces NetworkPolicies.
	NetworkPolicies bool      `json:"networkPolicies"`
	Version         string    `json:"version"`
	PID             int       `json:"pid"`
	Since           time.Time `json:"since"`
}

// Cluster is one GKE cluster of the sandbox.
type Cluster struct {
	Name     string `json:"name"`
	Project  string `json:"project"`
	Location string `json:"location"`
	ID       string `json:"id"`
	Endpoint string `json:"endpoint"`
	Status   string `json:"status"`
	Nodes    []Node `json:"nodes"`
}

// Node is one machine of a pool.
type Node struct {
	Name   string `json:"name"`
	Pool   string `json:"pool"`
	Zone   string `json:"zone"`
	Spot   bool   `json:"spot"`
	Ready  bool   `json:"ready"`
	CPU    string `json:"cpu"`
	Memory string `json:"memory"`
}

// Client is safe for concurrent use.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// New reads the address and the token from the state folder. It does not connect.
func New(l layout.Layout) (*Client, error) {
	settings, err := l.Settings()
	if err != nil {
		return nil, err
	}
	token, err := l.Token()
	if err != nil {
		return nil, fmt.Errorf("read the sandbox's token: %w", err)
	}
	return &Client{
		base:  "http://" + settings.API,
		token: token,
		// The daemon is on loopback: a proxy of the environment must never see its token.
		http: &http.Client{Transport: &http.Transport{Proxy: nil}},
	}, nil
}

// Base is the address of the API, without a slash at its end.
func (c *Client) Base() string { return c.base }

// Status asks what the daemon is doing.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.call(ctx, http.MethodGet, "/sandbox/v1/status", nil, &s)
	return s, err
}

// Stop asks the daemon to end. It returns when the order was taken, not when it is carried out.
func (c *Client) Stop(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/sandbox/v1/stop", nil, nil)
}

// Preempt takes a spot or preemptible node away as Compute Engine does: 30 seconds' notice, then gone.
func (c *Client) Preempt(ctx context.Context, node string) error {
	return c.call(ctx, http.MethodPost, "/sandbox/v1/nodes/"+url.PathEscape(node)+":preempt", nil, nil)
}

// Error is an answer of the daemon that is not a success.
type Error struct {
	Code    int
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (HTTP %d)", e.Message, e.Code) }

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if errors.Is(err, unix.ECONNREFUSED) {
			return fmt.Errorf("%w (nothing listens on %s)", ErrNotRunning, c.base)
		}
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("read the answer of %s %s: %w", method, path, err)
	}
	if resp.StatusCode/100 != 2 {
		return &Error{Code: resp.StatusCode, Message: message(raw, resp.Status)}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("the answer of %s%s is not what a sandbox says; is another program on that port? %w", c.base, path, err)
	}
	return nil
}

// message takes the text out of an error in Google's format, else the first line of the body.
func message(raw []byte, status string) string {
	var google struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(raw, &google) == nil && google.Error.Message != "" {
		return google.Error.Message
	}
	if line, _, _ := strings.Cut(strings.TrimSpace(string(raw)), "\n"); line != "" {
		return line
	}
	return status
}

// Daemon tells whether a daemon holds the state folder, and its process id. The lock is the truth: it is the kernel's
// and ends with the process, whatever the file says. It is tried only when the file names a process that exists: to
// try it is to hold it for an instant, and must not be in the way of a daemon that starts.
func Daemon(l layout.Layout) (pid int, running bool, err error) {
	f, err := os.Open(l.LockFile())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("read the sandbox's lock: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return 0, false, fmt.Errorf("read the sandbox's lock: %w", err)
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || pid <= 0 {
		return 0, false, nil // being written, or emptied by a daemon that ended
	}
	if err := unix.Kill(pid, 0); errors.Is(err, unix.ESRCH) {
		return 0, false, nil
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); {
	case err == nil:
		return 0, false, nil
	case !errors.Is(err, unix.EWOULDBLOCK):
		return 0, false, fmt.Errorf("try the sandbox's lock %s: %w", l.LockFile(), err)
	}
	return pid, true, nil
}
