package loadertest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// agent is a browser like those of visitors: headless ones are counted apart.
const agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"

// consent is a string of TCF 2.3 that agrees to everything for vendors 42 and 755, who are disclosed: the partner of tags is 755.
const consent = "CQgYw8AQgYw8AAfACBDEB4FoAP_AAAAAAAAAF5wAgAVQLzAvMAAIAAAA.IF5wAgAVQLzAvMA"

// site is a publisher's page with a strict policy, and the landing pages of ads.
type site struct {
	*httptest.Server
	landing *httptest.Server
	mu      sync.Mutex
	landed  []string
}

func newSite(t *testing.T, tag string) *site {
	page, err := os.ReadFile("testdata/page.html")
	if err != nil {
		t.Fatal(err)
	}
	page = bytes.ReplaceAll(page, []byte("ORIGIN"), []byte(tag))
	page = bytes.ReplaceAll(page, []byte("TCSTRING"), []byte(consent))
	s := &site{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			w.WriteHeader(http.StatusNoContent) // the browser asks for an icon
			return
		}
		// What a careful publisher allows: docs/loader.md.
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'nonce-n0nce'; style-src 'nonce-n0nce'; connect-src "+tag+"; frame-src "+tag+"; base-uri 'none'; form-action 'none'")
		w.Write(bytes.ReplaceAll(page, []byte("NONCE"), []byte("n0nce")))
	}))
	t.Cleanup(s.Close)
	s.landing = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.landed = append(s.landed, r.Host+r.URL.String())
		fmt.Fprint(w, "<!doctype html><title>landing page</title>")
	}))
	t.Cleanup(s.landing.Close)
	return s
}

func (s *site) visited() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.landed)
}

// console keeps what a browser complains of.
type console struct {
	mu    sync.Mutex
	lines []string
}

func (c *console) listen(ev any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := ev.(type) {
	case *runtime.EventExceptionThrown:
		c.lines = append(c.lines, e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning {
			for _, a := range e.Args {
				c.lines = append(c.lines, string(e.Type)+": "+string(a.Value)+a.Description)
			}
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError {
			c.lines = append(c.lines, e.Entry.Text+" "+e.Entry.URL)
		}
	}
}

// browser is a tab of a headless Chromium that finds landing.example at the site.
func browser(t *testing.T, s *site) (context.Context, *console) {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("NOT TESTED: there is no chromium; apt-get install chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900),
		chromedp.Flag("host-resolver-rules", "MAP landing.example:443 "+strings.TrimPrefix(s.landing.URL, "https://")), chromedp.Flag("ignore-certificate-errors", true), chromedp.Flag("disable-gpu", true))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 90*time.Second)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	c := &console{}
	chromedp.ListenTarget(ctx, c.listen)
	brands := []*emulation.UserAgentBrandVersion{{Brand: "Chromium", Version: "140"}, {Brand: "Google Chrome", Version: "140"}}
	override := emulation.SetUserAgentOverride(agent).WithUserAgentMetadata(&emulation.UserAgentMetadata{Brands: brands, Platform: "Linux"})
	if err := chromedp.Run(ctx, log.Enable(), override); err != nil {
		t.Fatal(err)
	}
	return ctx, c
}

func run(t *testing.T, ctx context.Context, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// until waits for a condition of the page or the server.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("after 15 s still not: %s", what)
			return
		}
	}
}

func TestLoaderInABrowser(t *testing.T) {
	tag := newTag(t)
	s := newSite(t, tag.URL)
	ctx, c := browser(t, s)
	run(t, ctx, chromedp.Navigate(s.URL+"/"))
	states := func() map[string]string {
		var m map[string]string
		run(t, ctx, chromedp.Evaluate(`Object.fromEntries(Array.from(document.querySelectorAll("[data-pa-placement]"), e => [e.id, e.dataset.paState]))`, &m))
		return m
	}
	until(t, "all that is in view is viewable", func() bool { return tag.count("viewable") >= 5 })
	until(t, "the blank tag has passed back", func() bool { return states()["blank"] == "empty" })

	want := map[string]string{"display": "viewable", "native": "viewable", "passes": "viewable", "fills": "viewable", "says": "viewable", "blank": "empty", "empty": "empty", "lazy": "waiting"}
	for id, state := range states() {
		if state != want[id] {
			t.Errorf("placement %s is %s, want %s", id, state, want[id])
		}
	}
	tag.expect(t, []string{
		"attempt passes/passing", "passback passes/passing", "impression passes/subscribe", "viewable passes/subscribe",
		"attempt fills/filling", "impression fills/filling", "viewable fills/filling",
		"attempt says/saying", "impression says/saying", "viewable says/saying",
		"attempt blank/blank", "passback blank/blank",
		"impression display/rectangle", "viewable display/rectangle", "impression native/story", "viewable native/story",
	})
	if n := tag.asked("/v1/ads"); n != 1 {
		t.Errorf("the placements in view were asked for in %d calls, want 1", n)
	}
	body := tag.body()
	for _, part := range []string{`"gdprConsent":"` + consent, `"gdpr":true`, `"gpp":"DBABTA~1YNN"`, `"keywords":["sport","news"]`, `"userId":"reader-1"`, `"given":false`, s.URL} {
		if !strings.Contains(body, part) {
			t.Errorf("the call does not pass on %s: %s", part, body)
		}
	}
	shoot(t, ctx, "page.png")

	t.Run("a frame reaches nothing of the page", func(t *testing.T) {
		var reached, access string
		run(t, ctx, chromedp.Evaluate(`document.body.dataset.reached || ""`, &reached),
			chromedp.Evaluate(`Array.from(document.querySelectorAll("iframe"), f => { try { return f.contentDocument ? "open" : "shut" } catch (e) { return "shut" } }).join()`, &access))
		if reached != "" || strings.Contains(access, "open") {
			t.Errorf("reached %q, frames %s", reached, access)
		}
	})
	t.Run("what is below loads when it comes near, and is viewable only when it is seen", func(t *testing.T) {
		run(t, ctx, chromedp.Evaluate(`document.getElementById("lazy").scrollIntoView({block: "center"})`, nil))
		until(t, "the lazy ad is viewable", func() bool { return states()["lazy"] == "viewable" })
		if n := tag.asked("/v1/ad"); n != 1 {
			t.Errorf("one placement was asked for in %d calls of GET /v1/ad, want 1", n)
		}
	})
	t.Run("a refreshed ad out of sight is an impression and not viewable", func(t *testing.T) {
		impressions, viewables := tag.count("impression"), tag.count("viewable")
		run(t, ctx, chromedp.Evaluate(`paTag.refresh("display")`, nil))
		until(t, "it has rendered again", func() bool { return tag.count("impression") == impressions+1 })
		time.Sleep(1500 * time.Millisecond)
		if n := tag.count("viewable"); n != viewables {
			t.Errorf("%d viewable impressions of an ad that is out of sight", n-viewables)
		}
	})
	t.Run("a click goes to the landing page", func(t *testing.T) {
		run(t, ctx, chromedp.Evaluate(`document.getElementById("display").scrollIntoView({block: "start"})`, nil), chromedp.Sleep(300*time.Millisecond), chromedp.MouseClickXY(150, 120))
		until(t, "the landing page is visited", func() bool { return slices.Contains(s.visited(), "landing.example/offer?a=1") })
		if n := tag.count("click"); n != 1 {
			t.Errorf("%d clicks are counted, want 1", n)
		}
	})
	t.Run("an opt-out is passed on", func(t *testing.T) {
		run(t, ctx, chromedp.Evaluate(`paTag.optOut(true); paTag.refresh("native")`, nil))
		until(t, "the request says so", func() bool { return strings.Contains(tag.query(), "optout=1") })
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lines) > 0 {
		t.Errorf("the console says:\n%s", strings.Join(c.lines, "\n"))
	}
}

func TestDemoPageInABrowser(t *testing.T) {
	tag := newDemo(t)
	s := newSite(t, tag.URL)
	ctx, c := browser(t, s)
	run(t, ctx, chromedp.Navigate(tag.URL+"/demo"))
	until(t, "most placements of the demo have rendered", func() bool { return tag.count("impression") >= 4 })
	// A window as high as the page: frames are painted where they are in view.
	run(t, ctx, chromedp.EmulateViewport(1280, 1700), chromedp.Sleep(2500*time.Millisecond))
	until(t, "no placement of the demo waits", func() bool {
		var waiting int
		run(t, ctx, chromedp.Evaluate(`document.querySelectorAll("[data-pa-state=waiting],[data-pa-state=loading],[data-pa-state=error]").length`, &waiting))
		return waiting == 0
	})
	shoot(t, ctx, "demo.png")
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lines) > 0 {
		t.Errorf("the console says:\n%s", strings.Join(c.lines, "\n"))
	}
}

// shoot writes a screenshot of the whole page where PATAG_SCREENSHOTS names a folder.
func shoot(t *testing.T, ctx context.Context, name string) {
	dir := os.Getenv("PATAG_SCREENSHOTS")
	if dir == "" {
		return
	}
	var png []byte
	run(t, ctx, chromedp.FullScreenshot(&png, 100))
	if err := os.WriteFile(filepath.Join(dir, name), png, 0o644); err != nil {
		t.Fatal(err)
	}
}
