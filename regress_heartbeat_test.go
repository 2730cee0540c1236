package gotalk_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// What AcceptHandler sets holds, for that connection.
func TestAcceptHandlerSetsFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveInMemory(t, echoHandlers(), nil)
		loads, accept := make(chan int, 10), s.tcp.AcceptHandler
		s.tcp.HeartbeatInterval = time.Hour
		s.tcp.AcceptHandler = func(sock *gotalk.Sock) {
			sock.HeartbeatInterval = time.Second
			sock.OnHeartbeat = func(load int, _ time.Time) { loads <- load }
			sock.Limits = &gotalk.Limits{MaxPayload: 10}
			accept(sock)
		}
		p := s.peer()
		start := time.Now()
		for range 5 {
			r, err := p.read(false)
			require.NoError(t, err)
			require.Equal(t, byte('h'), r.frames[0][0])
		}
		require.Equal(t, 4, int(time.Since(start).Seconds()))
		p.say("h002a00000000")
		require.Equal(t, 42, await(t, loads))
		p.say(request("aaaa", "echo", 11), "hello world")
		require.Contains(t, p.hear(), "Limits.MaxPayload, 10 bytes")
	})
}

// An interval that is too short to make sense is no reason to die.
func TestHeartbeatIntervalTooShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, every := range []time.Duration{1, time.Microsecond, time.Millisecond - 1, -1} {
			s := serveInMemory(t, echoHandlers(), nil)
			s.tcp.HeartbeatInterval = every
			p := s.peer()
			start := time.Now()
			for range 10 {
				if every < 0 {
					break
				}
				r, err := p.read(false)
				require.NoError(t, err)
				require.Equal(t, byte('h'), r.frames[0][0])
			}
			require.Less(t, time.Since(start), 20*time.Millisecond)
			p.echoes()
			p.w.nc.Close()
		}
	})
}

// Two peers that have nothing to say stay connected.
func TestIdlePeersStayConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveInMemory(t, echoHandlers(), nil)
		c := gotalk.NewSock(nil)
		require.NoError(t, c.ConnectReader(networked{s.dial()}, nil))
		defer c.Close()
		<-time.After(24 * time.Hour)
		b, err := c.BufferRequest("echo", []byte("x"))
		require.NoError(t, err)
		require.Equal(t, "x", string(b))
	})
	t.Run("the server is old", func(t *testing.T) { // it sends no heartbeats and does not answer any
		synctest.Test(t, func(t *testing.T) {
			c := gotalk.NewSock(nil)
			p := connectInMemory(t, c, nil)
			go p.discard()
			<-time.After(time.Hour)
			require.False(t, c.IsClosed())
		})
	})
	t.Run("the client is old", func(t *testing.T) { // it sends heartbeats and gives up when it hears nothing for 30 s
		synctest.Test(t, func(t *testing.T) {
			p := serveInMemory(t, echoHandlers(), nil).peer()
			var heard atomic.Int32
			var wg sync.WaitGroup
			wg.Go(func() {
				for p.w.nc.SetReadDeadline(time.Now().Add(30*time.Second)) == nil {
					if _, err := p.read(false); err != nil {
						return
					}
					heard.Add(1)
				}
			})
			for range 180 {
				p.say("h000000000000")
				<-time.After(20 * time.Second)
			}
			require.GreaterOrEqual(t, heard.Load(), int32(119))
			p.w.nc.Close()
			wg.Wait()
		})
	})
}

// A peer that has gone without a word is noticed within twice the interval of heartbeats.
func TestHalfOpenConnectionIsNoticed(t *testing.T) {
	t.Run("by the client", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, closed := gotalk.NewSock(nil), make(chan int, 1)
			c.CloseHandler = func(_ *gotalk.Sock, code int) { closed <- code }
			limits := *gotalk.DefaultLimits
			limits.ReadTimeout = 0
			p := connectInMemory(t, c, &limits)
			gone := time.Now()
			var wg sync.WaitGroup
			wg.Go(func() { // answers for ten minutes, then only takes what comes
				start := time.Now()
				for {
					if _, err := p.read(false); err != nil {
						return
					}
					if time.Since(start) < 10*time.Minute {
						gone = time.Now()
						p.trySay("h000000000000")
					}
				}
			})
			require.Equal(t, gotalk.ProtocolErrorTimeout, <-closed)
			require.LessOrEqual(t, time.Since(gone), 41*time.Second)
			wg.Wait()
		})
	})
	t.Run("by the server", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := serveInMemory(t, echoHandlers(), nil).peer()
			start := time.Now()
			p.hears("f00000003", "end")
			require.InDelta(t, 30, time.Since(start).Seconds(), 2)
		})
	})
}

// Programs set fields of a Sock when it is connected already: with the package's Connect there is no earlier moment.
func TestFieldsSetAfterConnect(t *testing.T) {
	s := serveTCP(t, echoHandlers(), nil)
	s.tcp.HeartbeatInterval = time.Millisecond
	beats, closed := make(chan struct{}, 1), make(chan int, 1)
	for range 20 {
		c, err := gotalk.Connect("tcp", s.tcp.Addr())
		require.NoError(t, err)
		c.HeartbeatInterval = 2 * time.Millisecond
		c.OnHeartbeat = func(int, time.Time) {
			select {
			case beats <- struct{}{}:
			default:
			}
		}
		c.CloseHandler = func(_ *gotalk.Sock, code int) { closed <- code }
		c.Handlers = echoHandlers()
		await(t, beats)
		s.sock().Close()
		require.Equal(t, -1, await(t, closed))
	}
}

// So they do with servers that are serving, and with the loggers.
func TestFieldsSetWhileServing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := startServer(t, l, false, nil, nil)
	h := echoHandlers()
	h.HandleBufferNotification("panic", func(*gotalk.Sock, string, []byte) { panic("x") })
	logger, handlerLogger := gotalk.ErrorLogger, gotalk.HandlerErrorLogger
	defer func() { gotalk.ErrorLogger, gotalk.HandlerErrorLogger = logger, handlerLogger }()
	var wg sync.WaitGroup
	for i := range 20 {
		limits := *gotalk.DefaultLimits
		s.tcp.Handlers, s.tcp.Limits, s.tcp.HeartbeatInterval = h, &limits, time.Duration(i)*time.Millisecond
		s.tcp.OnHeartbeat = func(int, time.Time) {}
		gotalk.ErrorLogger = func(*gotalk.Sock, string, ...any) {}
		gotalk.HandlerErrorLogger = func(*gotalk.Sock, string, ...any) {}
		p, other := s.peer(), s.peer()
		wg.Go(func() {
			p.trySay("n005panic00000000" + "h000000000000" + request("aaaa", "nope", 0))
			p.read(false)
		})
		other.echoes()
	}
	wg.Wait()
}

// While it is in use a Sock may be shut down from anywhere.
func TestShutdownConcurrently(t *testing.T) {
	s := serveTCP(t, echoHandlers(), nil)
	for range 20 {
		c := s.client(echoHandlers())
		sock := s.sock()
		var wg, down sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for c.BufferNotify("a", nil) == nil {
					c.BufferRequest("echo", []byte("x"))
				}
			})
		}
		for _, s := range []*gotalk.Sock{c, sock, c, sock} {
			down.Add(1)
			wg.Go(func() { s.Shutdown(&down, time.Second) })
		}
		wg.Wait()
		down.Wait()
		require.True(t, c.IsClosed())
	}
}
