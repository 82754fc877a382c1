// Package apitest runs a Google API of the sandbox for tests of its services: a real store in a temporary folder, a real HTTP
// server on the loopback interface, Google's own clients against it.
package apitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"golang.org/x/oauth2"
	gapi "google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/layout"
	"patag/infra/sandbox/store"
)

// Token is the administrator's, Principal who that is, Project the project that exists.
const (
	Token     = "test-token"
	Principal = "admin@example.com"
	Project   = googleapi.DefaultProject
)

// Server is a running API. Restart begins it anew on the same state.
type Server struct {
	t        testing.TB
	dir      string
	register func(core *googleapi.Core, l layout.Layout)
	store    *store.Store
	http     *httptest.Server
	Core     *googleapi.Core
}

// Start runs the services that register adds.
func Start(t testing.TB, register func(core *googleapi.Core, l layout.Layout)) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), register: register}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *Server) start() {
	s.t.Helper()
	st, err := store.Open(filepath.Join(s.dir, "api.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	core, err := googleapi.New(googleapi.Options{
		Store: st, Settings: layout.Settings{Instance: 99, API: "127.0.0.1:1"}, Logger: slog.New(slog.NewTextHandler(s.t.Output(), nil)),
		Authenticator: googleapi.AuthenticatorFunc(func(token string) (string, error) {
			if token != Token {
				return "", errors.New("unknown token")
			}
			return Principal, nil
		}),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.store, s.Core = st, core
	s.register(core, layout.Layout{Root: s.dir})
	s.http = httptest.NewServer(core)
}

func (s *Server) stop() {
	s.http.Close()
	if err := s.store.Close(); err != nil {
		s.t.Error(err)
	}
}

// Restart closes the store and opens it again, as a restart of the sandbox does.
func (s *Server) Restart() {
	s.t.Helper()
	s.stop()
	s.start()
}

// URL is the address of the API without a final slash.
func (s *Server) URL() string { return s.http.URL }

// Client are the options by which one of Google's clients speaks to a service; the path is its endpoint below the server
// ("secretmanager/").
func (s *Server) Client(path string) []option.ClientOption {
	return []option.ClientOption{
		option.WithEndpoint(s.http.URL + "/" + path),
		option.WithHTTPClient(oauth2.NewClient(s.t.Context(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: Token}))),
	}
}

// Call makes one plain call and decodes its JSON answer; body may be nil, a string, bytes or anything that JSON can write.
func (s *Server) Call(method, path string, body any) (int, googleapi.Doc) {
	s.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = bytes.NewReader([]byte(b))
	case []byte:
		r = bytes.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.http.URL+path, r)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+Token)
	res, err := s.http.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var d googleapi.Doc
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &d); err != nil {
			s.t.Fatalf("%s %s: %v in %q", method, path, err, raw)
		}
	}
	return res.StatusCode, d
}

// Must is Call that fails the test unless the status is 2xx.
func (s *Server) Must(method, path string, body any) googleapi.Doc {
	s.t.Helper()
	code, d := s.Call(method, path, body)
	if code/100 != 2 {
		s.t.Fatalf("%s %s: %d %s", method, path, code, d.String("error", "message"))
	}
	return d
}

// WantCode fails the test unless err is Google's error of that HTTP status.
func WantCode(t testing.TB, err error, code int) {
	t.Helper()
	var e *gapi.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("error %v, want status %d", err, code)
	}
}
