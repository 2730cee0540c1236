package gotalk_test

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// Everything may be called on a Sock that was never connected.
func TestNeverConnected(t *testing.T) {
	for _, s := range []*gotalk.Sock{{}, gotalk.NewSock(nil)} {
		require.NoError(t, s.Close())
		require.ErrorIs(t, s.CloseError(3), gotalk.ErrSockClosed)
		require.ErrorIs(t, s.Handshake(), gotalk.ErrSockClosed)
		require.ErrorIs(t, s.Read(nil), gotalk.ErrSockClosed)
		require.Nil(t, s.Conn())
		require.Empty(t, s.Addr())
		require.False(t, s.IsClosed())
		require.ErrorIs(t, s.SendHeartbeat(0, make([]byte, 13)), gotalk.ErrSockClosed)
		_, err := s.BufferRequest("a", nil)
		require.ErrorIs(t, err, gotalk.ErrSockClosed)
		require.ErrorIs(t, s.Request("a", 1, nil), gotalk.ErrSockClosed)
		require.ErrorIs(t, s.BufferNotify("a", nil), gotalk.ErrSockClosed)
		require.ErrorIs(t, s.Notify("a", 1), gotalk.ErrSockClosed)
		require.ErrorIs(t, s.SendRequest(gotalk.NewRequest("a", nil), nil), gotalk.ErrSockClosed)
		r, results := s.StreamRequest("a")
		res := await(t, results)
		require.EqualError(t, &res, "socket closed")
		require.ErrorIs(t, r.Write(nil), gotalk.ErrSockClosed)
		require.ErrorIs(t, r.End(), gotalk.ErrSockClosed)
		require.Error(t, s.Context().Err())
		var wg sync.WaitGroup
		wg.Add(1)
		require.ErrorIs(t, s.Shutdown(&wg, time.Second), gotalk.ErrSockClosed)
		wg.Wait()
		require.NoError(t, s.Close())

		p := connectTo(t, s, nil) // and it is as good as new
		p.say("n001a00000000", request("aaaa", "a", 0))
		p.hears(`Eaaaa00000015unknown operation "a"`)
	}
}

// A Sock without Handlers knows no operations and is in order otherwise.
func TestNoHandlers(t *testing.T) {
	eachServer(t, nil, streaming, func(t *testing.T, s *testServer) {
		p := s.peer()
		p.say("n001a00000001", "x", "h000000000000", request("aaaa", "a", 1), "x", begin("bbbb", "a", 1), "x")
		p.hears(`Eaaaa00000015unknown operation "a"`, `Ebbbb00000015unknown operation "a"`)
	})
}

// A protocol error is noticed when it is there, without waiting for the end or for more bytes, and whatever follows it.
// All that was under way ends with its error. No code is taken for another, let alone for none.
func TestProtocolErrorFromPeer(t *testing.T) {
	for code, want := range map[uint32]error{
		0: gotalk.ErrAbnormal, 1: gotalk.ErrUnsupported, 2: gotalk.ErrInvalidMsg, 3: gotalk.ErrTimeout,
		9: nil, 0x7fffffff: nil, 0x80000000: nil, 0xffffffff: nil,
	} {
		for _, after := range []string{"", "h0", "r0000004", "\x00\x00\x00\x00\x00\x00\x00\x00"} {
			closed := make(chan int, 10)
			c := quietSock(nil)
			c.CloseHandler = func(_ *gotalk.Sock, code int) { closed <- code }
			p := connectTo(t, c, nil)
			result := inBackground(func() error { _, err := c.BufferRequest("a", nil); return err })
			p.hear()
			p.say(fmt.Sprintf("f%08x", code) + after)
			got := await(t, closed)
			require.GreaterOrEqual(t, got, 0)
			err := await(t, result)
			_, later := c.BufferRequest("a", nil)
			if want != nil {
				require.Equal(t, int(code), got)
				require.ErrorIs(t, err, want)
				require.ErrorIs(t, later, want)
			} else {
				var unknown *gotalk.ProtocolError
				require.ErrorAs(t, err, &unknown)
				require.Equal(t, code, unknown.Code)
				require.ErrorAs(t, later, &unknown)
			}
			require.NoError(t, c.Close())
			require.Empty(t, closed, "it is told once")
		}
	}
}

// A protocol error arrives although a reset follows it, and although we were writing at the time.
func TestProtocolErrorBeforeReset(t *testing.T) {
	for range 30 {
		closed := make(chan int, 1)
		c := quietSock(nil)
		c.CloseHandler = func(_ *gotalk.Sock, code int) { closed <- code }
		p := connectTo(t, c, nil)
		result := inBackground(func() error { _, err := c.BufferRequest("a", nil); return err })
		p.hear()
		var wg sync.WaitGroup
		wg.Go(func() {
			for c.BufferNotify("n", make([]byte, 1000)) == nil {
			}
		})
		p.say("f00000003")
		p.w.nc.Close() // with unread input: this is what makes a reset of it
		require.Equal(t, gotalk.ProtocolErrorTimeout, await(t, closed))
		require.ErrorIs(t, await(t, result), gotalk.ErrTimeout)
		wg.Wait()
	}
}

// What CloseHandler gets is the code of the protocol error, and -1 when there was none; and it may use the Sock.
func TestCloseHandlerCode(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(s *gotalk.Sock, p *peer)
		code int
		last string
	}{
		"Close":              {func(s *gotalk.Sock, _ *peer) { s.Close() }, -1, "end"},
		"the peer closes":    {func(_ *gotalk.Sock, p *peer) { p.w.end(false) }, -1, "end"},
		"CloseError 0":       {func(s *gotalk.Sock, _ *peer) { s.CloseError(0) }, 0, "f00000000"},
		"CloseError timeout": {func(s *gotalk.Sock, _ *peer) { s.CloseError(gotalk.ProtocolErrorTimeout) }, 3, "f00000003"},
		"unknown type":       {func(_ *gotalk.Sock, p *peer) { p.say("x000000000000") }, 2, "f00000002"},
		"malformed size":     {func(_ *gotalk.Sock, p *peer) { p.say("Raaaa-0000001") }, 2, "f00000002"},
		"malformed name":     {func(_ *gotalk.Sock, p *peer) { p.say("n0x1aaaaaaaaaa") }, 2, "f00000002"},
	} {
		t.Run(name, func(t *testing.T) {
			closed := make(chan int, 10)
			s := quietSock(nil)
			s.CloseHandler = func(s *gotalk.Sock, code int) {
				s.Close()
				s.BufferRequest("a", nil)
				s.Shutdown(nil, 0)
				closed <- code
			}
			p := connectTo(t, s, nil)
			c.end(s, p)
			require.Equal(t, c.code, await(t, closed))
			require.Equal(t, c.last, p.hear())
			require.True(t, s.IsClosed())
		})
	}
}

// A version that is not ours is answered with the protocol error for it.
func TestOtherVersion(t *testing.T) {
	eachServer(t, nil, nil, func(t *testing.T, s *testServer) {
		for _, version := range []string{"02", "00", "zz", "\x00\x00", "GE"} {
			p := s.mutePeer()
			r, err := p.read(true)
			require.NoError(t, err)
			require.Equal(t, "01", string(r.frames[0]))
			p.say(version)
			p.hears("f00000001")
			p.ends()
		}
		require.Empty(t, s.socks, "it was never accepted")
	})
}

// Two Socks shake hands over a connection that holds nothing on its own: both send first.
func TestHandshakeOverPipe(t *testing.T) {
	ca, cb := net.Pipe()
	a, b := quietSock(echoHandlers()), quietSock(nil)
	a.Adopt(ca)
	b.Adopt(cb)
	other := inBackground(a.Handshake)
	require.NoError(t, b.Handshake())
	require.NoError(t, await(t, other))
	reads := []<-chan error{inBackground(func() error { return a.Read(nil) }), inBackground(func() error { return b.Read(nil) })}
	got, err := b.BufferRequest("echo", []byte("x"))
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
	b.Close()
	for _, r := range reads {
		require.Equal(t, io.EOF, await(t, r))
	}
}

// A Sock that connects again right after Close, or instead of it, has nothing to fear from the earlier connection.
func TestConnectAgainAtOnce(t *testing.T) {
	s := serveTCP(t, echoHandlers(), nil)
	closed := make(chan int, 1000)
	c := quietSock(echoHandlers())
	c.CloseHandler = func(_ *gotalk.Sock, code int) { closed <- code }
	defer c.Close()
	const rounds = 300
	for i := range rounds {
		if i%2 == 0 {
			c.Close()
		}
		require.NoError(t, c.ConnectReader(s.dial(), nil))
		require.False(t, c.IsClosed())
		for range 3 {
			b, err := c.BufferRequest("echo", []byte("x"))
			require.NoError(t, err)
			require.Equal(t, "x", string(b))
		}
	}
	for range rounds - 1 {
		require.Equal(t, -1, await(t, closed))
	}
}

// Shutdown lets handlers finish, and tells their requestors; others are refused meanwhile.
func TestShutdownWaitsForHandlers(t *testing.T) {
	h, gate := streamHandlers(), make(chan struct{})
	h.HandleBufferRequest("slow", func(*gotalk.Sock, string, []byte) ([]byte, error) { <-gate; return []byte("done"), nil })
	eachServer(t, h, streaming, func(t *testing.T, s *testServer) {
		p := s.peer()
		sock := s.sock()
		p.say(request("aaaa", "slow", 0), begin("bbbb", "copy", 1), "x")
		p.hears("Sbbbb00000001x")
		p.echoes()
		var wg sync.WaitGroup
		wg.Add(1)
		require.NoError(t, sock.Shutdown(&wg, time.Minute))
		require.ErrorIs(t, sock.Shutdown(nil, time.Minute), gotalk.ErrSockClosed)
		_, err := sock.BufferRequest("a", nil)
		require.ErrorIs(t, err, gotalk.ErrSockClosed)
		require.ErrorIs(t, sock.BufferNotify("a", nil), gotalk.ErrSockClosed)
		for _, m := range []string{request("cccc", "echo", 1), begin("cccc", "copy", 1)} {
			p.say(m, "x")
			require.Regexp(t, `(?s)^(ecccc.{16}|Ecccc.{8})shutting down$`, p.hear())
		}
		p.say(part("p", "bbbb", 1), "y", part("p", "bbbb", 0)) // what was begun goes on
		p.hears("Sbbbb00000001y", "Sbbbb00000000")
		gate <- struct{}{}
		p.hears("Raaaa00000004done")
		p.ends()
		wg.Wait()
	})
}

// A shutdown takes the time that it was given, however busy the peer keeps the connection, and tells the WaitGroup also
// when nothing was there to shut down.
func TestShutdownHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, gate := gotalk.NewHandlers(), make(chan struct{})
		h.HandleBufferRequest("slow", func(*gotalk.Sock, string, []byte) ([]byte, error) { <-gate; return nil, nil })
		s := serveInMemory(t, h, nil)
		p := s.peer()
		sock := s.sock()
		p.say(request("aaaa", "slow", 0))
		go p.discard()
		beating := inBackground(func() error {
			for {
				if err := p.trySay("h000000000000"); err != nil {
					return err
				}
				<-time.After(10 * time.Millisecond)
			}
		})
		synctest.Wait()
		start := time.Now()
		var wg sync.WaitGroup
		wg.Add(1)
		require.NoError(t, sock.Shutdown(&wg, 100*time.Millisecond))
		wg.Wait()
		require.Equal(t, 100*time.Millisecond, time.Since(start))
		require.Error(t, await(t, beating))
		close(gate)

		start = time.Now()
		wg.Add(1)
		require.ErrorIs(t, sock.Shutdown(&wg, time.Hour), gotalk.ErrSockClosed)
		wg.Wait()
		ours, theirs := net.Pipe()
		defer theirs.Close()
		unread := quietSock(nil) // nobody reads from it
		unread.Adopt(networked{ours})
		wg.Add(1)
		require.NoError(t, unread.Shutdown(&wg, time.Hour))
		wg.Wait()
		require.Zero(t, time.Since(start))
		require.ErrorIs(t, unread.Read(nil), gotalk.ErrSockClosed)
	})
}

// While a server accepts it may be closed, again and again, and asked for its address.
func TestServerClosedWhileAccepting(t *testing.T) {
	for range 50 {
		s, err := gotalk.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		accepting := inBackground(s.Accept)
		addr := s.Addr()
		var wg sync.WaitGroup
		wg.Go(func() {
			if nc, err := net.Dial("tcp", addr); err == nil {
				nc.Close()
			}
		})
		for range 3 {
			wg.Go(func() { s.Addr(); s.Close() })
		}
		wg.Wait()
		require.ErrorIs(t, await(t, accepting), gotalk.ErrServerClosed)
		require.ErrorIs(t, s.Accept(), gotalk.ErrServerClosed)
		require.NoError(t, s.Close())
		require.Empty(t, s.Addr())
	}
	require.ErrorIs(t, (&gotalk.Server{}).Accept(), gotalk.ErrServerClosed)
	require.NoError(t, (&gotalk.Server{}).Close())
}

// A panic of AcceptHandler costs its connection and nothing else.
func TestPanicInAcceptHandler(t *testing.T) {
	log := logged(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := gotalk.NewServer(echoHandlers(), nil, l)
	socks := make(chan *gotalk.Sock, 2)
	s.AcceptHandler = func(sock *gotalk.Sock) {
		if socks <- sock; len(socks) == 1 {
			panic("not this one")
		}
	}
	done := inBackground(s.Accept)
	for i := range 2 {
		nc, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		p := newPeer(t, nc, nil, false, true)
		p.shakeHands()
		if i == 0 {
			p.ends()
		} else {
			p.echoes()
		}
	}
	require.Contains(t, log(), "not this one")
	require.NoError(t, s.Close())
	require.ErrorIs(t, await(t, done), gotalk.ErrServerClosed)
	for range 2 {
		(<-socks).Close()
	}
}
