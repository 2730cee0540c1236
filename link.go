package gotalk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// link is what a Sock has for one connection: it ends with the connection, so that nothing of an old connection, such as
// the late result of a handler, can reach the next one that the Sock adopts.
type link struct {
	sock      *Sock
	server    *sockSet // that the Sock is in; nil if none. Set before the handshake
	conn      io.ReadWriteCloser
	done      event // the link is closed
	gone      event // after that all is written, or given up, and the connection closed
	w         msgWriter
	pipe      bool // conn is in memory: no deadlines for reads, no heartbeats
	greets    bool // this side says hello first
	saidHello bool // this side has said hello. Set by the handshake, then owned by the read loop

	// Owned by the read loop.
	crowd  bool  // so many requests wait that throttle must have a look
	jammed int64 // what is unsent does not hold up reading until pendingBytes is over that; 0 if it does at once

	// Set before Read, read-only after.
	limits *Limits     // resolved
	client *linkClient // who is told about the peer; may be nil

	// Owned by the read loop.
	r      msgReader
	resume chan struct{} // wakes the loop when it does not read on for a while; made when it first does not
	meta   requestMeta   // of the request that follows
	rate   byteRate      // how fast the peer has sent
	why    *Error        // what the peer has said of the protocol error that is to follow; nil if nothing
	batch  batch

	// Own synchronisation.
	reading      atomic.Bool               // Read was called
	ending       atomic.Bool               // the connection is being closed
	paused       atomic.Bool               // the loop waits on resume, or is about to
	hello        atomic.Pointer[hello]     // what the peer has said; nil before, or if it never does
	greeted      event                     // it has
	heard        atomic.Bool               // it has shown that it has our hello, by what is only said to those who said one
	helloUntil   atomic.Pointer[time.Time] // until when that may be waited for; nil if not at all
	closed       atomic.Bool               // set under mu
	broken       atomic.Bool               // nothing can be written any more
	pendingBytes atomic.Int64              // requests and notifications received and not yet handled
	feedBytes    atomic.Int64              // stream parts received and not yet consumed
	beats        beats
	turn         turn
	split        splitState
	spare        atomic.Pointer[sync.Pool] // calls that are over, to be used again

	mu          sync.Mutex
	cause       error // why it is closed; what calls return
	calls       map[msgID]*call
	unwanted    []msgID // ids of requests to be cancelled when the peer's hello comes
	plainCalls  int     // those among calls whose result is not a stream
	streams     map[msgID]*Stream
	spent       *spentIDs // nil before the first
	queue       requestQueue
	notes       noteQueue
	running     int             // streaming requests being handled, until their reply is written
	streamMeta  int             // bytes of the metadata of streaming requests being handled
	accepted    uint32          // those, until before their reply
	stopping    bool            // we shut down: no new requests, nor calls
	told        bool            // and the peer was told, and closes the connection itself
	away        bool            // the peer shuts down
	leaving     bool            // no new calls, for one reason or the other
	closeOnIdle *time.Timer     // set by Shutdown: ends the link when the time is over
	grace       *time.Timer     // set when told and idle: ends the link when the peer does not
	ctx         context.Context // ends with the link if cancel is set; else what gives it its values
	cancel      context.CancelFunc
	readErr     error         // what Sock.Read returns; nil while something reads
	readEnd     chan struct{} // closed when nothing does; nil while nobody waits for that
}

// linkClient is whom the read loop tells what the peer says about itself.
type linkClient struct {
	onAway func(goaway) // called once when the peer wants no new requests
	onLoad func(uint16) // called with the load of each heartbeat
}

func newLink(s *Sock, conn io.ReadWriteCloser, f framing) *link {
	l := &link{
		sock: s, conn: conn, ctx: context.Background(),
	}
	l.w.conn, l.w.framing, l.w.giveUp, l.w.onRoom = conn, f, l.writeFailed, l.wakeReader
	l.r.src, l.r.onWait = conn, l.flushSoon
	if c, ok := conn.(interface{ SetWriteDeadline(time.Time) error }); ok {
		if c.SetWriteDeadline(time.Time{}) == nil { // else it only looks as if it knew them, like the channels of ssh
			l.w.deadline = c.SetWriteDeadline
		}
	}
	if c, ok := conn.(net.Conn); ok {
		l.pipe = c.LocalAddr() != nil && c.LocalAddr().Network() == "pipe"
	}
	if c, ok := conn.(interface{ SetReadDeadline(time.Time) error }); ok && !l.pipe && c.SetReadDeadline(time.Time{}) == nil {
		l.r.deadline = c.SetReadDeadline
	} else if !l.pipe {
		l.r.deadline = l.readTimer()
	}
	if c, ok := conn.(*wsConn); ok {
		l.w.conn, l.r.frames = c.Conn, &c.frames
	}
	l.w.raw = rawSocket(l.netConn())
	l.r.readFrom(l.w.raw)
	switch l.netConn().(type) {
	case *net.TCPConn, *net.UnixConn:
		l.w.lend = f != clientFraming // a client masks what it sends, which takes a copy
	}
	l.setLimits(nil)
	return l
}

// readTimer does what a read deadline does for a connection that knows none: it closes the connection.
func (l *link) readTimer() func(time.Time) error {
	timer := time.AfterFunc(time.Hour, func() {
		l.close(closing{code: ProtocolErrorTimeout, cause: l.silent(), notify: true})
	})
	timer.Stop()
	return func(t time.Time) error {
		timer.Stop()
		if !t.IsZero() {
			timer.Reset(time.Until(t))
		}
		return nil
	}
}

// silent is why a link ends whose peer has sent nothing for too long.
func (l *link) silent() error {
	return &timeoutError{"the peer sent nothing for too long (Limits.ReadTimeout, HeartbeatInterval)"}
}

// setLimits must be called before Read.
func (l *link) setLimits(limits *Limits) {
	if l.sock.Limits != nil {
		limits = l.sock.Limits
	}
	r := limits.resolved()
	if r.StreamRequests == 0 && l.sock.StreamReqLimit > 0 {
		r.StreamRequests = uint32(l.sock.StreamReqLimit)
	}
	l.limits = r.shared()
	l.w.setLimits(l.limits.MaxUnsentBytes, l.limits.WriteTimeout)
}

// handshake sends our version and reads the peer's. Both at once: a peer may send first or wait.
func (l *link) handshake(ctx context.Context) error {
	if err := l.greet(); err != nil {
		return l.failed(err)
	}
	return l.hear(ctx, false)
}

// hear reads the peer's version. If ours is held back, greet is to follow.
func (l *link) hear(ctx context.Context, held bool) error {
	timeout := l.limits.HandshakeTimeout
	expired := time.AfterFunc(timeout, func() { l.close(closing{cause: l.mute(timeout), code: ProtocolErrorTimeout}) })
	defer expired.Stop()
	heed := context.AfterFunc(ctx, func() { l.close(closing{cause: ctx.Err(), code: noProtocolError}) })
	defer heed()

	b, err := l.r.version()
	if err == nil {
		if _, err = parseVersion(b); err == nil {
			if !heed() || !expired.Stop() {
				<-l.done.ch() // the version has come, but too late: at this moment the link is being closed
				return l.causeOf()
			}
			if l.helloUntil.Load() != nil {
				l.expectHello() // the way to the peer may be long; its hello comes with its version or a little later
			}
			return nil
		}
		err = fmt.Errorf("%w: %w%s", ErrUnsupported, err, whoSays(b))
		if held {
			l.greet()
		}
		l.close(closing{cause: err, code: ProtocolErrorUnsupported, notify: true})
		return err
	}
	l.close(closing{cause: fmt.Errorf("%w: the peer closed the connection before it sent its protocol version (%w); "+
		"is it a gotalk server, and is TLS or WebSocket wanted?", ErrSockClosed, err), code: noProtocolError})
	return l.causeOf()
}

// greet sends what this side says first.
func (l *link) greet() error {
	version := &message{payload: []byte(versionText)}
	if l.sock.NoExtensions {
		return l.w.post(version)
	}
	if l.greets || l.sock.accepted {
		l.expectHello()
	}
	if !l.greets {
		return l.w.post(version)
	}
	l.saidHello = true
	m := l.ourHello()
	m.before = version
	return l.w.post(m)
}

// mute says what to do about a peer that does not send its version.
func (l *link) mute(timeout time.Duration) error {
	return &timeoutError{fmt.Sprintf("the peer sent no gotalk protocol version within %v; if it expects TLS use ConnectTLS, "+
		"if it is a web server use ConnectWebSocket", timeout)}
}

// whoSays guesses which protocol begins with b instead of ours.
func whoSays(b [len(versionText)]byte) string {
	switch s := string(b[:]); {
	case s == "HT":
		return "; this looks like a web server, use ConnectWebSocket"
	case strings.Contains("GET POST PUT HEAD OPTIONS DELETE PATCH CONNECT", s):
		return "; this looks like a web browser, which needs a WebSocketServer"
	case b[0] == 0x15 || b[0] == 0x16:
		return "; this looks like TLS: one side uses it and the other does not"
	case s == "SS":
		return "; this looks like an SSH server"
	}
	return ""
}

// send writes a message, waiting for room as long as ctx lasts.
func (l *link) send(ctx context.Context, m *message) error {
	err := l.w.send(ctx, m)
	switch {
	case err == nil, errors.Is(err, ErrPayloadTooLarge):
		return err
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return err
	}
	return l.failed(err)
}

// post writes a message without waiting.
func (l *link) post(m *message) {
	if err := l.w.post(m); err != nil {
		l.failed(err)
	}
}

// context returns a context that ends with the link.
func (l *link) context() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel == nil {
		l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(l.ctx))
		if l.closed.Load() {
			l.cancel()
		}
	}
	return l.ctx
}

// wakeReader lets a read loop that has paused look again whether to read on.
func (l *link) wakeReader() {
	if l.paused.Load() {
		select {
		case l.resume <- struct{}{}:
		default:
		}
	}
}
