package ship

import (
	"context"
	"sync"
)

// Totals is a Sink in memory, for a server that runs alone: it adds batches up for as long as the process lives.
type Totals struct {
	mu   sync.Mutex
	rows map[Row]*Row
}

// Take implements Sink.
func (t *Totals) Take(_ context.Context, b *Batch) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows == nil {
		t.rows = map[Row]*Row{}
	}
	for _, r := range b.Rows {
		key := r
		key.Count, key.CPMMicros = 0, 0
		if sum := t.rows[key]; sum != nil {
			sum.Count += r.Count
			sum.CPMMicros += r.CPMMicros
			continue
		}
		t.rows[key] = &r
	}
	return nil
}

// Rows is a copy of the sums.
func (t *Totals) Rows() []Row {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Row, 0, len(t.rows))
	for _, r := range t.rows {
		out = append(out, *r)
	}
	return out
}
