package gotalk

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Code says what kind of failure an error is, so that programs can branch on it. Codes of your own are fine, but the
// ones below are understood everywhere: they are those of gRPC and Connect.
type Code string

const (
	CodeCanceled           Code = "canceled"            // the caller wants no result any more
	CodeUnknown            Code = "unknown"             // an error that says no code
	CodeInvalidArgument    Code = "invalid_argument"    // the parameter makes no sense, whatever the state of things
	CodeDeadlineExceeded   Code = "deadline_exceeded"   // it took too long
	CodeNotFound           Code = "not_found"           // there is no such thing
	CodeAlreadyExists      Code = "already_exists"      // what was to be made is there
	CodePermissionDenied   Code = "permission_denied"   // this caller may not do that
	CodeResourceExhausted  Code = "resource_exhausted"  // a quota or limit is used up
	CodeFailedPrecondition Code = "failed_precondition" // not in this state of things
	CodeAborted            Code = "aborted"             // others were faster; the caller may begin anew
	CodeOutOfRange         Code = "out_of_range"        // past the end of something
	CodeUnimplemented      Code = "unimplemented"       // there is no such operation
	CodeInternal           Code = "internal"            // a mistake in the program that was called
	CodeUnavailable        Code = "unavailable"         // not now; the same call may succeed later
	CodeDataLoss           Code = "data_loss"           // something is lost or corrupt for good
	CodeUnauthenticated    Code = "unauthenticated"     // it is not known who the caller is
)

// Error is an error with a code. A handler that returns one, or an error that wraps one, tells its code, message and
// details to callers that understand them; those of gotalk 1.x get the message alone. A caller finds it with errors.As in
// the error that a call returned, or asks CodeOf.
type Error struct {
	Code    Code
	Message string
	Details json.RawMessage // JSON that a program can evaluate, or nil
}

// NewError returns an error with that code and message.
func NewError(code Code, message string) *Error { return &Error{Code: code, Message: message} }

// Error returns code and message.
func (e *Error) Error() string {
	if e.Message == "" {
		return string(e.Code)
	}
	return string(e.Code) + ": " + e.Message
}

// Is tells whether target is an *Error with the same code and, unless it is empty, the same message. An error whose code
// is CodeCanceled or CodeDeadlineExceeded also is context.Canceled or context.DeadlineExceeded.
func (e *Error) Is(target error) bool {
	switch target {
	case context.Canceled:
		return e.Code == CodeCanceled
	case context.DeadlineExceeded:
		return e.Code == CodeDeadlineExceeded
	}
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && (t.Message == "" || t.Message == e.Message)
}

// CodeOf returns the code of err: that of the Error in it, or the one that says best what an error of this package, or
// of a context, is; otherwise CodeUnknown. It is empty when err is nil.
func CodeOf(err error) Code {
	var coded *Error
	var retry *retryError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &coded):
		return coded.Code
	case errors.As(err, &retry), errors.Is(err, ErrSockClosed), errors.Is(err, ErrServerClosed):
		return CodeUnavailable
	case errors.Is(err, context.Canceled):
		return CodeCanceled
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, ErrTimeout):
		return CodeDeadlineExceeded
	case errors.Is(err, errParameterType):
		return CodeInvalidArgument
	case errors.Is(err, ErrPayloadTooLarge), errors.Is(err, ErrNotRead):
		return CodeResourceExhausted
	case errors.Is(err, ErrUnexpectedStreamingRes), errors.Is(err, ErrUnsupported):
		return CodeUnimplemented
	case errors.Is(err, ErrInvalidMsg), errors.Is(err, ErrAbnormal):
		return CodeInternal
	}
	return CodeUnknown
}

// retryError is what RetryAfter returns.
type retryError struct {
	wait   time.Duration
	reason string
}

func (e *retryError) Error() string { return e.reason }

// RetryAfter returns an error for a handler to return when the request shall be made again after wait, which callers do by
// themselves (see Sock.AutoRetryRequests). It must not have done anything yet. reason is for people. wait is sent in
// milliseconds, at most 2^32-1.
func RetryAfter(wait time.Duration, reason string) error {
	return &retryError{min(max(wait, 0), maxRetryWait), reason}
}

// wireError is an ErrorResult's payload for peers that understand codes.
type wireError struct {
	Code    Code            `json:"code"`
	Message string          `json:"message"`
	Details json.RawMessage `json:"details,omitempty"`
}

// errorResult makes the message that tells the peer of err.
func (l *link) errorResult(id msgID, err error) *message {
	var panicked *PanicError
	if errors.As(err, &panicked) {
		err = errInternal // whatever is around it: the panic's value is not for the peer
	}
	text := err.Error()
	var coded *Error
	if errors.As(err, &coded) && err == error(coded) {
		text = coded.Message // the code goes beside it
		if text == "" {
			text = string(coded.Code)
		}
	}
	m := &message{t: MsgTypeErrorRes, id: id, payload: []byte(text)}
	if !l.peerSaid().errors {
		return m
	}
	e := wireError{Code: CodeOf(err), Message: text}
	if e.Code == "" {
		e.Code = CodeUnknown
	}
	if coded != nil && json.Valid(coded.Details) {
		e.Details = coded.Details
	}
	if e.Code != CodeUnknown || e.Details != nil || len(text) > 0 && text[0] == '{' {
		m.payload, _ = json.Marshal(e) // of strings and valid JSON: cannot fail
	}
	return m
}

// parseError returns the error that an error result's payload describes, or nil if it is plain text.
func parseError(payload []byte) *Error {
	var e wireError
	if len(payload) == 0 || payload[0] != '{' || json.Unmarshal(payload, &e) != nil || e.Code == "" {
		return nil
	}
	if string(e.Details) == "null" {
		e.Details = nil
	}
	return &Error{Code: e.Code, Message: e.Message, Details: e.Details}
}
