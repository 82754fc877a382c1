// Package terminal is what the command shows and asks: streams, progress lines with elapsed time, questions.
// Results go to Out, everything told on the way goes to Err, so that a program can read the first.
package terminal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Streams are the three of a process; tests put buffers in.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Standard is the process's own.
func Standard() Streams { return Streams{os.Stdin, os.Stdout, os.Stderr} }

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Interactive is true when a person can answer a question.
func (s Streams) Interactive() bool { return isTerminal(s.In) && isTerminal(s.Err) }

// Live is true when a line on Err can be rewritten.
func (s Streams) Live() bool { return isTerminal(s.Err) && os.Getenv("TERM") != "dumb" }

// Ask prints a question and reads one line.
func (s Streams) Ask(question string) (string, error) {
	fmt.Fprint(s.Err, question)
	line, err := bufio.NewReader(s.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	return strings.TrimSpace(line), nil
}
