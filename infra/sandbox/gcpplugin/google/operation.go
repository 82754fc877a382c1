package google

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ErrInterrupted says that an operation was not followed to its end; it goes on at Google.
var ErrInterrupted = errors.New("interrupted")

// OperationError says that an operation ended in failure.
type OperationError struct {
	Name string
	Err  *Error
}

// Error names the operation.
func (e *OperationError) Error() string { return fmt.Sprintf("operation %s failed: %v", e.Name, e.Err) }

// Unwrap gives Google's error.
func (e *OperationError) Unwrap() error { return e.Err }

// Wait follows the long-running operation in an answer until it is done, in one of Google's three styles, and
// returns the operation's response, if its style has one. An answer that is no operation is returned as it is.
func (c *Client) Wait(ctx context.Context, style, service, project string, answer map[string]any) (map[string]any, error) {
	name, _ := answer["name"].(string)
	var path string
	switch style {
	case "compute":
		if kind, _ := answer["kind"].(string); kind != "compute#operation" {
			return answer, nil
		}
		path = "projects/" + project + "/" + computeScope(answer) + "/operations/" + name
	case "container":
		if _, ok := answer["operationType"]; !ok {
			return answer, nil
		}
		path = "projects/" + project + "/locations/" + containerLocation(answer) + "/operations/" + name
	case "google":
		if !isOperation(answer, name) {
			return answer, nil
		}
		path = name
	default:
		return answer, nil
	}
	for pause := 50 * time.Millisecond; !done(style, answer); pause = min(pause*3/2, 5*time.Second) {
		if err := wait(ctx, pause); err != nil {
			return nil, fmt.Errorf("%w while waiting for operation %s, which goes on at Google: %w", ErrInterrupted, name, err)
		}
		next, err := c.Do(ctx, Request{Method: http.MethodGet, Service: service, Path: path})
		if err != nil {
			if ctx.Err() != nil {
				return nil, fmt.Errorf("%w while waiting for operation %s, which goes on at Google: %w", ErrInterrupted, name, err)
			}
			return nil, fmt.Errorf("follow operation %s: %w", name, err)
		}
		answer = next
	}
	if err := failure(style, answer); err != nil {
		return nil, &OperationError{Name: name, Err: err}
	}
	if style == "google" {
		response, _ := answer["response"].(map[string]any)
		delete(response, "@type")
		return response, nil
	}
	return nil, nil
}

func isOperation(answer map[string]any, name string) bool {
	_, hasDone := answer["done"]
	_, hasMeta := answer["metadata"]
	return hasDone || hasMeta || strings.Contains(name, "operations/")
}

func computeScope(op map[string]any) string {
	if zone, _ := op["zone"].(string); zone != "" {
		return "zones/" + zone[strings.LastIndexByte(zone, '/')+1:]
	}
	if region, _ := op["region"].(string); region != "" {
		return "regions/" + region[strings.LastIndexByte(region, '/')+1:]
	}
	return "global"
}

func containerLocation(op map[string]any) string {
	if l, _ := op["location"].(string); l != "" {
		return l
	}
	if z, _ := op["zone"].(string); z != "" {
		return z
	}
	// A self link ends in …/zones/Z/operations/O or …/locations/L/operations/O.
	link, _ := op["selfLink"].(string)
	parts := strings.Split(link, "/")
	if len(parts) >= 3 {
		return parts[len(parts)-3]
	}
	return "-"
}

func done(style string, op map[string]any) bool {
	if style == "google" {
		d, _ := op["done"].(bool)
		return d
	}
	status, _ := op["status"].(string)
	return status == "DONE"
}

// failure finds the error in an operation that is done.
func failure(style string, op map[string]any) *Error {
	e, _ := op["error"].(map[string]any)
	if e == nil {
		if msg, _ := op["statusMessage"].(string); style == "container" && msg != "" {
			return &Error{Code: http.StatusInternalServerError, Message: msg}
		}
		return nil
	}
	out := &Error{Code: http.StatusInternalServerError}
	if code, ok := e["code"].(float64); ok {
		out.Code = httpCode(int(code))
	}
	out.Message, _ = e["message"].(string)
	list, _ := e["errors"].([]any)
	var messages []string
	for _, item := range list {
		m, _ := item.(map[string]any)
		if code, _ := m["code"].(string); code != "" {
			out.Reasons = append(out.Reasons, code)
		}
		if msg, _ := m["message"].(string); msg != "" {
			messages = append(messages, msg)
		}
	}
	if code, ok := op["httpErrorStatusCode"].(float64); ok && code != 0 {
		out.Code = int(code)
	}
	if out.Message == "" {
		out.Message = strings.Join(messages, "; ")
	}
	return out
}

// httpCode turns the codes of Google's RPCs, which operations carry, into those of HTTP.
func httpCode(rpc int) int {
	codes := map[int]int{3: 400, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 16: 401}
	if code, ok := codes[rpc]; ok {
		return code
	}
	if rpc >= 400 {
		return rpc
	}
	return http.StatusInternalServerError
}
