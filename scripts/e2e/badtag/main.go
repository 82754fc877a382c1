// Command badtag is the tag server with a fault, for the tests of deployments: the real server runs behind a door that spoils what
// BADTAG says. Images of it differ from good ones by this program and that variable alone.
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"patag/app/tag/command"
)

// The faults.
const (
	good    = "good"    // none: another image that is well
	better  = "better"  // none either
	crash   = "crash"   // ends at its start
	unready = "unready" // is never ready
	failing = "failing" // answers ads with 500
	slow    = "slow"    // answers ads after half a second
	late    = "late"    // is ready as a canary, and never after that
	fickle  = "fickle"  // serves machines well and fails people: only live traffic shows it
)

const delay = 500 * time.Millisecond

// Where the real server listens, behind the doors.
const (
	innerTraffic = "127.0.0.1:18080"
	innerAdmin   = "127.0.0.1:19090"
)

func main() {
	fault := os.Getenv("BADTAG")
	if fault == crash {
		fmt.Fprintln(os.Stderr, "badtag: crashing, as it should")
		os.Exit(3)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if fault == good || fault == better || len(os.Args) < 2 || os.Args[1] != "serve" { // nothing is spoilt, or it is a tool of the same image
		os.Exit(command.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	traffic, admin := os.Getenv("TAG_LISTEN"), os.Getenv("TAG_ADMIN_LISTEN")
	for name, value := range map[string]string{"TAG_LISTEN": innerTraffic, "TAG_ADMIN_LISTEN": innerAdmin} {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, "badtag:", err)
			os.Exit(1)
		}
	}
	go serve(traffic, innerTraffic, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/v1/ad" {
			return true
		}
		switch {
		case fault == failing, fault == fickle && !strings.Contains(r.UserAgent(), "bot"):
			http.Error(w, `{"error":"badtag fails, as it should"}`, http.StatusInternalServerError)
			return false
		case fault == slow:
			time.Sleep(delay)
		}
		return true
	})
	go serve(admin, innerAdmin, func(w http.ResponseWriter, r *http.Request) bool {
		isCanary := strings.HasPrefix(os.Getenv("HOSTNAME"), "tag-canary-")
		if r.URL.Path == "/readyz" && (fault == unready || fault == late && !isCanary) {
			http.Error(w, "badtag is not ready, as it should", http.StatusServiceUnavailable)
			return false
		}
		return true
	})
	os.Exit(command.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// serve passes requests on to the real server where the door lets them through.
func serve(listen, inner string, door func(http.ResponseWriter, *http.Request) bool) {
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: inner})
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 256}
	server := &http.Server{Addr: listen, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 620 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if door(w, r) {
			proxy.ServeHTTP(w, r)
		}
	})}
	fmt.Fprintln(os.Stderr, "badtag:", server.ListenAndServe())
	os.Exit(1)
}
