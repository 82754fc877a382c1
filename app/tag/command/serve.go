package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"

	"patag/app/tag/catalogue/mongostore"
	"patag/app/tag/counters"
	"patag/app/tag/demo"
	"patag/app/tag/events"
	"patag/app/tag/events/journal"
	"patag/app/tag/events/ship"
	"patag/app/tag/frequency"
	"patag/app/tag/hardcap"
	"patag/app/tag/inventory"
	"patag/app/tag/pacing"
	"patag/app/tag/privacy"
	"patag/app/tag/redisproxy"
	"patag/app/tag/refresh"
	"patag/app/tag/reports"
	"patag/app/tag/rtb"
	"patag/app/tag/server"
	"patag/app/tag/token"
	"patag/app/tag/visitor"
)

// app is the parts of one running server.
type app struct {
	c        *Config
	log      *slog.Logger
	reg      *prometheus.Registry
	keys     *token.Keys
	redis    redis.Cmdable // nil without
	journal  *journal.Journal
	shipper  *ship.Shipper
	compact  *reports.Compactor // nil without a store
	refresh  *refresh.Refresher
	freq     *frequency.Store
	caps     *hardcap.Manager
	pace     *pacing.Manager
	live     *counters.Live
	visitors *visitor.Reader
	auctions *rtb.Auctions
	server   *server.Server
	tallies  tallies
	closers  []func()
	toldAt   atomic.Int64 // Unix seconds
	drain    sync.Mutex
	waiting  map[events.Event]int64 // counts that are not in the journal yet, by event without count and time
}

func serve(ctx context.Context, args []string, s streams) error {
	c, err := serveConfig(args, s)
	if err != nil {
		return err
	}
	a := &app{c: c, log: slog.New(slog.NewJSONHandler(s.err, nil)), reg: prometheus.NewRegistry()}
	defer a.close()
	if err := a.build(ctx); err != nil {
		return err
	}
	return a.run(ctx, s)
}

func (a *app) close() {
	for i := len(a.closers) - 1; i >= 0; i-- {
		a.closers[i]()
	}
}

func (a *app) build(ctx context.Context) error {
	var err error
	if a.c.KeyFile != "" {
		a.keys, err = token.LoadKeys(a.c.KeyFile)
	} else {
		a.keys, err = token.RandomKeys()
	}
	if err != nil {
		return err
	}
	if a.c.JournalDir == "" {
		if a.c.JournalDir, err = os.MkdirTemp("", "tag-journal-"); err != nil {
			return fmt.Errorf("make a temporary folder for the journal: %w", err)
		}
		dir := a.c.JournalDir
		a.closers = append(a.closers, func() { os.RemoveAll(dir) })
	}
	if a.c.ServerName == "" {
		if a.c.ServerName, err = os.Hostname(); err != nil {
			return fmt.Errorf("name this server: %w; set TAG_SERVER_NAME", err)
		}
	}
	var claims ship.Claims
	if a.c.RedisAddr != "" && !a.c.RedisNone {
		rdb := redisproxy.New(redisproxy.Options{Addr: a.c.RedisAddr})
		a.closers = append(a.closers, func() { rdb.Close() })
		a.redis = rdb
		// Events outlive their tokens by the time that segments may wait for Redis.
		claims = ship.RedisClaims{Redis: redisproxy.New(redisproxy.Options{Addr: a.c.RedisAddr, Timeout: 2 * time.Second, Pool: 4}), Keep: claimTime}
	}
	if a.journal, err = journal.Open(filepath.Join(a.c.JournalDir, "events"), journal.Options{MaxBytes: a.c.JournalBytes, Logger: a.log}); err != nil {
		return err
	}
	a.closers = append(a.closers, func() { a.journal.Close() })
	a.freq = frequency.New(frequency.Options{Redis: a.redis, Budget: a.c.FrequencyTime, Logger: a.log})
	a.caps = hardcap.New(a.redis, a.log)
	a.live = counters.NewLive(a.redis, a.log)
	pace := pacing.Options{Logger: a.log}
	if a.redis != nil {
		pace.Ledger = &pacing.RedisLedger{Redis: a.redis, Server: a.c.ServerName}
	}
	var store *reports.Store
	if a.c.MongoURI != "" {
		db, closeDB, err := database(ctx, a.c.MongoURI)
		if err != nil {
			return err
		}
		a.closers = append(a.closers, closeDB)
		store = reports.New(db)
		pace.Reported = delivered(store)
		a.compact = &reports.Compactor{Store: store, Logger: a.log}
		a.refresh = &refresh.Refresher{Source: mongostore.New(db), File: filepath.Join(a.c.JournalDir, "catalogue.gz")}
	} else {
		endpoint, stop, err := demoBidder()
		if err != nil {
			return err
		}
		a.closers = append(a.closers, stop)
		a.log.Info("the demo bidder answers bid requests", "url", endpoint)
		a.refresh = &refresh.Refresher{Source: demo.Source{Bidder: endpoint}}
	}
	a.pace = pacing.New(pace)
	a.visitors = &visitor.Reader{ForwardedFor: a.c.ForwardedFor, CountryHeader: a.c.CountryHeader, RegionHeader: a.c.RegionHeader}
	if err := a.visitors.Load(a.c.visitorFiles()); err != nil {
		return err
	}
	if a.auctions, err = rtb.New(rtb.Options{Logger: a.log, Metrics: a.reg}); err != nil {
		return err
	}
	a.closers = append(a.closers, func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := a.auctions.Close(end); err != nil {
			a.log.Warn("some notices to demand sources were not sent", "err", err)
		}
	})
	a.server = server.New(server.Options{
		Keys: a.keys, Frequency: a.freq, Journal: a.journal, Live: counted{a.live, a.pace}, Metrics: server.NewMetrics(a.reg), Logger: a.log,
		PublicURL: a.c.PublicURL, Visitors: a.visitors, Privacy: privacy.NewDecider(a.c.VendorID), Auctions: a.auctions, Bill: a.auctions.Bill, Deadline: a.c.Deadline, MaxInFlight: a.c.MaxInFlight, Demo: a.c.Demo,
	})
	a.shipper = &ship.Shipper{Journal: a.journal, Claims: claims, Server: a.c.ServerName, Patience: patience, Logger: a.log}
	a.shipper.Sink = store
	if store == nil {
		a.shipper.Sink = &ship.Totals{}
	}
	a.refresh.Publish, a.refresh.Every, a.refresh.Logger = a.publish, a.c.RefreshEvery, a.log
	a.observe()
	return nil
}

// publish puts a snapshot to use. Decisions of the moment still count into the old tally, which is drained until they are over.
func (a *app) publish(ctx context.Context, s *inventory.Snapshot) {
	st := &server.State{Snapshot: s, Tally: counters.NewTally(s), Delivery: a.pace.View(ctx, s, a.caps.View(ctx, s))}
	a.tallies.add(st.Tally)
	a.server.Publish(st)
}

// run serves until ctx ends, then winds down: unready, drain, stop listening, flush, ship.
func (a *app) run(ctx context.Context, s streams) error {
	traffic, err := net.Listen("tcp", a.c.Listen)
	if err != nil {
		return fmt.Errorf("listen for traffic: %w; choose another address with --listen", err)
	}
	adminAt, err := net.Listen("tcp", a.c.AdminListen)
	if err != nil {
		traffic.Close()
		return fmt.Errorf("listen for health and metrics: %w; choose another address with --admin-listen", err)
	}
	main := a.server.HTTP()
	admin := &http.Server{Handler: a.admin(), ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug)}

	// Background work outlives ctx: it ends after the last request.
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var wg sync.WaitGroup
	for _, run := range []func(context.Context){a.refresh.Run, a.freq.Run, a.caps.Run, a.pace.Run, a.live.Run, a.shipper.Run, a.flushTallies, a.watchFiles} {
		wg.Go(func() { run(work) })
	}
	if a.compact != nil {
		wg.Go(func() { a.compact.Run(work) })
	}
	failed := make(chan error, 2)
	go func() {
		if err := main.Serve(server.Listener(traffic)); err != nil { // none when it was shut down
			failed <- fmt.Errorf("serve %s: %w", traffic.Addr(), err)
		}
	}()
	go func() {
		if err := admin.Serve(adminAt); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("serve %s: %w", adminAt.Addr(), err)
		}
	}()
	a.log.Info("tag server listens", "traffic", traffic.Addr().String(), "admin", adminAt.Addr().String(), "journal", a.c.JournalDir, "demo", a.c.Demo)
	if a.c.Demo {
		fmt.Fprintf(s.out, "http://%s/demo\n", shown(traffic.Addr()))
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	a.windDown(main, err == nil)
	stopWork()
	wg.Wait()
	a.lastShipment()
	admin.Close()
	return err
}

// watchFiles reads the databases about visitors again when they change.
func (a *app) watchFiles(ctx context.Context) {
	a.visitors.Watch(ctx, a.c.visitorFiles(), time.Minute, a.log, nil)
}

func (a *app) windDown(main *fasthttp.Server, drain bool) {
	a.server.Drain()
	if drain && !a.c.Demo && a.c.DrainPeriod > 0 {
		a.log.Info("draining: unready, still serving", "for", a.c.DrainPeriod)
		time.Sleep(a.c.DrainPeriod)
	}
	end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := main.ShutdownWithContext(end); err != nil {
		a.log.Warn("some requests did not end in time", "err", err)
	}
}

// lastShipment leaves as little as possible to the next start, which may be on a disk that does not have this journal.
func (a *app) lastShipment() {
	end, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	a.drainTallies(end)
	if err := a.shipper.Ship(end); err != nil {
		a.log.Warn("events stay in the journal for the next start", "err", err, "bytes", a.journal.Size(), "folder", a.c.JournalDir)
		return
	}
	a.log.Info("stopped: all events are in the reports")
}

func shown(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
