package gotalk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
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

	closed atomic.Bool
	socks  sockSet
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
	sock := NewSock(h)
	sock.HeartbeatInterval, sock.OnHeartbeat, sock.accepted = every, onHeartbeat, true
	l := newLink(sock, conn, unframed)
	l.setLimits(limits)
	sock.adopt(l)
	if !s.socks.add(sock) {
		sock.Close()
		return
	}
	defer l.leaveUnlessRead()
	if l.handshake(context.Background()) != nil {
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

// sockSet knows the Socks of a server.
type sockSet struct {
	mu     sync.Mutex
	socks  map[*Sock]struct{}
	closed bool
}

// add fails after shutdown. The Sock's link tells when it is to be removed.
func (t *sockSet) add(s *Sock) bool {
	s.link.Load().server = t
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	if t.socks == nil {
		t.socks = map[*Sock]struct{}{}
	}
	t.socks[s] = struct{}{}
	return true
}

func (t *sockSet) remove(s *Sock) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.socks, s)
}

// shutdown ends all Socks gracefully, or at once when ctx ends.
func (t *sockSet) shutdown(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	var links []*link
	for s := range t.socks {
		links = append(links, s.link.Load())
	}
	t.mu.Unlock()
	for _, l := range links {
		l.beginShutdown(-1)
	}
	return awaitGone(ctx, links)
}

// awaitGone waits until links that were told to end have, and ends them at once when ctx ends.
func awaitGone(ctx context.Context, links []*link) error {
	for _, l := range links {
		select {
		case <-l.gone.ch():
		case <-ctx.Done():
			for _, l := range links {
				l.closeNow()
			}
			return ctx.Err()
		}
	}
	return nil
}
