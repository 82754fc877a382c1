package inside

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// dir is a folder of metadata: values are strings, numbers, lists, folders or actions.
type dir map[string]any

// list is shown one a line, or as a JSON list in recursive answers.
type list []string

// find walks a path without leading slash; one slash at its end means the folder.
func (d dir) find(path string) (v any, isDir bool, err error) {
	at := any(d)
	trimmed := strings.TrimSuffix(path, "/")
	if trimmed != "" {
		for _, name := range strings.Split(trimmed, "/") {
			folder, ok := at.(dir)
			if ok {
				at, ok = folder[name]
			}
			if !ok {
				return nil, false, &statusError{http.StatusNotFound, fmt.Sprintf("there is no metadata at %q", path)}
			}
		}
	}
	_, isDir = at.(dir)
	if !isDir && strings.HasSuffix(path, "/") {
		return nil, false, &statusError{http.StatusNotFound, fmt.Sprintf("there is no folder at %q", path)}
	}
	return at, isDir, nil
}

// render gives the body and its type. Recursive answers are JSON unless alt is text, others text unless it is json.
func render(v any, recursive bool, alt string) (body, contentType string) {
	folder, isDir := v.(dir)
	if alt == "json" || recursive && alt != "text" {
		var raw []byte
		if isDir && !recursive {
			raw, _ = json.Marshal(slices.Sorted(maps.Keys(folder))) // strings always marshal
		} else {
			raw, _ = json.Marshal(camel(v))
		}
		return string(raw), "application/json"
	}
	if !isDir {
		return text(v), "application/text"
	}
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(folder)) {
		inner, isFolder := folder[name].(dir)
		switch {
		case recursive && isFolder:
			nested, _ := render(inner, true, "text")
			for line := range strings.Lines(nested) {
				out.WriteString(name + "/" + line)
			}
		case recursive:
			if _, made := folder[name].(action); !made {
				for line := range strings.Lines(text(folder[name]) + "\n") {
					out.WriteString(name + " " + line)
				}
			}
		case isFolder:
			out.WriteString(name + "/\n")
		default:
			out.WriteString(name + "\n")
		}
	}
	return out.String(), "application/text"
}

func text(v any) string {
	switch x := v.(type) {
	case list:
		return strings.Join(x, "\n")
	case []string:
		raw, _ := json.Marshal(x) // tags are JSON also in text
		return string(raw)
	}
	return fmt.Sprint(v)
}

// camel turns names into the form of recursive answers (numericProjectId) and leaves out what is made on request.
func camel(v any) any {
	d, ok := v.(dir)
	if !ok {
		return v
	}
	out := map[string]any{}
	for name, inner := range d {
		if _, made := inner.(action); made {
			continue
		}
		if !strings.Contains(name, "@") && !strings.Contains(name, ".") {
			parts := strings.Split(name, "-")
			for i, p := range parts[1:] {
				if p != "" {
					parts[i+1] = strings.ToUpper(p[:1]) + p[1:]
				}
			}
			name = strings.Join(parts, "")
		}
		if name == "attributes" { // keys that people chose stay as they are
			out[name] = inner
			continue
		}
		out[name] = camel(inner)
	}
	return out
}
