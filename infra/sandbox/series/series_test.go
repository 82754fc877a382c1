package series

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func key(kind Kind, typ Type, code string) Key {
	return Key{Metric: Labeled{"custom.googleapis.com/requests", map[string]string{"code": code}}, Resource: Labeled{"global", map[string]string{"project_id": "p"}}, Kind: kind, Type: typ}
}

func open(t *testing.T, path string, o Options) *Store {
	t.Helper()
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWriteListRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "series.json")
	s := open(t, path, Options{})
	base := time.Now().Add(-time.Hour).Truncate(time.Second)
	for i := range 10 {
		at := base.Add(time.Duration(i) * time.Minute)
		if err := s.Write("p", key(Gauge, Double, "200"), Point{Start: at, End: at, Number: float64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, Options{})
	defer s.Close()
	all := func(Key) bool { return true }
	got := s.List("p", base.Add(2*time.Minute), base.Add(5*time.Minute), all)
	if len(got) != 1 || len(got[0].Points) != 3 || got[0].Points[0].Number != 5 || got[0].Points[2].Number != 3 {
		t.Errorf("(2m,5m]: %+v", got)
	}
	if got := s.List("p", time.Time{}, time.Time{}, all); len(got[0].Points) != 10 {
		t.Errorf("%d points in all", len(got[0].Points))
	}
	if got := s.List("other", time.Time{}, time.Time{}, all); got != nil {
		t.Errorf("another project's: %v", got)
	}
	if m := s.Metrics("p"); len(m) != 1 || m[0].Metric.Type != "custom.googleapis.com/requests" {
		t.Errorf("metrics %v", m)
	}
}

func TestRefused(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "s"), Options{})
	defer s.Close()
	now := time.Now()
	if err := s.Write("p", key(Cumulative, Int64, "a"), Point{Start: now.Add(-time.Hour), End: now, Number: 1}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		k    Key
		p    Point
		want string
	}{
		"older":    {key(Cumulative, Int64, "a"), Point{Start: now.Add(-time.Hour), End: now.Add(-time.Minute)}, "in order"},
		"same":     {key(Cumulative, Int64, "a"), Point{Start: now.Add(-time.Hour), End: now}, "in order"},
		"kind":     {key(Gauge, Int64, "a"), Point{Start: now.Add(time.Second), End: now.Add(time.Second)}, "is CUMULATIVE INT64"},
		"gauge":    {key(Gauge, Double, "b"), Point{Start: now.Add(-time.Minute), End: now}, "must be equal"},
		"delta":    {key(Delta, Double, "b"), Point{Start: now, End: now}, "must lie before"},
		"future":   {key(Gauge, Double, "b"), Point{Start: now.Add(time.Hour), End: now.Add(time.Hour)}, "future"},
		"past":     {key(Gauge, Double, "b"), Point{Start: now.Add(-30 * time.Hour), End: now.Add(-30 * time.Hour)}, "past"},
		"text":     {key(Delta, String, "b"), Point{Start: now.Add(-time.Minute), End: now}, "cannot have values"},
		"type":     {key(Gauge, "DISTRIBUTION", "b"), Point{Start: now, End: now}, "not supported"},
		"no value": {key(Gauge, Double, "b"), Point{}, "endTime is missing"},
	} {
		if err := s.Write("p", c.k, c.p); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestRetentionAndUnreadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := open(t, path, Options{Points: 100})
	base := time.Now().Add(-time.Hour)
	for i := range 1000 {
		at := base.Add(time.Duration(i) * time.Second)
		if err := s.Write("p", key(Gauge, Double, "x"), Point{Start: at, End: at, Number: float64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, Options{Points: 100})
	got := s.List("p", time.Time{}, time.Time{}, func(Key) bool { return true })
	if len(got[0].Points) != 100 || got[0].Points[0].Number != 999 {
		t.Errorf("%d points kept, newest %v", len(got[0].Points), got[0].Points[0])
	}
	s.Close()
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, Options{})
	defer s.Close()
	if _, err := os.Stat(path + ".unreadable"); err != nil {
		t.Errorf("the unreadable snapshot was not set aside: %v", err)
	}
}

func TestAggregation(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "s"), Options{})
	defer s.Close()
	base := time.Now().Add(-30 * time.Minute).Truncate(time.Minute)
	for _, code := range []string{"200", "500"} {
		for i := range 10 { // a counter that grows by 60 a minute and begins anew after five minutes
			started := base.Add(time.Duration(i/5*5) * time.Minute)
			end := base.Add(time.Duration(i)*time.Minute + 30*time.Second)
			if err := s.Write("p", key(Cumulative, Int64, code), Point{Start: started, End: end, Number: float64(60 * (i%5 + 1))}); err != nil {
				t.Fatal(err)
			}
		}
	}
	to := base.Add(10 * time.Minute)
	raw := s.List("p", base, to, func(Key) bool { return true })
	rate, err := Aggregation{Period: time.Minute, Aligner: "ALIGN_RATE"}.Apply(raw, to)
	if err != nil || len(rate) != 2 || len(rate[0].Points) != 9 || rate[0].Kind != Gauge || rate[0].Type != Double {
		t.Fatalf("rate: %v %+v", err, rate)
	}
	for _, p := range rate[0].Points {
		if p.Number != 1 {
			t.Errorf("rate %v at %v, want 1", p.Number, p.End)
		}
	}
	if rate[0].Points[0].End != to {
		t.Errorf("the last bucket ends at %v, want %v", rate[0].Points[0].End, to)
	}
	total, err := Aggregation{Period: 10 * time.Minute, Aligner: "ALIGN_DELTA", Reducer: "REDUCE_SUM"}.Apply(raw, to)
	if err != nil || len(total) != 1 || len(total[0].Points) != 1 || total[0].Points[0].Number != 2*9*60 {
		t.Errorf("sum of deltas: %v %+v", err, total)
	}
	groups, err := Aggregation{Period: 10 * time.Minute, Aligner: "ALIGN_DELTA", Reducer: "REDUCE_SUM", GroupBy: []string{"metric.label.code"}}.Apply(raw, to)
	if err != nil || len(groups) != 2 || groups[1].Metric.Labels["code"] != "500" {
		t.Errorf("groups: %v %+v", err, groups)
	}
	for _, bad := range []Aggregation{{Aligner: "ALIGN_INTERPOLATE", Period: time.Minute}, {Reducer: "REDUCE_SUM"}, {Aligner: "ALIGN_MEAN"},
		{Aligner: "ALIGN_MEAN", Period: time.Minute, Reducer: "REDUCE_STDDEV"}, {Aligner: "ALIGN_MEAN", Period: time.Minute, GroupBy: []string{"zone"}}} {
		if _, err := bad.Apply(raw, to); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func TestQuantile(t *testing.T) {
	for q, want := range map[float64]float64{0: 1, 0.5: 2.5, 1: 4} {
		if got := quantile([]float64{4, 1, 3, 2}, q); got != want {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
}
