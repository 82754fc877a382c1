// Package exit defines how the command ends: its exit codes, and the error that carries one together with what a
// person can do about it.
package exit

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// The exit codes of patag.
const (
	OK          = 0   // done, or nothing to do
	Failed      = 1   // the work failed
	Changes     = 2   // preview --expect-no-changes or drift found changes
	Usage       = 3   // bad input: arguments, config, missing tools or rights; nothing was changed
	NotRunning  = 4   // the sandbox is not running
	Locked      = 5   // the stack is in use by another run
	Unhealthy   = 6   // status found something missing or not well
	Interrupted = 130 // ended by Ctrl-C or SIGTERM
)

// Help is the table of the codes, as shown by `patag help`.
const Help = `Exit codes:
  0    done
  1    failed
  2    preview --expect-no-changes or drift found changes
  3    bad input or unmet requirement; nothing was changed
  4    the sandbox is not running
  5    the stack is in use by another run
  6    status found something missing or not well
  130  interrupted`

// Error is an end with a code, a message and a hint.
type Error struct {
	Code int
	// Message says what happened and why, in one line where possible.
	Message string
	// Hint says what to do; it may be empty.
	Hint string
	// Err is the cause, for errors.Is; its text is part of Message.
	Err error
}

func (e *Error) Error() string { return e.Message }

func (e *Error) Unwrap() error { return e.Err }

// WithHint adds what to do.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// New makes an error with a code. %w works as in fmt.Errorf.
func New(code int, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

// Code tells the exit code of an error.
func Code(err error) int {
	var e *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, context.Canceled):
		return Interrupted
	default:
		return Failed
	}
}

// Text is what is printed for an error: the message, and the hint on a line of its own.
func Text(err error) string {
	var e *Error
	if !errors.As(err, &e) || e.Hint == "" {
		return strings.TrimRight(err.Error(), "\n")
	}
	return strings.TrimRight(err.Error(), "\n") + "\n  → " + e.Hint
}
