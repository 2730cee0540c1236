package gotalk

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"
)

const (
	// A Sock begins with a few handlers at a time and doubles that as long as requests wait.
	firstHandlers = 8
	growHandlers  = time.Millisecond

	// What handlers return waits in memory when the peer does not read it. So those that run at the same time are as many
	// as will return resultBudget bytes together, judging by earlier results. When requests have waited for that for
	// some time, because those at work are slow, more is granted.
	resultBudget  = 64 << 20
	unknownResult = resultBudget / firstHandlers // of an operation that has never had a result
	moreBudget    = resultBudget / 2
	growBudget    = 20 * time.Millisecond

	// stuckTime is how long handlers may make no progress, all of them while calls of ours are pending, until what waits
	// for them is refused.
	stuckTime = time.Second
)

// resultSize is how many bytes an operation's results have: the largest one of late. Zero means that there was none.
type resultSize struct{ n atomic.Int64 }

func (z *resultSize) expected() int64 {
	if n := z.n.Load(); n > 0 {
		return n
	}
	return unknownResult
}

// note takes a result into account. The size rises at once and falls by and by.
func (z *resultSize) note(bytes int) {
	n, old := int64(bytes)+itemOverhead, z.n.Load()
	if n < old {
		n = old - (old-n+7)/8
	}
	if n != old {
		z.n.Store(n) // others may have done so meanwhile: it is an estimate
	}
}

// servedRequest is a single request of the peer's.
type servedRequest struct {
	id      msgID
	op      string
	fn      BufferReqHandler
	size    *resultSize
	payload []byte
	granted int64 // of the queue's budget, while the handler is at work
}

func (r *servedRequest) held() int64 { return int64(len(r.payload) + itemOverhead) }

// requestQueue holds the single requests of a link. Guarded by link.mu.
type requestQueue struct {
	waiting  []servedRequest
	accepted uint32 // waiting or being handled
	running  int    // goroutines at work, until their reply is written
	allowed  int    // how many may be, at the moment
	granted  int64  // the bytes that those at work are expected to return
	budget   int64  // the most of that, at the moment
	short    bool   // requests waited for budget when last looked
	growing  bool   // the timer that raises allowed and budget is set
	ended    uint64 // handlers that have ended

	// When all handlers were at work while calls of ours were pending: how many had ended then, and since when no other has.
	seen  uint64
	since time.Time
}

// onRequest takes a single request: queues it, or starts its handler, or refuses it.
func (l *link) onRequest(h header) error {
	fn, op, size := l.sock.handlers().findRequest(h.name)
	l.mu.Lock()
	stopping := l.stopping
	full := l.queue.accepted >= l.limits.BufferRequests
	// Read on only because of a call of ours: then there is no room to wait in.
	full = full || len(l.queue.waiting) >= l.limits.MaxHandlers
	l.mu.Unlock()
	full = full || l.pendingBytes.Load() > int64(l.limits.MaxPendingBytes)
	switch {
	case stopping:
		l.refuse(h.id, l.limits.bufferWait(), textShuttingDown)
	case full:
		l.refuse(h.id, l.limits.bufferWait(), textRateLimit)
	case fn == nil:
		l.post(errorResult(h.id, unknownOp(h.name)))
	case h.size > l.limits.MaxPayload:
		l.post(errorResult(h.id, tooLarge("request", h.size, l.limits.MaxPayload).Error()))
	default:
		payload, err := l.r.payload(h.size)
		if err != nil {
			return err
		}
		if payload == nil {
			payload = []byte{}
		}
		l.enqueue(servedRequest{id: h.id, op: op, fn: fn, size: size, payload: payload})
		return nil
	}
	return l.r.skip(h.size)
}

func unknownOp(name []byte) string { return `unknown operation "` + string(name) + `"` }

func errorResult(id msgID, text string) *message {
	return &message{t: MsgTypeErrorRes, id: id, payload: []byte(text)}
}

// refuse answers that there is no room for a request now. The client of a WebSocket that has not said hello gets an error:
// an old gotalk.js takes a retry result for an invalid message and closes the connection.
func (l *link) refuse(id msgID, wait uint32, why string) {
	if l.w.framing == serverFraming && !l.greeted.Load() {
		l.post(errorResult(id, why))
		return
	}
	l.post(&message{t: MsgTypeRetryRes, id: id, wait: wait, payload: []byte(why)})
}

func (l *link) enqueue(r servedRequest) {
	l.cork()
	l.pendingBytes.Add(r.held())
	l.w.inFlight.Add(1)
	q := &l.queue
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	q.accepted++
	if q.running == 0 {
		q.allowed, q.budget, q.short = min(firstHandlers, l.limits.MaxHandlers), resultBudget, false
	}
	start := len(q.waiting) == 0 && q.admitLocked(&r)
	if !start {
		q.waiting = append(q.waiting, r)
		l.growLaterLocked(growHandlers)
	}
	l.mu.Unlock()
	if start {
		go l.serveRequests(r) // ends when no request waits; Shutdown waits for it
	}
}

// admitLocked tells whether r can be handled now, and if so counts it as running.
func (q *requestQueue) admitLocked(r *servedRequest) bool {
	r.granted = r.size.expected()
	if q.running > 0 && (q.running >= q.allowed || q.granted+r.granted > q.budget) {
		return false
	}
	q.running++
	q.granted += r.granted
	return true
}

// popLocked takes the request that has waited longest if it can be handled now.
func (q *requestQueue) popLocked() (r servedRequest, ok bool) {
	if len(q.waiting) == 0 || !q.admitLocked(&q.waiting[0]) {
		return r, false
	}
	r = q.waiting[0]
	q.waiting[0] = servedRequest{}
	q.waiting = q.waiting[1:]
	if len(q.waiting) == 0 {
		q.waiting = nil
	}
	return r, true
}

// growLaterLocked sees to it that requests that still wait after d get more handlers.
func (l *link) growLaterLocked(d time.Duration) {
	if !l.queue.growing {
		l.queue.growing = true
		time.AfterFunc(d, l.grow)
	}
}

// grow gives requests that wait another chance.
func (l *link) grow() {
	l.mu.Lock()
	refused := l.growLocked()
	l.mu.Unlock()
	for _, r := range refused {
		l.pendingBytes.Add(-r.held())
		l.w.inFlight.Add(-1)
		l.refuse(r.id, l.limits.bufferWait(), textRateLimit)
	}
	l.wakeReader()
}

// growLocked allows twice as many handlers if requests wait, or a larger budget if that is what they wait for, and
// starts as many as it can. It returns requests that cannot wait any longer.
func (l *link) growLocked() (refused []servedRequest) {
	q := &l.queue
	q.growing = false
	if len(q.waiting) == 0 {
		return nil
	}
	if l.w.overfull() { // the peer does not take the answers it has
		l.growLaterLocked(growBudget)
		return nil
	}
	q.allowed = min(2*q.allowed, l.limits.MaxHandlers)
	if q.short {
		q.budget += moreBudget
	}
	for {
		r, ok := q.popLocked()
		if !ok {
			break
		}
		go l.serveRequests(r) // ends when no request waits; Shutdown waits for it
	}
	if len(q.waiting) == 0 {
		return nil
	}
	if q.running >= l.limits.MaxHandlers && len(l.calls) > 0 {
		// All handlers may be waiting for the peer, and the peer's for those that wait here: each for the other.
		if now := time.Now(); q.ended != q.seen || q.since.IsZero() {
			q.seen, q.since = q.ended, now
		} else if now.Sub(q.since) >= stuckTime {
			refused, q.waiting, q.since = q.waiting, nil, time.Time{}
			q.accepted -= uint32(len(refused))
			return refused
		}
	}
	q.short = q.running < q.allowed
	if q.short || q.allowed == l.limits.MaxHandlers {
		l.growLaterLocked(growBudget)
	} else {
		l.growLaterLocked(growHandlers)
	}
	return nil
}

// serveRequests handles r, and then requests that wait.
func (l *link) serveRequests(r servedRequest) {
	more := true
	defer func() {
		if more { // the handler ended this goroutine by runtime.Goexit: another one takes its place
			if r, more = l.nextRequest(&r); more {
				go l.serveRequests(r)
			}
		}
	}()
	for more {
		l.serveRequest(&r)
		r, more = l.nextRequest(&r)
	}
}

// nextRequest gives a goroutine that has handled a request another one, if one waits and can be handled now.
func (l *link) nextRequest(done *servedRequest) (r servedRequest, ok bool) {
	q := &l.queue
	l.mu.Lock()
	q.running--
	q.ended++
	q.granted -= done.granted
	r, ok = q.popLocked()
	l.mu.Unlock()
	if !ok {
		l.finished()
	} else {
		l.wakeReader()
	}
	return r, ok
}

// serveRequest runs a handler and writes its reply, whatever becomes of the handler.
func (l *link) serveRequest(r *servedRequest) {
	m := message{t: MsgTypeErrorRes, id: r.id, payload: []byte(textInternal)}
	returned := false
	defer func() {
		if !returned {
			l.logPanic(recover(), r.op)
		}
		l.mu.Lock()
		l.queue.accepted-- // before the reply, on which the peer may send its next request at once
		l.mu.Unlock()
		l.reply(&m, r.op)
		l.pendingBytes.Add(-r.held())
		l.w.inFlight.Add(-1)
	}()
	out, err := r.fn(l.sock, r.op, r.payload)
	if err != nil {
		m.payload = []byte(err.Error())
		l.logHandlerError(err, r.op)
	} else {
		m.t, m.payload = MsgTypeSingleRes, out
		r.size.note(len(out))
	}
	returned = true
}

// reply writes the result of a handler.
func (l *link) reply(m *message, op string) {
	err := l.send(context.Background(), m)
	if err != nil && m.t == MsgTypeSingleRes && uint64(len(m.payload)) > maxSize {
		err = l.send(context.Background(), errorResult(m.id, err.Error()))
	}
	if err != nil && !errors.Is(err, ErrSockClosed) && l.causeOf() == nil {
		logTo(errorLogger(), l.sock, "error while sending response: %v (op %q)", err, op)
	}
}

// logPanic logs the panic of a handler; v is nil when it ended its goroutine instead. The peer is not told the value.
func (l *link) logPanic(v any, op string) {
	if v == nil {
		v = "the handler called runtime.Goexit"
	}
	logTo(handlerErrorLogger(), l.sock, "error in request handler: %v (op %q)", fmt.Sprintf("panic: %v\n%s", v, debug.Stack()), op)
}

func (l *link) logHandlerError(err error, op string) {
	logTo(handlerErrorLogger(), l.sock, "error in request handler: %v (op %q)", err, op)
}

func (l *link) logError(text string) {
	logTo(errorLogger(), l.sock, "%s", text)
}
