package gotalk

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Sock is one end of a conversation: it calls the operations that the peer has handlers for, and serves the peer's calls
// with its own Handlers. All methods may be called concurrently.
//
// The exported fields are set before Connect or Read, in Server.AcceptHandler or WebSocketServer.OnConnect. CloseHandler,
// HeartbeatInterval, OnHeartbeat and Handlers may also be set, by one goroutine, while the connection is in use.
type Sock struct {
	// Handlers for requests and notifications of the peer. A nil *Handlers knows none.
	Handlers *Handlers

	// UserData is the program's own.
	UserData interface{}

	// StreamReqLimit is how many streaming requests of the peer may be under way at once, where Limits.StreamRequests
	// does not say.
	//
	// Deprecated: Use Limits.StreamRequests.
	StreamReqLimit int

	// CloseHandler is called once for each connection, when it has ended. code is the protocol error that closed it
	// (ProtocolErrorTimeout and so on), whichever side noticed, or -1 when none did.
	CloseHandler func(s *Sock, code int)

	// AutoRetryRequests makes BufferRequest, Request and Call send a request again when the peer answers that it has no
	// room now: after the wait that it asked for, and a random time on top that grows with each try, up to 5 s. That goes
	// on as long as the deadline of the call's context allows: when the next try would come after it, the call ends at
	// once. Without a deadline there are three tries, and a wait is at most 30 s. NewSock sets it. Otherwise, or when
	// tries are used up, such an answer is the error: a *Response that IsRetry, with the code unavailable.
	AutoRetryRequests bool

	// MaxTries is how often such a request is sent at the most, the first time included. 0 means what AutoRetryRequests
	// says.
	MaxTries int

	// HeartbeatInterval is how often a heartbeat is sent, so that the peer knows that this side is still there. 0 means
	// never; the least is one millisecond. NewSock sets 20 s. It is looked at again after each heartbeat.
	HeartbeatInterval time.Duration

	// OnHeartbeat is called for each heartbeat of the peer, in turn with notification handlers. load is between 0 and
	// HeartbeatMsgMaxLoad.
	OnHeartbeat func(load int, t time.Time)

	// Limits is what the peer is granted on the next connection, instead of what Connect, Read or the server says. It may
	// be set in AcceptHandler or OnConnect too.
	Limits *Limits

	// NoExtensions makes this side speak plain protocol 1 even to a peer that understands more.
	NoExtensions bool

	client   *Client       // whose connections are used instead of one of its own; or nil
	accepted bool          // by a server: heartbeats are answered. Set before Read
	nextID   atomic.Uint32 // of the next request; goes on counting over connections
	around   interceptors  // see Use
	link     atomic.Pointer[link]
}

// SockHandler is called with a Sock that has a new connection.
type SockHandler func(*Sock)

// NewSock returns a Sock that is not connected yet, with heartbeats every 20 s and automatic retry.
func NewSock(h *Handlers) *Sock {
	return &Sock{Handlers: h, HeartbeatInterval: defaultHeartbeat, AutoRetryRequests: true}
}

// Programs set these fields when a connection is already in use; there is no earlier moment when it was made by the
// package's Connect. Each is a single word that is read once, so a read sees the old value or the new one, and the race
// detector has nothing to say.

//go:norace
func (s *Sock) handlers() *Handlers { return s.Handlers }

//go:norace
func (s *Sock) closeHandler() func(*Sock, int) { return s.CloseHandler }

//go:norace
func (s *Sock) heartbeatInterval() time.Duration { return s.HeartbeatInterval }

//go:norace
func (s *Sock) onHeartbeat() func(int, time.Time) { return s.OnHeartbeat }

// String returns a text that tells this Sock from all others that are in use.
func (s *Sock) String() string { return fmt.Sprintf("%p", s) }

// Conn returns the connection, also after it was closed, or nil before the first.
func (s *Sock) Conn() io.ReadWriteCloser {
	if l := s.link.Load(); l != nil {
		return l.conn
	}
	return nil
}

// Addr returns the peer's address, or "" if the connection has none.
func (s *Sock) Addr() string {
	if l := s.link.Load(); l != nil {
		if c, ok := l.conn.(interface{ RemoteAddr() net.Addr }); ok && c.RemoteAddr() != nil {
			return c.RemoteAddr().String()
		}
	}
	return ""
}

// TLS returns what TLS has agreed on with the peer, with the certificate that it has shown if any, or nil without TLS. The
// certificate is worth what tls.Config.ClientAuth has made of it: with RequireAndVerifyClientCert PeerCertificates[0] says
// who the peer is. For a Client use the Sock that a handler gets.
func (s *Sock) TLS() *tls.ConnectionState {
	if l := s.link.Load(); l != nil {
		if c, ok := l.netConn().(interface{ ConnectionState() tls.ConnectionState }); ok {
			state := c.ConnectionState()
			return &state
		}
	}
	return nil
}

// Context returns a context that ends when the connection in use does; before the first connection it has ended.
func (s *Sock) Context() context.Context {
	if s.client != nil {
		return s.client.ctx
	}
	if l := s.link.Load(); l != nil {
		return l.context()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// IsClosed tells whether the connection has ended. It is false before the first connection.
func (s *Sock) IsClosed() bool {
	if s.client != nil {
		return s.client.IsClosed()
	}
	l := s.link.Load()
	return l != nil && l.causeOf() != nil
}

// Adopt makes conn the Sock's connection; an earlier one is closed. Handshake and Read are to follow. If conn has the
// deadlines of a net.Conn they are used; otherwise timeouts close it.
func (s *Sock) Adopt(conn io.ReadWriteCloser) { s.adopt(newLink(s, conn, unframed)) }

func (s *Sock) adopt(l *link) {
	if old := s.link.Swap(l); old != nil {
		old.close(closing{code: noProtocolError})
	}
}

// Handshake sends this side's protocol version and reads the peer's, which may take 10 s or what Limits.HandshakeTimeout
// says that Connect or a server was given. If it fails the connection is closed. Calls must wait until it has returned: the
// peer takes nothing before the version.
func (s *Sock) Handshake() error {
	l, err := s.open()
	if err != nil {
		return err
	}
	return l.handshake(context.Background())
}

// Connect returns a Sock that is connected to the server at addr and served by DefaultHandlers. how is a network such as
// "tcp" or "unix". The Sock is not nil even if the error isn't, and may be used to try again.
func Connect(how, addr string) (*Sock, error) { return ConnectContext(context.Background(), how, addr) }

// ConnectContext is Connect that gives up when ctx ends. Once connected ctx has no part in it.
func ConnectContext(ctx context.Context, how, addr string) (*Sock, error) {
	s := NewSock(DefaultHandlers)
	return s, s.ConnectContext(ctx, how, addr, nil)
}

// ConnectTLS is Connect over TLS. A nil config, or one without RootCAs, trusts what TLSCertPool returns.
func ConnectTLS(how, addr string, config *tls.Config) (*Sock, error) {
	s := NewSock(DefaultHandlers)
	return s, s.ConnectTLS(how, addr, nil, config)
}

// Connect connects to the server at addr, and starts reading.
func (s *Sock) Connect(how, addr string, limits *Limits) error {
	return s.ConnectContext(context.Background(), how, addr, limits)
}

// ConnectContext is Connect that gives up when ctx ends. Once connected ctx has no part in it.
func (s *Sock) ConnectContext(ctx context.Context, how, addr string, limits *Limits) error {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, how, addr)
	if err != nil {
		return dialError(how, addr, err)
	}
	return s.connect(ctx, newLink(s, conn, unframed), limits)
}

// ConnectTLS is Connect over TLS. A nil config, or one without RootCAs, trusts what TLSCertPool returns.
func (s *Sock) ConnectTLS(how, addr string, limits *Limits, config *tls.Config) error {
	config = clientConfig(config)
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, how, addr)
	if err != nil {
		return dialError(how, addr, err)
	}
	return s.connect(context.Background(), newLink(s, conn, unframed), limits)
}

// ConnectReader is Connect for a connection that is there already. If it fails conn is closed.
func (s *Sock) ConnectReader(conn io.ReadWriteCloser, limits *Limits) error {
	return s.connect(context.Background(), newLink(s, conn, unframed), limits)
}

const dialTimeout = 30 * time.Second

func (s *Sock) connect(ctx context.Context, l *link, limits *Limits) error {
	if s.client != nil {
		l.close(closing{code: noProtocolError})
		return errors.New("gotalk: a Client makes its connections itself: see Client.SetAddrs")
	}
	l.setLimits(limits)
	l.greets = true
	greeted := l.greet() // before calls can be made
	s.adopt(l)
	if greeted != nil {
		return l.failed(greeted)
	}
	if err := l.hear(ctx, false); err != nil {
		return err
	}
	if l.r.refuses() {
		return l.read() // which is why
	}
	l.startReading()
	return nil
}

// dialError says what to do about a connection that cannot be made.
func dialError(how, addr string, err error) error {
	hint := ""
	var notTLS tls.RecordHeaderError
	var badCert *tls.CertificateVerificationError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "; no server listens there"
	case errors.Is(err, os.ErrNotExist):
		hint = "; there is no such socket: is the server running?"
	case errors.As(err, &notTLS):
		hint = "; the server does not speak TLS: use Connect, or give the server a certificate"
	case errors.As(err, &badCert):
		hint = "; trust the server's certificate with TLSAddRootCerts or tls.Config.RootCAs"
	}
	return fmt.Errorf("gotalk: cannot connect to %s %s: %w%s", how, addr, err, hint)
}

// Read reads from the connection and dispatches what comes until the connection ends. Connect and servers call it; only
// a Sock that was given a connection by Adopt needs it. It returns io.EOF when either side closed the connection,
// otherwise why it ended: an error that matches one of ErrAbnormal, ErrUnsupported, ErrInvalidMsg and ErrTimeout, or a
// *ProtocolError for a code that is none of theirs.
func (s *Sock) Read(limits *Limits) error {
	l, err := s.open()
	if err != nil {
		return err
	}
	if l.takesNoCalls() {
		return ErrSockClosed
	}
	l.mu.Lock()
	if !l.reading.Load() && !l.closed.Load() {
		l.setLimits(limits)
	}
	l.mu.Unlock()
	return l.read()
}

// Close closes the connection and ends all calls under way with ErrSockClosed. It returns at once: what was sent before
// is still written, within a second. Handlers that are running go on; Context tells them. Closing again, or a Sock that
// was never connected, does nothing.
func (s *Sock) Close() error {
	if s.client != nil {
		return s.client.Close()
	}
	l := s.link.Load()
	if l == nil {
		return nil
	}
	_, err := l.close(closing{code: noProtocolError})
	return err
}

// CloseError tells the peer a protocol error, closes the connection, and returns that error. Calls under way end with it.
// It panics if code is negative.
func (s *Sock) CloseError(code int32) error {
	if code < 0 {
		panic("gotalk: CloseError: code is negative")
	}
	l := s.link.Load()
	if l == nil {
		return ErrSockClosed
	}
	err := protocolError(uint32(code))
	l.close(closing{code: int(code), cause: err, notify: true})
	return err
}

// Shutdown ends the connection gracefully: new requests of the peer are refused, those under way are answered, then the
// connection is closed, by a peer that understands goaway or else by this side, at the latest after timeout. It returns at
// once, and from then on calls of this side fail with ErrSockClosed. wg, on which the caller has called Add(1), is told when
// the connection is closed, also when it was before; nil is fine. It returns ErrSockClosed if Shutdown was called before or
// there is no open connection.
func (s *Sock) Shutdown(wg *sync.WaitGroup, timeout time.Duration) error {
	l, err := s.open()
	if err == nil {
		err = l.beginShutdown(max(timeout, 0))
	}
	if wg == nil {
		return err
	}
	if l == nil {
		wg.Done()
		return err
	}
	go func() { // ends when the connection is closed, after timeout at the latest
		<-l.gone.ch()
		wg.Done()
	}()
	return err
}

// runCloseHandler calls the CloseHandler, if there is one.
func (s *Sock) runCloseHandler(code int) {
	f := s.closeHandler()
	if f == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			logTo(errorLogger(), s, "panic in CloseHandler: %v", v)
		}
	}()
	f(s, code)
}

// Pipe returns two Socks that are connected to each other in memory, both served by h (DefaultHandlers if nil) within
// limits. There is no handshake, and there are no heartbeats and no read timeouts.
func Pipe(h *Handlers, limits *Limits) (*Sock, *Sock, error) {
	if h == nil {
		h = DefaultHandlers
	}
	a, b := NewSock(h), NewSock(h)
	ca, cb := net.Pipe()
	a.Adopt(ca)
	b.Adopt(cb)
	link := a.link.Load()
	link.saidHello = true
	link.expectHello()
	link.post(link.ourHello())
	go a.Read(limits) // both end when either is closed
	go b.Read(limits)
	return a, b, nil
}
