package gotalk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// history is what is remembered of the runs of a handler.
type history struct {
	result resultSize
	pace   pace
}

// servedRequest is a single request of the peer's.
type servedRequest struct {
	*entry[requestFunc]
	id      msgID
	payload []byte
	call    *servedCall // nil if it does not need one
	granted int64       // of the queue's budget, while the handler is at work
	since   time.Time   // when it began to wait, if it had to
}

func (r *servedRequest) held() int64 {
	if r.call != nil {
		return int64(len(r.payload) + itemOverhead + callOverhead + r.call.meta)
	}
	return int64(len(r.payload) + itemOverhead)
}

// onRequest takes a single request: queues it, or starts its handler, or refuses it.
func (l *link) onRequest(h *header) error {
	handlers := l.sock.handlers()
	e, around, meta := handlers.findRequest(h.name), handlers.interceptors(), l.takeMeta(h.id)
	if !l.admit(h.id, h.name, e, h.size) {
		return l.r.skip(h.size)
	}
	r := servedRequest{entry: e, id: h.id}
	if e.fn.withCtx != nil || len(around) > 0 || meta.timeout > 0 {
		r.call = l.newServedCall(e.name, h.size, meta, around)
	}
	var err error
	if e.fn.lent {
		r.payload, err = l.r.lentPayload(h.size)
	} else {
		r.payload, err = l.r.payload(h.size, nil)
	}
	if err != nil {
		return err // which ends the link, and with it the call
	}
	if r.payload == nil {
		r.payload = []byte{}
	}
	if l.servesHere(&r) {
		l.batch.lent = e.fn.lent
		if !l.serveRequest(&r, true) {
			return errTakenOver
		}
		l.batch.lent = false
		return nil
	}
	if e.fn.lent && h.size < largePayload {
		r.payload = bytes.Clone(r.payload) // which may lie in the reader's buffer
	}
	l.enqueue(r)
	return nil
}

// admit tells whether a single request for the handler e can be taken. If not, it is answered.
func (l *link) admit(id msgID, name []byte, e *entry[requestFunc], size uint32) bool {
	l.mu.Lock()
	stopping, told := l.stopping, l.told
	full := l.queue.accepted+uint32(len(l.split.partials)) >= l.limits.BufferRequests
	full = full || l.crowdedLocked() // read on only because of a call of ours: then there is no room to wait in
	l.mu.Unlock()
	full = full || l.pendingBytes.Load() > int64(l.limits.MaxPendingBytes)
	switch {
	case told: // the request has crossed our goaway: wherever it goes next is not to be waited for
		l.refuse(id, 0, textShuttingDown)
	case stopping:
		l.refuse(id, l.limits.bufferWait(), textShuttingDown)
	case full:
		l.refuse(id, l.limits.bufferWait(), textRateLimit)
	case e == nil:
		l.post(l.errorResult(id, unknownOp(name)))
	case size > l.limits.MaxPayload:
		l.post(l.errorResult(id, tooLarge("request", size, l.limits.MaxPayload)))
	default:
		return true
	}
	return false
}

func unknownOp(name []byte) error {
	return NewError(CodeUnimplemented, `unknown operation "`+string(name)+`"`)
}

// refuse answers that there is no room for a request now. The client of a WebSocket that has not said hello gets an error:
// an old gotalk.js takes a retry result for an invalid message and closes the connection.
func (l *link) refuse(id msgID, wait uint32, why string) { l.post(l.refusal(id, wait, why)) }

func (l *link) refusal(id msgID, wait uint32, why string) *message {
	if l.w.framing == serverFraming && l.hello.Load() == nil {
		return l.errorResult(id, NewError(CodeUnavailable, why))
	}
	return &message{t: MsgTypeRetryRes, id: id, wait: wait, payload: []byte(why)}
}

// failure makes the message that answers a request whose handler returned err.
func (l *link) failure(id msgID, err error) *message {
	var retry *retryError
	if errors.As(err, &retry) {
		return l.refusal(id, uint32(retry.wait.Milliseconds()), err.Error())
	}
	return l.errorResult(id, err)
}

// servesHere tells whether the handler of r can run on the goroutine that reads, and if so counts it as running.
func (l *link) servesHere(r *servedRequest) bool {
	if !r.past.pace.trusted() || l.w.overfull() || l.batch.caller != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	q := &l.queue
	if l.closed.Load() || len(q.waiting) > 0 || q.running >= l.limits.MaxHandlers {
		return false
	}
	q.beginLocked(l.limits.MaxHandlers)
	q.rememberLocked(r)
	q.accepted++
	q.running++
	l.pendingBytes.Add(r.held())
	l.w.inFlight.Add(1)
	return true
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
		l.serveRequest(&r, false)
		r, more = l.nextRequest(&r)
	}
}

// serveRequest runs a handler and answers, whatever becomes of the handler. When it is called by the goroutine that
// reads, which is the case if here, it tells whether that still is so: otherwise all is done for r, and for what waited
// for it.
func (l *link) serveRequest(r *servedRequest, here bool) (reading bool) {
	var m message
	var was uint64
	var began time.Time
	timed := !here || l.batch.sample()
	if here {
		was = l.leave(atHandler)
	}
	if timed {
		began = time.Now()
	}
	returned := false
	defer func() {
		if !returned {
			v := recover()
			l.logPanic(v, r.name)
			m = *l.errorResult(r.id, errInternal)
			if here && v == nil { // runtime.Goexit: this goroutine ends
				l.takeOver(was)
			}
		}
		switch {
		case !here:
			r.past.pace.note(time.Since(began), 1)
		case timed:
			r.past.pace.note(time.Since(began), sampleRuns)
		}
		if here {
			reading = l.answerHere(r, &m, was)
		} else {
			l.answer(r, &m)
		}
	}()
	var out []byte
	var err error
	ctx := context.Background()
	if r.call == nil {
		out, err = r.fn.plain(l.sock, r.name, r.payload)
	} else {
		ctx = r.call.ctx
		out, err = r.call.run(r, l.sock)
	}
	if err != nil {
		m = *l.failure(r.id, err)
		l.logFailure(ctx, err, r.name)
	} else {
		m = message{t: MsgTypeSingleRes, id: r.id, payload: out}
		r.past.result.note(len(out))
	}
	returned = true
	return false
}

// answer writes the reply to a request that was handled, or that could not be.
func (l *link) answer(r *servedRequest, m *message) {
	l.mu.Lock()
	l.queue.accepted-- // before the reply, on which the peer may send its next request at once
	l.queue.forgetLocked(r)
	l.mu.Unlock()
	if r.call != nil {
		r.call.cancel()
	}
	l.reply(m, r.name)
	if r.fn.lent && m.t != MsgTypeErrorRes { // a handler that has failed may have left it to another goroutine
		freePart(r.payload)
	}
	l.pendingBytes.Add(-r.held())
	l.w.inFlight.Add(-1)
}

// answerHere is answer for a handler that ran on the goroutine that reads. It tells whether that goroutine still does; a
// small reply is left to be written with others then.
func (l *link) answerHere(r *servedRequest, m *message, was uint64) (reading bool) {
	large := len(m.payload) > lendSize
	if large || !l.back(was) {
		l.answer(r, m)
		if next, more := l.nextRequest(r); more {
			go l.serveRequests(next) // ends when no request waits; Shutdown waits for it
		}
		if large && l.back(was) {
			return true
		}
		r.past.pace.note(watchTime, 1)
		return false
	}
	l.mu.Lock()
	q := &l.queue
	q.accepted--
	q.running--
	q.ended++
	q.forgetLocked(r)
	ending := l.stopping || l.leaving || l.away
	l.mu.Unlock()
	if r.call != nil {
		r.call.cancel()
	}
	l.pendingBytes.Add(-r.held())
	l.w.inFlight.Add(-1)
	if l.w.add(m) != nil {
		return true // closed; the read loop will find out
	}
	more := l.batch.add(len(m.payload), &r.past.pace)
	if ending {
		l.flushSoon()
		l.finished()
		return true
	}
	return more || l.flushHere()
}

// reply writes the result of a handler.
func (l *link) reply(m *message, op string) {
	err := l.sendResult(m)
	if err != nil && m.t == MsgTypeSingleRes && uint64(len(m.payload)) > maxSize {
		err = l.send(context.Background(), l.errorResult(m.id, err))
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
	logPanic(l.sock, v, debug.Stack(), op)
}

func logPanic(s *Sock, v any, stack []byte, op string) {
	logTo(handlerErrorLogger(), s, "error in request handler: %v (op %q)", fmt.Sprintf("panic: %v\n%s", v, stack), op)
}

// logFailure logs what a handler has returned, but for what is no mistake of anybody's: that it ended because ctx did,
// which is the call's context, or that it asks to try again. A panic has been logged.
func (l *link) logFailure(ctx context.Context, err error, op string) {
	var panicked *PanicError
	var retry *retryError
	code := CodeOf(err)
	deadline, limited := ctx.Deadline()
	ended := ctx.Err() != nil || limited && !time.Now().Before(deadline) // the news of that may be on its way
	switch {
	case errors.As(err, &panicked), errors.As(err, &retry):
	case ended && (code == CodeCanceled || code == CodeDeadlineExceeded):
	default:
		l.logHandlerError(err, op)
	}
}

func (l *link) logHandlerError(err error, op string) {
	logTo(handlerErrorLogger(), l.sock, "error in request handler: %v (op %q)", err, op)
}

func (l *link) logError(text string) {
	logTo(errorLogger(), l.sock, "%s", text)
}
