package cloud

import (
	"context"

	"golang.org/x/oauth2/google"

	"patag/scripts/patag/exit"
)

// AccessToken is a token for Google's APIs: the one given, else one of the application default credentials.
func (c *Cloud) AccessToken(ctx context.Context) (string, error) {
	if !c.Credentialed {
		return "", exit.New(exit.Usage, "there are no Google credentials").WithHint("%s", Credentials)
	}
	if c.Token != "" {
		return c.Token, nil
	}
	source, err := google.DefaultTokenSource(ctx, "https://www.googleapis.com/auth/cloud-platform")
	if err != nil {
		return "", exit.New(exit.Usage, "read the application default credentials: %w", err).WithHint("%s", Credentials)
	}
	token, err := source.Token()
	if err != nil {
		return "", exit.New(exit.Failed, "get an access token from Google: %w", err).WithHint("%s", Credentials)
	}
	return token.AccessToken, nil
}
