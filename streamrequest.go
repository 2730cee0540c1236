package gotalk

import (
	"context"
)

// StreamRequest is a streaming request under way, made by Sock.StreamRequest. Its methods may be called concurrently. New
// programs do better with Sock.OpenStream.
type StreamRequest struct {
	st  *Stream // nil if it could not be begun
	err error   // why
}

// StreamRequest begins a streaming request for operation op. Nothing is sent before the first Write. The channel yields
// the result as it comes: parts of a stream (Response.IsStreaming), of which an empty one is the last, or a single
// result, or an error. It is closed after the last one, which is an error result if the connection ends before. A
// channel that is not read from in time holds up the peer's writes to this stream if the peer keeps to windows; otherwise
// it holds up reading from the connection when too much has piled up (see Limits.MaxPendingBytes), and loses its stream
// after some time.
func (s *Sock) StreamRequest(op string) (*StreamRequest, chan Response) {
	ch := make(chan Response, 1)
	r := &StreamRequest{}
	begin := func(ctx context.Context, op string) (*Stream, error) {
		st, err := s.openStream(ctx, op, ch)
		if err != nil {
			return nil, err
		}
		st.bind(ctx) // that of interceptors, if there are any
		return st, nil
	}
	var err error
	if around := s.around.load(); len(around) > 0 {
		r.st, err = s.openThrough(around, context.Background(), op, begin)
	} else {
		r.st, err = begin(context.Background(), op)
	}
	if err != nil {
		r.err = err
		ch <- Response{MsgType: MsgTypeErrorRes, Data: []byte(err.Error())}
		close(ch)
	}
	return r, ch
}

// Write sends b as the next part of the request. b is the caller's again when Write returns. The first part may be
// empty; a later one that is empty ends the request like End. After the end, or when the peer has refused the request
// or it failed, Write returns ErrStreamEnded. If the peer keeps to windows Write waits for room in its window.
func (r *StreamRequest) Write(b []byte) error {
	if r.st == nil {
		return r.err
	}
	st := r.st
	st.link.awaitHello(context.Background())
	st.sendMu.Lock()
	st.mu.Lock()
	begun := st.begun
	st.mu.Unlock()
	if begun && len(b) == 0 {
		st.sendMu.Unlock()
		return st.lastPart()
	}
	defer st.sendMu.Unlock()
	if err := st.reserve(int64(len(b))); err != nil {
		return err
	}
	m := &message{t: MsgTypeStreamReqPart, id: st.in.id, payload: b}
	if !begun {
		m.t, m.name = MsgTypeStreamReq, st.op
	}
	return st.link.send(context.Background(), m)
}

// lastPart ends the request by an empty part.
func (st *Stream) lastPart() error {
	st.mu.Lock()
	over := st.ended || st.sendErr != nil
	st.mu.Unlock()
	if over {
		if cause := st.link.causeOf(); cause != nil {
			return cause
		}
		return ErrStreamEnded
	}
	return st.CloseSend()
}

// End ends the request: no more parts follow. The result may still go on. More calls do nothing.
func (r *StreamRequest) End() error {
	if r.st == nil {
		return r.err
	}
	st := r.st
	st.mu.Lock()
	begun, over := st.begun, st.ended || st.sendErr != nil
	st.mu.Unlock()
	if over {
		return nil
	}
	if !begun {
		if err := r.Write(nil); err != nil {
			return err
		}
	}
	err := r.Write(nil)
	if err == ErrStreamEnded { // the peer, or another goroutine, was faster
		return nil
	}
	return err
}
