// Package proxy is the data path of the load balancer: it takes HTTP and HTTPS requests on an address, picks a
// backend service by host and path, a healthy endpoint of it by load, and passes the request on as Google's front ends
// do (headers, retries, time limits, draining, error answers). Its configuration is plain Go values, exchanged while
// requests pass; it knows neither Kubernetes nor the Google API.
package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"patag/infra/sandbox/loadbalancer/armor"
)

// FrontendConfig is what a forwarding rule leads to.
type FrontendConfig struct {
	// Address is the load balancer's own, as it appears in X-Forwarded-For.
	Address string
	// ForwardingRule and TargetProxy are Compute Engine's names, for logs and metrics.
	ForwardingRule, TargetProxy string
	URLMap                      *URLMap
	// Redirect, if not 0, is the status with which every request is sent to https.
	Redirect int
	// Certificates serve HTTPS; the first is the default.
	Certificates []tls.Certificate
	// MinTLS is the SSL policy's lowest version; 0 means TLS 1.0 is refused and 1.2 taken.
	MinTLS uint16
}

// Sink is told of every request after it ended. It must not block.
type Sink interface{ Record(*Record) }

// Frontend serves one address and port.
type Frontend struct {
	config atomic.Pointer[FrontendConfig]
	server *http.Server
	sink   Sink
	logger *slog.Logger
	https  bool
	// Now is the clock of rate limits, for tests.
	now func() time.Time
	wg  sync.WaitGroup
}

// NewFrontend serves nothing before Serve.
func NewFrontend(https bool, sink Sink, logger *slog.Logger) *Frontend {
	f := &Frontend{sink: sink, logger: logger, https: https, now: time.Now}
	f.server = &http.Server{
		Handler: f,
		// Google's: ten minutes of keep-alive and a little more, 64 KB of headers.
		IdleTimeout:       610 * time.Second,
		ReadHeaderTimeout: 60 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // handshake failures of scanners
	}
	f.server.Protocols = new(http.Protocols)
	f.server.Protocols.SetHTTP1(true)
	if https {
		f.server.Protocols.SetHTTP2(true)
		f.server.TLSConfig = &tls.Config{GetConfigForClient: f.tlsConfig, MinVersion: tls.VersionTLS12}
	}
	return f
}

// Configure exchanges the configuration; requests under way keep the old one.
func (f *Frontend) Configure(c *FrontendConfig) { f.config.Store(c) }

func (f *Frontend) tlsConfig(*tls.ClientHelloInfo) (*tls.Config, error) {
	c := f.config.Load()
	if c == nil || len(c.Certificates) == 0 {
		return nil, errors.New("the target proxy has no certificate")
	}
	minimum := c.MinTLS
	if minimum == 0 {
		minimum = tls.VersionTLS12
	}
	return &tls.Config{Certificates: c.Certificates, MinVersion: minimum, NextProtos: []string{"h2", "http/1.1"}}, nil
}

// Serve accepts connections until Close.
func (f *Frontend) Serve(l net.Listener) {
	f.wg.Go(func() {
		var err error
		if f.https {
			err = f.server.ServeTLS(l, "", "")
		} else {
			err = f.server.Serve(l)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			f.logger.Error("load balancer stopped listening", "address", l.Addr(), "err", err)
		}
	})
}

// Close takes no more connections, waits for requests under way until ctx ends, and cuts the rest.
func (f *Frontend) Close(ctx context.Context) {
	if f.server.Shutdown(ctx) != nil {
		f.server.Close()
	}
	f.wg.Wait()
}

// ServeHTTP handles one request.
func (f *Frontend) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	config := f.config.Load()
	x := &exchange{ResponseWriter: w, config: config, record: f.begin(config, req)}
	if req.Body != nil && req.Body != http.NoBody {
		x.body = &countingBody{ReadCloser: req.Body}
		req.Body = x.body
	}
	finished := false
	defer func() { // also when the reverse proxy panics to break a connection off
		r := x.record
		r.Latency = time.Since(r.Start)
		if x.body != nil {
			r.RequestSize += x.body.n.Load()
		}
		r.ResponseSize += r.HeaderSize
		if !finished && r.Detail == "" {
			r.Detail = "backend_connection_closed_after_partial_response_sent"
			if errors.Is(req.Context().Err(), context.Canceled) {
				r.Detail = "client_disconnected_after_partial_response"
			}
		}
		if f.sink != nil {
			f.sink.Record(r)
		}
	}()
	f.route(x, req)
	finished = true
}

func (f *Frontend) begin(config *FrontendConfig, req *http.Request) *Record {
	r := &Record{Start: time.Now(), Method: req.Method, Host: req.Host, RequestURI: req.RequestURI, Protocol: req.Proto,
		UserAgent: req.UserAgent(), Referer: req.Referer(), Scheme: "http", ForwardingRule: config.ForwardingRule, TargetProxy: config.TargetProxy,
		ServerIP: config.Address}
	if req.TLS != nil {
		r.Scheme = "https"
	}
	if host, port, err := net.SplitHostPort(req.RemoteAddr); err == nil {
		r.RemoteIP, r.RemotePort = host, port
	}
	r.RequestSize = int64(len(req.Method)+len(req.RequestURI)+len(req.Proto)+4) + headerSize(req.Header)
	r.trace(req.Header.Get("X-Cloud-Trace-Context"))
	return r
}

func (f *Frontend) route(x *exchange, req *http.Request) {
	if x.config.Redirect != 0 {
		x.record.Detail, x.record.LogRate = "", 1
		host := req.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		x.Header().Set("Location", "https://"+host+req.URL.RequestURI())
		x.Header().Set("Content-Type", "text/html; charset=UTF-8")
		x.WriteHeader(x.config.Redirect)
		return
	}
	m := x.config.URLMap
	x.record.URLMap = m.name
	b := m.Find(req.Host, req.URL.Path)
	if b == nil {
		x.record.LogRate = 1
		x.notFound()
		return
	}
	x.backend, x.spec = b, b.spec.Load()
	x.record.Backend, x.record.LogRate = x.spec.Name, x.spec.LogRate
	if p := x.spec.Policy; p != nil && !f.admit(x, p, req) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithValue(req.Context(), exchangeKey{}, x), x.spec.Timeout)
	defer cancel()
	b.proxy.ServeHTTP(x, req.WithContext(ctx))
	if x.record.Detail == "" {
		x.record.Detail = "response_sent_by_backend"
	}
}

// notFound is what the default backend of a GKE cluster answers.
func (x *exchange) notFound() {
	x.record.Detail = "response_sent_by_backend"
	x.record.Backend = "default-http-backend"
	x.Header().Set("Content-Type", "text/plain; charset=utf-8")
	x.Header().Set("Via", "1.1 google")
	x.WriteHeader(http.StatusNotFound)
	io.WriteString(x, "response 404 (backend NotFound), service rules for the path non-existent \n")
}

// admit asks the security policy; false if it answered in its own name.
func (f *Frontend) admit(x *exchange, p *armor.Policy, req *http.Request) bool {
	ip, _ := netip.ParseAddr(x.record.RemoteIP)
	v := p.Evaluate(&armor.Request{IP: ip.Unmap(), Method: req.Method, Path: req.URL.Path, Query: req.URL.RawQuery, Scheme: x.record.Scheme, Header: req.Header.Get}, f.now())
	x.record.Policy = &v
	switch {
	case v.Status == 0:
		return true
	case v.Location != "":
		x.record.Detail = v.Detail
		x.Header().Set("Location", v.Location)
		x.WriteHeader(v.Status)
	default:
		x.fail(v.Status, v.Detail)
	}
	return false
}

// expand puts values in place of Google's variables. A variable that the sandbox cannot know becomes empty, as
// Google's do when they have no value.
func expand(value string, x *exchange, req *http.Request) string {
	if !strings.Contains(value, "{") {
		return value
	}
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(value, "{")
		out.WriteString(before)
		name, after, closed := strings.Cut(rest, "}")
		if !found || !closed {
			if found {
				out.WriteString("{" + rest)
			}
			return out.String()
		}
		switch name {
		case "client_ip_address":
			out.WriteString(x.record.RemoteIP)
		case "client_port":
			out.WriteString(x.record.RemotePort)
		case "server_ip_address":
			out.WriteString(x.config.Address)
		case "server_port":
			out.WriteString(map[string]string{"http": "80", "https": "443"}[x.record.Scheme])
		case "client_protocol":
			out.WriteString(req.Proto)
		case "client_encrypted":
			if x.record.Scheme == "https" {
				out.WriteString("true")
			} else {
				out.WriteString("false")
			}
		case "tls_version":
			if req.TLS != nil {
				out.WriteString(tls.VersionName(req.TLS.Version))
			}
		case "tls_sni_hostname":
			if req.TLS != nil {
				out.WriteString(req.TLS.ServerName)
			}
		}
		value = after
	}
}

// sampled draws whether a request is logged.
func sampled(rate float64) bool { return rate >= 1 || rate > 0 && rand.Float64() < rate }
