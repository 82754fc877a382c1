// Command ferretdb is a Mongo-compatible document store in one process: FerretDB over SQLite files in one folder.
//
//	ferretdb [serve] [--listen ADDR] [--data-dir DIR] [--log-level LEVEL]
//	ferretdb probe [--address ADDR] [--timeout D]
//
// serve answers the MongoDB wire protocol until SIGTERM or SIGINT; one SQLite database per Mongo database lies in the data folder
// (WAL journal, synced on commit). It has no authentication: listen where only trusted clients reach, or behind a NetworkPolicy.
// probe sends one ping and exits 0 if it is answered with ok: the health check of an image that has no shell.
// FERRETDB_LISTEN and FERRETDB_DATA_DIR set the defaults. FerretDB keeps no state of its own and sends no telemetry when embedded.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
)

// exit codes, as the flag package and most Unix tools have them.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	args := os.Args[1:]
	verb := "serve"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		verb, args = args[0], args[1:]
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var err error
	switch verb {
	case "serve":
		err = serve(ctx, args)
	case "probe":
		err = probe(ctx, args)
	default:
		fmt.Fprintf(os.Stderr, "ferretdb: unknown command %q; use serve or probe\n", verb)
		os.Exit(exitUsage)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "ferretdb:", err)
		os.Exit(exitFailed)
	}
}

func env(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}

func serve(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("ferretdb serve", flag.ContinueOnError)
	listen := flags.String("listen", env("FERRETDB_LISTEN", "127.0.0.1:27017"), "address to listen on")
	dir := flags.String("data-dir", env("FERRETDB_DATA_DIR", "data"), "folder of the SQLite files; made if missing")
	// FerretDB warns of each driver that says goodbye (endSessions, which it does not know): its default here is ERROR.
	level := slog.LevelError
	flags.TextVar(&level, "log-level", level, "of FerretDB itself: DEBUG, INFO, WARN or ERROR")
	if err := flags.Parse(args); err != nil {
		return err
	}
	abs, err := filepath.Abs(*dir)
	if err != nil {
		return fmt.Errorf("data folder %q: %w", *dir, err)
	}
	// 0700: whoever can read the files can read every document.
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w; choose another with --data-dir", err)
	}
	unlock, err := lock(filepath.Join(abs, "ferretdb.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	// Checked first because FerretDB's own message for a taken port does not name it.
	if err := portFree(*listen); err != nil {
		return err
	}
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	db, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: *listen},
		Logger:    slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
		Handler:   "sqlite",
		SQLiteURL: "file:" + abs + "/",
	})
	if err != nil {
		return fmt.Errorf("open the SQLite files in %s: %w", abs, err)
	}
	logger.Info("ferretdb listens", "address", *listen, "data", abs)
	err = db.Run(ctx)
	logger.Info("ferretdb stopped")
	return err
}

// lock keeps two processes from one data folder: SQLite would let them, FerretDB's cached schema would not survive it.
func lock(path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("the data folder of %s is in use by another ferretdb; stop it or choose another with --data-dir", path)
	}
	return func() { f.Close() }, nil
}

func portFree(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; choose another with --listen", addr, err)
	}
	return l.Close()
}

// probe speaks just enough of the wire protocol for one ping, so that a health check costs no driver start.
func probe(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("ferretdb probe", flag.ContinueOnError)
	addr := flags.String("address", env("FERRETDB_PROBE", "127.0.0.1:27017"), "server to ask")
	timeout := flags.Duration("timeout", 2*time.Second, "how long it may take")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", *addr)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	if _, err := conn.Write(pingMessage()); err != nil {
		return fmt.Errorf("probe %s: %w", *addr, err)
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return fmt.Errorf("probe %s: no answer: %w", *addr, err)
	}
	n := binary.LittleEndian.Uint32(size[:])
	if n < 26 || n > 1<<16 {
		return fmt.Errorf("probe %s: an answer of %d bytes is no answer to ping", *addr, n)
	}
	body := make([]byte, n-4)
	if _, err := io.ReadFull(conn, body); err != nil {
		return fmt.Errorf("probe %s: cut answer: %w", *addr, err)
	}
	if !pingOK(body) {
		return fmt.Errorf("probe %s: ping was not answered with ok", *addr)
	}
	return nil
}

const opMsg = 2013 // the only opcode current drivers use

// pingMessage is OP_MSG with the body {ping: 1, $db: "admin"}.
func pingMessage() []byte {
	le := binary.LittleEndian
	doc := []byte{0, 0, 0, 0}
	doc = append(doc, "\x10ping\x00"...)
	doc = le.AppendUint32(doc, 1)
	doc = append(doc, "\x02$db\x00"...)
	doc = le.AppendUint32(doc, uint32(len("admin")+1))
	doc = append(doc, "admin\x00\x00"...)
	le.PutUint32(doc, uint32(len(doc)))
	msg := le.AppendUint32(nil, uint32(16+5+len(doc)))
	msg = le.AppendUint32(msg, 1) // request id
	msg = le.AppendUint32(msg, 0) // response to
	msg = le.AppendUint32(msg, opMsg)
	msg = le.AppendUint32(msg, 0) // flags
	msg = append(msg, 0)          // section: body
	return append(msg, doc...)
}

// pingOK looks for the element {ok: 1.0} in a reply without its length prefix.
func pingOK(reply []byte) bool {
	if len(reply) < 22 || binary.LittleEndian.Uint32(reply[8:]) != opMsg {
		return false
	}
	doc := reply[17:]
	mark := []byte("\x01ok\x00")
	for i := 4; i+len(mark)+8 <= len(doc); i++ {
		if string(doc[i:i+len(mark)]) == string(mark) {
			return math.Float64frombits(binary.LittleEndian.Uint64(doc[i+len(mark):])) == 1
		}
	}
	return false
}
