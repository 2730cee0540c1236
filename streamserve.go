package gotalk

import (
	"context"
	"errors"
	"io"
	"time"
)

// defaultStreams is how many streams of HandleStream's operations a peer may have open where Limits.StreamRequests does
// not say.
const defaultStreams = 16384

// StreamHandler handles a streaming request, on a goroutine of its own. ctx is st.Context(): it ends when the caller
// cancels, its deadline passes or the connection closes. When the handler returns, the result ends; parts that have not been
// received are dropped. An error that it returns goes to the caller, see Error and RetryAfter.
type StreamHandler func(ctx context.Context, st *Stream) error

// StreamReqHandler handles a streaming request. rch yields the parts of the request as they come and is closed after the
// last one, or when the connection ends (then s.Context() has ended too). What is written to out goes to the requestor,
// a part for each Write; out is closed when the handler returns. An error that it returns goes to the requestor as text.
// The parts are the handler's to keep.
type StreamReqHandler func(s *Sock, name string, rch chan []byte, out io.WriteCloser) error

// streamFunc is a registered handler of either kind.
type streamFunc struct {
	old StreamReqHandler
	new StreamHandler
}

// run calls the handler.
func (f streamFunc) run(ctx context.Context, st *Stream) error {
	if f.new != nil {
		return f.new(ctx, st)
	}
	rch := make(chan []byte)
	returned := make(chan struct{})
	defer close(returned)
	go pump(&st.in, rch, true, returned, func(r Response) []byte { return r.Data }, func(error) (b []byte, ok bool) { return nil, false })
	return f.old(st.link.sock, st.op, rch, streamOut{st})
}

// streamOut is where the handlers of gotalk 1.x write their results.
type streamOut struct{ st *Stream }

// Write sends p as a part of the result. Writing nothing does nothing: an empty part would be the end.
func (o streamOut) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := o.st.sendPart(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close ends the result; more calls do nothing.
func (o streamOut) Close() error { return o.st.CloseSend() }

// fail answers the request with an error. To an old peer an empty part follows, unless the result was ended.
func (st *Stream) fail(failure error) error {
	st.stopSending(ErrStreamEnded) // so that nothing holds sendMu for long
	st.sendMu.Lock()
	defer st.sendMu.Unlock()
	l := st.link
	old := l.hello.Load() == nil
	st.mu.Lock()
	failed, ended, begun := st.failed, st.ended, st.begun
	st.failed, st.ended = true, true
	st.mu.Unlock()
	if failed || ended && !old { // a peer of ours gets exactly one end
		return nil
	}
	st.over.Store(true)
	var retry *retryError
	if errors.As(failure, &retry) && !begun && !ended {
		l.refuse(st.in.id, uint32(retry.wait/time.Millisecond), retry.reason)
		return nil
	}
	err := l.send(context.Background(), l.errorResult(st.in.id, failure))
	if old && !ended {
		err = l.send(context.Background(), &message{t: MsgTypeStreamRes, id: st.in.id})
	}
	return err
}

// abort fails a request of the peer's and ends its handler's input, without waiting.
func (st *Stream) abort(failure error) {
	st.mu.Lock()
	st.lost = failure // first: the handler may return at once, as if all was well
	st.mu.Unlock()
	st.in.close(failure, true)
	go func() { // ends when the error is written or the link closed
		st.fail(failure)
		st.cancel()
	}()
}

// lossOf returns why the stream is lost for its handler, nil if it is not.
func (st *Stream) lossOf() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.lost
}

// cancelled ends what the handler does with the stream, because of ctx.
func (st *Stream) cancelled(ctx context.Context) {
	if st.link.causeOf() == nil { // else what has come is still to be received
		st.stopSending(ctx.Err())
		st.in.close(ctx.Err(), true)
	}
}

// onStreamRequest takes the first part of a streaming request, and starts its handler.
func (l *link) onStreamRequest(h *header) error {
	handlers := l.sock.handlers()
	e := handlers.findStream(h.name)
	meta := l.takeMeta(h.id)
	var single *entry[requestFunc]
	if meta.sized || e == nil && l.hello.Load() != nil {
		single = handlers.findRequest(h.name)
	}
	limit := l.limits.StreamRequests
	if limit == 0 && e != nil && e.fn.new != nil {
		limit = defaultStreams
	}
	l.mu.Lock()
	old := l.streams[h.id]
	active := old != nil && !old.over.Load() || l.split.partials[h.id] != nil
	if old != nil && !active {
		delete(l.streams, h.id) // its handler has ended the result but not returned yet
	}
	full := l.accepted >= limit || meta.size > 0 && l.streamMeta+meta.size > l.limits.MaxPendingBytes
	stopping := l.stopping
	l.mu.Unlock()
	if old != nil && !active {
		old.in.close(io.EOF, true) // what is left of its input could not be bounded any more
	}
	switch {
	case active: // two requests with one id: no result could be told from the other's
		return errMalformed
	case meta.sized || single != nil:
		return l.onSplitRequest(h, single, handlers.interceptors(), meta)
	case limit == 0:
		l.post(l.errorResult(h.id, NewError(CodeUnimplemented, textNoStreams)))
	case stopping:
		l.refuse(h.id, l.limits.streamWait(), textShuttingDown)
	case full:
		l.refuse(h.id, l.limits.streamWait(), textRateLimit)
	case e == nil:
		l.post(l.errorResult(h.id, unknownOp(h.name)))
	case h.size > l.limits.MaxPayload:
		l.post(l.errorResult(h.id, tooLarge("part of a request", h.size, l.limits.MaxPayload)))
	default:
		payload, err := l.r.payload(h.size, nil)
		if err != nil {
			return err
		}
		if payload == nil {
			payload = []byte{} // the first part, unlike later ones, is no end when it is empty
		}
		l.beginStream(h.id, e.name, e.fn, handlers.interceptors(), meta, payload)
		return nil
	}
	l.mu.Lock()
	l.spendLocked(h.id)
	l.mu.Unlock()
	return l.r.skip(h.size)
}

// beginStream starts the handler of a streaming request.
func (l *link) beginStream(id msgID, op string, fn streamFunc, around []Interceptor, meta requestMeta, payload []byte) {
	st := newStream(l, id, op, MsgTypeStreamReqPart)
	ctx, cancel := l.requestContext(meta)
	st.ctx, st.cancel = ctx, cancel
	st.setWindow(l.peerSaid().credit)
	st.in.put(Response{MsgType: MsgTypeStreamReqPart, Data: payload})
	l.mu.Lock()
	closed := l.closed.Load()
	if !closed {
		if l.streams == nil {
			l.streams = map[msgID]*Stream{}
		}
		l.streams[id] = st
		l.running++
		l.accepted++
		l.streamMeta += meta.size
	}
	l.mu.Unlock()
	if closed {
		st.cancel()
		return
	}
	l.w.inFlight.Add(1)
	st.unbind = context.AfterFunc(ctx, func() { st.cancelled(ctx) })
	go l.serveStream(st, fn, around, meta.size) // ends with the handler, whose input and context end with the link
}

// requestContext makes the context of a request of the peer's.
func (l *link) requestContext(meta requestMeta) (context.Context, context.CancelFunc) {
	ctx := l.context()
	if meta.values != nil {
		ctx = context.WithValue(ctx, incomingMeta{}, meta.values)
	}
	if meta.timeout > 0 {
		return context.WithTimeout(ctx, meta.timeout)
	}
	return context.WithCancel(ctx)
}

// onStreamPart takes a later part of a streaming request.
func (l *link) onStreamPart(h *header) error {
	if p := l.split.partials[h.id]; p != nil {
		return l.onRequestPart(h, p)
	}
	l.mu.Lock()
	st := l.streams[h.id]
	// Parts of a stream that is over may still be on their way. A peer of ours can be trusted not to make them up; of an
	// old one it is an error if the stream never was.
	known := st != nil || l.spent.has(h.id) || l.hello.Load() != nil
	tooLargeHere := h.size > l.limits.MaxPayload
	if st != nil && tooLargeHere {
		delete(l.streams, h.id)
		l.spendLocked(h.id)
	}
	l.mu.Unlock()
	switch {
	case !known:
		return errMalformed
	case st == nil: // refused, failed or over; the peer could not know yet
		return l.r.skip(h.size)
	case tooLargeHere:
		st.abort(tooLarge("part of a request", h.size, l.limits.MaxPayload))
		return l.r.skip(h.size)
	case h.size == 0:
		st.in.close(io.EOF, false)
		return nil
	}
	payload, err := l.r.payload(h.size, nil)
	if err != nil {
		return err
	}
	if !st.in.put(Response{MsgType: MsgTypeStreamReqPart, Data: payload}) {
		l.dropStream(st)
		st.abort(errOverrun)
	}
	return nil
}

// errOverrun is why a stream ends whose sender does not keep to the window.
var errOverrun = NewError(CodeResourceExhausted, "more was sent on the stream than its window allows")

// dropStream forgets a stream of the peer's. Parts of it that are under way are dropped.
func (l *link) dropStream(st *Stream) {
	l.mu.Lock()
	if id := st.in.id; l.streams[id] == st { // or another stream has the id by now
		delete(l.streams, id)
		l.spendLocked(id)
	}
	l.mu.Unlock()
}

// cancelStream cancels the context of a stream of the peer's, if there is one with that id.
func (l *link) cancelStream(id msgID) {
	l.mu.Lock()
	st := l.streams[id]
	l.mu.Unlock()
	if st != nil {
		st.cancel()
	}
}

// serveStream runs the handler of a streaming request and ends its result.
func (l *link) serveStream(st *Stream, fn streamFunc, around []Interceptor, metaSize int) {
	failure := error(errInternal)
	returned := false
	defer func() {
		if !returned {
			failure = errInternal
			l.logPanic(recover(), st.op)
		}
		st.in.close(ErrStreamEnded, true)
		l.mu.Lock()
		l.accepted-- // before the reply, on which the peer may send its next request at once
		l.streamMeta -= metaSize
		l.mu.Unlock()
		l.dropStream(st)
		if lost := st.lossOf(); lost != nil {
			failure = lost
		}
		var err error
		if failure != nil {
			err = st.fail(failure)
		} else {
			st.stopSending(ErrStreamEnded) // what waits in Send holds up CloseSend
			err = st.CloseSend()
		}
		st.release()
		st.cancel()
		if err != nil && !errors.Is(err, ErrSockClosed) && l.causeOf() == nil {
			logTo(errorLogger(), l.sock, "error while sending response: %v (op %q)", err, st.op)
		}
		l.mu.Lock()
		l.running--
		l.mu.Unlock()
		l.w.inFlight.Add(-1)
		l.finished()
	}()
	if len(around) == 0 {
		failure = fn.run(st.ctx, st)
	} else {
		failure = st.runThrough(around, fn)
	}
	if failure != nil {
		_ = failure.Error() // if it panics, as nil pointers do that are returned as errors, then here
		l.logFailure(st.ctx, failure, st.op)
	}
	returned = true
}

// runThrough runs the handler with interceptors around it.
func (st *Stream) runThrough(around []Interceptor, fn streamFunc) error {
	info := &CallInfo{Kind: KindStream, Op: st.op, Sock: st.link.sock, Served: true, Received: time.Now()}
	return chain(around, info, func(ctx context.Context) error {
		st.ctx = ctx
		defer st.count(info)
		defer context.AfterFunc(ctx, func() { st.cancelled(ctx) })() // it may end before the one that it was made from
		return fn.run(ctx, st)
	})(st.ctx)
}

// spentIDs remembers the latest streaming requests that were refused or are over: parts of them that the peer sent
// meanwhile are no error.
type spentIDs struct {
	known map[msgID]int // how often an id is in order
	order []msgID       // the oldest is at next when full
	next  int
}

const maxSpentIDs = 1024

func (s *spentIDs) has(id msgID) bool { return s != nil && s.known[id] > 0 }

func (l *link) spendLocked(id msgID) {
	if l.spent == nil {
		l.spent = &spentIDs{known: map[msgID]int{}}
	}
	l.spent.add(id)
}

func (s *spentIDs) add(id msgID) {
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
