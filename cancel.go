package gotalk

import (
	"context"
	"slices"
	"time"
)

// servedCall is what a request of the peer's has besides its payload if its handler takes a context, if interceptors are
// to be called, or if it has a deadline. Other requests do without: they cannot be stopped once they run.
type servedCall struct {
	ctx    context.Context
	cancel context.CancelFunc
	around []Interceptor
	info   CallInfo
	meta   int // bytes of the metadata in ctx
}

// callOverhead is about what a servedCall costs, with its context.
const callOverhead = 512

// newServedCall returns what a request needs that has come now.
func (l *link) newServedCall(op string, size uint32, meta requestMeta, around []Interceptor) *servedCall {
	c := &servedCall{around: around, meta: meta.size, info: CallInfo{
		Kind: KindRequest, Op: op, Sock: l.sock, Served: true, Received: time.Now(), BytesIn: int64(size),
	}}
	c.ctx, c.cancel = l.requestContext(meta)
	return c
}

// run calls the handler of a request that has a call, with interceptors around it.
func (c *servedCall) run(r *servedRequest, s *Sock) (out []byte, err error) {
	fn, op, payload := r.fn, r.name, r.payload // so that r need not be on the heap, here and for requests without a call
	handle := func(ctx context.Context) error {
		if err := ctx.Err(); err != nil {
			return err // it ended while the request waited for its turn
		}
		b, err := fn.call(ctx, s, op, payload)
		if err == nil {
			out, c.info.BytesOut = b, int64(len(b))
		}
		return err
	}
	if len(c.around) == 0 {
		err = handle(c.ctx)
	} else {
		err = chain(c.around, &c.info, handle)(c.ctx)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// onCancel stops a request of the peer's that it wants no result of. The request is answered all the same: at once if it
// waits for its turn, otherwise when its handler has returned.
func (l *link) onCancel(id msgID) {
	q := &l.queue
	l.mu.Lock()
	at := slices.IndexFunc(q.waiting, func(r servedRequest) bool { return r.id == id })
	if at >= 0 {
		r := q.waiting[at]
		q.waiting = slices.Delete(q.waiting, at, at+1)
		q.accepted--
		q.forgetLocked(&r)
		l.mu.Unlock()
		l.answerUnhandled(&r, l.errorResult(id, context.Canceled))
		return
	}
	c := q.calls[id]
	l.mu.Unlock()
	switch {
	case c != nil:
		c.cancel()
	case l.cancelPartial(id), l.cancelResult(id):
	default:
		l.cancelStream(id)
	}
}

// answerUnhandled answers a request that was taken out of the queue without having been handled.
func (l *link) answerUnhandled(r *servedRequest, m *message) {
	if r.call != nil {
		r.call.cancel()
	}
	l.pendingBytes.Add(-r.held())
	l.w.inFlight.Add(-1)
	l.post(m)
}

// rememberLocked makes a request known to onCancel.
func (q *requestQueue) rememberLocked(r *servedRequest) {
	if r.call == nil {
		return
	}
	if q.calls == nil {
		q.calls = map[msgID]*servedCall{}
	}
	q.calls[r.id] = r.call // in place of another one, if the peer uses an id twice: that one can no longer be cancelled
}

func (q *requestQueue) forgetLocked(r *servedRequest) {
	if r.call != nil && q.calls[r.id] == r.call {
		delete(q.calls, r.id)
	}
}
