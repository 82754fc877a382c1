package rebuild

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// service asks for an ad twice a second, to tell for how long there was none.
type service struct {
	client *http.Client
	cancel context.CancelFunc

	mu          sync.Mutex
	url         string
	begun, last time.Time // last is of the newest answer before the first failure
	failed      bool
	back        time.Time // first answer after a failure
}

const every = 500 * time.Millisecond

func watchService(ctx context.Context, url any) *service {
	ctx, cancel := context.WithCancel(ctx)
	s := &service{client: &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}, cancel: cancel, begun: time.Now()}
	s.url, _ = url.(string)
	go s.run(ctx)
	return s
}

func (s *service) stop() { s.cancel() }

func (s *service) run(ctx context.Context) {
	for ; ctx.Err() == nil; pause(ctx, every) {
		s.mu.Lock()
		url := s.url
		s.mu.Unlock()
		if url == "" {
			continue
		}
		err := s.ask(ctx, url)
		if ctx.Err() != nil {
			return
		}
		s.mu.Lock()
		now := time.Now()
		switch {
		case err == nil && !s.failed:
			s.last = now
		case err == nil && s.back.IsZero():
			s.back = now
		case err != nil:
			s.failed, s.back = true, time.Time{}
		}
		s.mu.Unlock()
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (s *service) ask(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// Counted as a machine, which this is.
	req.Header.Set("User-Agent", "patag-rebuild (bot)")
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}

// answered waits until the service answers, and says for how long it did not. down is true when it never answered before.
func (s *service) answered(ctx context.Context, url string, most time.Duration) (gap time.Duration, down bool, err error) {
	s.mu.Lock()
	s.url = url
	s.mu.Unlock()
	for end := time.Now().Add(most); ; pause(ctx, every/5) {
		if err = ctx.Err(); err != nil {
			return 0, false, err
		}
		if err = s.ask(ctx, url); err == nil {
			break
		}
		if time.Now().After(end) {
			return 0, false, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.failed {
		return 0, false, nil
	}
	back := s.back
	if back.IsZero() {
		back = time.Now()
	}
	if s.last.IsZero() {
		return back.Sub(s.begun), true, nil
	}
	return back.Sub(s.last), false, nil
}
