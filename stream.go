package gotalk

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Stream is a call with any number of parts in both directions, as both its ends see it: one is made by Sock.OpenStream,
// the other one is given to a handler registered by Handlers.HandleStream. Parts arrive whole and in order, as they were
// sent. All methods may be called concurrently; of several that receive, each gets other parts.
//
// A peer of ours that does not receive in time holds up Send, once as much as its window is under way: 256 KiB, or up to
// three times that for a consumer that has kept up. It holds up nothing else: neither other streams nor calls. Towards a
// peer of gotalk 1.x there is no window, only what the connection holds.
//
// Read and WriteTo, and so io.Copy, use the memory of parts again, which makes them the way for bulk data. What Recv
// returns is the caller's own, so it has to be allocated.
type Stream struct {
	link   *link
	op     string
	served bool            // the peer has opened it
	lax    bool            // sending is possible after the result has ended: programs of gotalk 1.x do that
	ctx    context.Context // served: changed by interceptors, before the handler has it
	cancel context.CancelFunc
	call   *call // ours
	in     inbox // has the id

	over atomic.Bool // served: the result's end is under way, so the peer may use the id again

	readMu sync.Mutex
	rest   []byte // of the part that Read is at
	part   []byte // all of it

	sendMu sync.Mutex // held while a part is sent, so that they keep their order

	mu       sync.Mutex
	unbind   func() bool // no longer watches the context; nil if it is not watched
	sendErr  error       // why nothing can be sent any more
	ended    bool        // our direction's end has been sent, or need not be
	failed   bool        // served: the request has been answered with an error
	lost     error       // served: why it shall be, whatever the handler does; nil if the handler may say
	begun    bool        // anything was sent
	sent     int64       // bytes
	window   int64       // of the peer's; 0 when it has none
	credit   int64       // bytes that may be sent, if there is a window
	moreRoom chan struct{}
}

func newStream(l *link, id msgID, op string, dir MsgType) *Stream {
	st := &Stream{link: l, op: op, served: dir == MsgTypeStreamReqPart, moreRoom: make(chan struct{}, 1)}
	st.in.init(l, id, dir)
	return st
}

// OpenStream begins a streaming call of the peer's operation op. When ctx ends, so does the stream, and the peer's handler
// is told; ctx's deadline and metadata (WithMeta) reach it. A stream that is no longer wanted before Recv has returned an
// error must be closed by Close, or by ctx. The peer's refusal, as that it does not know op, is what Recv returns.
func (s *Sock) OpenStream(ctx context.Context, op string) (*Stream, error) {
	if around := s.around.load(); len(around) > 0 {
		return s.openThrough(around, ctx, op, s.beginStream)
	}
	return s.beginStream(ctx, op)
}

// beginStream opens a stream, without interceptors.
func (s *Sock) beginStream(ctx context.Context, op string) (*Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	st, err := s.openStream(ctx, op, nil)
	if err != nil {
		return nil, err
	}
	l := st.link
	meta, err := l.metaFor(ctx, st.in.id, 0)
	if err == nil {
		st.setBegun(true)
		err = l.send(ctx, &message{t: MsgTypeStreamReq, id: st.in.id, name: op, before: meta})
	}
	if err != nil {
		st.setBegun(false)
		st.abandon(err, true)
		return nil, err
	}
	st.bind(ctx)
	return st, nil
}

func (st *Stream) setBegun(begun bool) {
	st.mu.Lock()
	st.begun = begun
	st.mu.Unlock()
}

// bind has a stream of ours end with ctx.
func (st *Stream) bind(ctx context.Context) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.resultEnded() {
		st.unbind = context.AfterFunc(ctx, func() { st.abandon(ctx.Err(), true) })
	}
}

// release undoes bind.
func (st *Stream) release() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.unbind != nil {
		st.unbind()
	}
}

var errGoexit = NewError(CodeInternal, "an interceptor has called runtime.Goexit")

// openThrough opens a stream with interceptors around its whole life. They run on a goroutine of their own, which ends
// when the stream is over.
func (s *Sock) openThrough(around []Interceptor, ctx context.Context, op string,
	open func(context.Context, string) (*Stream, error)) (*Stream, error) {
	info := &CallInfo{Kind: KindStream, Op: op, Sock: s, Received: time.Now()}
	opened := make(chan *Stream, 1)
	failed := make(chan error, 1)
	go func() {
		err := error(errGoexit)
		defer func() {
			// A panic cannot reach the caller, and must not end the process.
			if v := recover(); v != nil {
				stack := debug.Stack()
				logPanic(s, v, stack, op)
				err = &PanicError{Value: v, Stack: stack}
			}
			failed <- err
		}()
		err = chain(around, info, func(ctx context.Context) error {
			st, err := open(ctx, op)
			if err != nil {
				return err
			}
			opened <- st
			<-st.ctx.Done()
			st.count(info)
			return st.outcome()
		})(ctx)
	}()
	select {
	case st := <-opened:
		return st, nil
	case err := <-failed:
		select {
		case st := <-opened: // which has ended at once
			return st, nil
		default:
		}
		if err == nil {
			err = NewError(CodeInternal, "an interceptor has not called next, and returned no error")
		}
		return nil, err
	}
}

// outcome returns why the stream has ended, nil if that was its orderly end.
func (st *Stream) outcome() error {
	st.in.mu.Lock()
	err := st.in.end
	st.in.mu.Unlock()
	switch err {
	case io.EOF, ErrStreamEnded:
		return nil
	case nil:
		if err := st.link.causeOf(); err != nil {
			return err
		}
		return st.ctx.Err()
	default:
		return err
	}
}

// count notes how many bytes were sent and received.
func (st *Stream) count(info *CallInfo) {
	st.mu.Lock()
	info.BytesOut = st.sent
	st.mu.Unlock()
	st.in.mu.Lock()
	info.BytesIn = st.in.received
	st.in.mu.Unlock()
}

// openStream registers a stream of ours on a connection, whose peer it first lets say hello unless there is a channel.
func (s *Sock) openStream(ctx context.Context, op string, results chan Response) (*Stream, error) {
	for {
		l, err := s.openFor(ctx, op)
		if err != nil {
			return nil, err
		}
		if results == nil {
			l.awaitHello(ctx)
		}
		st, err := l.openStream(ctx, op, results)
		if err == nil || !s.elsewhere(l, &message{}) {
			return st, err
		}
	}
}

// openStream registers a stream of ours. If there is a channel, it is one of StreamRequest, and its results go there.
func (l *link) openStream(ctx context.Context, op string, results chan Response) (*Stream, error) {
	st := newStream(l, msgID{}, op, MsgTypeStreamRes)
	st.call = &call{in: &st.in, stream: st, streaming: true}
	st.ctx, st.cancel = context.WithCancel(ctx)
	if results != nil {
		st.lax = true
		st.in.feedResponses(results, true)
	}
	if _, err := l.register(st.call); err != nil {
		st.cancel()
		return nil, err
	}
	l.nudge()
	st.setWindow(l.peerSaid().credit) // or onHello does, if the hello comes after that
	return st, nil
}

// Op returns the name of the operation.
func (st *Stream) Op() string { return st.op }

// Sock returns the Sock whose peer is at the other end.
func (st *Stream) Sock() *Sock { return st.link.sock }

// Context returns a context that ends with the stream: when the handler has returned, or its caller has cancelled the
// stream or run out of time, when the caller has received the end, and when the connection ends. A handler finds the
// caller's metadata in it (MetaFrom).
func (st *Stream) Context() context.Context {
	return st.ctx
}

// Close ends the stream, unless it is over: for its opener it cancels the call, for its handler it ends the result and
// drops what the opener still sends. More calls do nothing.
func (st *Stream) Close() error {
	if st.served {
		st.stopSending(ErrStreamEnded) // what waits in Send holds up CloseSend
		err := st.CloseSend()
		st.in.close(ErrStreamEnded, true)
		return err
	}
	st.abandon(ErrStreamEnded, true)
	st.cancel()
	return nil
}

// resultEnded tells whether the call is over as far as this side knows.
func (st *Stream) resultEnded() bool {
	st.in.mu.Lock()
	defer st.in.mu.Unlock()
	return st.in.end != nil
}

// abandon gives up a stream of ours, unless it is over, and tells the peer. What has come is dropped or still to be
// received.
func (st *Stream) abandon(why error, drop bool) {
	l, id := st.link, st.in.id
	l.mu.Lock()
	pending := l.calls[id] == st.call
	if pending {
		l.takeLocked(id)
	}
	l.mu.Unlock()
	if !pending {
		return
	}
	st.stopSending(sendError(why)) // before that: whoever knows the end finds the reason
	st.in.close(why, drop)
	st.release() // after that, see bind
	st.mu.Lock()
	begun, ended := st.begun, st.ended
	st.ended = true
	st.mu.Unlock()
	cancel := l.peerSaid().cancel
	switch {
	case !begun:
	case cancel && !st.lax:
		l.postCancel(id)
	case !cancel && ended:
		l.cancelLater(id)
	case cancel || !ended:
		go func() { // ends when the peer reads, at the latest with the connection
			st.sendMu.Lock() // an old peer must not get a part after the end, and none the beginning after the cancel
			defer st.sendMu.Unlock()
			if cancel {
				l.postCancel(id)
			} else {
				l.post(&message{t: MsgTypeStreamReqPart, id: id})
				l.cancelLater(id)
			}
		}()
	}
	st.cancel()
}

// resultOver is called when the last of the result has come, or the connection is lost: why is io.EOF, or the failure.
// The call is no longer pending.
func (st *Stream) resultOver(why error) {
	if st.lax && why == io.EOF {
		st.in.close(why, false)
		st.release()
		st.cancel()
		return
	}
	st.stopSending(sendError(why))
	st.in.close(why, false)
	st.release()
	st.mu.Lock()
	tell := !st.ended && st.begun
	st.ended = true
	st.mu.Unlock()
	if tell && why == io.EOF && st.link.hello.Load() != nil {
		st.link.post(&message{t: MsgTypeStreamReqPart, id: st.in.id}) // a handler may have ended its result only
	}
	if st.lax || st.link.causeOf() != nil { // otherwise Recv does, when it comes to the end
		st.cancel()
	}
}

// sendError is what Send returns after a stream has ended because of why.
func sendError(why error) error {
	var res *Response
	var own *Error
	if why == io.EOF || errors.As(why, &res) || errors.As(why, &own) || errors.Is(why, ErrPayloadTooLarge) {
		return ErrStreamEnded
	}
	return why
}

// postCancel tells the peer that we want no result of the request with that id any more.
func (l *link) postCancel(id msgID) {
	m := &message{t: MsgTypeNotification, name: cancelName, payload: append([]byte(nil), id[:]...)}
	switch {
	case !l.peerSaid().cancel:
		l.cancelLater(id)
	case l.w.overfull():
		go l.send(context.Background(), m) // ends when the peer reads, at the latest with the connection
	default:
		l.post(m)
	}
}

// cancelLater remembers what is to be cancelled when the peer's hello says that it acts on that. It may be on its way, and a
// handler over there may wait for credit that nobody will give.
func (l *link) cancelLater(id msgID) {
	l.mu.Lock()
	known := l.hello.Load() != nil
	if !known && l.helloUntil.Load() != nil && len(l.unwanted) < maxUnwanted {
		l.unwanted = append(l.unwanted, id)
	}
	l.mu.Unlock()
	if known && l.peerSaid().cancel { // it has come at this moment
		l.postCancel(id)
	}
}

// maxUnwanted is how many requests are remembered that are to be cancelled when the peer's hello comes.
const maxUnwanted = 1024
