package rtb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Notices are sent by noticeWorkers per source, each given noticeTimeout: a source whose notices hang holds nobody else's up.
const (
	noticeWorkers = 2
	noticeTimeout = 2 * time.Second
)

type noticeKind int

const (
	noticeWin noticeKind = iota
	noticeBilling
	noticeLoss
	noticeKinds
)

var noticeNames = [noticeKinds]string{"win", "billing", "loss"}

type notice struct {
	kind noticeKind
	url  string
}

// outbox is the notices of one source that wait. Workers live as long as there is something to send.
type outbox struct {
	mu      sync.Mutex
	waiting []notice
	workers int
}

// notices sends what became of bids.
type notices struct {
	base   context.Context
	most   int
	own    *http.Transport // to a source's own host, wherever that is
	public *http.Transport // to public addresses only

	mu      sync.Mutex
	closed  bool // no worker starts
	pending sync.WaitGroup
}

func newNotices(base context.Context, most int) *notices {
	return &notices{base: base, most: most, own: newTransport(noticeWorkers, nil), public: newTransport(noticeWorkers, publicOnly)}
}

// send queues a notice; an empty URL is none. It never blocks: what does not fit is dropped and counted.
func (n *notices) send(s *seat, kind noticeKind, address string) {
	if address == "" {
		return
	}
	if n.base.Err() != nil {
		s.notice(kind, noticeDropped)
		return
	}
	o := &s.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) >= n.most {
		s.notice(kind, noticeDropped)
		return
	}
	if o.workers < noticeWorkers && n.start() {
		o.workers++
		go n.work(s)
	}
	if o.workers == 0 { // closed
		s.notice(kind, noticeDropped)
		return
	}
	o.waiting = append(o.waiting, notice{kind, address})
}

// start admits a worker, unless it is too late.
func (n *notices) start() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.pending.Add(1)
	}
	return !n.closed
}

func (n *notices) work(s *seat) {
	defer n.pending.Done()
	o := &s.outbox
	for {
		o.mu.Lock()
		if len(o.waiting) == 0 {
			o.workers--
			o.waiting = nil
			o.mu.Unlock()
			return
		}
		next := o.waiting[0]
		o.waiting = o.waiting[1:]
		o.mu.Unlock()
		outcome := noticeSent
		if err := n.get(s, next.url); err != nil {
			outcome = noticeFailed
			if errors.Is(err, errForbidden) {
				outcome = noticeForbidden
			}
		}
		s.notice(next.kind, outcome)
	}
}

var errForbidden = errors.New("a notice must not go to this address")

func (n *notices) get(s *seat, address string) error {
	u, transport, err := n.route(s.current().url, address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(n.base, noticeTimeout)
	defer cancel()
	req := (&http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: noticeHeader, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	resp, err := transport.RoundTrip(req) // follows no redirects
	if err != nil {
		return fmt.Errorf("send a notice: %w", err)
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, 4<<10)
	if resp.StatusCode >= 300 {
		return fmt.Errorf("send a notice: the source answered %s", resp.Status)
	}
	return nil
}

var noticeHeader = http.Header{"User-Agent": {"patag"}, "X-Openrtb-Version": {"2.6"}}

// route says whether and how a notice may go to an address: bidders write it, and we are inside the cluster. It is the source's own host
// and port, in the way it is asked; or https to an address on the public Internet.
func (n *notices) route(source *url.URL, address string) (*url.URL, *http.Transport, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || !printable(address) {
		return nil, nil, fmt.Errorf("%w: it is no plain URL", errForbidden)
	}
	u.Fragment = ""
	if strings.EqualFold(u.Host, source.Host) && u.Scheme == source.Scheme {
		return u, n.own, nil
	}
	if u.Scheme != "https" {
		return nil, nil, fmt.Errorf("%w: it is neither https nor the source's own host", errForbidden)
	}
	return u, n.public, nil
}

// publicOnly refuses connections to addresses that are not public. It sees addresses after names were looked up, so that a name that
// changes its address between a check and its use wins nothing.
func publicOnly(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%w: %v", errForbidden, err)
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || !public(ip) {
		return fmt.Errorf("%w: %s is not public", errForbidden, host)
	}
	return nil
}

// Ranges that the standard library's predicates do not cover: shared (RFC 6598), this network, protocol assignments, benchmarking,
// reserved; IPv6 that stands for IPv4, and 6to4 and Teredo, which carry it.
var special = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"),
}

func public(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
		return false
	}
	for _, p := range special {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// isLoopback says whether a host is this machine.
func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}

// wait starts no further worker and returns when those that there are have sent what waits.
func (n *notices) wait() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.pending.Wait()
}

func (n *notices) closeIdle() {
	n.own.CloseIdleConnections()
	n.public.CloseIdleConnections()
}
