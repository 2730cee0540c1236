package gotalk_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// peer is the other end of a Sock's connection in the hands of a test: it sends whatever bytes the test likes and reads
// only when it is told to. Unlike a conversation it has no script.
type peer struct {
	testing.TB
	w *wire
}

func newPeer(t testing.TB, nc net.Conn, br *bufio.Reader, ws, client bool) *peer {
	if br == nil {
		br = bufio.NewReaderSize(nc, 8192)
	}
	limit := 3 * patience
	if nc.LocalAddr().Network() == "pipe" {
		limit = 24 * time.Hour // virtual ones
	}
	require.NoError(t, nc.SetDeadline(time.Now().Add(limit)))
	t.Cleanup(func() { nc.Close() })
	return &peer{t, &wire{nc: nc, br: br, ws: ws, client: client}}
}

// say sends frames: bytes one after the other, or WebSocket messages.
func (p *peer) say(frames ...string) {
	require.NoError(p, p.trySay(frames...))
}

func (p *peer) trySay(frames ...string) error {
	var all []byte
	for _, f := range frames {
		if p.w.ws {
			all = p.w.appendFrame(all, true, 2, []byte(f))
		} else {
			all = append(all, f...)
		}
	}
	_, err := p.w.nc.Write(all)
	return err
}

// request makes a request header.
func request(id, op string, size int) string {
	return fmt.Sprintf("r%.4s%03x%s%08x", id, len(op), op, size)
}

// call says a request and hears its answer, without its header.
func (p *peer) call(id, op, payload string) string {
	frames := []string{request(id, op, len(payload)), payload}
	if payload == "" {
		frames = frames[:1]
	}
	p.say(frames...)
	return p.answer(id)
}

// answer hears the single result for id.
func (p *peer) answer(id string) string {
	m := p.hear()
	require.Equal(p, "R"+id, m[:min(5, len(m))], "%.200q", m)
	return m[13:]
}

// echoes checks that the connection is in order: the peer's operation echo answers.
func (p *peer) echoes() {
	require.Equal(p, "still here", p.call("echo", "echo", "still here"))
}

// read reads the next message, or the version.
func (p *peer) read(version bool) (r received, err error) {
	if p.w.ws {
		return p.w.readWebSocket(version)
	}
	return p.w.readMessage(version)
}

// hear returns the next message with its payload, "end" at the end, "close" and the code for a WebSocket's close frame.
// Heartbeats and what peers of ours say among themselves are passed over.
func (p *peer) hear() string {
	for {
		r, err := p.read(false)
		switch {
		case err != nil:
			require.False(p, timedOut(err), "nothing comes")
			return "end"
		case r.close != 0:
			return fmt.Sprint("close ", r.close)
		}
		m := string(bytes.Join(r.frames, nil))
		if m[0] != 'h' && !(m[0] == 'n' && strings.HasPrefix(m[4:], "gotalk:")) {
			return m
		}
	}
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// hears checks what comes next.
func (p *peer) hears(want ...string) {
	for _, w := range want {
		require.Equal(p, w, p.hear())
	}
}

// ends checks that the connection ends, in good order for a WebSocket.
func (p *peer) ends() {
	if p.w.ws {
		p.hears("close 1000")
	}
	p.hears("end")
}

// shakeHands exchanges versions.
func (p *peer) shakeHands() {
	p.say("01")
	r, err := p.read(true)
	require.NoError(p, err)
	require.Equal(p, "01", string(r.frames[0]))
}

// testServer is a server of ours with what tests need of it.
type testServer struct {
	testing.TB
	dial  func() net.Conn
	addr  string
	ws    bool
	socks chan *gotalk.Sock // those of accepted connections
	tcp   *gotalk.Server
	web   *gotalk.WebSocketServer
}

// in is s for a subtest.
func (s testServer) in(t testing.TB) *testServer {
	s.TB = t
	return &s
}

// peer connects to the server.
func (s *testServer) peer() *peer {
	p := s.mutePeer()
	p.shakeHands()
	return p
}

// mutePeer connects to the server and has not said its version yet.
func (s *testServer) mutePeer() *peer {
	nc := s.dial()
	var br *bufio.Reader
	if s.ws {
		br = upgrade(s, nc, "http://127.0.0.1")
	}
	return newPeer(s, nc, br, s.ws, true)
}

// client connects a Sock to the server. It sends no heartbeats.
func (s *testServer) client(h *gotalk.Handlers) *gotalk.Sock {
	c := quietSock(h)
	s.connect(c)
	return c
}

func (s *testServer) connect(c *gotalk.Sock) {
	s.Cleanup(func() { c.Close() })
	if s.ws {
		require.NoError(s, c.ConnectWebSocket(s.Context(), "ws://"+s.addr, nil, nil))
	} else {
		require.NoError(s, c.ConnectReader(s.dial(), nil))
	}
}

func quietSock(h *gotalk.Handlers) *gotalk.Sock {
	c := gotalk.NewSock(h)
	c.HeartbeatInterval = 0
	return c
}

// sock returns the Sock of the connection that was accepted next.
func (s *testServer) sock() *gotalk.Sock { return await(s, s.socks) }

// listener is a TCP listener, or one in memory that works in a bubble of virtual time.
func startServer(t testing.TB, l net.Listener, ws bool, h *gotalk.Handlers, limits *gotalk.Limits) *testServer {
	s := &testServer{TB: t, ws: ws, addr: l.Addr().String(), socks: make(chan *gotalk.Sock, 2000)}
	s.dial = func() net.Conn {
		nc, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		return nc
	}
	if p, ok := l.(*pipeListener); ok {
		s.dial = p.dial
	}
	var mu sync.Mutex
	var all []*gotalk.Sock
	accept := func(sock *gotalk.Sock) {
		mu.Lock()
		all = append(all, sock)
		mu.Unlock()
		s.socks <- sock
	}
	stopped := make(chan error, 1)
	var stop func() error
	if ws {
		s.web = gotalk.NewWebSocketServer()
		s.web.Handlers, s.web.Limits = h, limits
		s.web.OnConnect = func(sock *gotalk.WebSocket) { accept(&sock.Sock) }
		server := &http.Server{Handler: s.web}
		stop = server.Close
		go func() { stopped <- server.Serve(l) }()
	} else {
		s.tcp = gotalk.NewServer(h, limits, l)
		s.tcp.AcceptHandler = accept
		stop = s.tcp.Close
		go func() { stopped <- s.tcp.Accept() }()
	}
	t.Cleanup(func() {
		stop()
		require.Error(t, <-stopped)
		mu.Lock()
		defer mu.Unlock()
		for _, sock := range all {
			sock.Close()
		}
	})
	return s
}

func serveTCP(t testing.TB, h *gotalk.Handlers, limits *gotalk.Limits) *testServer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return startServer(t, l, false, h, limits)
}

func serveInMemory(t testing.TB, h *gotalk.Handlers, limits *gotalk.Limits) *testServer {
	return startServer(t, newPipeListener(), false, h, limits)
}

// eachServer runs test with a server for TCP and one for WebSockets.
func eachServer(t *testing.T, h *gotalk.Handlers, limits *gotalk.Limits, test func(t *testing.T, s *testServer)) {
	for _, ws := range []bool{false, true} {
		t.Run(map[bool]string{false: "tcp", true: "websocket"}[ws], func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			test(t, startServer(t, l, ws, h, limits))
		})
	}
}

// connectTo connects s over TCP to a peer of the test's.
func connectTo(t testing.TB, s *gotalk.Sock, limits *gotalk.Limits) *peer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return connectOver(t, s, limits, func() net.Conn {
		nc, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		return nc
	}, l.Accept)
}

// connectInMemory connects s to a peer of the test's over a pipe that passes for a network connection.
func connectInMemory(t testing.TB, s *gotalk.Sock, limits *gotalk.Limits) *peer {
	a, b := net.Pipe()
	return connectOver(t, s, limits, func() net.Conn { return networked{a} }, func() (net.Conn, error) { return b, nil })
}

func connectOver(t testing.TB, s *gotalk.Sock, limits *gotalk.Limits, dial func() net.Conn, accept func() (net.Conn, error)) *peer {
	connected := make(chan error, 1)
	ours := dial()
	go func() { connected <- s.ConnectReader(ours, limits) }()
	nc, err := accept()
	require.NoError(t, err)
	p := newPeer(t, nc, nil, false, false)
	p.shakeHands()
	require.NoError(t, await(t, connected))
	t.Cleanup(func() { s.Close() })
	return p
}

// await gives what comes next on a channel, or the zero value when it is closed.
func await[T any](t testing.TB, ch <-chan T) (v T) {
	select {
	case v = <-ch:
	case <-time.After(patience):
		require.FailNow(t, "nothing comes")
	}
	return v
}

// inBackground runs f and gives its result.
func inBackground[T any](f func() T) <-chan T {
	ch := make(chan T, 1)
	go func() { ch <- f() }()
	return ch
}

// echoHandlers has the operation that peer.echoes calls.
func echoHandlers() *gotalk.Handlers {
	h := gotalk.NewHandlers()
	h.HandleBufferRequest("echo", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) { return b, nil })
	return h
}

// discard reads and drops what comes until the connection ends.
func (p *peer) discard() { io.Copy(io.Discard, p.w.br) }

// allocated tells how many bytes the process allocates in f.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// settledGoroutines waits until no more than n goroutines are there.
func settledGoroutines(t testing.TB, n int) {
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > n; {
		if time.Now().After(deadline) {
			buf := make([]byte, 64<<10)
			require.FailNow(t, "goroutines are left behind", "%d, want %d:\n%s", runtime.NumGoroutine(), n, buf[:runtime.Stack(buf, true)])
		}
		<-time.After(5 * time.Millisecond)
	}
}

// logged makes the library's loggers write to a list for the rest of the test. It is for tests that are not parallel.
func logged(t testing.TB) (list func() string) {
	var mu sync.Mutex
	var lines []string
	take := func(_ *gotalk.Sock, format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, fmt.Sprintf(format, args...))
	}
	errors, handlers := gotalk.ErrorLogger, gotalk.HandlerErrorLogger
	gotalk.ErrorLogger, gotalk.HandlerErrorLogger = take, take
	t.Cleanup(func() { gotalk.ErrorLogger, gotalk.HandlerErrorLogger = errors, handlers })
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(lines, "\n")
	}
}
