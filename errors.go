package gotalk

import (
	"errors"
	"fmt"
	"time"
)

// Errors that a call or Sock.Read returns; test for them with errors.Is.
var (
	// ErrUnexpectedStreamingRes is what BufferRequest and Request return when the operation of a peer of gotalk 1.x
	// answers with a stream; use StreamRequest for it. The parts that another peer answers with are put together.
	ErrUnexpectedStreamingRes = errors.New("unexpected streaming response")

	// ErrSockClosed is returned by everything that needs an open connection when there is none: before Connect, after
	// Close, after Shutdown of either side, or because the peer went away while a call was under way.
	ErrSockClosed = errors.New("socket closed")

	// ErrAbnormal, ErrUnsupported, ErrInvalidMsg and ErrTimeout stand for the four protocol errors. A call that was
	// under way when one of them closed the connection returns it, whichever side noticed.
	ErrAbnormal    = errors.New("abnormal condition")
	ErrUnsupported = errors.New("unsupported protocol")
	ErrInvalidMsg  = errors.New("invalid protocol message")
	ErrTimeout     = errors.New("timeout")

	// ErrPayloadTooLarge is returned where a payload is larger than Limits.MaxPayload of the receiving side, as far as
	// this side can know, or than the protocol can carry (4 GiB - 1).
	ErrPayloadTooLarge = errors.New("payload too large")

	// ErrNotRead is returned by Sock.NotifyPrepared when the peer has left so much unread that a notification is not sent.
	ErrNotRead = errors.New("gotalk: the peer has not read what was sent to it before")

	// ErrStreamEnded is returned by writes to a stream that was ended by either side.
	ErrStreamEnded = errors.New("stream ended")

	// ErrServerClosed is returned by Server.Accept after Close or Shutdown.
	ErrServerClosed = errors.New("gotalk: server closed")
)

// Texts that go over the wire, where programs may look for them.
const (
	textRateLimit    = "request rate limit"
	textNoStreams    = "stream requests not supported"
	textShuttingDown = "shutting down"
	textCallRate     = "rate limit"
)

// errInternal is what the peer is told of a handler's panic.
var errInternal = NewError(CodeInternal, "internal error")

// ProtocolError is the error that a connection ended with when the code on the wire is none of the four known ones.
type ProtocolError struct {
	Code uint32
}

func (e *ProtocolError) Error() string {
	return fmt.Sprintf("unknown error (protocol error code %d)", e.Code)
}

// protocolError gives the error for a code from the wire.
func protocolError(code uint32) error {
	switch code {
	case ProtocolErrorAbnormal:
		return ErrAbnormal
	case ProtocolErrorUnsupported:
		return ErrUnsupported
	case ProtocolErrorInvalidMsg:
		return ErrInvalidMsg
	case ProtocolErrorTimeout:
		return ErrTimeout
	}
	return &ProtocolError{Code: code}
}

// timeoutError is ErrTimeout with the reason; like the errors of package net it says Timeout() true.
type timeoutError struct {
	reason string
}

func (e *timeoutError) Error() string        { return "timeout: " + e.reason }
func (e *timeoutError) Timeout() bool        { return true }
func (e *timeoutError) Temporary() bool      { return false }
func (e *timeoutError) Is(target error) bool { return target == ErrTimeout }

// tooLarge describes a payload of size bytes that goes over limit.
func tooLarge(what string, size, limit uint32) error {
	return fmt.Errorf("%s of %d bytes is over Limits.MaxPayload, %d bytes, of the side that receives it; "+
		"raise MaxPayload there or send less at a time: %w", what, size, limit, ErrPayloadTooLarge)
}

// oversize describes a payload that is too large for the protocol itself.
func oversize(size int) error {
	return fmt.Errorf("payload of %d bytes: the protocol carries at most %d in one message: %w",
		size, uint32(maxSize), ErrPayloadTooLarge)
}

// Request is what SendRequest sends.
type Request struct {
	MsgType // MsgTypeSingleReq, unless a stream's parts are sent by hand
	Op      string
	Data    []byte
}

// NewRequest returns a request for operation op; it keeps buf until SendRequest returned.
func NewRequest(op string, buf []byte) *Request {
	return &Request{MsgType: MsgTypeSingleReq, Op: op, Data: buf}
}

// Response is a result as it came from the peer. It is also the error that BufferRequest and Request return when the
// peer answered with an error: use errors.As to tell that from a failure on the way.
type Response struct {
	MsgType
	Data []byte        // payload; the receiver's own. The message alone if an error came with a code: see Unwrap
	Wait time.Duration // how long to wait before trying again, when IsRetry; otherwise of no meaning
}

// coded as the Wait of an error result says that the JSON that it came as, with a code, stands behind the end of Data, up
// to its capacity. (There is no room for another field: programs write Response literals without field names, and look
// for the text of an error in Data.)
const coded time.Duration = -1

// setError makes payload an error's, of which e is what it says.
func (r *Response) setError(e *Error, payload []byte) {
	b := make([]byte, len(e.Message)+len(payload))
	n := copy(b, e.Message)
	copy(b[n:], payload)
	r.Data, r.Wait = b[:n], coded
}

// Error returns the message of an error result or the reason of a retry result.
func (r *Response) Error() string {
	if e := r.coded(); e != nil {
		return e.Message
	}
	return string(r.Data)
}

// Unwrap returns the *Error of an error result, so that errors.As and CodeOf find it; its code is CodeUnknown unless the
// peer said one. For a retry result the code is CodeUnavailable.
func (r *Response) Unwrap() error {
	if e := r.coded(); e != nil {
		return e
	}
	switch {
	case r.IsError():
		return NewError(CodeUnknown, string(r.Data))
	case r.IsRetry():
		return NewError(CodeUnavailable, string(r.Data))
	}
	return nil
}

// coded returns the error of an error result that came with a code, otherwise nil.
func (r *Response) coded() *Error {
	if r.Wait != coded || !r.IsError() {
		return nil
	}
	return parseError(r.Data[len(r.Data):cap(r.Data)])
}

// IsError tells whether the request failed.
func (r *Response) IsError() bool { return r.MsgType == MsgTypeErrorRes }

// IsRetry tells whether the peer asks to try again after Wait.
func (r *Response) IsRetry() bool { return r.MsgType == MsgTypeRetryRes }

// IsStreaming tells whether this is a part of a streaming result; more may follow until one without data.
func (r *Response) IsStreaming() bool { return r.MsgType == MsgTypeStreamRes }
