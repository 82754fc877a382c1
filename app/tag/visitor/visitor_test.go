package visitor

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/valyala/fasthttp"

	"patag/app/tag/inventory"
	"patag/app/tag/privacy"
)

// asked is a request and where it comes from.
type asked struct {
	Header fasthttp.RequestHeader
	from   net.Addr
}

// get is a request of a usual browser, from an address, with headers.
func get(remote string, header ...string) *asked {
	r := &asked{from: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(remote))}
	r.Header.SetMethod("GET")
	r.Header.Set("User-Agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func TestAddress(t *testing.T) {
	tests := map[string]struct {
		forwardedFor   int
		remote, header string
		want           string
	}{
		"the connection's":                            {0, "198.51.100.77:1234", "", "198.51.100.0"},
		"no header is trusted":                        {0, "198.51.100.77:1234", "203.0.113.9, 35.191.0.1", "198.51.100.0"},
		"behind Google's load balancer":               {2, "10.0.0.1:1234", "203.0.113.9,34.1.2.3", "203.0.113.0"},
		"what a client wrote itself is not looked at": {2, "10.0.0.1:1234", "1.2.3.4, 5.6.7.8, 203.0.113.9, 34.1.2.3", "203.0.113.0"},
		"a proxy in front of it":                      {3, "10.0.0.1:1234", "203.0.113.9, 192.0.2.1, 34.1.2.3", "203.0.113.0"},
		"not through the load balancer":               {2, "198.51.100.77:1234", "203.0.113.9", "198.51.100.0"},
		"not through the load balancer, no header":    {2, "198.51.100.77:1234", "", "198.51.100.0"},
		"no address where the client's must be":       {2, "10.0.0.1:1234", "unknown, 34.1.2.3", "invalid IP"},
		"IPv6":                                        {2, "10.0.0.1:1234", "2001:db8:1:2:3:4:5:6, 34.1.2.3", "2001:db8:1::"},
		"IPv6 of a connection":                        {0, "[2001:db8:1:2::3]:443", "", "2001:db8:1::"},
		"IPv4 in IPv6":                                {0, "[::ffff:203.0.113.9]:443", "", "203.0.113.0"},
		"with a zone":                                 {0, "[fe80::1%eth0]:443", "", "fe80::"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := get(tt.remote)
			if tt.header != "" {
				r.Header.Set("X-Forwarded-For", tt.header)
			}
			var v Visitor
			(&Reader{ForwardedFor: tt.forwardedFor}).Read(&r.Header, r.from, &v)
			if v.IP.String() != tt.want {
				t.Errorf("%s, want %s", v.IP, tt.want)
			}
		})
	}
	t.Run("of several headers the last one is the load balancer's", func(t *testing.T) {
		r := get("10.0.0.1:1")
		r.Header.Add("X-Forwarded-For", "1.2.3.4,5.6.7.8")
		r.Header.Add("X-Forwarded-For", "203.0.113.9,34.1.2.3")
		var v Visitor
		(&Reader{ForwardedFor: 2}).Read(&r.Header, r.from, &v)
		if v.IP.String() != "203.0.113.0" {
			t.Error(v.IP)
		}
	})
}

func TestInvalid(t *testing.T) {
	tests := map[string]struct {
		method string
		header []string
		want   Invalid
	}{
		"a browser":                       {"GET", nil, Valid},
		"no agent":                        {"GET", []string{"User-Agent", ""}, NoAgent},
		"HEAD":                            {"HEAD", nil, HeadMethod},
		"prefetch":                        {"GET", []string{"Sec-Purpose", "prefetch"}, Prefetch},
		"prerender":                       {"GET", []string{"Sec-Purpose", "prefetch;prerender"}, Prefetch},
		"prefetch of Firefox":             {"GET", []string{"X-Moz", "prefetch"}, Prefetch},
		"prefetch of old browsers":        {"GET", []string{"Purpose", "prefetch"}, Prefetch},
		"preview of Safari":               {"GET", []string{"X-Purpose", "preview"}, Prefetch},
		"another purpose":                 {"GET", []string{"Sec-Purpose", "navigate"}, Valid},
		"headless by its hints":           {"GET", []string{"Sec-CH-UA", `"Chromium";v="141", "HeadlessChrome";v="141"`}, Headless},
		"a bot is one whatever it does":   {"HEAD", []string{"User-Agent", "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"}, Bot},
		"from a data centre":              {"GET", []string{"X-Forwarded-For", "192.0.2.55,34.1.2.3"}, DataCentre},
		"a single address of the file":    {"GET", []string{"X-Forwarded-For", "2001:db8::5,34.1.2.3"}, DataCentre},
		"beside the ranges of the file":   {"GET", []string{"X-Forwarded-For", "192.0.3.0,34.1.2.3"}, Valid},
		"below the ranges of the file":    {"GET", []string{"X-Forwarded-For", "1.1.1.1,34.1.2.3"}, Valid},
		"in a range that lies in another": {"GET", []string{"X-Forwarded-For", "192.0.2.200,34.1.2.3"}, DataCentre},
	}
	file := filepath.Join(t.TempDir(), "ranges")
	if err := os.WriteFile(file, []byte("# data centres\n192.0.2.0/24 # whole\n192.0.2.64/26\n\n2001:db8::5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rd := &Reader{ForwardedFor: 2}
	if err := rd.Load(Files{DataCentres: file}); err != nil {
		t.Fatal(err)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := get("10.0.0.1:1", tt.header...)
			r.Header.SetMethod(tt.method)
			var v Visitor
			if rd.Read(&r.Header, r.from, &v); v.Invalid != tt.want {
				t.Errorf("%q, want %q", v.Invalid, tt.want)
			}
		})
	}
	if err := rd.Load(Files{DataCentres: writeFile(t, "192.0.2.0/24\nnonsense\n")}); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a bad file is answered %v", err)
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// writeGeo writes a database with one prefix in a country and region.
func writeGeo(t *testing.T, file, prefix, country, region string) {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-City", IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	_, network, err := net.ParseCIDR(prefix)
	if err != nil {
		t.Fatal(err)
	}
	record := mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(country)},
		"subdivisions": mmdbtype.Slice{mmdbtype.Map{"iso_code": mmdbtype.String(region)}}}
	if err := tree.Insert(network, record); err != nil {
		t.Fatal(err)
	}
	out, err := os.CreateTemp(filepath.Dir(file), "new")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := tree.WriteTo(out); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(out.Name(), file); err != nil {
		t.Fatal(err)
	}
}

func TestPlace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "geo.mmdb")
	writeGeo(t, file, "203.0.113.0/24", "DE", "BY")
	with, without := &Reader{CountryHeader: "X-Country", RegionHeader: "X-Region"}, &Reader{CountryHeader: "X-Country", RegionHeader: "X-Region"}
	if err := with.Load(Files{Geo: file}); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		rd              *Reader
		remote          string
		country, region string // headers
		want            string
	}{
		"the database":                        {with, "203.0.113.9:1", "", "", "DE DE-BY"},
		"the database goes before headers":    {with, "203.0.113.9:1", "US", "USCA", "DE DE-BY"},
		"headers where it knows nothing":      {with, "198.51.100.1:1", "US", "USCA", "US US-CA"},
		"headers":                             {without, "198.51.100.1:1", "us", "", "US "},
		"a region with a dash":                {without, "198.51.100.1:1", "US", "us-ca", "US US-CA"},
		"a region tells the country":          {without, "198.51.100.1:1", "", "CAON", "CA CA-ON"},
		"a region of another country":         {without, "198.51.100.1:1", "US", "CAON", "US "},
		"nothing":                             {without, "198.51.100.1:1", "", "", " "},
		"what Google sends of unknown places": {without, "198.51.100.1:1", "ZZ", "", "ZZ "},
		"headers that are neither":            {without, "198.51.100.1:1", "<b>", "no region", " "},
		"a region of three letters":           {without, "198.51.100.1:1", "GB", "GBENG", "GB GB-ENG"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var v Visitor
			r := get(tt.remote, "X-Country", tt.country, "X-Region", tt.region)
			tt.rd.Read(&r.Header, r.from, &v)
			if got := v.Country.String() + " " + v.Region.String(); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestChangedFilesAreReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "geo.mmdb")
	writeGeo(t, file, "203.0.113.0/24", "DE", "BY")
	rd := &Reader{}
	if err := rd.Load(Files{Geo: file}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	reloaded, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		rd.Watch(ctx, Files{Geo: file}, 5*time.Millisecond, slog.New(slog.DiscardHandler), func(err error) { reloaded <- err })
	}()
	country := func() string {
		var v Visitor
		r := get("203.0.113.9:1")
		rd.Read(&r.Header, r.from, &v)
		return v.Country.String()
	}
	time.Sleep(20 * time.Millisecond) // the watch has seen the first file
	writeGeo(t, file, "203.0.113.0/24", "AT", "WIEN")
	if err := <-reloaded; err != nil || country() != "AT" {
		t.Errorf("after a new file: %v, country %s", err, country())
	}
	if err := os.Rename(writeFile(t, "no database"), file); err != nil {
		t.Fatal(err)
	}
	if err := <-reloaded; err == nil || country() != "AT" {
		t.Errorf("after a bad file: %v, country %s", err, country())
	}
	cancel()
	<-ended
}

func TestSignalsOfHeaders(t *testing.T) {
	var v Visitor
	rd := &Reader{CountryHeader: "X-Country"}
	r := get("203.0.113.9:1", "Sec-GPC", "1", "Cookie", "a=b; pa_optout=1", "X-Country", "fr", "Accept-Language", "de-AT,de;q=0.8")
	rd.Read(&r.Header, r.from, &v)
	s := privacy.Signals{GDPR: "1"}
	v.Sign(&s)
	if want := (privacy.Signals{GDPR: "1", GPC: true, OptOut: true, Country: "FR"}); s != want || v.Language != "de-AT" {
		t.Errorf("%+v %q", s, v.Language)
	}
	r = get("203.0.113.9:1", "Cookie", "xpa_optout=1; pa_optout=0", "Accept-Language", "<script>")
	rd.Read(&r.Header, r.from, &v)
	if v.GPC || v.OptOut || v.Language != "" {
		t.Errorf("%+v", v)
	}
}

func TestReadAllocatesOnlyWhatItKeeps(t *testing.T) {
	file := filepath.Join(t.TempDir(), "geo.mmdb")
	writeGeo(t, file, "203.0.113.0/24", "DE", "BY")
	rd := &Reader{ForwardedFor: 2, CountryHeader: "X-Client-Geo-Country", RegionHeader: "X-Client-Geo-Region"}
	if err := rd.Load(Files{Geo: file}); err != nil {
		t.Fatal(err)
	}
	r := get("10.0.0.1:1", "X-Forwarded-For", "203.0.113.9,34.1.2.3", "X-Client-Geo-Country", "DE", "X-Client-Geo-Region", "DEBY", "Sec-CH-UA", `"Google Chrome";v="141"`, "Accept-Language", "de", "Cookie", "a=b")
	var v Visitor
	var s privacy.Signals
	// The database's reader makes a string of each code.
	for rd, most := range map[*Reader]float64{rd: 5, {ForwardedFor: 2, CountryHeader: "X-Client-Geo-Country", RegionHeader: "X-Client-Geo-Region"}: 3} {
		if n := testing.AllocsPerRun(200, func() { rd.Read(&r.Header, r.from, &v); v.Sign(&s) }); n > most {
			t.Errorf("%v allocations, want at most %v", n, most)
		}
	}
	if v.Region != inventory.ParseRegion("DE-BY") {
		t.Error(v.Region)
	}
}

func BenchmarkRead(b *testing.B) {
	rd := &Reader{ForwardedFor: 2, CountryHeader: "X-Client-Geo-Country"}
	r := get("10.0.0.1:1", "X-Forwarded-For", "203.0.113.9,34.1.2.3", "X-Client-Geo-Country", "DE")
	var v Visitor
	for b.Loop() {
		rd.Read(&r.Header, r.from, &v)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("Mozilla/5.0", "203.0.113.9,34.1.2.3", "USCA", "de", "pa_optout=1", `"Chromium"`)
	f.Fuzz(func(t *testing.T, agent, forwarded, region, language, cookies, brands string) {
		r := get("10.0.0.1:1")
		for k, v := range map[string]string{"User-Agent": agent, "X-Forwarded-For": forwarded, "X-Region": region, "Accept-Language": language, "Cookie": cookies, "Sec-Ch-Ua": brands} {
			r.Header.Set(k, v)
		}
		var v Visitor
		(&Reader{ForwardedFor: 2, RegionHeader: "X-Region"}).Read(&r.Header, r.from, &v)
		if v.Device.String() == "" || v.Browser.String() == "" || v.System.String() == "" {
			t.Fatalf("not exactly one of each: %+v", v)
		}
		if v.IP.IsValid() && v.IP != Truncate(v.IP) {
			t.Fatalf("%s is not truncated", v.IP)
		}
	})
}
