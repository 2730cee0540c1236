package gotalk

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// StreamReqHandler handles a streaming request. rch yields the parts of the request as they come and is closed after the
// last one, or when the connection ends (then s.Context() has ended too). What is written to out goes to the requestor,
// a part for each Write; out is closed when the handler returns. An error that it returns goes to the requestor as text.
// The parts are the handler's to keep.
type StreamReqHandler func(s *Sock, name string, rch chan []byte, out io.WriteCloser) error

// servedStream is a streaming request of the peer's that a handler is at work on.
type servedStream struct {
	link *link
	id   msgID
	in   *feed[[]byte]

	over atomic.Bool // the end of the result is under way: the peer may use the id again

	mu     sync.Mutex
	ended  bool // the end of the result has been sent
	failed bool // an error was
}

// Write sends p as a part of the result. Writing nothing does nothing: an empty part would be the end.
func (st *servedStream) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.ended {
		return 0, ErrStreamEnded
	}
	if err := st.send(MsgTypeStreamRes, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close ends the result; more calls do nothing.
func (st *servedStream) Close() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.ended {
		return nil
	}
	st.ended = true
	st.over.Store(true)
	return st.send(MsgTypeStreamRes, nil)
}

func (st *servedStream) send(t MsgType, p []byte) error {
	return st.link.send(context.Background(), &message{t: t, id: st.id, payload: p})
}

// fail answers the request with an error. An empty part follows unless the result was ended: old peers expect one.
func (st *servedStream) fail(text string) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.failed {
		return nil
	}
	st.failed = true
	st.over.Store(true)
	err := st.send(MsgTypeErrorRes, []byte(text))
	if !st.ended {
		st.ended = true
		err = st.send(MsgTypeStreamRes, nil)
	}
	return err
}

// abort fails the request and ends the handler's input, without waiting. What is queued of it is dropped.
func (st *servedStream) abort(text string) {
	st.in.drop()
	go func() { // ends when the error is written or the link closed
		st.fail(text)
		st.in.end() // after that: the handler shall not return first and end the result as if all was well
	}()
}

// StreamRequest is a streaming request under way, made by Sock.StreamRequest. Its methods may be called concurrently.
type StreamRequest struct {
	link *link
	call *call
	id   msgID
	op   string

	mu    sync.Mutex
	begun bool
	ended bool
	err   error // why it could not be begun
}

// Write sends b as the next part of the request. b is the caller's again when Write returns. The first part may be
// empty; a later one that is empty ends the request like End. After the end, or when the peer has refused the request
// or it failed, Write returns ErrStreamEnded.
func (r *StreamRequest) Write(b []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.link == nil {
		return r.notConnected()
	}
	if r.ended || r.call.failed.Load() {
		if err := r.link.causeOf(); err != nil {
			return err
		}
		return ErrStreamEnded
	}
	if !r.begun {
		r.begun = true
		return r.link.send(context.Background(), &message{t: MsgTypeStreamReq, id: r.id, name: r.op, payload: b})
	}
	r.ended = len(b) == 0
	return r.link.send(context.Background(), &message{t: MsgTypeStreamReqPart, id: r.id, payload: b})
}

// End ends the request: no more parts follow. The result may still go on. More calls do nothing.
func (r *StreamRequest) End() error {
	r.mu.Lock()
	begun, over := r.begun, r.ended || r.link != nil && r.call.failed.Load()
	r.mu.Unlock()
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

func (r *StreamRequest) notConnected() error {
	if r.err != nil {
		return r.err
	}
	return ErrSockClosed
}

// StreamRequest begins a streaming request for operation op. Nothing is sent before the first Write. The channel yields
// the result as it comes: parts of a stream (Response.IsStreaming), of which an empty one is the last, or a single
// result, or an error. It is closed after the last one, which is an error result if the connection ends before. A
// channel that is not read from in time holds up reading from the connection when too much has piled up (see
// Limits.MaxPendingBytes), and loses its stream after some time.
func (s *Sock) StreamRequest(op string) (*StreamRequest, chan Response) {
	ch := make(chan Response, 1)
	r := &StreamRequest{op: op}
	l, err := s.open()
	if err == nil {
		err = checkName(op)
	}
	if err == nil {
		c := &call{feed: newFeed(l, ch, true), streaming: true}
		if r.id, err = l.register(c); err == nil {
			r.link, r.call = l, c
			return r, ch
		}
	}
	r.err = err
	ch <- Response{MsgType: MsgTypeErrorRes, Data: []byte(err.Error())}
	close(ch)
	return r, ch
}

// onStreamRequest takes the first part of a streaming request, and starts its handler.
func (l *link) onStreamRequest(h header) error {
	fn, op := l.sock.handlers().findStream(h.name)
	l.mu.Lock()
	old := l.streams[h.id]
	active := old != nil && !old.over.Load()
	if old != nil && !active {
		delete(l.streams, h.id) // its handler has ended the result but not returned yet
	}
	full := l.accepted >= l.limits.StreamRequests
	stopping := l.stopping
	l.mu.Unlock()
	if old != nil && !active {
		old.in.end()
	}
	switch {
	case active: // two requests with one id: no result could be told from the other's
		return errMalformed
	case l.limits.StreamRequests == 0:
		l.post(errorResult(h.id, textNoStreams))
	case stopping:
		l.refuse(h.id, l.limits.streamWait(), textShuttingDown)
	case full:
		l.refuse(h.id, l.limits.streamWait(), textRateLimit)
	case fn == nil:
		l.post(errorResult(h.id, unknownOp(h.name)))
	case h.size > l.limits.MaxPayload:
		l.post(errorResult(h.id, tooLarge("part of a request", h.size, l.limits.MaxPayload).Error()))
	default:
		payload, err := l.r.payload(h.size)
		if err != nil {
			return err
		}
		if payload == nil {
			payload = []byte{} // the first part, unlike later ones, is no end when it is empty
		}
		st := &servedStream{link: l, id: h.id, in: newFeed(l, make(chan []byte), true)}
		st.in.put(payload, len(payload))
		l.mu.Lock()
		closed := l.closed
		if !closed {
			if l.streams == nil {
				l.streams = map[msgID]*servedStream{}
			}
			l.streams[h.id] = st
			l.running++
			l.accepted++
		}
		l.mu.Unlock()
		if !closed {
			l.w.inFlight.Add(1)
			go l.serveStream(st, fn, op) // ends with the handler, whose input ends with the link
		} else {
			st.in.drop()
		}
		return nil
	}
	l.mu.Lock()
	l.spent.add(h.id)
	l.mu.Unlock()
	return l.r.skip(h.size)
}

// onStreamPart takes a later part of a streaming request.
func (l *link) onStreamPart(h header) error {
	l.mu.Lock()
	st := l.streams[h.id]
	spent := l.spent.has(h.id)
	tooLargeHere := h.size > l.limits.MaxPayload
	if st != nil && tooLargeHere {
		delete(l.streams, h.id)
		l.spent.add(h.id)
	}
	l.mu.Unlock()
	switch {
	case st == nil && !spent:
		return errMalformed
	case st == nil: // refused, failed or over; the peer could not know yet
		return l.r.skip(h.size)
	case tooLargeHere:
		st.abort(tooLarge("part of a request", h.size, l.limits.MaxPayload).Error())
		return l.r.skip(h.size)
	case h.size == 0:
		st.in.end()
		return nil
	}
	payload, err := l.r.payload(h.size)
	if err == nil {
		st.in.put(payload, len(payload))
	}
	return err
}

// serveStream runs the handler of a streaming request and ends its result.
func (l *link) serveStream(st *servedStream, fn StreamReqHandler, op string) {
	failed, failure := true, textInternal
	returned := false
	defer func() {
		if !returned {
			l.logPanic(recover(), op)
		}
		st.in.drop()
		st.in.end()
		l.mu.Lock()
		l.accepted--                // before the reply, on which the peer may send its next request at once
		if l.streams[st.id] == st { // or another stream has the id by now
			delete(l.streams, st.id)
			l.spent.add(st.id) // parts that are under way are dropped
		}
		l.mu.Unlock()
		var err error
		if failed {
			err = st.fail(failure)
		} else {
			err = st.Close()
		}
		if err != nil && !errors.Is(err, ErrSockClosed) && l.causeOf() == nil {
			logTo(errorLogger(), l.sock, "error while sending response: %v (op %q)", err, op)
		}
		l.mu.Lock()
		l.running--
		l.mu.Unlock()
		l.w.inFlight.Add(-1)
		l.finished()
	}()
	err := fn(l.sock, op, st.in.ch, io.WriteCloser(st))
	if err != nil {
		failure = err.Error()
		l.logHandlerError(err, op)
	} else {
		failed = false
	}
	returned = true
}

// spentIDs remembers the latest streaming requests that were refused or are over: parts of them that the peer sent
// meanwhile are no error.
type spentIDs struct {
	known map[msgID]int // how often an id is in order
	order []msgID       // the oldest is at next when full
	next  int
}

const maxSpentIDs = 1024

func (s *spentIDs) has(id msgID) bool { return s.known[id] > 0 }

func (s *spentIDs) add(id msgID) {
	if s.known == nil {
		s.known = map[msgID]int{}
	}
	s.known[id]++
	if len(s.order) < maxSpentIDs {
		s.order = append(s.order, id)
		return
	}
	old := s.order[s.next]
	if s.known[old]--; s.known[old] == 0 {
		delete(s.known, old)
	}
	s.order[s.next] = id
	s.next = (s.next + 1) % maxSpentIDs
}
