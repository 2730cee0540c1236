package gotalk

import (
	"crypto/tls"
	"io"
	"net"
	"time"
)

const (
	// lingerTime is how long what was sent before Close may take to be written after it.
	lingerTime = time.Second

	// lastWords is how long the reader may take to read what came before the peer closed the connection.
	lastWords = time.Second
)

// noProtocolError is what CloseHandler gets when no protocol error closed the connection.
const noProtocolError = -1

// closing says why a link is closed.
type closing struct {
	cause    error // what calls under way and later ones return; ErrSockClosed if nil
	code     int   // for CloseHandler
	graceful bool  // what was sent may take as long as the peer takes it
	notify   bool  // tell the peer with a protocol error of that code
	read     bool  // the reader has found the end: what came before it is still handled, then CloseHandler called
}

// close ends the link, unless that was done before: it fails all that is under way, and closes the connection when what
// was sent so far is written, within a short time. It waits for nothing but the CloseHandler.
func (l *link) close(why closing) (first bool, err error) {
	if why.cause == nil {
		why.cause = ErrSockClosed
	}
	l.mu.Lock()
	if l.closed.Load() {
		l.mu.Unlock()
		return false, nil
	}
	l.closed.Store(true)
	l.cause = why.cause
	calls, streams := l.calls, l.streams
	l.calls, l.streams, l.plainCalls = nil, nil, 0
	l.queue.waiting, l.queue.calls = nil, nil // notifications are handled to the last: peers notify and then close
	cancel, timer, grace := l.cancel, l.closeOnIdle, l.grace
	l.mu.Unlock()

	l.done.happen()
	l.wakeResting()
	l.beats.stop()
	if timer != nil && !why.graceful {
		timer.Stop()
	}
	if grace != nil {
		grace.Stop()
	}
	// First our last words, so that nothing that ends because of this gets between; last what may block.
	var last *message
	if why.notify {
		last = &message{t: MsgTypeProtocolError, size: uint32(why.code)}
	}
	// A reader that waits for the peer need not wait until the connection is closed.
	if c, ok := l.conn.(interface{ SetReadDeadline(time.Time) error }); ok {
		c.SetReadDeadline(time.Unix(1, 0))
	}
	lingerFor := lingerTime
	if why.graceful {
		lingerFor = l.w.patience()
	}
	linger := time.AfterFunc(lingerFor, func() { l.endConn(false) })
	written := l.w.close(why.cause, last, l.closeFrame(), func() { linger.Stop(); l.endConn(true) })
	if cancel != nil {
		cancel()
	}
	for _, c := range calls {
		c.fail(why.cause)
	}
	for _, st := range streams {
		st.in.close(why.cause, false)
	}
	l.wakeReader()
	if written {
		linger.Stop()
		err = l.endConn(true)
	}
	handle := func() { l.sock.runCloseHandler(why.code) }
	if !why.read || !l.queueNote(noteOf("CloseHandler", handle), false) {
		handle()
	}
	return true, err
}

// endConn closes the connection, once. To be patient with the peer means to let it read our last words: a connection
// that is closed while input is unread is reset, which takes from the peer what it has not read yet.
func (l *link) endConn(patient bool) (err error) {
	if l.ending.Swap(true) {
		return nil
	}
	defer l.gone.happen()
	conn := l.netConn()
	half, _ := conn.(interface{ CloseWrite() error })
	secure, isTLS := conn.(*tls.Conn)
	switch {
	case isTLS && patient:
		go func() { // ends when the peer has closed its side, or in a moment; a peer that takes nothing costs 5 s more
			secure.CloseWrite()
			raw := secure.NetConn()
			defer time.AfterFunc(lingerTime, func() { raw.Close() }).Stop()
			if half, ok := raw.(interface{ CloseWrite() error }); ok {
				half.CloseWrite()
				raw.SetReadDeadline(time.Now().Add(lingerTime))
				io.Copy(io.Discard, raw)
			}
			raw.Close()
		}()
	case isTLS:
		go conn.Close() // ends within crypto/tls's own timeout of five seconds, if the peer does not take the news
	case patient && half != nil:
		half.CloseWrite()
		go func() { // ends when the peer has closed its side, or in a moment
			conn.(net.Conn).SetReadDeadline(time.Now().Add(lingerTime))
			defer time.AfterFunc(lingerTime, func() { conn.Close() }).Stop() // the reader may set a deadline once more
			io.Copy(io.Discard, conn)
			conn.Close()
		}()
	default:
		err = conn.Close()
	}
	return err
}

// netConn returns the connection that bytes are written to, below a WebSocket.
func (l *link) netConn() io.ReadWriteCloser {
	if c, ok := l.conn.(*wsConn); ok {
		return c.Conn
	}
	return l.conn
}

// writeFailed ends the link after a write did not succeed.
func (l *link) writeFailed() {
	l.w.mu.Lock()
	err := l.w.failed
	l.w.mu.Unlock()
	l.failed(err)
}

// failed ends the link because of err, an error of a write, and returns what its calls end with.
func (l *link) failed(err error) error {
	if cause := l.causeOf(); cause != nil {
		return cause // closed before; what was sent until then is still being written
	}
	why := closing{cause: ErrSockClosed, code: noProtocolError}
	if err == nil || isTimeout(err) {
		why.cause = &timeoutError{"the peer does not read what is sent to it"}
		why.code = ProtocolErrorTimeout
	} else if l.reading.Load() {
		// The peer has closed the connection. Before, it may have said why: leave it to the reader to find that.
		if !l.broken.Swap(true) {
			time.AfterFunc(lastWords, func() { l.close(why) })
			l.wakeReader()
		}
		return ErrSockClosed
	}
	if first, _ := l.close(why); first {
		l.endConn(false)
		l.netConn().Close() // what cannot be written shall not hold it open
	}
	return l.causeOf()
}

// causeOf returns why the link is closed, nil while it is open.
func (l *link) causeOf() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}
