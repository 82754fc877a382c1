// Package page reads the pages of docs/runbooks: the commands in them, and what each promises.
//
// A fenced sh block is one script. Before it may stand the comments <!-- exit 2 -->, the code that it ends with, and
// <!-- not run: REASON -->, for what needs another machine than the tests'. A fenced text block after it holds lines
// of its output, in which … stands for anything; they come in this order, with others between them.
package page

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Page is one of docs/runbooks.
type Page struct {
	// Name is the file's, without .md.
	Name, Text string
	Blocks     []Block
}

// Block is one script of a page.
type Block struct {
	// Line is that of its first command.
	Line   int
	Script string
	Exit   int
	// Output are the lines that it promises.
	Output []string
	// NotRun says why no test runs it; empty for what is run.
	NotRun string
}

// Read reads all pages of a folder, by name.
func Read(dir string) (map[string]Page, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there are no pages in %s", dir)
	}
	pages := map[string]Page{}
	var wrong []error
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		p := Page{Name: strings.TrimSuffix(filepath.Base(file), ".md"), Text: string(raw)}
		if p.Blocks, err = Blocks(p.Text); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", file, err))
		}
		pages[p.Name] = p
	}
	return pages, errors.Join(wrong...)
}

var comment = regexp.MustCompile(`^<!-- (exit|not run:) (.+) -->$`)

// Blocks finds the scripts of a page.
func Blocks(text string) ([]Block, error) {
	var (
		blocks  []Block
		next    Block  // what the comments say about the block that follows them
		fence   string // the kind of the fence that is open
		indent  string
		content []string
		begun   int
	)
	for i, raw := range strings.Split(text, "\n") {
		line := strings.TrimSpace(raw)
		switch {
		case fence != "" && line == "```":
			switch fence {
			case "sh":
				next.Line, next.Script = begun, strings.Join(content, "\n")
				blocks = append(blocks, next)
				next = Block{}
			case "text":
				if len(blocks) == 0 || blocks[len(blocks)-1].Output != nil {
					return blocks, fmt.Errorf("line %d: output of no command", begun)
				}
				blocks[len(blocks)-1].Output = content
			}
			fence, content = "", nil
		case fence != "":
			content = append(content, strings.TrimPrefix(raw, indent))
		case strings.HasPrefix(line, "```"):
			if fence = strings.TrimPrefix(line, "```"); fence != "sh" && fence != "text" {
				return blocks, fmt.Errorf("line %d: a block of kind %q; commands are sh, output is text", i+1, fence)
			}
			begun, indent = i+2, raw[:strings.Index(raw, "`")]
		case line == "":
		default:
			m := comment.FindStringSubmatch(line)
			switch {
			case m == nil && (next.Exit != 0 || next.NotRun != ""):
				return blocks, fmt.Errorf("line %d: a comment on a command that is not followed by one", i+1)
			case m == nil:
			case m[1] == "exit":
				code, err := strconv.Atoi(m[2])
				if err != nil {
					return blocks, fmt.Errorf("line %d: exit code %q", i+1, m[2])
				}
				next.Exit = code
			default:
				next.NotRun = m[2]
			}
		}
	}
	if fence != "" {
		return blocks, fmt.Errorf("line %d: a block that does not end", begun-1)
	}
	return blocks, nil
}
