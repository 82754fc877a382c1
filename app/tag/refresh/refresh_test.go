package refresh

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"patag/app/tag/catalogue"
	"patag/app/tag/demo"
	"patag/app/tag/inventory"
)

// store is a source whose answer can be changed.
type store struct {
	mu      sync.Mutex
	version int64
	c       *catalogue.Catalogue
	err     error
}

func (s *store) Version(context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version, s.err
}

func (s *store) Load(context.Context) (*catalogue.Catalogue, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.c, s.version, s.err
}

func (s *store) set(version int64, c *catalogue.Catalogue, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version, s.c, s.err = version, c, err
}

func demoCatalogue(t *testing.T) *catalogue.Catalogue {
	t.Helper()
	c, _, err := demo.Source{}.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start runs a refresher and returns a channel of the versions that it publishes.
func start(t *testing.T, s Source, file string) (*Refresher, <-chan int64, func()) {
	t.Helper()
	got := make(chan int64, 16)
	r := &Refresher{Source: s, File: file, Every: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		Publish: func(_ context.Context, s *inventory.Snapshot) { got <- s.Version }}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { r.Run(ctx); close(done) }()
	return r, got, func() { cancel(); <-done }
}

func next(t *testing.T, got <-chan int64, want int64) {
	t.Helper()
	select {
	case v := <-got:
		if v != want {
			t.Fatalf("version %d was published, want %d", v, want)
		}
	case <-time.After(5 * time.Second):
		t.Fatalf("version %d was not published", want)
	}
}

func TestBadCatalogueIsRefusedAndTheLastGoodOneSurvivesTheStore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "catalogue.gz")
	s := &store{}
	s.set(1, demoCatalogue(t), nil)
	r, got, stop := start(t, s, file)
	next(t, got, 1)
	bad := demoCatalogue(t)
	bad.LineItems[0].Campaign = "gone"
	s.set(2, bad, nil)
	for until := time.Now().Add(5 * time.Second); r.Stats.Refused.Load() == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("a wrong catalogue was not refused")
		}
	}
	time.Sleep(50 * time.Millisecond)
	if n := r.Stats.Refused.Load(); n != 1 {
		t.Errorf("one wrong catalogue was refused %d times", n)
	}
	s.set(3, demoCatalogue(t), nil)
	next(t, got, 3)
	stop()

	// A start while the store is away serves what was last good, and the store's again when it is back.
	s.set(0, nil, errors.New("away"))
	_, got, stop = start(t, s, file)
	defer stop()
	next(t, got, 3)
	s.set(4, demoCatalogue(t), nil)
	next(t, got, 4)
}

// The snapshot of a start from disk is the one that was saved.
func TestSameVersionIsNotPublishedTwice(t *testing.T) {
	s := &store{}
	s.set(7, demoCatalogue(t), nil)
	_, got, stop := start(t, s, "")
	next(t, got, 7)
	time.Sleep(60 * time.Millisecond)
	stop()
	if len(got) > 0 {
		t.Errorf("version %d was published again", <-got)
	}
}
