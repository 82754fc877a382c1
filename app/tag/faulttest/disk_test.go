package faulttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The journal's disk is full: ads are served on, events are refused rather than acknowledged, the metric says so, and when there is
// room again events count without a restart.
func TestFullDiskServesOnAndRefusesEvents(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: a file system of a test's own needs root")
	}
	path, dir, addr, admin := build(t), t.TempDir(), freeAddr(t), freeAddr(t)
	log, err := os.Create(filepath.Join(t.TempDir(), "tag.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	// Mounted in a mount namespace of the server's own; it is reached through the server's /proc entry.
	cmd := exec.Command("/bin/sh", "-c", `mount -t tmpfs -o size=512k tag "$1" && shift && exec "$@"`, "sh", dir,
		path, "serve", "--development", "--redis-addr", "none", "--journal-dir", dir, "--listen", addr, "--admin-listen", admin, "--drain-period", "0s")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &tagServer{t: t, addr: addr, log: log.Name(), cmd: cmd}
	t.Cleanup(s.kill)
	s.ready()

	if code := impression(t, addr); code != 200 {
		t.Fatalf("an impression with room on the disk: %d", code)
	}
	filler := fmt.Sprintf("/proc/%d/root%s/filler", cmd.Process.Pid, dir)
	refused, sent := 0, 1
	for ; refused < 3 && sent < 400; sent++ {
		fill(t, filler) // again and again: a segment that is shipped makes room, and the last page of one has some
		switch code := impression(t, addr); code {
		case 503:
			refused++
		case 200:
		default:
			t.Fatalf("an impression on a full disk: %d", code)
		}
	}
	_, metrics, err := get(t.Context(), "http://"+admin+"/metrics")
	if err != nil || refused != 3 || !strings.Contains(string(metrics), `tag_events_dropped_total{reason="disk"} 3`) {
		t.Errorf("of %d events %d were refused, and the metric does not say 3: %v", sent, refused, err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	code := 0
	for until := time.Now().Add(5 * time.Second); code != 200 && time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		code = impression(t, addr)
	}
	if code != 200 {
		t.Errorf("an impression with room again: %d", code)
	}
	// The requests that were counted meanwhile waited in memory. Shown after the next shipment.
	report := ""
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(200 * time.Millisecond) {
		_, body, err := get(t.Context(), "http://"+admin+"/debug/report")
		if report = string(body); err == nil && strings.Contains(report, "TOTAL") && requests(report) >= sent {
			return
		}
	}
	t.Errorf("the requests of the time without room are not counted:\n%s", report)
}

// impression asks for an ad, which must always come, and sends its impression.
func impression(t *testing.T, addr string) int {
	t.Helper()
	code, body, err := get(t.Context(), "http://"+addr+"/v1/ad?placement=demo-top")
	var ad struct {
		Chain []struct{ URLs map[string]string }
	}
	if err != nil || code != 200 || json.Unmarshal(body, &ad) != nil || len(ad.Chain) == 0 {
		t.Fatalf("an ad: %d, %v", code, err)
	}
	u, err := url.Parse(ad.Chain[len(ad.Chain)-1].URLs["impression"])
	if err != nil {
		t.Fatal(err)
	}
	code, _, err = get(t.Context(), "http://"+addr+u.RequestURI())
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 1000 {
		if _, err := f.Write(make([]byte, 4096)); errors.Is(err, syscall.ENOSPC) {
			return
		}
	}
	t.Fatal("the disk is never full")
}

// requests reads the total of requests, the first number of the last line.
func requests(report string) (n int) {
	_, last, _ := strings.Cut(report, "TOTAL")
	for _, f := range strings.Fields(last) {
		if _, err := fmt.Sscanf(f, "%d", &n); err == nil {
			return n
		}
	}
	return 0
}
