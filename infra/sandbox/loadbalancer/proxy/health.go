package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// HealthCheck is Compute Engine's. Zero fields get GKE's defaults for container-native load balancing.
type HealthCheck struct {
	// Type is HTTP, HTTPS, HTTP2 or TCP.
	Type string
	// Path is asked for; 200 is health, anything else is not.
	Path, Host string
	// Port is probed; 0 means the endpoint's own.
	Port              int
	Interval, Timeout time.Duration
	// Healthy successes in a row make an endpoint healthy, Unhealthy failures the contrary.
	Healthy, Unhealthy int
}

func (h HealthCheck) withDefaults() HealthCheck {
	if h.Type == "" {
		h.Type = "HTTP"
	}
	if h.Path == "" {
		h.Path = "/"
	}
	if h.Interval <= 0 {
		h.Interval = 15 * time.Second
	}
	if h.Timeout <= 0 {
		h.Timeout = min(15*time.Second, h.Interval)
	}
	if h.Healthy <= 0 {
		h.Healthy = 1
	}
	if h.Unhealthy <= 0 {
		h.Unhealthy = 2
	}
	return h
}

// newcomer is how long a new endpoint is probed every second, unless it is healthy before.
const newcomer = 2 * time.Minute

// probe checks one endpoint until ctx ends. Google probes each endpoint from several places at once, so a new one is
// found healthy sooner than interval × threshold; the one prober here asks a newcomer as often as those would.
func (b *Backend) probe(ctx context.Context, ep *endpoint, spec *BackendSpec) {
	check := spec.Health
	client, url := b.prober(ep, check)
	defer client.CloseIdleConnections()
	begun, everHealthy := time.Now(), false
	good, bad := 0, 0
	for {
		err := probeOnce(ctx, b, client, url, check, ep)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			good, bad = good+1, 0
		} else {
			good, bad = 0, bad+1
		}
		switch {
		case good >= check.Healthy:
			everHealthy = true
			b.setHealth(ctx, ep, true, nil)
		case bad >= check.Unhealthy:
			b.setHealth(ctx, ep, false, err)
		}
		wait := check.Interval
		if !everHealthy && time.Since(begun) < newcomer {
			wait = min(wait, time.Second)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (b *Backend) setHealth(ctx context.Context, ep *endpoint, healthy bool, cause error) {
	b.mu.Lock()
	if ctx.Err() != nil || ep.healthy == healthy {
		b.mu.Unlock()
		return
	}
	ep.healthy = healthy
	b.publish()
	b.mu.Unlock()
	if healthy {
		b.logger.Info("endpoint healthy", "backend", b.spec.Load().Name, "endpoint", ep.Address, "pod", ep.Pod)
	} else {
		b.logger.Warn("endpoint unhealthy", "backend", b.spec.Load().Name, "endpoint", ep.Address, "pod", ep.Pod, "cause", cause)
	}
	if b.onFlip != nil {
		b.onFlip()
	}
}

func (b *Backend) prober(ep *endpoint, check HealthCheck) (*http.Client, string) {
	host, port, _ := net.SplitHostPort(ep.Address)
	if check.Port != 0 {
		port = strconv.Itoa(check.Port)
	}
	scheme := "http"
	if check.Type == "HTTPS" || check.Type == "HTTP2" {
		scheme = "https"
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return b.dial(ctx, network, address)
		},
		// A new connection each time, as Google's probers do: a backend that cannot take connections is not healthy.
		DisableKeepAlives: true,
		ForceAttemptHTTP2: check.Type == "HTTP2",
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	}
	return &http.Client{Transport: transport, Timeout: check.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		scheme + "://" + net.JoinHostPort(host, port) + check.Path
}

func probeOnce(ctx context.Context, b *Backend, client *http.Client, url string, check HealthCheck, ep *endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, check.Timeout)
	defer cancel()
	if check.Type == "TCP" || check.Type == "SSL" {
		address := ep.Address
		if host, _, err := net.SplitHostPort(address); err == nil && check.Port != 0 {
			address = net.JoinHostPort(host, strconv.Itoa(check.Port))
		}
		c, err := b.dial(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return c.Close()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "GoogleHC/1.0")
	if check.Host != "" {
		req.Host = check.Host
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, 4<<10)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s; a health check wants 200", url, resp.Status)
	}
	return nil
}
