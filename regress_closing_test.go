package gotalk_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// serveTLS is serveTCP over TLS.
func serveTLS(t testing.TB, h *gotalk.Handlers, limits *gotalk.Limits) *testServer {
	web := httptest.NewTLSServer(nil) // has a certificate for tests
	t.Cleanup(web.Close)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: web.TLS.Certificates})
	require.NoError(t, err)
	s := startServer(t, l, false, h, limits)
	config := web.Client().Transport.(*http.Transport).TLSClientConfig
	s.dial = func() net.Conn {
		nc, err := tls.Dial("tcp", l.Addr().String(), config)
		require.NoError(t, err)
		return nc
	}
	return s
}

// What was sent before Close and Shutdown was lost to a reset when the peer had sent something that was not read yet.
func TestCloseDeliversDespiteUnreadInput(t *testing.T) {
	const size = 256 << 10
	noise := strings.Repeat("n001x00000000", 1000)
	for name, serve := range map[string]func(testing.TB, *gotalk.Handlers, *gotalk.Limits) *testServer{"tcp": serveTCP, "tls": serveTLS} {
		for how, end := range map[string]func(*gotalk.Sock) error{
			"Close":    (*gotalk.Sock).Close,
			"Shutdown": func(s *gotalk.Sock) error { return s.Shutdown(nil, time.Minute) },
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				s := serve(t, nil, nil)
				p := s.peer()
				raw := p.w.nc
				if secure, ok := raw.(*tls.Conn); ok {
					raw = secure.NetConn()
				}
				require.NoError(t, raw.(*net.TCPConn).SetReadBuffer(16<<10)) // so that most of it is still to be sent
				sock := s.sock()
				p.say(noise)
				sent := inBackground(func() error { return sock.BufferNotify("big", make([]byte, size)) })
				require.NoError(t, await(t, sent))
				require.NoError(t, end(sock))
				for range 20 {
					if p.trySay(noise) != nil {
						break
					}
				}
				require.Len(t, p.hear(), len("n003big00040000")+size)
				p.hears("end")
			})
		}
	}
}

// Shutdown gave up an answer after a second that the peer was slow to read, whatever its timeout.
func TestShutdownWaitsForSlowReader(t *testing.T) {
	const timeout = 25 * time.Second
	for _, slow := range []bool{true, false} { // or one that never reads
		synctest.Test(t, func(t *testing.T) {
			gate := make(chan struct{})
			h := gotalk.NewHandlers()
			h.HandleBufferRequest("wait", func(*gotalk.Sock, string, []byte) ([]byte, error) { <-gate; return []byte("answer"), nil })
			s := serveInMemory(t, h, &gotalk.Limits{WriteTimeout: time.Minute})
			p := s.peer()
			sock, start := s.sock(), time.Now()
			p.say(request("aaaa", "wait", 0))
			synctest.Wait()
			var wg sync.WaitGroup
			wg.Add(1)
			require.NoError(t, sock.Shutdown(&wg, timeout))
			p.say(request("bbbb", "wait", 0)) // its refusal is being written when the answer comes
			synctest.Wait()
			close(gate)
			if slow {
				<-time.After(timeout - time.Second)
				p.hearsBegin("ebbbb")
				require.Equal(t, "answer", p.answer("aaaa"))
				p.hears("end")
			}
			wg.Wait()
			if !slow {
				require.Equal(t, timeout, time.Since(start))
			}
		})
	}
}

type withoutDeadlines struct{ io.ReadWriteCloser }

type failingDeadlines struct{ net.Conn }

var errNoDeadlines = errors.New("deadlines are not supported")

func (failingDeadlines) SetDeadline(time.Time) error      { return errNoDeadlines }
func (failingDeadlines) SetReadDeadline(time.Time) error  { return errNoDeadlines }
func (failingDeadlines) SetWriteDeadline(time.Time) error { return errNoDeadlines }

// There were no timeouts where a connection has no deadlines, or only pretends to have them.
func TestTimeoutsWithoutDeadlines(t *testing.T) {
	for name, wrap := range map[string]func(net.Conn) io.ReadWriteCloser{
		"no methods":      func(nc net.Conn) io.ReadWriteCloser { return withoutDeadlines{nc} },
		"failing methods": func(nc net.Conn) io.ReadWriteCloser { return failingDeadlines{networked{nc}} },
	} {
		connect := func(t *testing.T, limits *gotalk.Limits) (c *gotalk.Sock, p *peer, closed chan int) {
			closed = make(chan int, 2)
			c = quietSock(nil)
			c.CloseHandler = func(_ *gotalk.Sock, code int) { closed <- code }
			ours, theirs := net.Pipe()
			p = newPeer(t, theirs, nil, false, false)
			connected := inBackground(func() error { return c.ConnectReader(wrap(ours), limits) })
			p.shakeHands()
			require.NoError(t, await(t, connected))
			return c, p, closed
		}
		t.Run(name+" read", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p, closed := connect(t, &gotalk.Limits{ReadTimeout: 5 * time.Second})
				start := time.Now()
				result := inBackground(func() error { _, err := c.BufferRequest("a", nil); return err })
				p.hear()
				<-time.After(4 * time.Second)
				p.say("n001x00000000") // from which it counts anew
				p.hears("f00000003", "end")
				require.InDelta(t, 9, time.Since(start).Seconds(), 1)
				require.Equal(t, gotalk.ProtocolErrorTimeout, await(t, closed))
				require.ErrorIs(t, await(t, result), gotalk.ErrTimeout)
			})
		})
		t.Run(name+" write", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p, closed := connect(t, &gotalk.Limits{WriteTimeout: 5 * time.Second})
				start := time.Now()
				result := inBackground(func() error { _, err := c.BufferRequest("a", nil); return err })
				require.Equal(t, gotalk.ProtocolErrorTimeout, await(t, closed))
				require.InDelta(t, 5, time.Since(start).Seconds(), 1)
				require.ErrorIs(t, await(t, result), gotalk.ErrTimeout)
				p.hears("end")
			})
		})
	}
}

type blockingClose struct {
	net.Conn
	gate chan struct{}
}

func (c blockingClose) Close() error { <-c.gate; return c.Conn.Close() }

// Calls went on waiting as long as the Close of their connection took.
func TestBlockingCloseDoesNotHoldUpCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		ours, theirs := net.Pipe()
		c := quietSock(nil)
		p := connectOver(t, c, nil, func() net.Conn { return blockingClose{networked{ours}, gate} }, func() (net.Conn, error) { return theirs, nil })
		result := inBackground(func() error { _, err := c.BufferRequest("a", nil); return err })
		p.hear()
		r, results := c.StreamRequest("s")
		written := inBackground(func() error { return r.Write(nil) })
		p.hear()
		require.NoError(t, await(t, written))
		synctest.Wait() // nothing is being written
		closed := inBackground(c.Close)
		synctest.Wait()
		require.Empty(t, closed, "the connection is still being closed")
		require.ErrorIs(t, await(t, result), gotalk.ErrSockClosed)
		res := await(t, results)
		require.EqualError(t, &res, "socket closed")
		_, err := c.BufferRequest("a", nil)
		require.ErrorIs(t, err, gotalk.ErrSockClosed)
		close(gate)
		require.NoError(t, await(t, closed))
	})
}

// An AcceptHandler or OnConnect that ended its goroutine left the connection open, with nobody who served it.
func TestGoexitInAcceptHandlerCloses(t *testing.T) {
	log := logged(t)
	inBubbles(t, echoHandlers, nil, func(t *testing.T, s *testServer) {
		if s.ws {
			s.web.OnConnect = func(*gotalk.WebSocket) { runtime.Goexit() }
		} else {
			s.tcp.AcceptHandler = func(*gotalk.Sock) { runtime.Goexit() }
		}
		s.peer().ends()
	})
	require.Contains(t, log(), "AcceptHandler")
}

// What handlers say when the connection's end cancels their context does not come before the reason of that end.
func TestReasonComesBeforeCancelledHandlers(t *testing.T) {
	h := gotalk.NewHandlers()
	h.HandleBufferRequest("wait", func(s *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
		<-s.Context().Done()
		return nil, s.Context().Err()
	})
	limits := *gotalk.DefaultLimits
	limits.ReadTimeout = 20 * time.Millisecond
	s := serveTCP(t, h, &limits)
	for range 20 {
		p := s.peer()
		for _, id := range []string{"aaaa", "bbbb", "cccc"} {
			p.say(request(id, "wait", 0))
		}
		p.hears("f00000003")
		p.hears("end")
	}
}
