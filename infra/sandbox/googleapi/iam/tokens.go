package iam

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	credentials "google.golang.org/api/iamcredentials/v1"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// Token is what is known of an access token.
type Token struct {
	// Principal is an email, with or without a prefix such as "serviceAccount:".
	Principal string
	Scopes    []string
	Expires   time.Time
}

// Tokens makes and reads access and identity tokens.
type Tokens interface {
	// Access makes an access token for a service account.
	Access(email string, scopes []string, valid time.Duration) (token string, expires time.Time)
	// Identity makes an identity token (a JWT) for an audience.
	Identity(email, audience string, withEmail bool) (token string, err error)
	// Describe says whose a token is; an error if nobody's.
	Describe(token string) (Token, error)
}

func (s *server) handleTokens() {
	svc := s.core.Service("iamcredentials")
	svc.Handle("POST", "v1/projects/{project}/serviceAccounts/{account*}:generateAccessToken", s.accessToken)
	svc.Handle("POST", "v1/projects/{project}/serviceAccounts/{account*}:generateIdToken", s.identityToken)
	o := s.core.Service("oauth2")
	for _, path := range []string{"tokeninfo", "v1/tokeninfo", "v2/tokeninfo", "v3/tokeninfo", "oauth2/v1/tokeninfo", "oauth2/v2/tokeninfo", "oauth2/v3/tokeninfo"} {
		o.HandlePublic("GET", path, s.tokenInfo)
		o.HandlePublic("POST", path, s.tokenInfo)
	}
	for _, path := range []string{"v1/userinfo", "v2/userinfo", "v3/userinfo", "oauth2/v1/userinfo", "oauth2/v2/userinfo", "oauth2/v3/userinfo", "userinfo/v2/me"} {
		o.Handle("GET", path, s.userInfo)
	}
}

// enabled finds the account that a request acts as; a disabled one gets no tokens.
func (s *server) enabled(r *googleapi.Request) (string, error) {
	var d googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) (err error) { d, err = s.find(tx, r); return err })
	if err != nil {
		return "", err
	}
	if d.Bool("disabled") {
		return "", googleapi.FailedPrecondition("The service account %s is disabled.", d.String("email"))
	}
	return d.String("email"), nil
}

func (s *server) accessToken(_ context.Context, r *googleapi.Request) (any, error) {
	var body credentials.GenerateAccessTokenRequest
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if len(body.Scope) == 0 {
		return nil, googleapi.InvalidArgument("scope is required: at least one OAuth 2.0 scope.")
	}
	valid := time.Hour
	if body.Lifetime != "" {
		d, err := time.ParseDuration(body.Lifetime)
		if err != nil || !strings.HasSuffix(body.Lifetime, "s") || d <= 0 || d > time.Hour {
			return nil, googleapi.InvalidArgument("lifetime %q is not between 1s and 3600s.", body.Lifetime)
		}
		valid = d
	}
	email, err := s.enabled(r)
	if err != nil {
		return nil, err
	}
	token, expires := s.tokens.Access(email, body.Scope, valid)
	return googleapi.Doc{"accessToken": token, "expireTime": expires.UTC().Format(time.RFC3339)}, nil
}

func (s *server) identityToken(_ context.Context, r *googleapi.Request) (any, error) {
	var body credentials.GenerateIdTokenRequest
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if body.Audience == "" {
		return nil, googleapi.InvalidArgument("audience is required.")
	}
	email, err := s.enabled(r)
	if err != nil {
		return nil, err
	}
	token, err := s.tokens.Identity(email, body.Audience, body.IncludeEmail)
	return googleapi.Doc{"token": token}, err
}

func (s *server) tokenInfo(_ context.Context, r *googleapi.Request) (any, error) {
	token := r.Query("access_token")
	if token == "" && r.HTTP.Method == "POST" {
		token = r.HTTP.PostFormValue("access_token")
	}
	if token == "" {
		token = strings.TrimPrefix(r.HTTP.Header.Get("Authorization"), "Bearer ")
	}
	t, err := s.tokens.Describe(token)
	if err != nil {
		return nil, googleapi.InvalidArgument("Invalid Value")
	}
	email := Email(t.Principal)
	left := int64(time.Until(t.Expires).Seconds())
	return googleapi.Doc{"azp": UniqueID(email), "aud": UniqueID(email), "sub": UniqueID(email), "scope": strings.Join(t.Scopes, " "), "email": email, "email_verified": "true",
		"exp": strconv.FormatInt(t.Expires.Unix(), 10), "expires_in": strconv.FormatInt(left, 10), "access_type": "online"}, nil
}

func (s *server) userInfo(_ context.Context, r *googleapi.Request) (any, error) {
	email := Email(r.Principal)
	return googleapi.Doc{"id": UniqueID(email), "sub": UniqueID(email), "email": email, "verified_email": true, "email_verified": true}, nil
}

// Email is a principal without its prefix ("serviceAccount:x@y" → "x@y").
func Email(principal string) string {
	kind, rest, found := strings.Cut(principal, ":")
	if found && slices.Contains([]string{"user", "serviceAccount", "group"}, kind) {
		return rest
	}
	return principal
}
