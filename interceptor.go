package gotalk

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"
)

// Kind says what is called.
type Kind uint8

const (
	KindRequest      Kind = iota // one payload each way
	KindNotification             // nobody answers
	KindStream                   // any number of parts each way
)

// String returns "request", "notification" or "stream".
func (k Kind) String() string {
	switch k {
	case KindRequest:
		return "request"
	case KindNotification:
		return "notification"
	case KindStream:
		return "stream"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// CallInfo is what an interceptor is told about a call. It belongs to the call: an interceptor must not change it, nor use
// it after it has returned.
type CallInfo struct {
	Kind   Kind
	Op     string // the operation, or the notification's name
	Sock   *Sock
	Served bool // the peer called us; otherwise we call the peer

	// Received is when a request or notification of the peer's came, so that what it waited for its handler is known, or
	// when a call of ours was made.
	Received time.Time

	// The payload bytes that came in and that go out. Of a served request or notification BytesIn is known from the
	// beginning, of a call of ours BytesOut; all else when next has returned. An error counts for nothing.
	BytesIn, BytesOut int64
}

// Interceptor is called around a call, by Handlers.Use for those of the peer and by Sock.Use for ours. It calls next,
// which makes the call or runs its handler, and returns what next returned: nil or the call's error, a *PanicError if the
// handler panicked, the context's error if that has ended and the handler says so.
//
// It may give next another context, but one that is derived from ctx. It may return an error without calling next: that
// is the call's outcome then, as if the handler had returned it. It may return another error than next did; nil makes an
// empty result. next can be called once, a further call returns an error; and what it does is waited for, also if the
// interceptor returns before. A panic of an interceptor around a served call is taken for one of the handler.
//
// Interceptors run concurrently, for as many calls as are under way.
type Interceptor func(ctx context.Context, info *CallInfo, next func(context.Context) error) error

// PanicError is what interceptors get for a handler that panicked. The panic has been logged, to HandlerErrorLogger. The
// peer is told "internal error" and nothing else, whatever an interceptor makes of it. Its code is CodeInternal.
type PanicError struct {
	Value any    // what panic was called with
	Stack []byte // of the goroutine that panicked, for people
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns an error with the code CodeInternal.
func (e *PanicError) Unwrap() error { return errInternal }

var errNextAgain = NewError(CodeInternal, "an interceptor called next again, or too late")

// interceptors is a list that every call looks at and that is hardly ever added to.
type interceptors struct {
	list atomic.Pointer[[]Interceptor] // what it points to is never written to
}

func (x *interceptors) add(more []Interceptor) {
	if slices.ContainsFunc(more, func(ic Interceptor) bool { return ic == nil }) {
		panic("gotalk: Use: an interceptor is nil")
	}
	for len(more) > 0 {
		old := x.list.Load()
		all := slices.Concat(x.load(), more)
		if x.list.CompareAndSwap(old, &all) {
			return
		}
	}
}

// load returns the list, nil if it is empty.
func (x *interceptors) load() []Interceptor {
	if p := x.list.Load(); p != nil {
		return *p
	}
	return nil
}

// Use adds interceptors around every request, stream and notification of the peer's that a handler of h, or of a set made
// by its NewSubHandlers, is called for. The first is the outermost; those of the set behind a set are outside its own. What
// has no handler, or is refused because of a limit, does not get to them, nor does a request that was cancelled before
// its turn came. They apply to what comes after Use has returned. A nil interceptor panics.
func (h *Handlers) Use(interceptors ...Interceptor) { h.around.add(interceptors) }

// interceptors returns those of h and of the sets behind it, the outermost first; nil if there are none.
func (h *Handlers) interceptors() []Interceptor {
	if h == nil {
		return nil
	}
	own := h.around.load()
	if h.outer == nil {
		return own
	}
	outer := h.outer.interceptors()
	switch {
	case len(outer) == 0:
		return own
	case len(own) == 0:
		return outer
	}
	return slices.Concat(outer, own)
}

// Use adds interceptors around every call of this side's: requests by BufferRequest, Request, Call and their like, each
// with all its tries, notifications, and streams. The first is the outermost. SendRequest is too plain for them. They
// apply to what is called after Use has returned, on later connections too. A nil interceptor panics.
func (s *Sock) Use(interceptors ...Interceptor) { s.around.add(interceptors) }

// chain returns final with interceptors around it. If the peer has called, what panics in there is logged and becomes a
// *PanicError.
func chain(interceptors []Interceptor, info *CallInfo, final func(context.Context) error) func(context.Context) error {
	next := final
	if info.Served {
		next = func(ctx context.Context) (err error) {
			defer recoverInto(&err, info)
			return final(ctx)
		}
	}
	for _, ic := range slices.Backward(interceptors) {
		inner := next
		next = func(ctx context.Context) error { return intercept(ctx, ic, info, inner) }
	}
	return next
}

// intercept calls an interceptor.
func intercept(ctx context.Context, ic Interceptor, info *CallInfo, next func(context.Context) error) (err error) {
	running := make(chan struct{}, 1) // a lock, which may be held long; guards over
	over := false
	if info.Served {
		defer recoverInto(&err, info)
	}
	defer func() {
		running <- struct{}{} // next may run on another goroutine, and must not have an outcome after ours
		over = true
		<-running
	}()
	return ic(ctx, info, func(ctx context.Context) error {
		select {
		case running <- struct{}{}:
		default:
			return errNextAgain
		}
		defer func() { <-running }()
		if over {
			return errNextAgain
		}
		over = true
		return next(ctx)
	})
}

// recoverInto is deferred: it makes an error of a panic, and logs it.
func recoverInto(err *error, info *CallInfo) {
	if v := recover(); v != nil {
		stack := debug.Stack()
		logPanic(info.Sock, v, stack, info.Op)
		*err = &PanicError{Value: v, Stack: stack}
	}
}
