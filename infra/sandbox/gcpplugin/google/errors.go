package google

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
)

// Error is Google's answer to a request that failed.
type Error struct {
	Code            int
	Status, Message string
	// Reasons are the machine-readable ones, in either of Google's formats.
	Reasons     []string
	Method, URL string
}

// Error has the code, the message and the request.
func (e *Error) Error() string {
	s := fmt.Sprintf("Google answered %d", e.Code)
	if e.Status != "" {
		s += " " + e.Status
	}
	s += ": " + e.Message
	if len(e.Reasons) > 0 {
		s += " [" + strings.Join(e.Reasons, ", ") + "]"
	}
	if e.Method != "" {
		s += " (" + e.Method + " " + e.URL + ")"
	}
	switch e.Code {
	case http.StatusUnauthorized:
		s += "; the access token is wrong or has expired: get a new one"
	case http.StatusConflict:
		if e.Method == http.MethodPost && e.has("alreadyExists", "ALREADY_EXISTS") {
			s += "; if an interrupted run made it, take it over with \"pulumi refresh --import-pending-creates\" or \"pulumi import\", or delete it"
		}
	}
	return s
}

func (e *Error) has(reasons ...string) bool {
	for _, want := range reasons {
		if strings.EqualFold(e.Status, want) {
			return true
		}
		for _, r := range e.Reasons {
			if strings.EqualFold(r, want) {
				return true
			}
		}
	}
	return strings.Contains(strings.ToLower(e.Message), "already exists") && reasons[0] == "alreadyExists"
}

// IsNotFound tells whether the resource is not there.
func IsNotFound(err error) bool { return hasCode(err, http.StatusNotFound) }

// IsConflict tells whether something of that name exists, or an etag no longer fits.
func IsConflict(err error) bool {
	return hasCode(err, http.StatusConflict) || hasCode(err, http.StatusPreconditionFailed)
}

// AlreadyExists tells whether a creation failed because the resource is there.
func AlreadyExists(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == http.StatusConflict && e.has("alreadyExists", "ALREADY_EXISTS")
}

func hasCode(err error, code int) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

// unreachable: no answer came.
type unreachable struct{ err error }

func (u *unreachable) Error() string {
	return "no answer from Google's API: " + u.err.Error() + "; check that the endpoint is right and running"
}
func (u *unreachable) Unwrap() error { return u.err }

// repeatable tells whether the same request may succeed later, and did nothing yet.
func repeatable(method string, err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return true
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		return method == http.MethodGet
	case http.StatusBadRequest:
		return e.has("resourceNotReady")
	}
	return false
}

// busy tells whether another operation on the same resource must end first: a cluster takes one at a time.
func busy(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.Code != http.StatusConflict && e.Code != http.StatusBadRequest && e.Code != http.StatusPreconditionFailed {
		return false
	}
	return e.has("operationInProgress", "CLUSTER_ALREADY_HAS_OPERATION") || strings.Contains(e.Message, "operation in progress") ||
		strings.Contains(e.Message, "incompatible operation") || strings.Contains(e.Message, "CLUSTER_ALREADY_HAS_OPERATION")
}

// refused: nothing listens there, perhaps not yet; nothing was sent.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func parseError(method, target string, code int, body []byte) error {
	out := &Error{Code: code, Method: method, URL: target, Message: strings.TrimSpace(string(body))}
	var doc struct {
		Error struct {
			Message string `json:"message"`
			Status  string `json:"status"`
			Errors  []struct {
				Reason string `json:"reason"`
			} `json:"errors"`
			Details []struct {
				Reason          string `json:"reason"`
				FieldViolations []struct {
					Field       string `json:"field"`
					Description string `json:"description"`
				} `json:"fieldViolations"`
			} `json:"details"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &doc) == nil && doc.Error.Message != "" {
		out.Message, out.Status = doc.Error.Message, doc.Error.Status
		for _, e := range doc.Error.Errors {
			if e.Reason != "" {
				out.Reasons = append(out.Reasons, e.Reason)
			}
		}
		for _, d := range doc.Error.Details {
			if d.Reason != "" {
				out.Reasons = append(out.Reasons, d.Reason)
			}
			for _, v := range d.FieldViolations {
				out.Message += fmt.Sprintf("; %s: %s", v.Field, v.Description)
			}
		}
	}
	if out.Message == "" {
		out.Message = http.StatusText(code)
	}
	return out
}
