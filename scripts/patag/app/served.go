package app

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"patag/stacks/config"
)

// Probe is the URL by which it can be seen whether the session's stack serves ads; false where it need not: a stack without tag
// servers, one that sleeps, one whose store waits for a catalogue, one whose name may not be delegated yet.
func (s *Session) Probe(outputs map[string]any) (url string, ok bool) {
	url, _ = outputs["adURL"].(string)
	if url == "" || !s.platform() {
		return "", false
	}
	for key, not := range map[string]string{"patag:catalogue": config.CatalogueLater, "patag:asleep": "true", "patag:publicURL": "host"} {
		if v, err := s.Value(key); err != nil || v == not {
			return "", false
		}
	}
	return url, true
}

// Served waits until a URL serves an ad; the error says what it answered last.
func (s *Session) Served(ctx context.Context, url string, most time.Duration) error {
	client := &http.Client{Timeout: 3 * time.Second}
	for end := time.Now().Add(most); ; {
		err := ask(ctx, client, url)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("after %s: %w", most, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func ask(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answered %s", resp.Status)
	}
	return nil
}
