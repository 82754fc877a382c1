package attack

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// conn is a connection with at most one request under way.
type conn struct {
	fd    int
	busy  bool
	id    uint64
	due   time.Duration
	sent  time.Duration
	in    []byte
	have  int
	index int
}

type loop struct {
	o      Options
	script Script
	result Result
	begin  time.Time
	epoll  int
	timer  int
	conns  []*conn
	idle   []*conn
	events []unix.EpollEvent
	gap    time.Duration
	sent   int
	swept  time.Duration
}

const timerIndex = -1

func newLoop(o Options, script Script) (*loop, error) {
	l := &loop{o: o, script: script, epoll: -1, timer: -1, events: make([]unix.EpollEvent, 256), gap: time.Duration(float64(time.Second) / o.Rate)}
	l.result.Statuses = map[int]int{}
	l.result.Latencies = make([]uint32, 0, int(o.Rate*o.Duration.Seconds())+1)
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make an epoll set: %w", err)
	}
	if l.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		l.close()
		return nil, fmt.Errorf("make a timer: %w", err)
	}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, l.timer, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: timerIndex}); err != nil {
		l.close()
		return nil, fmt.Errorf("watch the timer: %w", err)
	}
	for i := range o.Connections {
		c := &conn{fd: -1, index: i, in: make([]byte, 64<<10)}
		l.conns = append(l.conns, c)
		if err := l.connect(c); err != nil {
			l.close()
			return nil, fmt.Errorf("connect to %s: %w", o.Addr, err)
		}
		l.idle = append(l.idle, c)
	}
	return l, nil
}

func (l *loop) close() {
	for _, c := range l.conns {
		if c.fd >= 0 {
			unix.Close(c.fd)
		}
	}
	for _, fd := range []int{l.timer, l.epoll} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// connect waits for the connection: on loopback and within a cluster that is soon, and what waits meanwhile is measured as waiting.
func (l *loop) connect(c *conn) error {
	family := unix.AF_INET
	var to unix.Sockaddr
	if a := l.o.Addr.Addr().Unmap(); a.Is4() {
		to = &unix.SockaddrInet4{Port: int(l.o.Addr.Port()), Addr: a.As4()}
	} else {
		family, to = unix.AF_INET6, &unix.SockaddrInet6{Port: int(l.o.Addr.Port()), Addr: a.As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 2})
	err = unix.Connect(fd, to)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil {
		err = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(c.index)})
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	c.fd = fd
	return nil
}

func (l *loop) now() time.Duration { return time.Since(l.begin) }

func (l *loop) run(ctx context.Context) error {
	l.begin = time.Now()
	total := int(l.o.Rate * l.o.Duration.Seconds()) // also those that are due while the server stalls at the end
	for {
		now := l.now()
		ending := l.sent >= total || ctx.Err() != nil || now > l.o.Duration+l.o.Timeout
		for !ending && len(l.idle) > 0 && time.Duration(l.sent)*l.gap <= now {
			l.send(now)
			ending = l.sent >= total
		}
		if ending && len(l.idle) == len(l.conns) {
			l.result.Took = now
			return nil
		}
		if err := l.wait(now, ending); err != nil {
			return err
		}
		if now-l.swept > 100*time.Millisecond {
			l.swept = now
			l.sweep(now)
		}
	}
}

// send starts the request that is due.
func (l *loop) send(now time.Duration) {
	c := l.idle[len(l.idle)-1]
	l.idle = l.idle[:len(l.idle)-1]
	c.due = time.Duration(l.sent) * l.gap
	if now-c.due > time.Millisecond {
		l.result.Late++
	}
	l.sent++
	var request []byte
	request, c.id = l.script.Next()
	c.busy, c.have, c.sent = true, 0, now
	if c.fd < 0 && l.connect(c) != nil {
		l.finish(c, 0, nil, false)
		return
	}
	// A request fits into the empty buffer of a socket; one that does not is a broken connection.
	if n, err := unix.Write(c.fd, request); err != nil || n != len(request) {
		l.finish(c, 0, nil, false)
	}
}

// wait sleeps until something happens or the next request is due.
func (l *loop) wait(now time.Duration, ending bool) error {
	timeout := 50
	if !ending && len(l.idle) > 0 {
		rest := max(time.Duration(l.sent)*l.gap-l.now(), 0)
		if rest < 20*time.Microsecond {
			timeout = 0
		} else {
			spec := unix.ItimerSpec{Value: unix.NsecToTimespec(rest.Nanoseconds())}
			if err := unix.TimerfdSettime(l.timer, 0, &spec, nil); err != nil {
				return fmt.Errorf("set the timer: %w", err)
			}
		}
	}
	n, err := unix.EpollWait(l.epoll, l.events, timeout)
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("wait for answers: %w", err)
	}
	for i := range max(n, 0) {
		if l.events[i].Fd == timerIndex {
			var tick [8]byte
			unix.Read(l.timer, tick[:])
			continue
		}
		if err := l.read(l.conns[l.events[i].Fd]); err != nil {
			return err
		}
	}
	return nil
}

func (l *loop) read(c *conn) error {
	if c.fd < 0 {
		return nil
	}
	n, err := unix.Read(c.fd, c.in[c.have:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return nil
	}
	if err != nil || n == 0 {
		if c.busy {
			l.finish(c, 0, nil, false)
		} else {
			l.drop(c)
		}
		return nil
	}
	c.have += n
	status, body, whole, keep, err := parse(c.in[:c.have])
	if err != nil {
		return fmt.Errorf("an answer of %s: %w", l.o.Addr, err)
	}
	if whole && c.busy {
		l.finish(c, status, body, keep)
	} else if c.have == len(c.in) {
		return fmt.Errorf("an answer of %s is larger than %d bytes", l.o.Addr, len(c.in))
	}
	return nil
}

func (l *loop) finish(c *conn, status int, body []byte, keep bool) {
	latency := l.now() - c.due
	l.result.Latencies = append(l.result.Latencies, uint32(latency.Microseconds()))
	l.result.Statuses[status]++
	if l.o.Each != nil {
		l.o.Each(c.due, latency, status)
	}
	l.script.Done(c.id, status, body)
	c.busy = false
	if !keep {
		l.drop(c)
	}
	l.idle = append(l.idle, c)
}

// drop closes a connection; the next request that gets it connects anew.
func (l *loop) drop(c *conn) {
	if c.fd >= 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
}

// sweep gives up on answers that take too long.
func (l *loop) sweep(now time.Duration) {
	for _, c := range l.conns {
		if c.busy && now-c.sent > l.o.Timeout {
			l.finish(c, 0, nil, false)
		}
	}
}
