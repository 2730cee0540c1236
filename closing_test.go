package gotalk_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// enders are the ways for one side to end a connection by itself.
var enders = map[string]func(*gotalk.Sock){
	"Close":        func(s *gotalk.Sock) { s.Close() },
	"close twice":  func(s *gotalk.Sock) { s.Close(); s.Close() },
	"CloseError":   func(s *gotalk.Sock) { s.CloseError(gotalk.ProtocolErrorAbnormal) },
	"Shutdown":     func(s *gotalk.Sock) { s.Shutdown(nil, time.Minute) },
	"Shutdown now": func(s *gotalk.Sock) { s.Shutdown(nil, 0) },
}

// Whatever the program is called for, it may end the connection from there; and CloseHandler is called once.
func TestEndFromWithin(t *testing.T) {
	for name, end := range enders {
		for from, say := range map[string]string{
			"request":      request("aaaa", "end", 0),
			"stream":       begin("aaaa", "endstream", 0),
			"notification": "n003end00000000",
			"heartbeat":    "h000000000000",
			"accept":       "",
			"CloseHandler": "f00000000",
		} {
			t.Run(name+" from "+from, func(t *testing.T) {
				inBubbles(t, gotalk.NewHandlers, nil, func(t *testing.T, s *testServer) {
					var ended atomic.Bool
					within := func(s *gotalk.Sock) {
						if !ended.Swap(true) {
							end(s)
						}
					}
					h := gotalk.NewHandlers()
					h.HandleBufferRequest("end", func(s *gotalk.Sock, _ string, _ []byte) ([]byte, error) { within(s); return nil, nil })
					h.HandleStream("endstream", func(_ context.Context, st *gotalk.Stream) error { within(st.Sock()); return nil })
					h.HandleBufferNotification("end", func(s *gotalk.Sock, _ string, _ []byte) { within(s) })
					var closed atomic.Int32
					accept := func(sock *gotalk.Sock) {
						sock.Handlers = h
						sock.OnHeartbeat = func(int, time.Time) { within(sock) }
						if !s.ws {
							sock.CloseHandler = func(sock *gotalk.Sock, _ int) { closed.Add(1); within(sock) }
						}
						if from == "accept" {
							within(sock)
						}
					}
					if s.ws {
						s.web.OnConnect = func(ws *gotalk.WebSocket) {
							ws.CloseHandler = func(ws *gotalk.WebSocket, _ int) { closed.Add(1); within(&ws.Sock) }
							accept(&ws.Sock)
						}
					} else {
						s.tcp.AcceptHandler = accept
					}
					p := s.peer()
					if say != "" {
						p.say(say)
					}
					for m := p.hear(); m != "end"; m = p.hear() {
						require.NotRegexp(t, "internal error", m)
					}
					synctest.Wait()
					require.Equal(t, int32(1), closed.Load())
				})
			})
		}
	}
}

// A server that is shut down by one of its handlers waits for that handler as long as the context lasts, not for ever.
func TestShutdownOfServerFromHandler(t *testing.T) {
	h := gotalk.NewHandlers()
	results := make(chan error, 1)
	var shutdown func(context.Context) error
	h.HandleBufferRequest("down", func(*gotalk.Sock, string, []byte) ([]byte, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		results <- shutdown(ctx)
		return nil, nil
	})
	eachServer(t, h, nil, func(t *testing.T, s *testServer) {
		shutdown = func(ctx context.Context) error {
			if s.ws {
				return s.web.Shutdown(ctx)
			}
			return s.tcp.Shutdown(ctx)
		}
		p := s.peer()
		p.say(request("aaaa", "down", 0))
		for p.hear() != "end" {
		}
		require.ErrorIs(t, await(t, results), context.DeadlineExceeded)
	})
}

// Ended from everywhere at once, by all means, a connection ends once.
func TestEndConcurrently(t *testing.T) {
	eachServer(t, echoHandlers(), nil, func(t *testing.T, s *testServer) {
		for range 20 {
			var closed atomic.Int32
			c := quietSock(nil)
			c.CloseHandler = func(*gotalk.Sock, int) { closed.Add(1) }
			s.connect(c)
			theirs := s.sock()
			calls := inBackground(func() error {
				for {
					if _, err := c.BufferRequest("echo", nil); err != nil {
						return err
					}
				}
			})
			var all, down sync.WaitGroup
			for range 3 {
				for _, end := range enders {
					all.Go(func() { end(c) })
				}
				down.Add(1)
				all.Go(func() { c.Shutdown(&down, time.Minute) })
				all.Go(func() { theirs.Close() })
			}
			all.Wait()
			down.Wait()
			require.Error(t, await(t, calls))
			require.True(t, c.IsClosed())
			require.Error(t, c.Context().Err())
			require.Eventually(t, func() bool { return closed.Load() == 1 }, patience, time.Millisecond)
			require.ErrorIs(t, c.Shutdown(nil, 0), gotalk.ErrSockClosed)
			require.NoError(t, c.Close())
		}
	})
}

// Servers and Clients may be ended before they have begun, twice, and from several sides.
func TestEndOfServersAndClients(t *testing.T) {
	ends := func(what string, shutdown func(context.Context) error) {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := shutdown(t.Context()); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			})
		}
		wg.Wait()
		require.NoError(t, shutdown(t.Context()), what)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := gotalk.NewServer(nil, nil, l)
	ends("Server", s.Shutdown)
	require.ErrorIs(t, s.Accept(), gotalk.ErrServerClosed)
	ends("Server without a listener", new(gotalk.Server).Shutdown)
	ends("WebSocketServer", gotalk.NewWebSocketServer().Shutdown)
	c := gotalk.NewClient("127.0.0.1:1")
	ends("Client", c.Shutdown)
	require.NoError(t, c.Close())
	require.ErrorIs(t, c.Start(), gotalk.ErrSockClosed)
	require.ErrorIs(t, c.BufferNotify("note", nil), gotalk.ErrSockClosed)
	eachServer(t, nil, nil, func(t *testing.T, s *testServer) {
		s.client(nil)
		if s.ws {
			ends("WebSocketServer with a connection", s.web.Shutdown)
		} else {
			ends("Server with a connection", s.tcp.Shutdown)
		}
	})
}

// What was under way on a connection when the Sock adopts the next one has ended, and what its handlers still have to say
// does not get into the new one, in which the same ids are in use.
func TestAdoptLeavesTheOldConnectionBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		h := gotalk.NewHandlers()
		h.HandleBufferRequest("slow", func(*gotalk.Sock, string, []byte) ([]byte, error) { <-gate; return []byte("late"), nil })
		h.HandleStreamRequest("parts", func(_ *gotalk.Sock, _ string, _ chan []byte, out io.WriteCloser) error {
			<-gate
			out.Write([]byte("late"))
			return nil
		})
		c := quietSock(h)
		var codes []int
		c.CloseHandler = func(_ *gotalk.Sock, code int) { codes = append(codes, code) }
		limits := &gotalk.Limits{StreamRequests: 10}
		old := connectInMemory(t, c, limits)
		old.say(request("aaaa", "slow", 0), begin("bbbb", "parts", 1)+"x")
		called := inBackground(func() error { _, err := c.BufferRequest("work", nil); return err })
		old.hear()
		opened := inBackground(func() *gotalk.Stream {
			st, err := c.OpenStream(context.Background(), "stream")
			require.NoError(t, err)
			return st
		})
		old.hear()
		st := <-opened
		oldContext := c.Context()

		p := connectInMemory(t, c, limits)
		require.ErrorIs(t, <-called, gotalk.ErrSockClosed)
		_, err := st.Recv()
		require.ErrorIs(t, err, gotalk.ErrSockClosed)
		require.ErrorIs(t, st.Send([]byte("x")), gotalk.ErrSockClosed)
		require.Error(t, oldContext.Err())
		require.NoError(t, c.Context().Err())
		require.Equal(t, []int{-1}, codes)
		for old.hear() != "end" { // the end of the stream
		}

		p.say(request("aaaa", "slow", 0), begin("bbbb", "parts", 1)+"x")
		synctest.Wait()
		gate <- struct{}{} // the old ones or the new ones: each has its own connection
		gate <- struct{}{}
		gate <- struct{}{}
		gate <- struct{}{}
		heard := map[string]int{}
		for range 3 {
			heard[p.hear()]++
		}
		require.Equal(t, map[string]int{"Raaaa00000004late": 1, "Sbbbb00000004late": 1, "Sbbbb00000000": 1}, heard)
		called = inBackground(func() error { _, err := c.BufferRequest("work", nil); return err })
		m := p.hear()
		p.say("R" + m[1:5] + "00000000")
		require.NoError(t, <-called)
		c.Close()
		p.hears("end")
		require.Equal(t, []int{-1, -1}, codes)
	})
}

// Shutdown tells its WaitGroup once, when the connection is closed and not before, however it came to that.
func TestShutdownTellsWaitGroup(t *testing.T) {
	for name, c := range map[string]struct {
		timeout time.Duration
		then    func(*gotalk.Sock, *peer, chan struct{})
		after   time.Duration
	}{
		"answered":      {time.Minute, func(_ *gotalk.Sock, _ *peer, gate chan struct{}) { close(gate) }, 0},
		"time is over":  {10 * time.Second, nil, 10 * time.Second},
		"no time":       {0, nil, 0},
		"less than no":  {-time.Second, nil, 0},
		"closed":        {time.Minute, func(s *gotalk.Sock, _ *peer, _ chan struct{}) { s.Close() }, 0},
		"by the peer":   {time.Minute, func(_ *gotalk.Sock, p *peer, _ chan struct{}) { p.w.nc.Close() }, 0},
		"adopts anew":   {time.Minute, func(s *gotalk.Sock, _ *peer, _ chan struct{}) { s.Adopt(new(closedConn)) }, 0},
		"another error": {time.Minute, func(s *gotalk.Sock, _ *peer, _ chan struct{}) { s.CloseError(0) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gate := make(chan struct{})
				h := gotalk.NewHandlers()
				h.HandleBufferRequest("slow", func(*gotalk.Sock, string, []byte) ([]byte, error) { <-gate; return nil, nil })
				s := quietSock(h)
				p := connectInMemory(t, s, &gotalk.Limits{})
				p.say(request("aaaa", "slow", 0))
				synctest.Wait()
				began := time.Now()
				wg := new(sync.WaitGroup)
				wg.Add(2)
				told := inBackground(func() time.Duration { wg.Wait(); return time.Since(began) })
				require.NoError(t, s.Shutdown(wg, c.timeout))
				require.ErrorIs(t, s.BufferNotify("note", nil), gotalk.ErrSockClosed)
				require.ErrorIs(t, s.Shutdown(wg, time.Hour), gotalk.ErrSockClosed)
				go p.discard()
				synctest.Wait()
				require.Equal(t, c.timeout <= 0, len(told) == 1, "before it is closed")
				if c.then != nil {
					c.then(s, p, gate)
				}
				require.Equal(t, c.after, await(t, told))
				if name != "answered" {
					close(gate)
				}
			})
		})
	}
}

// A CloseHandler may end its goroutine, as a failing test does.
func TestGoexitInCloseHandler(t *testing.T) {
	s := serveTCP(t, nil, nil)
	s.tcp.MaxConnections = 1
	s.tcp.AcceptHandler = func(s *gotalk.Sock) { s.CloseHandler = func(*gotalk.Sock, int) { runtime.Goexit() } }
	for range 3 {
		settled(s, func() bool { // the place of the one before is free
			c := gotalk.NewSock(echoHandlers())
			defer c.Close()
			return c.Connect("tcp", s.addr, nil) == nil
		})
	}
	a, b := net.Pipe()
	c := gotalk.NewSock(nil)
	c.CloseHandler = func(*gotalk.Sock, int) { runtime.Goexit() }
	c.Adopt(a)
	read := make(chan struct{})
	go func() {
		defer close(read)
		c.Read(nil)
	}()
	b.Close()
	await(t, read)
}

// A Sock that connects again while it is used sends nothing before its version.
func TestConnectAgainWhileInUse(t *testing.T) {
	s := serveTCP(t, echoHandlers(), nil)
	c := gotalk.NewSock(nil)
	defer c.Close()
	require.NoError(t, c.Connect("tcp", s.addr, nil))
	c.CloseHandler = func(s *gotalk.Sock, _ int) { s.BufferNotify("of the old connection's end", nil) }
	for range 20 {
		require.NoError(t, c.Connect("tcp", s.addr, nil))
		_, err := c.BufferRequest("echo", nil)
		require.NoError(t, err)
	}
	c.CloseHandler = nil

	over, used := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			_, err := c.BufferRequest("echo", nil)
			if errors.Is(err, gotalk.ErrUnsupported) {
				used <- err
				return
			}
			select {
			case <-over:
				used <- nil
				return
			default:
			}
		}
	}()
	for range 100 {
		require.NoError(t, c.Connect("tcp", s.addr, nil))
	}
	close(over)
	require.NoError(t, await(t, used))
}
