package gotalk

import (
	"context"
	"io"
	"sync"
	"time"
)

// StreamReqHandler handles a streaming request. rch yields the parts of the request as they come and is closed after the
// last one, or when the connection ends (then s.Context() has ended too). What is written to out goes to the requestor,
// a part for each Write; out is closed when the handler returns. An error that it returns goes to the requestor as text.
// The parts are the handler's to keep.
type StreamReqHandler func(s *Sock, name string, rch chan []byte, out io.WriteCloser) error

// feedGrace is how long what came before the connection ended waits for a consumer after that.
const feedGrace = 30 * time.Second

// feed hands values to a channel in order without holding up the one who brings them: what the channel does not take at
// once is queued, and a goroutine passes it on.
type feed[T any] struct {
	ch    chan T
	owned bool          // ch is closed after the last value
	link  *link         // whose feedBytes counts what is queued
	stop  chan struct{} // closed when the consumer is gone

	mu      sync.Mutex
	queue   []sized[T]
	bytes   int
	pumping bool
	ended   bool // nothing comes any more
	stopped bool // nobody wants it any more
}

type sized[T any] struct {
	v T
	n int
}

// itemOverhead is what a queued message costs beside its payload.
const itemOverhead = 64

func newFeed[T any](l *link, ch chan T, owned bool) *feed[T] {
	return &feed[T]{ch: ch, owned: owned, link: l, stop: make(chan struct{})}
}

// put hands over v, which holds n bytes.
func (f *feed[T]) put(v T, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended || f.stopped {
		return
	}
	if !f.pumping {
		select {
		case f.ch <- v:
			return
		default:
		}
	}
	n += itemOverhead
	f.queue = append(f.queue, sized[T]{v, n})
	f.bytes += n
	f.link.feedBytes.Add(int64(n))
	if !f.pumping {
		f.pumping = true
		go f.pump() // ends when the queue is empty, the consumer is gone, or some time after the connection
	}
}

// end says that nothing more comes. What is queued is still handed over.
func (f *feed[T]) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return
	}
	f.ended = true
	if f.owned && !f.pumping {
		close(f.ch)
	}
}

// drop says that nobody wants what is queued or comes later.
func (f *feed[T]) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.stopped {
		f.stopped = true
		close(f.stop)
		f.forgetLocked()
	}
}

// forgetLocked empties the queue.
func (f *feed[T]) forgetLocked() {
	f.link.feedBytes.Add(int64(-f.bytes))
	f.queue, f.bytes = nil, 0
	f.link.wakeReader()
}

// held returns how many bytes are queued.
func (f *feed[T]) held() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bytes
}

func (f *feed[T]) pump() {
	for {
		f.mu.Lock()
		if len(f.queue) == 0 {
			f.pumping = false
			if f.ended && f.owned {
				close(f.ch)
			}
			f.mu.Unlock()
			return
		}
		next := f.queue[0]
		f.queue[0] = sized[T]{}
		f.queue = f.queue[1:]
		f.mu.Unlock()

		taken := f.hand(next.v)

		f.mu.Lock()
		if !f.stopped {
			f.bytes -= next.n
			f.link.feedBytes.Add(int64(-next.n))
			if !taken {
				f.forgetLocked()
			}
		}
		f.mu.Unlock()
		f.link.wakeReader()
	}
}

// hand gives v to the consumer, and tells whether it was taken before the consumer was gone.
func (f *feed[T]) hand(v T) bool {
	select {
	case f.ch <- v:
		return true
	case <-f.stop:
		return false
	case <-f.link.done:
	}
	grace := time.NewTimer(feedGrace)
	defer grace.Stop()
	select {
	case f.ch <- v:
		return true
	case <-f.stop:
	case <-grace.C:
	}
	return false
}

// servedStream is a streaming request of the peer's that a handler is at work on.
type servedStream struct {
	link *link
	id   msgID
	in   *feed[[]byte]

	mu    sync.Mutex
	ended bool // the end of the result has been sent
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
	return st.send(MsgTypeStreamRes, nil)
}

func (st *servedStream) send(t MsgType, p []byte) error {
	return st.link.send(context.Background(), &message{t: t, id: st.id, payload: p})
}

// fail answers the request with an error. An empty part follows unless the result was ended: old peers expect one.
func (st *servedStream) fail(text string) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	err := st.send(MsgTypeErrorRes, []byte(text))
	if !st.ended {
		st.ended = true
		err = st.send(MsgTypeStreamRes, nil)
	}
	return err
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
