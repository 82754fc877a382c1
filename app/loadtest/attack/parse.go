package attack

import (
	"bytes"
	"errors"
	"strconv"
)

var (
	headEnd     = []byte("\r\n\r\n")
	errNotHTTP  = errors.New("not HTTP/1.1")
	errNoLength = errors.New("no Content-Length, which this load generator needs")
)

// parse reads an answer as far as it has come. keep says whether the connection may be used again.
func parse(b []byte) (status int, body []byte, whole, keep bool, err error) {
	end := bytes.Index(b, headEnd)
	if end < 0 {
		return 0, nil, false, false, nil
	}
	head := b[:end]
	if len(head) < 12 || string(head[:9]) != "HTTP/1.1 " {
		return 0, nil, false, false, errNotHTTP
	}
	if status, err = strconv.Atoi(string(head[9:12])); err != nil || status < 200 {
		return 0, nil, false, false, errNotHTTP
	}
	length := -1
	if status == 204 || status == 304 {
		length = 0
	}
	keep = true
	for _, line := range bytes.Split(head, headEnd[:2])[1:] {
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case len(name) == 14 && bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return 0, nil, false, false, errNotHTTP
			}
		case len(name) == 10 && bytes.EqualFold(name, []byte("connection")):
			keep = !bytes.EqualFold(value, []byte("close"))
		}
	}
	if length < 0 {
		return 0, nil, false, false, errNoLength
	}
	rest := b[end+len(headEnd):]
	if len(rest) < length {
		return 0, nil, false, false, nil
	}
	return status, rest[:length], true, keep, nil
}
