package gotalk

import (
	"errors"
	"io"
)

// read is the body of the goroutine that reads from a connection.
func (l *link) read() error {
	if l.reading.Swap(true) {
		return errReadTwice
	}
	return l.readToEnd()
}

var errReadTwice = errors.New("gotalk: Read was called already for this connection")

func (l *link) readToEnd() error {
	l.startBeats()
	defer func() {
		if v := recover(); v != nil {
			panic(v)
		}
		l.awaitRead() // when a handler ends this goroutine by runtime.Goexit, those who called us still see it end with the link
	}()
	l.readOn()
	return l.awaitRead()
}

// startReading is read that does not wait: a new goroutine reads, whose stack is as small as one can be, since this one has
// shaken hands and called the program.
func (l *link) startReading() {
	if !l.reading.Swap(true) { // else the program has called Read
		l.startBeats()
		l.readAfresh()
	}
}

func (l *link) startBeats() {
	if !l.pipe && l.sock.heartbeatInterval() > 0 {
		l.beats.start(l.beat)
	}
}

// readAfresh lets a new goroutine read, where this one has needed a large stack for what seldom comes, or may have for what
// came before the connection fell idle: then it shall have a small one.
func (l *link) readAfresh() error {
	if l.batch.caller != nil { // who reads on its own goroutine, for a moment
		return nil
	}
	l.r.arm(l.idleTimeout()) // which would take a large stack too
	go l.readOn()            // ends with the connection, or when another goroutine takes over
	return errTakenOver
}

// leaveServer is called when the connection has ended.
func (l *link) leaveServer() {
	if l.server != nil {
		l.server.remove(l.sock)
	}
}

// leaveUnlessRead is called when a server has done what comes before reading.
func (l *link) leaveUnlessRead() {
	if !l.reading.Load() {
		l.leaveServer()
	}
}

// awaitRead waits until nobody reads any more, and returns what Sock.Read returns.
func (l *link) awaitRead() error {
	l.mu.Lock()
	if l.readErr == nil && l.readEnd == nil {
		l.readEnd = make(chan struct{})
	}
	end, err := l.readEnd, l.readErr
	l.mu.Unlock()
	if err != nil {
		return err
	}
	<-end
	return l.readErr
}

// readOn reads until the connection ends, or until another goroutine has taken over.
func (l *link) readOn() {
	if l.batch.lent {
		l.batch.lent = false
		l.r.abandon()
	}
	err := l.readMessages()
	if err == errTakenOver {
		return
	}
	l.endNotes()
	end := io.EOF // if the CloseHandler ends this goroutine
	defer func() {
		l.mu.Lock()
		l.readErr = end
		if l.readEnd != nil {
			close(l.readEnd)
		}
		l.mu.Unlock()
		l.leaveServer()
	}()
	end = l.readOver(err)
}

// readOver closes the link when reading has ended with err, and returns what Sock.Read returns.
func (l *link) readOver(err error) error {
	l.r.arm(0)
	l.forgetPartials()
	why := closing{code: noProtocolError}
	var peerSays *peerError
	switch {
	case errors.As(err, &peerSays):
		why.code, why.cause = peerSays.closeCode(), l.peerSays(peerSays.code)
		err = why.cause
	case errors.Is(err, errMalformed):
		why = closing{code: ProtocolErrorInvalidMsg, cause: ErrInvalidMsg, notify: true}
		err = ErrInvalidMsg
	case isTimeout(err):
		why = closing{code: ProtocolErrorTimeout, cause: ErrTimeout, notify: true}
		err = l.silent()
	default:
		err = io.EOF
	}
	why.read = true
	if first, _ := l.close(why); !first {
		// It was closed before, and reading ended for that reason.
		if cause := l.causeOf(); !errors.Is(cause, ErrSockClosed) {
			return cause
		}
		return io.EOF
	}
	return err
}

// peerError is a protocol error that the peer sent.
type peerError struct{ code uint32 }

func (e *peerError) Error() string { return protocolError(e.code).Error() }

// closeCode is what CloseHandler gets: never negative, whatever the peer sent.
func (e *peerError) closeCode() int { return int(min(e.code, 1<<31-1)) }

// readMessages reads messages and dispatches them until the connection ends. It waits for no handler and no consumer,
// but for room. It returns errTakenOver when another goroutine reads on.
func (l *link) readMessages() error {
	l.r.timeout = l.limits.ReadTimeout
	h := new(header)
	for l.throttle() {
		ok, err := l.r.have(h)
		if err == nil && !ok {
			if !l.endBatch() {
				return errTakenOver
			}
			if l.limits.BytesPerSecond > 0 {
				l.slowDown()
			}
			if l.batch.serial >= serialCalls && l.batch.caller == nil {
				if err = l.letCallersRead(); err != nil {
					return err
				}
				continue
			}
			l.r.idleTimeout = l.idleTimeout()
			err = l.r.next(h)
		}
		if err != nil {
			return err
		}
		switch h.t {
		case MsgTypeSingleRes, MsgTypeStreamRes, MsgTypeErrorRes, MsgTypeRetryRes:
			if err = l.onResult(h); err == nil && l.batch.caller != nil && len(l.batch.caller.done) > 0 {
				return errServed
			}
		case MsgTypeHeartbeat:
			l.onHeartbeat(h)
			if l.r.idle() { // as where little else is to come
				err = l.readAfresh()
			}
		case MsgTypeProtocolError:
			err = &peerError{h.size}
		default:
			l.batch.asked = true
			err = l.onAsked(h)
		}
		if err != nil {
			return err
		}
	}
	return io.EOF
}

// onAsked takes a message by which the peer wants something of us.
func (l *link) onAsked(h *header) error {
	switch h.t {
	case MsgTypeSingleReq:
		return l.onRequest(h)
	case MsgTypeNotification:
		return l.onNotification(h)
	case MsgTypeStreamReq:
		return l.onStreamRequest(h)
	case MsgTypeStreamReqPart:
		return l.onStreamPart(h)
	}
	return errMalformed
}
