package google

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

// Credentials chooses what is shown to Google: a token as it is, a key (JSON, or a file of it), or what the
// machine has (GOOGLE_APPLICATION_CREDENTIALS, gcloud's login, the metadata server). The last is looked for at the
// first request only, since a preview needs none.
func Credentials(token, key string, scopes []string) oauth2.TokenSource {
	if token != "" {
		return oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})
	}
	if len(scopes) == 0 {
		scopes = []string{"https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/userinfo.email"}
	}
	return lazySource(sync.OnceValues(func() (oauth2.TokenSource, error) { return find(key, scopes) }))
}

type lazySource func() (oauth2.TokenSource, error)

func (l lazySource) Token() (*oauth2.Token, error) {
	source, err := l()
	if err != nil {
		return nil, err
	}
	return source.Token()
}

func find(key string, scopes []string) (oauth2.TokenSource, error) {
	// The source outlives the request that first asks for it.
	ctx := context.Background()
	if key != "" {
		raw := []byte(key)
		if !strings.HasPrefix(strings.TrimSpace(key), "{") {
			var err error
			if raw, err = os.ReadFile(key); err != nil {
				return nil, fmt.Errorf("read the credentials: %w", err)
			}
		}
		//lint:ignore SA1019 every kind of key is accepted, as Google's provider does
		creds, err := google.CredentialsFromJSON(ctx, raw, scopes...)
		if err != nil {
			return nil, fmt.Errorf("read the credentials: %w", err)
		}
		return creds.TokenSource, nil
	}
	creds, err := google.FindDefaultCredentials(ctx, scopes...)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNoCredentials, err)
	}
	return creds.TokenSource, nil
}
