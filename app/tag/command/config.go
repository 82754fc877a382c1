package command

import (
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"patag/app/tag/visitor"
)

// Config of tag serve. Sizes: a tag server needs about 64 MiB of memory for a small catalogue and 256 MiB at the most for its
// journal while the store is away, at about 90 bytes an event.
type Config struct {
	Listen         string        // TAG_LISTEN, --listen: traffic; default :8080
	AdminListen    string        // TAG_ADMIN_LISTEN, --admin-listen: health, metrics, profiles; default :8081
	MongoURI       string        // TAG_MONGO_URI, --mongo-uri: configuration and reports
	RedisAddr      string        // TAG_REDIS_ADDR, --redis-addr: twemproxy; caps and live counters
	JournalDir     string        // TAG_JOURNAL_DIR, --journal-dir: events that wait, and the last good catalogue
	JournalBytes   int64         // TAG_JOURNAL_BYTES, --journal-bytes: how much may wait; default 256 MiB
	KeyFile        string        // TAG_KEY_FILE, --key-file: keys that sign tokens, hex or base64, one a line, the signing one first
	PublicURL      string        // TAG_PUBLIC_URL, --public-url: what event URLs start with; default: as the client asked
	CountryHeader  string        // TAG_COUNTRY_HEADER, --country-header: set by the load balancer; default X-Client-Geo-Country
	RegionHeader   string        // TAG_REGION_HEADER, --region-header: set by the load balancer, such as USCA; default X-Client-Geo-Region
	ForwardedFor   int           // TAG_FORWARDED_FOR, --forwarded-for: which entry of X-Forwarded-For, from the right, is the client; 2 behind Google's load balancer; default 0: the connection's address
	GeoFile        string        // TAG_GEO_FILE, --geo-file: database of countries and regions in MaxMind's format
	DataCentreFile string        // TAG_DATA_CENTRE_FILE, --data-centre-file: addresses whose traffic is invalid, one prefix a line
	VendorID       int           // TAG_VENDOR_ID, --vendor-id: our id in the TCF's Global Vendor List; default 0: we act for the publisher
	Deadline       time.Duration // TAG_DEADLINE, --deadline: for all auctions of one request together; default 300ms
	MaxInFlight    int           // TAG_MAX_IN_FLIGHT, --max-in-flight: requests worked on at a time, above it house ads; default 4096
	DrainPeriod    time.Duration // TAG_DRAIN_PERIOD, --drain-period: served on after SIGTERM while load balancers look away; default 15s
	FrequencyTime  time.Duration // TAG_FREQUENCY_BUDGET, --frequency-budget: for Redis in one decision; default 5ms
	RefreshEvery   time.Duration // TAG_REFRESH_EVERY, --refresh-every: poll of the catalogue's version; default 2s
	Development    bool          // TAG_MODE=development, --development: a random key, and no Mongo or Redis needed
	Demo           bool          // --demo: the embedded catalogue, nothing else needed
	ServerName     string        // TAG_SERVER_NAME (else the host name): names this server in reports
	RedisNone      bool          // TAG_REDIS_ADDR=none: on purpose without Redis
	adminListenSet bool
}

func serveConfig(args []string, s streams) (*Config, error) {
	c := &Config{}
	f := flag.NewFlagSet("tag serve", flag.ContinueOnError)
	text := func(into *string, name, env, def, what string) {
		if v := os.Getenv(env); v != "" {
			def = v
		}
		f.StringVar(into, name, def, what+" ("+env+")")
	}
	var envErr error
	duration := func(into *time.Duration, name, env string, def time.Duration, what string) {
		if v := os.Getenv(env); v != "" {
			d, err := time.ParseDuration(v)
			if err != nil {
				envErr = fmt.Errorf("%s: %q is no duration; write it as 15s or 2m", env, v)
			}
			def = d
		}
		f.DurationVar(into, name, def, what+" ("+env+")")
	}
	text(&c.Listen, "listen", "TAG_LISTEN", ":8080", "address for traffic")
	text(&c.AdminListen, "admin-listen", "TAG_ADMIN_LISTEN", ":8081", "address for health, metrics and profiles")
	text(&c.MongoURI, "mongo-uri", "TAG_MONGO_URI", "", "store of configuration and reports")
	text(&c.RedisAddr, "redis-addr", "TAG_REDIS_ADDR", "", "host:port of twemproxy or Redis; none to do without")
	text(&c.JournalDir, "journal-dir", "TAG_JOURNAL_DIR", "", "folder of events that wait and of the last good catalogue")
	text(&c.KeyFile, "key-file", "TAG_KEY_FILE", "", "file of the keys that sign tokens")
	text(&c.PublicURL, "public-url", "TAG_PUBLIC_URL", "", "what event URLs start with; default: as the client asked")
	text(&c.CountryHeader, "country-header", "TAG_COUNTRY_HEADER", "X-Client-Geo-Country", "header that the load balancer sets to the client's country")
	text(&c.RegionHeader, "region-header", "TAG_REGION_HEADER", "X-Client-Geo-Region", "header that the load balancer sets to the client's region")
	text(&c.GeoFile, "geo-file", "TAG_GEO_FILE", "", "database of countries and regions in MaxMind's format")
	text(&c.DataCentreFile, "data-centre-file", "TAG_DATA_CENTRE_FILE", "", "file of addresses whose traffic is invalid, one prefix a line")
	text(&c.ServerName, "server-name", "TAG_SERVER_NAME", "", "name of this server in reports; default: host name")
	duration(&c.DrainPeriod, "drain-period", "TAG_DRAIN_PERIOD", 15*time.Second, "how long to serve on after SIGTERM")
	duration(&c.FrequencyTime, "frequency-budget", "TAG_FREQUENCY_BUDGET", 5*time.Millisecond, "time for Redis in one decision")
	duration(&c.RefreshEvery, "refresh-every", "TAG_REFRESH_EVERY", 2*time.Second, "how often to look for a new catalogue")
	duration(&c.Deadline, "deadline", "TAG_DEADLINE", 300*time.Millisecond, "time for all auctions of one request")
	number := func(into *int, name, env string, def int, what string) {
		if v := os.Getenv(env); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil {
				envErr = fmt.Errorf("%s: %q is no number", env, v)
			}
			def = n
		}
		f.IntVar(into, name, def, what+" ("+env+")")
	}
	number(&c.ForwardedFor, "forwarded-for", "TAG_FORWARDED_FOR", 0, "entry of X-Forwarded-For, from the right, that is the client; 2 behind Google's load balancer")
	number(&c.VendorID, "vendor-id", "TAG_VENDOR_ID", 0, "our id in the TCF's Global Vendor List; 0 when we act for the publisher")
	number(&c.MaxInFlight, "max-in-flight", "TAG_MAX_IN_FLIGHT", 4096, "requests worked on at a time")
	bytes := int64(256 << 20)
	if v := os.Getenv("TAG_JOURNAL_BYTES"); v != "" {
		if _, err := fmt.Sscanf(v, "%d", &bytes); err != nil {
			envErr = fmt.Errorf("TAG_JOURNAL_BYTES: %q is no number of bytes", v)
		}
	}
	f.Int64Var(&c.JournalBytes, "journal-bytes", bytes, "how many bytes of events may wait (TAG_JOURNAL_BYTES)")
	f.BoolVar(&c.Development, "development", os.Getenv("TAG_MODE") == "development", "allow a random key, and no Mongo or Redis (TAG_MODE=development)")
	f.BoolVar(&c.Demo, "demo", false, "serve an embedded demo catalogue with nothing else running")
	if err := parse(f, args, s); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, usageError(fmt.Sprintf("unexpected argument %q", f.Arg(0)))
	}
	f.Visit(func(fl *flag.Flag) { c.adminListenSet = c.adminListenSet || fl.Name == "admin-listen" })
	if envErr != nil {
		return nil, usageError(envErr.Error())
	}
	return c, c.check()
}

// check refuses what would make a production server lie or lose counts; each message says what to set.
func (c *Config) check() error {
	c.RedisNone = c.RedisAddr == "none"
	if c.Demo {
		c.MongoURI, c.RedisAddr, c.RedisNone = "", "", true
		if !c.adminListenSet && os.Getenv("TAG_ADMIN_LISTEN") == "" {
			c.AdminListen = "127.0.0.1:0"
		}
	}
	c.PublicURL = strings.TrimSuffix(c.PublicURL, "/")
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.ContainsAny(c.PublicURL, "\"'<>\\ ") {
			return usageError(fmt.Sprintf("TAG_PUBLIC_URL: %q is not an absolute URL", c.PublicURL))
		}
	}
	for name, addr := range map[string]string{"TAG_LISTEN": c.Listen, "TAG_ADMIN_LISTEN": c.AdminListen} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return usageError(fmt.Sprintf("%s: %q is not host:port or :port", name, addr))
		}
	}
	if c.JournalBytes < 1<<20 {
		return usageError("TAG_JOURNAL_BYTES: at least 1048576 (1 MiB) are needed")
	}
	if c.MaxInFlight < 1 || c.VendorID < 0 || c.ForwardedFor < 0 || c.ForwardedFor > 8 {
		return usageError("TAG_MAX_IN_FLIGHT must be at least 1, TAG_VENDOR_ID not negative, TAG_FORWARDED_FOR between 0 and 8")
	}
	if c.Deadline < time.Millisecond || c.Deadline > 5*time.Second {
		return usageError("TAG_DEADLINE: from 1ms to 5s")
	}
	if c.Demo || c.Development {
		return nil
	}
	switch {
	case c.KeyFile == "":
		return usageError("no token key: set TAG_KEY_FILE to a file made with `openssl rand -hex 32`; a random key would make tokens that other servers refuse (--development or --demo use one)")
	case c.MongoURI == "":
		return usageError("no store: set TAG_MONGO_URI, such as mongodb://mongo:27017/patag (--demo needs none)")
	case c.JournalDir == "":
		return usageError("no folder for events: set TAG_JOURNAL_DIR to a folder that outlives the process")
	case c.RedisAddr == "":
		return usageError("no Redis: set TAG_REDIS_ADDR to twemproxy's host:port, or to none to do without shared caps and counters")
	}
	return nil
}

func (c *Config) visitorFiles() visitor.Files {
	return visitor.Files{Geo: c.GeoFile, DataCentres: c.DataCentreFile}
}
