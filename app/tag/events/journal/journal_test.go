package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func open(t testing.TB, dir string, o Options) *Journal {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	j, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// records reads all sealed segments.
func records(t testing.TB, j *Journal) []string {
	t.Helper()
	segs, err := j.Sealed()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range segs {
		if err := j.Read(s, func(b []byte) error { out = append(out, string(b)); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestWhatIsAppendedIsRead(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{SegmentBytes: 400})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 50 {
				if err := j.Append(t.Context(), fmt.Appendf(nil, "%d-%d", w, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := j.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := records(t, j)
	next := map[string]int{}
	for _, r := range got {
		w, i, _ := strings.Cut(r, "-")
		if want := fmt.Sprint(next[w]); i != want {
			t.Fatalf("of writer %s record %s came, want %s: order is not kept", w, i, want)
		}
		next[w]++
	}
	if len(got) != 400 {
		t.Errorf("%d records, want 400", len(got))
	}
	segs, _ := j.Sealed()
	if len(segs) < 2 {
		t.Errorf("%d segments: a full one was not sealed", len(segs))
	}
	for _, s := range segs {
		if err := j.Remove(s); err != nil {
			t.Fatal(err)
		}
	}
	if j.Size() != 0 {
		t.Errorf("an empty journal says that it holds %d bytes", j.Size())
	}
	j.Close()
	if err := j.Append(t.Context(), []byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{})
	defer j.Close()
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second journal in the same folder: %v", err)
	}
}

func TestFullJournalRefusesAndGoesOnWhenEmptied(t *testing.T) {
	j := open(t, t.TempDir(), Options{MaxBytes: 2000})
	defer j.Close()
	n := 0
	var err error
	for ; n < 1000 && err == nil; n++ {
		err = j.Append(t.Context(), bytes.Repeat([]byte("x"), 50))
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("after %d records: %v, want ErrFull", n, err)
	}
	if err := j.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(records(t, j)); got != n-1 {
		t.Errorf("%d records in the journal, %d were acknowledged", got, n-1)
	}
	segs, _ := j.Sealed()
	for _, s := range segs {
		if err := j.Remove(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Append(t.Context(), []byte("again")); err != nil {
		t.Errorf("after emptying: %v", err)
	}
}

// A cut at any byte of the open segment loses no record that was whole, and nothing else comes up.
func TestTornSegmentKeepsWholeRecords(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{})
	var ends []int64
	for i := range 5 {
		if err := j.Append(t.Context(), fmt.Appendf(nil, "record %d", i)); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, j.Size())
	}
	open1, _ := filepath.Glob(filepath.Join(dir, "*.open"))
	whole, err := os.ReadFile(open1[0])
	if err != nil {
		t.Fatal(err)
	}
	j.Close()
	for cut := 0; cut <= len(whole); cut++ {
		for _, garbage := range []string{"", "\x07\x00\x00\x00garbage that looks like a frame"} {
			dir := t.TempDir()
			name := filepath.Base(open1[0])
			if err := os.WriteFile(filepath.Join(dir, name), append(bytes.Clone(whole[:cut]), garbage...), 0o600); err != nil {
				t.Fatal(err)
			}
			j := open(t, dir, Options{})
			got := records(t, j)
			want := 0
			for _, e := range ends {
				if int64(cut) >= e {
					want++
				}
			}
			if len(got) != want {
				t.Fatalf("cut at %d of %d: %d records, want %d", cut, len(whole), len(got), want)
			}
			j.Close()
		}
	}
}

func TestDamageInsideASealedSegmentIsTold(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{})
	for i := range 3 {
		if err := j.Append(t.Context(), fmt.Appendf(nil, "record %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	j.Close()
	j = open(t, dir, Options{})
	defer j.Close()
	segs, _ := j.Sealed()
	data, _ := os.ReadFile(segs[0].Path)
	data[len(data)-1] ^= 1
	os.WriteFile(segs[0].Path, data, 0o600)
	n := 0
	err := j.Read(segs[0], func([]byte) error { n++; return nil })
	if !errors.Is(err, ErrDamaged) || n != 2 {
		t.Errorf("read %d records and %v, want 2 and ErrDamaged", n, err)
	}
	if err := j.SetAside(segs[0]); err != nil {
		t.Fatal(err)
	}
	if segs, _ := j.Sealed(); len(segs) != 0 {
		t.Error("a damaged segment that was set aside is listed")
	}
}

// The writer's process is killed at moments that it does not choose; every record whose append had returned is there.
func TestKilledWriterLosesNothingAcknowledged(t *testing.T) {
	if dir := os.Getenv("JOURNAL_VICTIM"); dir != "" {
		victim(dir)
	}
	kills := 20
	if testing.Short() {
		kills = 3
	}
	dir := t.TempDir()
	acked := map[string]bool{}
	for round := range kills {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWriterLosesNothingAcknowledged$")
		cmd.Env = append(os.Environ(), "JOURNAL_VICTIM="+dir, fmt.Sprintf("JOURNAL_ROUND=%d", round))
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(60+round*7) * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
		for line := range strings.Lines(out.String()) {
			if s, whole := strings.CutSuffix(line, "\n"); whole && strings.HasPrefix(s, "ack ") {
				acked[strings.TrimPrefix(s, "ack ")] = true
			}
		}
	}
	j := open(t, dir, Options{})
	defer j.Close()
	have := map[string]int{}
	for _, r := range records(t, j) {
		have[r]++
	}
	for r := range acked {
		if have[r] != 1 {
			t.Errorf("record %q was acknowledged and is there %d times", r, have[r])
		}
	}
	if len(acked) == 0 {
		t.Error("nothing was acknowledged: the test shows nothing")
	}
	t.Logf("%d kills, %d acknowledged, %d written", kills, len(acked), len(have))
}

func victim(dir string) {
	j, err := Open(dir, Options{SegmentBytes: 4096, MaxBytes: 1 << 30, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var mu sync.Mutex
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				r := fmt.Sprintf("%s/%d/%d", os.Getenv("JOURNAL_ROUND"), w, i)
				if j.Append(context.Background(), []byte(r)) == nil {
					mu.Lock()
					fmt.Printf("ack %s\n", r)
					mu.Unlock()
				}
			}
		}()
	}
	select {}
}

// A segment of any bytes is read without a panic, a large allocation or a record that was not framed with its checksum.
func FuzzScan(f *testing.F) {
	dir := f.TempDir()
	j := open(f, dir, Options{})
	for _, r := range []string{"a", "longer record", strings.Repeat("z", 300)} {
		if err := j.Append(f.Context(), []byte(r)); err != nil {
			f.Fatal(err)
		}
	}
	j.Close()
	sealed, _ := filepath.Glob(filepath.Join(dir, "*.sealed"))
	data, err := os.ReadFile(sealed[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:headerSize])
	f.Add(data[:len(data)-1])
	f.Fuzz(func(t *testing.T, data []byte) {
		var total int
		whole, n, err := scan(data, func(p []byte) error { total += len(p) + frameSize; return nil })
		if err != nil {
			t.Fatal(err)
		}
		if whole > int64(len(data)) || n > 0 && whole != int64(headerSize+total) {
			t.Fatalf("%d of %d bytes are whole with %d records of %d bytes", whole, len(data), n, total)
		}
		if whole > 0 {
			again, m, _ := scan(data[:whole], nil)
			if again != whole || m != n {
				t.Fatalf("the whole part reads as %d bytes, %d records; before %d, %d", again, m, whole, n)
			}
		}
	})
}

func BenchmarkAppendParallel(b *testing.B) {
	j := open(b, b.TempDir(), Options{MaxBytes: 1 << 40})
	defer j.Close()
	payload := bytes.Repeat([]byte("e"), 90)
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := j.Append(b.Context(), payload); err != nil {
				b.Error(err)
			}
		}
	})
}
