package gotalk

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"time"
)

const (
	// A Sock begins with a few handlers at a time and doubles that as long as requests wait, so that a burst of requests
	// with large answers does not fill the memory before the first answer is found not to be taken.
	firstHandlers = 8
	growHandlers  = time.Millisecond
	growWhenSlow  = 10 * time.Millisecond // while the peer does not take its answers

	// stallTime is how long reading may pause because of streams whose consumers take nothing, until the one that holds
	// most loses its stream.
	stallTime = 30 * time.Second
)

// servedRequest is a single request of the peer's.
type servedRequest struct {
	id      msgID
	op      string
	fn      BufferReqHandler
	payload []byte
}

func (r *servedRequest) held() int64 { return int64(len(r.payload) + itemOverhead) }

// requestQueue holds the single requests of a link. Guarded by link.mu.
type requestQueue struct {
	waiting  []servedRequest
	accepted uint32 // waiting or being handled
	running  int    // goroutines at work, until their reply is written
	allowed  int    // how many may be, at the moment
	growing  bool   // the timer that raises allowed is set
}

// noteQueue holds notifications, and heartbeats for OnHeartbeat, which are handled one after the other. Guarded by
// link.mu.
type noteQueue struct {
	waiting []note
	serving bool
}

type note struct {
	name    string
	fn      BufferNoteHandler
	payload []byte
	call    func() // instead of fn
}

// throttle waits until there is room for what the peer may send next. False means that the link is closed.
func (l *link) throttle() bool {
	limit := int64(l.limits.MaxPendingBytes)
	var since time.Time
	for {
		requests := l.pendingBytes.Load() > limit || l.w.overfull()
		streams := l.feedBytes.Load() > limit
		l.mu.Lock()
		closed := l.closed
		requests = requests || len(l.queue.waiting) >= l.limits.MaxHandlers
		// A call of ours may be what the handlers wait for, so its result must be read. That goes for a streaming one too,
		// unless it is streams whose consumers are slow.
		wait := requests && len(l.calls) == 0 || streams && l.plainCalls == 0
		l.mu.Unlock()
		switch {
		case closed:
			return false
		case !wait && l.pendingBytes.Load() > 2*limit:
			l.logError("too many notifications wait for their handlers while a call is under way; closing the connection")
			l.close(closing{code: ProtocolErrorAbnormal, cause: ErrAbnormal, notify: true})
			return false
		case !wait && l.feedBytes.Load() > 2*limit:
			l.shedStream()
			continue
		case !wait:
			l.paused.Store(false)
			return true
		case !l.paused.Load():
			l.paused.Store(true)
			continue // what was to wake us may have happened just before
		}
		if since.IsZero() {
			since = time.Now()
		}
		if streams && time.Since(since) > stallTime {
			l.shedStream()
			since = time.Time{}
			continue
		}
		t := time.NewTimer(stallTime / 3)
		select {
		case <-l.resume:
		case <-l.done:
		case <-t.C:
			l.post(l.heartbeat(l.load())) // a peer that is gone is only noticed by writing to it
		}
		t.Stop()
	}
}

// shedStream ends the stream whose consumer has left most of it untaken.
func (l *link) shedStream() {
	const text = "stream ended: its consumer did not keep up"
	l.mu.Lock()
	var worst, n = msgID{}, -1
	var served *servedStream
	var made *call
	for id, st := range l.streams {
		if h := st.in.held(); h > n {
			worst, n, served = id, h, st
		}
	}
	for id, c := range l.calls {
		if c.feed == nil {
			continue
		}
		if h := c.feed.held(); h > n {
			worst, n, served, made = id, h, nil, c
		}
	}
	if made != nil {
		l.takeLocked(worst)
	} else if served != nil {
		delete(l.streams, worst)
		l.spent.add(worst)
	}
	l.mu.Unlock()
	switch {
	case made != nil:
		made.feed.drop()
		made.failed.Store(true)
		made.feed.end()
	case served != nil:
		served.in.drop()
		go served.fail(text) // ends when written or the link is closed
	}
}

// onRequest takes a single request: queues it, or starts its handler, or refuses it.
func (l *link) onRequest(h header) error {
	fn, op := l.sock.handlers().findRequest(h.name)
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
		l.enqueue(servedRequest{h.id, op, fn, payload})
		return nil
	}
	return l.r.skip(h.size)
}

func unknownOp(name []byte) string { return `unknown operation "` + string(name) + `"` }

func errorResult(id msgID, text string) *message {
	return &message{t: MsgTypeErrorRes, id: id, payload: []byte(text)}
}

// refuse answers that there is no room for a request now. The client of a WebSocket gets an error: the gotalk.js that is in use
// takes a retry result for an invalid message and closes the connection.
func (l *link) refuse(id msgID, wait uint32, why string) {
	if l.w.framing == serverFraming {
		l.post(errorResult(id, why))
		return
	}
	l.post(&message{t: MsgTypeRetryRes, id: id, wait: wait, payload: []byte(why)})
}

func (l *link) enqueue(r servedRequest) {
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
		q.allowed = min(firstHandlers, l.limits.MaxHandlers)
	}
	start := q.running < q.allowed
	if start {
		q.running++
	} else {
		q.waiting = append(q.waiting, r)
		l.growLaterLocked(growHandlers)
	}
	l.mu.Unlock()
	if start {
		go l.serveRequests(r) // ends when no request waits; Shutdown waits for it
	}
}

// growLaterLocked sees to it that requests that still wait after d get more handlers.
func (l *link) growLaterLocked(d time.Duration) {
	if !l.queue.growing && l.queue.allowed < l.limits.MaxHandlers {
		l.queue.growing = true
		time.AfterFunc(d, l.grow)
	}
}

// grow allows twice as many handlers if requests wait, and starts them.
func (l *link) grow() {
	q := &l.queue
	l.mu.Lock()
	defer l.mu.Unlock()
	q.growing = false
	if len(q.waiting) == 0 {
		return
	}
	if l.w.overfull() {
		l.growLaterLocked(growWhenSlow)
		return
	}
	q.allowed = min(2*q.allowed, l.limits.MaxHandlers)
	for q.running < q.allowed && len(q.waiting) > 0 {
		q.running++
		go l.serveRequests(q.popLocked()) // ends when no request waits; Shutdown waits for it
	}
	if len(q.waiting) > 0 {
		l.growLaterLocked(growHandlers)
	}
}

func (q *requestQueue) popLocked() servedRequest {
	r := q.waiting[0]
	q.waiting[0] = servedRequest{}
	q.waiting = q.waiting[1:]
	if len(q.waiting) == 0 {
		q.waiting = nil
	}
	return r
}

// serveRequests handles r, and then requests that wait.
func (l *link) serveRequests(r servedRequest) {
	more := true
	defer func() {
		if more { // the handler ended this goroutine by runtime.Goexit: another one takes its place
			if r, more = l.nextRequest(); more {
				go l.serveRequests(r)
			}
		}
	}()
	for more {
		l.serveRequest(&r)
		r, more = l.nextRequest()
	}
}

// nextRequest gives a goroutine that has handled a request another one, if one waits.
func (l *link) nextRequest() (r servedRequest, ok bool) {
	q := &l.queue
	l.mu.Lock()
	if len(q.waiting) > 0 && q.running <= q.allowed {
		r, ok = q.popLocked(), true
	} else {
		q.running--
	}
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
	}
	returned = true
}

// reply writes the result of a handler.
func (l *link) reply(m *message, op string) {
	err := l.send(context.Background(), m)
	if err != nil && m.t == MsgTypeSingleRes && len(m.payload) > maxSize {
		err = l.send(context.Background(), errorResult(m.id, err.Error()))
	}
	if err != nil && l.causeOf() == nil {
		logTo(errorLogger(), l.sock, "error while sending response: %v (op %q)", err, op)
	}
}

// onStreamRequest takes the first part of a streaming request, and starts its handler.
func (l *link) onStreamRequest(h header) error {
	fn, op := l.sock.handlers().findStream(h.name)
	l.mu.Lock()
	_, active := l.streams[h.id]
	full := uint32(l.running) >= l.limits.StreamRequests
	stopping := l.stopping
	l.mu.Unlock()
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
		st := &servedStream{link: l, id: h.id, in: newFeed(l, make(chan []byte, 1), true)}
		st.in.put(payload, len(payload))
		l.mu.Lock()
		closed := l.closed
		if !closed {
			if l.streams == nil {
				l.streams = map[msgID]*servedStream{}
			}
			l.streams[h.id] = st
			l.running++
		}
		l.mu.Unlock()
		if !closed {
			l.w.inFlight.Add(1)
			go l.serveStream(st, fn, op) // ends with the handler, whose input ends with the link
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
		st.in.drop()
		go st.fail(tooLarge("part of a request", h.size, l.limits.MaxPayload).Error()) // ends when written or the link is closed
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
		delete(l.streams, st.id)
		l.spent.add(st.id) // parts that are under way are dropped
		l.mu.Unlock()
		var err error
		if failed {
			err = st.fail(failure)
		} else {
			err = st.Close()
		}
		if err != nil && l.causeOf() == nil {
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

// onNotification takes a notification and leaves it to a goroutine that handles them in order.
func (l *link) onNotification(h header) error {
	fn, name := l.sock.handlers().findNotification(h.name)
	if fn != nil && h.size > l.limits.MaxPayload {
		l.logError(fmt.Sprintf("notification %q dropped: %v", name, tooLarge("notification", h.size, l.limits.MaxPayload)))
		fn = nil
	}
	if fn == nil {
		return l.r.skip(h.size)
	}
	payload, err := l.r.payload(h.size)
	if err == nil {
		l.queueNote(note{name: name, fn: fn, payload: payload})
	}
	return err
}

func (l *link) queueNote(n note) {
	l.pendingBytes.Add(int64(len(n.payload) + itemOverhead))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.notes.waiting = append(l.notes.waiting, n)
	if !l.notes.serving {
		l.notes.serving = true
		go l.serveNotes() // ends when no notification waits; Shutdown waits for it
	}
}

// serveNotes handles the notifications that wait, one after the other.
func (l *link) serveNotes() {
	done := false
	defer func() {
		if !done { // a handler ended this goroutine by runtime.Goexit: another one takes its place
			go l.serveNotes()
		}
	}()
	for {
		l.mu.Lock()
		if len(l.notes.waiting) == 0 {
			l.notes.waiting, l.notes.serving, done = nil, false, true
			l.mu.Unlock()
			l.finished()
			return
		}
		n := l.notes.waiting[0]
		l.notes.waiting[0] = note{}
		l.notes.waiting = l.notes.waiting[1:]
		l.mu.Unlock()
		l.serveNote(&n)
	}
}

func (l *link) serveNote(n *note) {
	returned := false
	defer func() {
		if !returned {
			l.logPanic(recover(), n.name)
		}
		l.pendingBytes.Add(-int64(len(n.payload) + itemOverhead))
		l.wakeReader()
	}()
	if n.call != nil {
		n.call()
	} else {
		n.fn(l.sock, n.name, n.payload)
	}
	returned = true
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
