// Package daemon is the sandbox's one process: it puts the Google API, the registry, the engine and the controllers
// together over one state folder, serves them on one loopback port, and ends them in the right order. What each of
// them does is the business of its own package.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"patag/infra/sandbox/client"
	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/gke"
	"patag/infra/sandbox/googleapi/container"
	"patag/infra/sandbox/inside/tokens"
	"patag/infra/sandbox/layout"
	"patag/infra/sandbox/pki"
	"patag/infra/sandbox/registry"
	"patag/infra/sandbox/remains"
)

// Version is what the daemon says of itself; the build may set it.
var Version = "dev"

// admin is the principal of the token in the state folder.
const admin = "user:admin@patag-sandbox.example.com"

// Options are what a daemon is started with.
type Options struct {
	Layout layout.Layout
	// Tools is the folder with kube, coredns and metrics-server.
	Tools  string
	Logger *slog.Logger
}

// Run serves until ctx ends or the daemon is told to stop, and returns when everything it started has ended. The
// settings and the token must be in the state folder.
func Run(ctx context.Context, o Options) (err error) {
	settings, err := o.Layout.Settings()
	if err != nil {
		return err
	}
	release, err := lock(o.Layout)
	if err != nil {
		return err
	}
	defer release()
	token, err := o.Layout.Token()
	if err != nil {
		return fmt.Errorf("read the administrator's token: %w; start the sandbox with `patag sandbox start`, which makes one", err)
	}
	issuer, err := tokens.Open(filepath.Join(o.Layout.Root, "token-keys.json"))
	if err != nil {
		return fmt.Errorf("open the token keys: %w", err)
	}
	auth, err := tokens.NewAuthenticator(issuer, token, admin)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp4", settings.API)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; another program has the port: end it, or start the sandbox with --api", settings.API, err)
	}
	if err := remains.Default.Claim(settings.Name(), o.Layout.Root); err != nil {
		listener.Close()
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ctl := &control{auth: auth, admin: admin, stop: stop, started: time.Now()}
	ctl.say("opening the state")
	mux := http.NewServeMux()
	mux.Handle("/sandbox/", ctl.handler())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug)}
	// The last resort of everything that waits is the process's end; a server that cannot serve is one.
	served := make(chan error, 1)
	starting := newGate(mux)
	server.Handler = starting
	go func() { served <- server.Serve(listener) }()
	defer func() {
		late, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if shut := server.Shutdown(late); shut != nil {
			server.Close()
		}
	}()

	ca, err := pki.OpenOrCreate(o.Layout.CA(), "sandbox")
	if err != nil {
		return err
	}
	api, err := openAPI(o, settings, auth, issuer, admin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, api.close()) }()
	images, err := registry.Open(registry.Options{Dir: o.Layout.Registry(), Store: api.store, Auth: auth, Logger: o.Logger})
	if err != nil {
		return err
	}
	controllers, preempted, err := api.controllers(o, settings, ca, images, issuer)
	if err != nil {
		return err
	}
	engine, err := gke.New(gke.Options{
		Layout: o.Layout, Settings: settings, Tools: o.Tools, AdminToken: token, Store: api.store,
		Inventory: api.container, Controllers: controllers, OnPreempt: preempted, Logger: o.Logger,
	})
	if err != nil {
		return err
	}
	api.container.SetEngine(engine)
	mux.Handle("/v2/", images)
	mux.Handle("/", api.core)
	ctl.clusters = func(ctx context.Context) []client.Cluster { return describe(ctx, engine.Running()) }
	ctl.preempt = engine.Preempt
	ctl.policies = true // by the engine, in clusters that ask for it

	ctl.say("bringing the clusters back")
	if err := engine.Start(ctx); err != nil && ctx.Err() == nil {
		// The others serve: a cluster that does not come back must not take them along.
		o.Logger.Error("not every cluster came back", "error", err)
	}
	work, endWork := context.WithCancel(ctx)
	defer func() {
		endWork()
		api.container.Wait()
		o.Logger.Info("stopping the clusters")
		err = errors.Join(err, engine.Stop())
	}()
	if err := api.container.Start(work); err != nil {
		return err
	}
	go api.objects.Run(work, time.Hour)
	starting.open()
	ctl.ready.Store(true)
	ctl.say("running")
	o.Logger.Info("the sandbox runs", "api", settings.API, "state", o.Layout.Root)
	select {
	case <-ctx.Done():
		return nil
	case err := <-served:
		return fmt.Errorf("serve the API: %w", err)
	}
}

var _ cluster.Inventory = (*container.Service)(nil)

// gate answers everything but the daemon's own calls with 503 until it is opened.
type gate struct {
	next http.Handler
	up   chan struct{}
}

func newGate(next http.Handler) *gate { return &gate{next, make(chan struct{})} }

func (g *gate) open() { close(g.up) }

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case <-g.up:
	default:
		if !strings.HasPrefix(r.URL.Path, "/sandbox/") {
			w.Header().Set("Retry-After", "1")
			refuse(w, http.StatusServiceUnavailable, "UNAVAILABLE", "the sandbox is starting; `patag sandbox status` says how far it is")
			return
		}
	}
	g.next.ServeHTTP(w, r)
}

// Main is the command line of patag-sandbox.
func Main(ctx context.Context, state, tools string) error {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	slog.SetDefault(logger)
	l := layout.Layout{Root: state}
	return Run(ctx, Options{Layout: l, Tools: tools, Logger: logger})
}
