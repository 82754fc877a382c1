package token

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var now = time.Unix(1_790_000_000, 0)

func keys(t testing.TB, secrets ...string) *Keys {
	t.Helper()
	var bs [][]byte
	for _, s := range secrets {
		bs = append(bs, []byte(s))
	}
	k, err := NewKeys(bs...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var (
	one  = strings.Repeat("1", MinKey)
	two  = strings.Repeat("2", MinKey)
	fill = Claims{ID: 42, Issued: now.Unix(), Placement: "top", Item: "item", Creative: "creative", House: true, Invalid: true, CPMMicros: 4_500_000, Currency: "EUR", User: 1 << 60,
		Source: "source", Deal: "deal", Seat: "seat", Landing: "https://shop.example/" + strings.Repeat("l", 300), Arm: "experiment/arm"}
)

func TestRoundTripAndRotation(t *testing.T) {
	old, next, gone := keys(t, one), keys(t, two, one), keys(t, two)
	text := string(old.Append(nil, &fill))
	if got, err := old.Parse(text, now, time.Hour); err != nil || got != fill {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := next.Parse(text, now, time.Hour); err != nil || got != fill {
		t.Errorf("while the old key is still listed: %+v, %v", got, err)
	}
	if _, err := gone.Parse(text, now, time.Hour); !errors.Is(err, ErrForged) {
		t.Errorf("after the old key is gone: %v", err)
	}
}

func TestAge(t *testing.T) {
	k := keys(t, one)
	text := string(k.Append(nil, &fill))
	for _, c := range []struct {
		after time.Duration
		ok    bool
	}{{0, true}, {time.Hour, true}, {time.Hour + time.Second, false}, {-clockSkew, true}, {-clockSkew - time.Second, false}} {
		_, err := k.Parse(text, now.Add(c.after), time.Hour)
		if c.ok != (err == nil) || err != nil && !errors.Is(err, ErrExpired) {
			t.Errorf("%s after: %v, want accepted: %v", c.after, err, c.ok)
		}
	}
}

// No change of any one character is accepted.
func TestEveryChangeIsNoticed(t *testing.T) {
	k := keys(t, one)
	text := string(k.Append(nil, &fill))
	for i := range text {
		for _, c := range "Aa0_-!" {
			changed := text[:i] + string(c) + text[i+1:]
			if changed == text {
				continue
			}
			if _, err := k.Parse(changed, now, time.Hour); err == nil {
				t.Fatalf("changed at %d to %q and accepted", i, c)
			}
		}
	}
	for _, cut := range []string{"", text[:len(text)-1], text + "A", text[1:]} {
		if _, err := k.Parse(cut, now, time.Hour); err == nil {
			t.Errorf("accepted %q", cut)
		}
	}
}

func TestLoadKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	for text, want := range map[string]string{
		"# new\n" + strings.Repeat("ab", 32) + "\n\n" + strings.Repeat("cd", 32) + "\n": "",
		strings.Repeat("ab", 8): "at least 32", "not hex!": "line 1", "": "no token key",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadKeys(path)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	k := keys(f, one)
	f.Add(string(k.Append(nil, &fill)))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := k.Parse(text, now, time.Hour)
		if err != nil {
			return
		}
		if again := string(k.Append(nil, &c)); again != text {
			t.Fatalf("accepted %q, which signs as %q", text, again)
		}
	})
}

// The body's reader must stand any bytes: a key that leaks must not become a crash.
func FuzzBody(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Fuzz(func(t *testing.T, b []byte) { parseBody(b) })
}

func BenchmarkAppend(b *testing.B) {
	k := keys(b, one)
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		buf = k.Append(buf[:0], &fill)
	}
}
