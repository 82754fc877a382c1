package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// authenticate takes a bearer token, or Basic credentials with a token as the password, as docker's
// `login -u oauth2accesstoken` sends them.
func (r *Registry) authenticate(req *http.Request) (string, error) {
	token, ok := bearer(req)
	if !ok {
		return "", &Error{http.StatusUnauthorized, "UNAUTHORIZED",
			"the request has no credentials; give an access token as Bearer, or as the password of the user oauth2accesstoken"}
	}
	principal, err := r.Auth.Authenticate(token)
	if err != nil {
		return "", &Error{http.StatusUnauthorized, "UNAUTHORIZED", "the access token is not accepted: " + err.Error()}
	}
	return principal, nil
}

func bearer(req *http.Request) (string, bool) {
	if user, password, ok := req.BasicAuth(); ok {
		return password, user == "oauth2accesstoken" || user == "_token"
	}
	scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

func challenge(req *http.Request) string {
	scheme := "http"
	if req.TLS != nil {
		scheme = "https"
	}
	return fmt.Sprintf(`Bearer realm="%s://%s/v2/token",service="%s"`, scheme, req.Host, req.Host)
}

// token trades the Basic credentials for a bearer token: the same one, which needs no other form here.
func (r *Registry) token(w http.ResponseWriter, req *http.Request) error {
	var token string
	switch req.Method {
	case http.MethodGet:
		var ok bool
		if token, ok = bearer(req); !ok {
			return &Error{http.StatusUnauthorized, "UNAUTHORIZED", "log in as the user oauth2accesstoken with an access token as the password"}
		}
	case http.MethodPost: // docker's OAuth2 form
		if token = req.PostFormValue("password"); token == "" {
			token = req.PostFormValue("refresh_token")
		}
	default:
		return methodNotAllowed(w, "GET, POST")
	}
	if _, err := r.Auth.Authenticate(token); err != nil {
		return &Error{http.StatusUnauthorized, "UNAUTHORIZED", "the access token is not accepted: " + err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(map[string]any{"token": token, "access_token": token, "expires_in": 3600})
}
