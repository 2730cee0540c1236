package gotalk

import (
	"context"
	"encoding/json"
	"fmt"
)

// HandleFunc registers fn for requests named op with h, or with DefaultHandlers if h is nil. Parameter and result travel as
// JSON, as with Handle, but their types are checked when the program is compiled and nothing is looked up while it runs.
// A payload that cannot be decoded into In is answered with the error "unexpected parameter type", whose code is
// invalid_argument. An In of struct{} takes no parameter: the payload is ignored.
//
// See BufferReqContextHandler about ctx, and BufferReqHandler about concurrency.
func HandleFunc[In, Out any](h *Handlers, op string, fn func(ctx context.Context, s *Sock, in In) (Out, error)) {
	if fn == nil {
		panic(fmt.Sprintf("gotalk: HandleFunc: the function for %q is nil", op))
	}
	h.orDefault().HandleBufferRequestContext(op, func(ctx context.Context, s *Sock, _ string, payload []byte) ([]byte, error) {
		in, err := decode[In](payload)
		if err != nil {
			return nil, errParameterType
		}
		out, err := fn(ctx, s, in)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	})
}

// Call calls the peer's operation op with in as JSON, and returns the JSON result. An Out of struct{} drops it. ctx and
// errors are as with Sock.RequestContext; with an error the result may be incomplete.
func Call[Out any](ctx context.Context, s *Sock, op string, in any) (out Out, err error) {
	if _, none := any(out).(struct{}); none {
		return out, s.RequestContext(ctx, op, in, nil)
	}
	err = s.RequestContext(ctx, op, in, &out)
	return out, err
}

// HandleNotificationFunc registers fn for notifications of that name with h, or with DefaultHandlers if h is nil. The
// parameter travels as JSON. A notification whose payload cannot be decoded into In is dropped, and ErrorLogger told. An
// In of struct{} takes no parameter.
//
// See BufferNoteContextHandler about ctx, and BufferNoteHandler about concurrency.
func HandleNotificationFunc[In any](h *Handlers, name string, fn func(ctx context.Context, s *Sock, in In)) {
	if fn == nil {
		panic(fmt.Sprintf("gotalk: HandleNotificationFunc: the function for %q is nil", name))
	}
	h.orDefault().HandleBufferNotificationContext(name, func(ctx context.Context, s *Sock, name string, payload []byte) {
		in, err := decode[In](payload)
		if err != nil {
			logTo(errorLogger(), s, "notification %q dropped: its payload is no %T: %v", name, in, err)
			return
		}
		fn(ctx, s, in)
	})
}

// Op is an operation with the types of its parameter and its result, declared once for those who serve it and those who
// call it:
//
//	var Greet = gotalk.Op[GreetIn, GreetOut]{Name: "greet"}
type Op[In, Out any] struct{ Name string }

// Handle registers fn for the operation; see HandleFunc.
func (op Op[In, Out]) Handle(h *Handlers, fn func(ctx context.Context, s *Sock, in In) (Out, error)) {
	HandleFunc(h, op.Name, fn)
}

// Call calls the peer's operation; see the function Call.
func (op Op[In, Out]) Call(ctx context.Context, s *Sock, in In) (Out, error) {
	return Call[Out](ctx, s, op.Name, in)
}

// Note is a notification with the type of its parameter, as Op is for requests.
type Note[In any] struct{ Name string }

// Handle registers fn for the notification; see HandleNotificationFunc.
func (n Note[In]) Handle(h *Handlers, fn func(ctx context.Context, s *Sock, in In)) {
	HandleNotificationFunc(h, n.Name, fn)
}

// Send sends the notification; see Sock.NotifyContext.
func (n Note[In]) Send(ctx context.Context, s *Sock, in In) error {
	return s.NotifyContext(ctx, n.Name, in)
}

// Prepare prepares the notification to be sent to many; see PrepareNotification.
func (n Note[In]) Prepare(in In) (*PreparedNotification, error) {
	return PrepareNotification(n.Name, in)
}

// decode decodes a parameter. struct{} stands for none.
func decode[In any](payload []byte) (in In, err error) {
	if _, none := any(in).(struct{}); none {
		return in, nil
	}
	return in, json.Unmarshal(payload, &in)
}

func (h *Handlers) orDefault() *Handlers {
	if h == nil {
		return DefaultHandlers
	}
	return h
}
