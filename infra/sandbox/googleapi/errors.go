package googleapi

import (
	"fmt"
	"net/http"
	"runtime/debug"
)

// Error is an error of the API, answered in Google's format.
type Error struct {
	// Code is the HTTP status, Status its google.rpc.Code ("NOT_FOUND"), Reason the older form ("notFound") that
	// Google's clients still look at.
	Code            int
	Status, Reason  string
	Message         string
	Details         []any
	FieldViolations []FieldViolation
}

// FieldViolation is one wrong field of a request.
type FieldViolation struct {
	Field       string `json:"field,omitempty"`
	Description string `json:"description"`
}

func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.Code, e.Status, e.Message) }

func (e *Error) body() any {
	reason := e.Reason
	if reason == "" {
		reason = "backendError"
	}
	inner := map[string]any{
		"code": e.Code, "message": e.Message, "status": e.Status,
		"errors": []any{map[string]any{"message": e.Message, "domain": "global", "reason": reason}},
	}
	details := e.Details
	if len(e.FieldViolations) > 0 {
		details = append(details, map[string]any{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": e.FieldViolations})
	}
	if len(details) > 0 {
		inner["details"] = details
	}
	return map[string]any{"error": inner}
}

func newError(code int, status, reason, format string, args []any) *Error {
	return &Error{Code: code, Status: status, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// InvalidArgument is 400: the request is wrong whatever the state.
func InvalidArgument(format string, args ...any) *Error {
	return newError(http.StatusBadRequest, "INVALID_ARGUMENT", "invalid", format, args)
}

// BadRequest is 400 with the older reason badRequest, which GKE and others give.
func BadRequest(format string, args ...any) *Error {
	return newError(http.StatusBadRequest, "INVALID_ARGUMENT", "badRequest", format, args)
}

// FailedPrecondition is 400: the request does not fit the state.
func FailedPrecondition(format string, args ...any) *Error {
	return newError(http.StatusBadRequest, "FAILED_PRECONDITION", "failedPrecondition", format, args)
}

// InUse is 400 resourceInUseByAnotherResource, as Compute Engine answers the deletion of what others need.
func InUse(format string, args ...any) *Error {
	return newError(http.StatusBadRequest, "INVALID_ARGUMENT", "resourceInUseByAnotherResource", format, args)
}

// PermissionDenied is 403.
func PermissionDenied(format string, args ...any) *Error {
	return newError(http.StatusForbidden, "PERMISSION_DENIED", "forbidden", format, args)
}

// NotFound is 404.
func NotFound(format string, args ...any) *Error {
	return newError(http.StatusNotFound, "NOT_FOUND", "notFound", format, args)
}

// AlreadyExists is 409 for a name that is taken.
func AlreadyExists(format string, args ...any) *Error {
	return newError(http.StatusConflict, "ALREADY_EXISTS", "alreadyExists", format, args)
}

// Aborted is 409 for a lost race, as IAM and others answer a stale etag.
func Aborted(format string, args ...any) *Error {
	return newError(http.StatusConflict, "ABORTED", "aborted", format, args)
}

// ConditionNotMet is 412, as Compute Engine and Cloud Storage answer a stale fingerprint or a failed If-Match.
func ConditionNotMet(format string, args ...any) *Error {
	return newError(http.StatusPreconditionFailed, "FAILED_PRECONDITION", "conditionNotMet", format, args)
}

// Unimplemented is 501: Google has it, the sandbox does not. The message names the method.
func Unimplemented(format string, args ...any) *Error {
	return newError(http.StatusNotImplemented, "UNIMPLEMENTED", "notImplemented", format, args)
}

func unauthenticated(message, reason string) *Error {
	return &Error{Code: http.StatusUnauthorized, Status: "UNAUTHENTICATED", Reason: reason, Message: message}
}

func stack() string { return string(debug.Stack()) }
