package terminal

import (
	"testing"
	"time"
)

func TestElapsed(t *testing.T) {
	for d, want := range map[time.Duration]string{
		400 * time.Millisecond: "0.4 s", 12 * time.Second: "12 s", 187 * time.Second: "3m07s", 99*time.Minute + 59*time.Second: "99m59s",
		5*time.Hour + 2*time.Minute: "5h02m", 76 * time.Hour: "3d04h",
	} {
		if got := Elapsed(d); got != want {
			t.Errorf("%s: %q, want %q", time.Duration(d), got, want)
		}
	}
}
