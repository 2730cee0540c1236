package gotalk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// Server accepts connections. The fields are set before Accept is called; changes while it runs apply to connections
// that are accepted later. Its methods may be called concurrently.
type Server struct {
	*Handlers // of connections that are accepted
	*Limits   // what each of them is granted

	// AcceptHandler is called with the Sock of each new connection before anything is read from it. It may change the
	// Sock's fields, and deny the connection by closing it.
	AcceptHandler SockHandler

	// HeartbeatInterval and OnHeartbeat are what a new Sock starts with. By default the server sends no heartbeats of its
	// own, but answers those of clients.
	HeartbeatInterval time.Duration
	OnHeartbeat       func(load int, t time.Time)

	// Listener that connections come from.
	Listener net.Listener

	// MaxConnections is how many connections there may be at once, and MaxConnectionsPerAddr how many from one IP address,
	// or from one /64 in the case of IPv6. They count from the moment that they are accepted, so those that never finish
	// their handshake do too. One more is told so and closed, or just closed when many are at once: its Connect fails, with
	// CodeUnavailable or CodeResourceExhausted, or its first call with ErrAbnormal if it is of gotalk 1.x. 0 means no limit.
	// Behind a proxy use a Listener whose connections have the RemoteAddr of the client. What has no IP address, such as a
	// Unix socket, counts for MaxConnections alone.
	MaxConnections, MaxConnectionsPerAddr int

	// Authorize decides who may connect, if it is not nil. It is called when the peer has sent its version, so that
	// Sock.TLS has its certificate, and before anything is sent to it or served: see the package comment. What Authorize
	// finds out it leaves in the Sock's UserData. The peer's Connect fails with an *Error that it returns, or one in what it
	// returns, whose message should be short: 256 bytes are sent. Of any other error, which is logged, the peer is only told
	// that it may not connect. Authorize must not call the peer. It takes as long as it likes, and is called concurrently.
	Authorize func(s *Sock) error

	closed   atomic.Bool
	socks    sockSet
	refusing atomic.Int32 // connections that are being told why they are refused
}

// NewServer returns a server for the connections of l, which is the server's to close.
func NewServer(h *Handlers, limits *Limits, l net.Listener) *Server {
	return &Server{Handlers: h, Limits: limits, Listener: l}
}

// Listen returns a server that listens at addr, with DefaultHandlers and DefaultLimits; Accept is to be called next. how
// is a network such as "tcp" or "unix".
func Listen(how, addr string) (*Server, error) {
	l, err := listen(how, addr)
	if err != nil {
		return nil, err
	}
	return NewServer(DefaultHandlers, DefaultLimits, l), nil
}

func listen(how, addr string) (net.Listener, error) {
	l, err := (&net.ListenConfig{KeepAlive: 30 * time.Second}).Listen(context.Background(), how, addr)
	if err != nil {
		hint := ""
		if errors.Is(err, syscall.EADDRINUSE) {
			hint = "; another program listens there, or the socket file of one that is gone is in the way"
		}
		return nil, fmt.Errorf("gotalk: cannot listen on %s %s: %w%s", how, addr, err, hint)
	}
	return l, nil
}

// Serve listens at addr and serves connections with DefaultHandlers until that fails. h may be nil.
func Serve(how, addr string, h SockHandler) error {
	s, err := Listen(how, addr)
	if err != nil {
		return err
	}
	s.AcceptHandler = h
	return s.Accept()
}

// The fields that new connections take over may be changed meanwhile; see Sock.handlers.
//
//go:norace
func (s *Server) settings() (*Handlers, *Limits, SockHandler, time.Duration, func(int, time.Time)) {
	return s.Handlers, s.Limits, s.AcceptHandler, s.HeartbeatInterval, s.OnHeartbeat
}

//go:norace
func (s *Server) admission() (most, mostPerAddr int, authorize func(*Sock) error) {
	return s.MaxConnections, s.MaxConnectionsPerAddr, s.Authorize
}

// Accept serves connections until the listener fails. After Close or Shutdown it returns ErrServerClosed.
func (s *Server) Accept() error {
	l := s.Listener
	if l == nil || s.closed.Load() {
		return ErrServerClosed
	}
	var delay time.Duration
	for {
		conn, err := l.Accept()
		if err == nil {
			delay = 0
			go s.serve(conn) // ends when hands are shaken, or in time
			continue
		}
		if s.closed.Load() {
			return fmt.Errorf("%w: %w", ErrServerClosed, err)
		}
		var temporary interface{ Temporary() bool }
		if !errors.As(err, &temporary) || !temporary.Temporary() {
			return err
		}
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		time.Sleep(delay) // out of files, most likely: there is nothing to wake us
	}
}

// serve shakes hands on a connection, and lets it be read.
func (s *Server) serve(conn net.Conn) {
	h, limits, onAccept, every, onHeartbeat := s.settings()
	most, mostPerAddr, authorize := s.admission()
	from := networkOf(conn.RemoteAddr())
	if why := s.socks.enter(from, most, mostPerAddr); why != nil {
		s.refuse(conn, why)
		return
	}
	sock := NewSock(h)
	sock.HeartbeatInterval, sock.OnHeartbeat, sock.accepted = every, onHeartbeat, true
	l := newLink(sock, conn, unframed)
	l.setLimits(limits)
	sock.adopt(l)
	if !s.socks.add(sock, from) {
		s.socks.leave(from)
		sock.Close()
		return
	}
	defer l.leaveUnlessRead()
	if authorize != nil && l.authorize(authorize) != nil || authorize == nil && l.handshake(context.Background()) != nil {
		return
	}
	if onAccept != nil && !guard(sock, "AcceptHandler", func() { onAccept(sock) }) {
		return
	}
	l.setLimits(limits) // the handler may have set Limits
	l.startReading()
}

// guard calls f, a callback of the program's. If it panics the Sock is closed.
func guard(s *Sock, name string, f func()) (ok bool) {
	defer func() {
		if !ok { // or it has called runtime.Goexit
			logTo(errorLogger(), s, "panic in %s: %v", name, recover())
			s.Close()
		}
	}()
	f()
	return true
}

// Addr returns the address that the server listens at, or "" when it does not.
func (s *Server) Addr() string {
	if s.Listener == nil || s.closed.Load() {
		return ""
	}
	return s.Listener.Addr().String()
}

// Close stops accepting connections. Those that were accepted live on; see Shutdown. Closing again does nothing.
func (s *Server) Close() error {
	if s.Listener == nil || s.closed.Swap(true) {
		return nil
	}
	return s.Listener.Close()
}

// Shutdown stops accepting connections and requests, waits until the requests under way are answered, and closes the
// connections; new requests are answered with "try again". Peers that are not of gotalk 1.x are told so: they make no more
// calls here, finish what is under way, and close the connection themselves, for which an idle one has three seconds; a
// Client connects again. When ctx ends before, the connections are closed at once and ctx.Err() is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.Close()
	if waited := s.socks.shutdown(ctx); waited != nil {
		return waited
	}
	return err
}

// EnableUnixSocketGC makes a server that listens on a Unix socket close when the process gets SIGINT or SIGTERM, so that
// the socket's file is removed, and then exits the process. For other servers it does nothing.
func (s *Server) EnableUnixSocketGC() {
	if _, ok := s.Listener.(*net.UnixListener); !ok {
		return
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	go func() { // lives as long as the process
		<-c
		s.Close()
		os.Exit(0)
	}()
}
