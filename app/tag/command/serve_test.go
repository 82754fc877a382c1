package command

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// running is a tag server of this process.
type running struct {
	traffic, admin string // URLs
	stop           context.CancelFunc
	ended          chan int

	mu  sync.Mutex
	log bytes.Buffer
}

func (r *running) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

var listens = regexp.MustCompile(`"traffic":"([^"]+)","admin":"([^"]+)"`)

// start runs a command line until it listens; it is stopped with the test.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &running{stop: stop, ended: make(chan int, 1)}
	out, log := io.Pipe()
	go func() {
		r.ended <- Run(ctx, args, strings.NewReader(""), io.Discard, log)
		log.Close()
	}()
	t.Cleanup(func() {
		stop()
		select {
		case <-r.ended:
		case <-time.After(20 * time.Second):
			t.Error("the server does not stop")
		}
	})
	ready := make(chan []string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			r.mu.Lock()
			r.log.WriteString(lines.Text() + "\n")
			r.mu.Unlock()
			if m := listens.FindStringSubmatch(lines.Text()); m != nil {
				ready <- m
			}
		}
	}()
	select {
	case m := <-ready:
		r.traffic, r.admin = "http://"+m[1], "http://"+m[2]
	case code := <-r.ended:
		r.ended <- code
		t.Fatalf("ended with %d: %s", code, r.text())
	case <-time.After(20 * time.Second):
		t.Fatalf("does not listen: %s", r.text())
	}
	for range 100 {
		if code, _ := get(t, r.admin+"/readyz"); code == http.StatusOK {
			return r
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("never ready: %s", r.text())
	return nil
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// On SIGTERM a server becomes unready, serves on while load balancers look away, and leaves no event behind.
func TestDrainsAndShips(t *testing.T) {
	r := start(t, "--development", "--redis-addr=none", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--drain-period=1500ms", "--journal-dir="+t.TempDir())
	_, body := get(t, r.traffic+"/v1/ad?placement=demo-top")
	var a struct {
		Chain []struct{ URLs struct{ Impression string } }
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil || len(a.Chain) == 0 {
		t.Fatalf("%v: %s", err, body)
	}
	r.stop()
	deadline := time.Now().Add(time.Second)
	for {
		if code, _ := get(t, r.admin+"/readyz"); code == http.StatusServiceUnavailable {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("still ready after SIGTERM")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if code, _ := get(t, r.traffic+"/healthz"); code != http.StatusServiceUnavailable {
		t.Errorf("healthz while draining: %d", code)
	}
	if code, _ := get(t, r.admin+"/livez"); code != http.StatusOK {
		t.Errorf("livez while draining: %d", code)
	}
	if code, _ := get(t, a.Chain[len(a.Chain)-1].URLs.Impression); code != http.StatusOK {
		t.Errorf("an impression while draining: %d", code)
	}
	code := <-r.ended
	r.ended <- code
	if code != exitOK || !strings.Contains(r.text(), "stopped: all events are in the reports") {
		t.Errorf("ended with %d: %s", code, r.text())
	}
	if code, _ := get(t, r.traffic+"/healthz"); code != 0 {
		t.Errorf("still listens after its end: %d", code)
	}
}

// The second port shows the way to a preview, and metrics of all parts.
func TestAdminPort(t *testing.T) {
	r := start(t, "--demo", "--listen=127.0.0.1:0")
	_, body := get(t, r.admin+"/debug/preview?placement=demo-top&lineItem=house-all&expires=5m")
	var link struct{ URL string }
	if err := json.Unmarshal([]byte(body), &link); err != nil || !strings.HasPrefix(link.URL, "/v1/ad?") {
		t.Fatalf("%v: %s", err, body)
	}
	if code, body := get(t, r.traffic+link.URL); code != http.StatusOK || !strings.Contains(body, `"forced"`) {
		t.Errorf("%d %s", code, body)
	}
	get(t, r.traffic+"/v1/ad?placement=demo-top")
	_, metrics := get(t, r.admin+"/metrics")
	for _, want := range []string{`tag_ad_requests_total{outcome="filled"} 1`, "tag_catalogue_version 1", "tag_journal_bytes", "go_goroutines", "process_open_fds"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s", want)
		}
	}
	if code, body := get(t, r.admin+"/debug/explain?placement=demo-side&country=AT&device=mobile"); code != http.StatusOK || !strings.Contains(body, `"country": "AT"`) || !strings.Contains(body, `"device": "mobile"`) {
		t.Errorf("%d %s", code, body)
	}
	for _, path := range []string{"/debug/preview?placement=nope", "/debug/preview", "/debug/preview?placement=demo-top&expires=x", "/debug/preview?placement=demo-top&expires=9000h", "/debug/explain?placement=nope"} {
		if code, _ := get(t, r.admin+path); code != http.StatusBadRequest && code != http.StatusNotFound {
			t.Errorf("%s: %d", path, code)
		}
	}
	if code, _ := get(t, r.traffic+"/debug/explain?placement=demo-side"); code != http.StatusNotFound {
		t.Errorf("explanations are on the public port: %d", code)
	}
}

// What would make a production server lie or lose counts is refused, with the setting to change.
func TestConfigRefusals(t *testing.T) {
	for args, want := range map[string]string{
		"":                                       "TAG_KEY_FILE",
		"--key-file=k":                           "TAG_MONGO_URI",
		"--key-file=k --mongo-uri=mongodb://m/d": "TAG_JOURNAL_DIR",
		"--demo --public-url=ads.example":        "TAG_PUBLIC_URL",
		"--demo --listen=8080":                   "TAG_LISTEN",
		"--demo --journal-bytes=5":               "TAG_JOURNAL_BYTES",
		"--demo --deadline=1h":                   "TAG_DEADLINE",
		"--demo --max-in-flight=0":               "TAG_MAX_IN_FLIGHT",
		"--demo --forwarded-for=-1":              "TAG_FORWARDED_FOR",
		"--demo --vendor-id=-1":                  "TAG_VENDOR_ID",
		"--demo extra":                           "unexpected argument",
		"preview":                                "name a placement",
		"preview --placement=a":                  "TAG_KEY_FILE",
		"preview --placement=a --expires=1s":     "lasts from 1m",
		"preview --placement=a --line-item=b --creative=c": "not both",
	} {
		var out, errOut bytes.Buffer
		code := Run(t.Context(), strings.Fields(args), strings.NewReader(""), &out, &errOut)
		if code != exitUsage || !strings.Contains(errOut.String(), want) || strings.Count(errOut.String(), "\n") != 1 {
			t.Errorf("%q: %d, %q; want %q", args, code, errOut.String(), want)
		}
	}
}

func TestMissingGeoFileIsSaid(t *testing.T) {
	var out, errOut bytes.Buffer
	code := Run(t.Context(), []string{"--demo", "--listen=127.0.0.1:0", "--geo-file=" + filepath.Join(t.TempDir(), "none.mmdb")}, strings.NewReader(""), &out, &errOut)
	if code != exitFailed || !strings.Contains(errOut.String(), "GeoIP") {
		t.Errorf("%d %s", code, errOut.String())
	}
}

func TestPreviewLinkOpensOnAServerWithTheSameKey(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte(strings.Repeat("ab", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, "--demo", "--listen=127.0.0.1:0", "--key-file="+keys)
	var out, errOut bytes.Buffer
	code := Run(t.Context(), []string{"preview", "--placement=demo-top", "--key-file=" + keys, "--public-url=" + r.traffic, "--expires=10m"}, strings.NewReader(""), &out, &errOut)
	if code != exitOK {
		t.Fatalf("%d %s", code, errOut.String())
	}
	if code, body := get(t, strings.TrimSpace(out.String())); code != http.StatusOK || !strings.Contains(body, `"attempts"`) {
		t.Errorf("%d %s", code, body)
	}
}
