package googleapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"time"

	"patag/infra/sandbox/layout"
	"patag/infra/sandbox/store"
)

// DefaultProject is the project that a sandbox has.
const DefaultProject = "patag-sandbox"

// Authenticator tells who a bearer token belongs to (an email address, as Google's principals are named). An error
// means that nobody does.
type Authenticator interface {
	Authenticate(token string) (principal string, err error)
}

// AuthenticatorFunc lets a function be an Authenticator.
type AuthenticatorFunc func(token string) (string, error)

// Authenticate calls f.
func (f AuthenticatorFunc) Authenticate(token string) (string, error) { return f(token) }

// Options are what the core needs; Store and Authenticator are required.
type Options struct {
	Store         *store.Store
	Settings      layout.Settings
	Authenticator Authenticator
	// Projects are the ids of the projects that exist; DefaultProject alone if empty.
	Projects []string
	// Logger gets one line per request at debug level, and one per server fault at error level.
	Logger *slog.Logger
	// Now is the clock, time.Now if nil.
	Now func() time.Time
}

// Core is the HTTP handler of all services. Services are registered before it serves.
type Core struct {
	opts     Options
	services map[string]*Service
}

// New makes a core without services.
func New(o Options) (*Core, error) {
	if o.Store == nil || o.Authenticator == nil {
		return nil, errors.New("googleapi: Store and Authenticator are required")
	}
	if len(o.Projects) == 0 {
		o.Projects = []string{DefaultProject}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Core{opts: o, services: map[string]*Service{}}, nil
}

// Store is the store of all resources.
func (c *Core) Store() *store.Store { return c.opts.Store }

// Settings are those of the sandbox.
func (c *Core) Settings() layout.Settings { return c.opts.Settings }

// Logger is for what happens behind a service, outside a request.
func (c *Core) Logger() *slog.Logger { return c.opts.Logger }

// Now is the current time of the core's clock.
func (c *Core) Now() time.Time { return c.opts.Now() }

// Projects are the ids of the projects that exist.
func (c *Core) Projects() []string { return c.opts.Projects }

// Project resolves a project's id or number to its id; false if there is no such project.
func (c *Core) Project(idOrNumber string) (string, bool) {
	for _, p := range c.opts.Projects {
		if idOrNumber == p || idOrNumber == ProjectNumber(p) {
			return p, true
		}
	}
	return "", false
}

// ProjectNumber is the number of a project: twelve digits, always the same for the same id.
func ProjectNumber(id string) string {
	h := fnv.New64a()
	io.WriteString(h, id)
	return fmt.Sprint(100_000_000_000 + h.Sum64()%900_000_000_000)
}

// DefaultServiceAccount is the Compute Engine default service account of a project.
func DefaultServiceAccount(project string) string {
	return ProjectNumber(project) + "-compute@developer.gserviceaccount.com"
}

// Service is the part of the API under one first path element.
type Service struct {
	core *Core
	name string
	// BodyName is how Google calls the request body in messages about its fields ("resource" in Compute Engine);
	// empty where the fields themselves are named.
	BodyName string
	routes   []route
}

// Service returns the service of that first path element ("compute"), made at the first call.
func (c *Core) Service(name string) *Service {
	s := c.services[name]
	if s == nil {
		s = &Service{core: c, name: name}
		c.services[name] = s
	}
	return s
}

// Core is the core that the service belongs to.
func (s *Service) Core() *Core { return s.core }

// Handler answers one call: with a value that becomes the JSON of the response (nil: an empty object), with a *Raw,
// or with an error, which is answered in Google's error format if it is an *Error, else as an internal error.
type Handler func(ctx context.Context, r *Request) (any, error)

// Raw is a response that is not JSON, or has another status than 200.
type Raw struct {
	Status int
	Header http.Header
	// Write sends the body; it may be nil.
	Write func(w io.Writer) error
}

// Request is one call. HTTP gives what is not covered: headers, the raw body.
type Request struct {
	HTTP      *http.Request
	Principal string
	service   *Service
	vars      map[string]string
}

// Var is a variable of the route's pattern, unescaped.
func (r *Request) Var(name string) string { return r.vars[name] }

// With is the same request with one more variable, for a call that is also reached through another method.
func (r *Request) With(name, value string) *Request {
	c := *r
	c.vars = maps.Clone(r.vars)
	c.vars[name] = value
	return &c
}

// Query is a query parameter.
func (r *Request) Query(name string) string { return r.HTTP.URL.Query().Get(name) }

// Path joins the pattern's literal and variable path below the version: what the store's key has after "<service>/".
func (r *Request) Path() string { return r.vars[pathVar] }

// Key is the store's key of the resource that the path names.
func (r *Request) Key() string { return r.service.name + "/" + r.Path() }

const maxBody = 8 << 20

// Body reads the request's body, which must be small.
func (r *Request) Body() ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r.HTTP.Body, maxBody+1))
	if err != nil {
		return nil, InvalidArgument("The request body could not be read: %v", err)
	}
	if len(raw) > maxBody {
		return nil, &Error{Code: http.StatusRequestEntityTooLarge, Status: "INVALID_ARGUMENT", Reason: "uploadTooLarge", Message: "Request payload size exceeds the limit: 8388608 bytes."}
	}
	return raw, nil
}

// Decode reads the body into one of Google's types, strictly: an unknown or mistyped field is Google's 400.
func (r *Request) Decode(v any) error {
	raw, err := r.Body()
	if err != nil {
		return err
	}
	return decodeInto(raw, v, r.service.BodyName)
}

// DecodeDoc reads the body as a document, checked against (and normalised to) one of Google's types, of which like
// is a value or pointer. Unlike a struct, a document tells a field that is absent from one that is zero or null.
func (r *Request) DecodeDoc(like any) (Doc, error) {
	raw, err := r.Body()
	if err != nil {
		return nil, err
	}
	return DecodeDoc(raw, like, r.service.BodyName)
}

// ServeHTTP finds the service and route, checks the token, and writes the answer.
func (c *Core) ServeHTTP(w http.ResponseWriter, h *http.Request) {
	start := c.Now()
	status := c.serve(w, h)
	c.opts.Logger.Debug("google api", "method", h.Method, "path", h.URL.Path, "status", status, "ms", c.Now().Sub(start).Milliseconds())
}

func (c *Core) serve(w http.ResponseWriter, h *http.Request) (status int) {
	path := asWritten(strings.TrimPrefix(h.URL.EscapedPath(), "/"))
	name, rest, _ := strings.Cut(path, "/")
	s := c.services[name]
	if s == nil {
		// Who nobody knows is told nothing of what there is.
		if _, err := c.authenticate(h); err != nil {
			return c.fail(w, h, "", err)
		}
		return c.fail(w, h, "", Unimplemented("The sandbox does not simulate the Google API service %q (%s /%s).", name, h.Method, path))
	}
	rt, vars, other := s.match(h.Method, rest)
	r := &Request{HTTP: h, service: s, vars: vars}
	if rt == nil || !rt.public {
		principal, err := c.authenticate(h)
		if err != nil {
			return c.fail(w, h, name, err)
		}
		r.Principal = principal
	}
	if rt == nil {
		if other != "" {
			return c.fail(w, h, name, Unimplemented("The sandbox does not simulate %s %s of %s.googleapis.com; for this path it has %s.", h.Method, rest, name, other))
		}
		return c.fail(w, h, name, Unimplemented("The sandbox does not simulate %s %s of %s.googleapis.com.", h.Method, rest, name))
	}
	defer func() {
		// A bug in one handler must not take the daemon and every cluster with it.
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			c.opts.Logger.Error("google api: panic", "method", h.Method, "path", h.URL.Path, "panic", p, "stack", stack())
			status = c.fail(w, h, name, fmt.Errorf("panic: %v", p))
		}
	}()
	v, err := rt.handler(h.Context(), r)
	if err != nil {
		return c.fail(w, h, name, err)
	}
	return c.answer(w, h, v)
}

func (c *Core) authenticate(h *http.Request) (string, error) {
	token := h.URL.Query().Get("access_token")
	if auth := h.Header.Get("Authorization"); auth != "" {
		scheme, t, _ := strings.Cut(auth, " ")
		if !strings.EqualFold(scheme, "bearer") {
			return "", unauthenticated("Request had invalid authentication credentials. "+expectedToken, "authError")
		}
		token = strings.TrimSpace(t)
	}
	if token == "" {
		return "", unauthenticated("Request is missing required authentication credential. "+expectedToken, "required")
	}
	principal, err := c.opts.Authenticator.Authenticate(token)
	if err != nil {
		c.opts.Logger.Debug("google api: token refused", "error", err)
		return "", unauthenticated("Request had invalid authentication credentials. "+expectedToken, "authError")
	}
	return principal, nil
}

const expectedToken = "Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."

func (c *Core) answer(w http.ResponseWriter, h *http.Request, v any) int {
	if raw, ok := v.(*Raw); ok {
		for k, vs := range raw.Header {
			w.Header()[k] = vs
		}
		if raw.Status == 0 {
			raw.Status = http.StatusOK
		}
		w.WriteHeader(raw.Status)
		if raw.Write != nil && h.Method != http.MethodHead {
			if err := raw.Write(w); err != nil {
				// The status is already sent: only breaking the connection tells the client.
				c.opts.Logger.Warn("google api: answer cut short", "path", h.URL.Path, "error", err)
				panic(http.ErrAbortHandler)
			}
		}
		return raw.Status
	}
	if v == nil {
		v = struct{}{}
	}
	return c.writeJSON(w, h, http.StatusOK, v)
}

func (c *Core) writeJSON(w http.ResponseWriter, h *http.Request, status int, v any) int {
	var raw []byte
	var err error
	if h.URL.Query().Get("prettyPrint") == "false" {
		raw, err = json.Marshal(v)
	} else {
		raw, err = json.MarshalIndent(v, "", "  ")
	}
	if err != nil {
		c.opts.Logger.Error("google api: answer cannot be written as JSON", "path", h.URL.Path, "error", err)
		status, raw = http.StatusInternalServerError, []byte(`{"error":{"code":500,"message":"Internal error encountered.","status":"INTERNAL"}}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.Header().Set("Cache-Control", "private")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if h.Method != http.MethodHead {
		w.Write(append(raw, '\n'))
	}
	return status
}

func (c *Core) fail(w http.ResponseWriter, h *http.Request, service string, err error) int {
	var e *Error
	if !errors.As(err, &e) {
		// The cause goes to the log, and to the client too: it is the user's own machine.
		c.opts.Logger.Error("google api: internal error", "method", h.Method, "path", h.URL.Path, "error", err)
		e = &Error{Code: http.StatusInternalServerError, Status: "INTERNAL", Reason: "backendError", Message: fmt.Sprintf("Internal error encountered (%s: %v).", service, err)}
	}
	if e.Code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://accounts.google.com/", error="invalid_token"`)
	}
	return c.writeJSON(w, h, e.Code, e.body())
}
