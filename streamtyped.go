package gotalk

import (
	"context"
	"encoding/json"
	"io"
	"iter"
)

// JSONStream is a Stream whose parts are JSON: values of type S are sent, and values of type R received.
type JSONStream[S, R any] struct {
	*Stream
}

// Send sends v as one part; see Stream.Send.
func (st *JSONStream[S, R]) Send(v S) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return st.Stream.Send(b)
}

// Recv returns the next value; see Stream.Recv. A part that is no such value gives an error with CodeInvalidArgument, and
// the stream goes on.
func (st *JSONStream[S, R]) Recv() (v R, err error) {
	b, err := st.Stream.Recv()
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, NewError(CodeInvalidArgument, "unexpected part of a stream: "+err.Error())
	}
	return v, nil
}

// All ranges over the values that come, up to the end. A failure is the last one. Leaving the loop does not end the stream.
func (st *JSONStream[S, R]) All() iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		for {
			v, err := st.Recv()
			if err == io.EOF || !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// StreamOp describes a streaming operation to both sides: its opener sends values of type In and receives values of type
// Out, as JSON.
//
//	var Count = gotalk.StreamOp[Range, int]{Name: "count"}
type StreamOp[In, Out any] struct {
	Name string
}

// Open begins a call; see Sock.OpenStream.
func (op StreamOp[In, Out]) Open(ctx context.Context, s *Sock) (*JSONStream[In, Out], error) {
	st, err := s.OpenStream(ctx, op.Name)
	if err != nil {
		return nil, err
	}
	return &JSONStream[In, Out]{st}, nil
}

// Handle registers fn for the operation, with DefaultHandlers if h is nil; see Handlers.HandleStream.
func (op StreamOp[In, Out]) Handle(h *Handlers, fn func(ctx context.Context, st *JSONStream[Out, In]) error) {
	if h == nil {
		h = DefaultHandlers
	}
	if fn == nil {
		h.HandleStream(op.Name, nil)
		return
	}
	h.HandleStream(op.Name, func(ctx context.Context, st *Stream) error { return fn(ctx, &JSONStream[Out, In]{st}) })
}
