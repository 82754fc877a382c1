package proxy

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// exchange is one request on its way. It travels in the request's context, so that the parts of the reverse proxy
// can add to it.
type exchange struct {
	http.ResponseWriter
	record  *Record
	config  *FrontendConfig
	backend *Backend
	spec    *BackendSpec
	body    *countingBody // nil without a body
	wrote   bool
}

func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (x *exchange) WriteHeader(status int) {
	if status >= 200 && !x.wrote {
		x.wrote, x.record.Status = true, status
		x.record.HeaderSize = headerSize(x.Header())
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(p []byte) (int, error) {
	if !x.wrote {
		x.WriteHeader(http.StatusOK)
	}
	n, err := x.ResponseWriter.Write(p)
	x.record.ResponseSize += int64(n)
	return n, err
}

// headerSize estimates what the status line and headers take: Google counts them in responseSize.
func headerSize(h http.Header) int64 {
	n := int64(len("HTTP/1.1 200 OK\r\n\r\n"))
	for k, vs := range h {
		for _, v := range vs {
			n += int64(len(k) + len(v) + 4)
		}
	}
	return n
}

// countingBody counts what the client sends.
type countingBody struct {
	io.ReadCloser
	n atomic.Int64 // the transport may still read while the response is being sent
}

// Close does nothing: the transport closes the body of a request that it could not send, and it is then to be sent to
// another endpoint. The server closes the real one after the request.
func (c *countingBody) Close() error { return nil }

func (c *countingBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }

// buffers are shared by all backends; 32 KiB as io.Copy has.
var buffers = &bufferPool{sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}}

type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get() []byte  { return *p.pool.Get().(*[]byte) }
func (p *bufferPool) Put(b []byte) { p.pool.Put(&b) }

func newReverseProxy(b *Backend) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      roundTripper{b},
		BufferPool:     buffers,
		ModifyResponse: modifyResponse,
		ErrorHandler:   handleError,
		ErrorLog:       log.New(io.Discard, "", 0), // what it has to say is in the request log's statusDetails
	}
}

func rewrite(pr *httputil.ProxyRequest) {
	x := exchangeOf(pr.In.Context())
	out := pr.Out
	out.URL.Scheme = "http"
	if x.spec.Protocol == "HTTPS" || x.spec.Protocol == "HTTP2" {
		out.URL.Scheme = "https"
	}
	// The host of the URL only names the connection pool, which belongs to one endpoint already.
	out.URL.Host = "endpoint"
	out.URL.RawQuery = pr.In.URL.RawQuery // unlike the library, Google changes nothing in it
	if pr.In.URL.RawPath != "" {
		out.URL.RawPath = pr.In.URL.RawPath
	}
	h := out.Header
	var forwarded string
	if prior := pr.In.Header["X-Forwarded-For"]; len(prior) > 0 {
		forwarded = strings.Join(prior, ",") + ","
	}
	h["X-Forwarded-For"] = []string{forwarded + x.record.RemoteIP + "," + x.config.Address}
	h["X-Forwarded-Proto"] = []string{x.record.Scheme}
	h["X-Cloud-Trace-Context"] = []string{x.record.traceHeader()}
	h["Via"] = append(h["Via"], "1.1 google")
	for _, c := range x.spec.RequestHeaders {
		h.Set(c.Name, expand(c.Value, x, pr.In))
	}
}

func modifyResponse(r *http.Response) error {
	x := exchangeOf(r.Request.Context())
	r.Header["Via"] = append(r.Header["Via"], "1.1 google")
	for _, c := range x.spec.ResponseHeaders {
		r.Header.Set(c.Name, expand(c.Value, x, r.Request))
	}
	return nil
}

type roundTripper struct{ b *Backend }

// maxAttempts is the first try and two more, as Google's front ends do.
const maxAttempts = 3

// RoundTrip sends the request to an endpoint, and to another one when the first cannot be reached or dies before it
// answers, provided that nothing can have happened twice.
func (t roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	x := exchangeOf(req.Context())
	if x.body != nil {
		// The reverse proxy's own wrapper is spent once the transport closes it, also when it could not connect.
		again := *req
		again.Body = x.body
		req = &again
	}
	var tried [maxAttempts]*endpoint
	var last error
	for n := 0; n < maxAttempts; n++ {
		ep, err := t.b.pick(tried[:n])
		if err != nil {
			if last != nil {
				err = last
			}
			return nil, err
		}
		tried[n] = ep
		ep.inflight.Add(1)
		x.record.Endpoint = ep.Address
		sent := time.Now()
		resp, err := ep.transport.RoundTrip(req)
		if err == nil {
			x.record.BackendLatency = time.Since(sent)
			if resp.StatusCode == http.StatusSwitchingProtocols {
				x.record.Status = resp.StatusCode // the reverse proxy then writes to the connection itself
			}
			resp.Body = &release{body: resp.Body, ep: ep}
			if w, ok := resp.Body.(*release).body.(io.Writer); ok { // an upgraded connection is written to as well
				resp.Body = &upgraded{release: resp.Body.(*release), Writer: w}
			}
			return resp, nil
		}
		ep.inflight.Add(-1)
		last = err
		if req.Context().Err() != nil || !retryable(req, err) {
			return nil, err
		}
		x.record.Retries++
	}
	return nil, last
}

// retryable is true if no endpoint can have acted on the request, or acting twice does no harm.
func retryable(req *http.Request, err error) bool {
	var de *dialError
	if errors.As(err, &de) {
		return true // not a byte was sent, the body is unread
	}
	idempotent := req.Method == http.MethodGet || req.Method == http.MethodHead || req.Method == http.MethodOptions
	return idempotent && (req.Body == nil || req.Body == http.NoBody)
}

// release counts the request as done when its response has been read.
type release struct {
	body io.ReadCloser
	ep   *endpoint
	once sync.Once
}

func (r *release) Read(p []byte) (int, error) { return r.body.Read(p) }

func (r *release) Close() error {
	r.once.Do(func() { r.ep.inflight.Add(-1) })
	return r.body.Close()
}

type upgraded struct {
	*release
	io.Writer
}

func handleError(w http.ResponseWriter, req *http.Request, err error) {
	x := exchangeOf(req.Context())
	var de *dialError
	switch {
	case errors.Is(err, errNoEndpoints):
		x.fail(http.StatusServiceUnavailable, "failed_to_pick_backend")
	case errors.Is(err, errNoHealthy):
		x.fail(http.StatusBadGateway, "failed_to_pick_backend")
	case errors.Is(req.Context().Err(), context.Canceled):
		x.record.Detail = "client_disconnected_before_any_response"
		panic(http.ErrAbortHandler)
	case errors.Is(err, context.DeadlineExceeded) && errors.Is(req.Context().Err(), context.DeadlineExceeded):
		x.fail(http.StatusGatewayTimeout, "backend_timeout")
	case errors.As(err, &de):
		x.fail(http.StatusBadGateway, "failed_to_connect_to_backend")
	default:
		x.fail(http.StatusBadGateway, "backend_connection_closed_before_data_sent_to_client")
	}
}

const errorPage = `
<html><head>
<meta http-equiv="content-type" content="text/html;charset=utf-8">
<title>502 Server Error</title>
</head>
<body text=#000000 bgcolor=#ffffff>
<h1>Error: Server Error</h1>
<h2>The server encountered a temporary error and could not complete your request.<p>Please try again in 30 seconds.</h2>
<h2></h2>
</body></html>
`

var errorPages = map[int]string{
	http.StatusBadGateway:         errorPage,
	http.StatusServiceUnavailable: strings.Replace(errorPage, "502", "503", 1),
	http.StatusGatewayTimeout:     strings.Replace(errorPage, "502", "504", 1),
	http.StatusForbidden:          `<!doctype html><meta charset="utf-8"><meta name=viewport content="width=device-width, initial-scale=1"><title>403</title>403 Forbidden`,
	http.StatusNotFound:           `<!doctype html><meta charset="utf-8"><meta name=viewport content="width=device-width, initial-scale=1"><title>404</title>404 Not Found`,
	http.StatusTooManyRequests:    `<!doctype html><meta charset="utf-8"><meta name=viewport content="width=device-width, initial-scale=1"><title>429</title>429 Too Many Requests`,
}

// fail answers in the load balancer's own name.
func (x *exchange) fail(status int, detail string) {
	x.record.Detail = detail
	h := x.Header()
	h.Set("Content-Type", "text/html; charset=UTF-8")
	h.Set("Referrer-Policy", "no-referrer")
	x.WriteHeader(status)
	io.WriteString(x, errorPages[status])
}
