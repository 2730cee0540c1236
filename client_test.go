package gotalk_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// memory is a network in memory, for bubbles of virtual time.
type memory struct {
	testing.TB
	mu        sync.Mutex
	listeners map[string]*pipeListener
	dials     []time.Time
}

func newMemory(t testing.TB) *memory { return &memory{TB: t, listeners: map[string]*pipeListener{}} }

func (n *memory) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	n.dials = append(n.dials, time.Now())
	l := n.listeners[addr]
	n.mu.Unlock()
	if l == nil {
		return nil, syscall.ECONNREFUSED
	}
	a, b := net.Pipe()
	select {
	case l.conns <- networked{b}:
		return networked{a}, nil
	case <-l.closed:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *memory) listen(addr string) *pipeListener {
	l := newPipeListener()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[addr] = l
	return l
}

// worker is a server in memory that can be killed.
type worker struct {
	*gotalk.Server
	calls atomic.Int64 // of the operation "echo"
	socks chan *gotalk.Sock

	mu  sync.Mutex
	all []*gotalk.Sock
}

// serve starts a server at addr with the operations of h, and "echo".
func (n *memory) serve(addr string, h *gotalk.Handlers, limits *gotalk.Limits) *worker {
	if h == nil {
		h = gotalk.NewHandlers()
	}
	w := &worker{Server: gotalk.NewServer(h, limits, n.listen(addr)), socks: make(chan *gotalk.Sock, 1000)}
	h.HandleBufferRequest("echo", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) {
		w.calls.Add(1)
		return b, nil
	})
	w.AcceptHandler = func(s *gotalk.Sock) {
		w.mu.Lock()
		w.all = append(w.all, s)
		w.mu.Unlock()
		w.socks <- s
	}
	go w.Accept()
	n.Cleanup(w.kill)
	return w
}

// kill ends a server and its connections at once.
func (w *worker) kill() {
	w.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.all {
		s.Close()
	}
}

// client returns a Client in that network that is started, after setup.
func (n *memory) client(setup func(*gotalk.Client), addrs ...string) *gotalk.Client {
	c := gotalk.NewClient(addrs...)
	c.Dial, c.Handlers = n.dial, nil
	if setup != nil {
		setup(c)
	}
	require.NoError(n, c.Start())
	n.Cleanup(func() { c.Close() })
	return c
}

// pass lets virtual time pass.
func pass(d time.Duration) { <-time.After(d) }

const anAddr = "server:1"

func TestClientConnectsInBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t)
		c := n.client(nil, anAddr)
		out := inBackground(func() error {
			b, err := c.BufferRequest("echo", []byte("x"))
			require.Equal(t, "x", string(b))
			return err
		})
		noted := inBackground(func() error { return c.Notify("note", 1) })
		pass(time.Minute)
		require.Equal(t, gotalk.ClientAway, c.State())
		w := n.serve(anAddr, nil, nil)
		start := time.Now()
		require.NoError(t, <-out)
		require.NoError(t, <-noted)
		require.LessOrEqual(t, time.Since(start), 5*time.Second)
		require.NoError(t, c.WaitReady(context.Background()))
		require.Equal(t, gotalk.ClientConnected, c.State())
		require.EqualValues(t, 1, w.calls.Load())

		require.NoError(t, c.Close())
		require.NoError(t, c.Close())
		require.Equal(t, gotalk.ClientClosed, c.State())
		require.True(t, c.IsClosed())
		<-c.Context().Done()
		_, err := c.BufferRequest("echo", nil)
		require.ErrorIs(t, err, gotalk.ErrSockClosed)
		require.ErrorIs(t, c.WaitReady(context.Background()), gotalk.ErrSockClosed)
		require.ErrorIs(t, c.SetAddrs(), gotalk.ErrSockClosed)
		require.ErrorIs(t, c.Start(), gotalk.ErrSockClosed)
	})
}

// Attempts are more and more apart, at random times.
func TestClientBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t)
		var waits []time.Duration
		c := n.client(func(c *gotalk.Client) {
			c.MinBackoff, c.MaxBackoff = 10*time.Millisecond, time.Second
			c.OnState = func(e gotalk.ClientEvent) {
				if e.State == gotalk.ClientAway {
					require.ErrorIs(t, e.Err, syscall.ECONNREFUSED)
					require.ErrorContains(t, e.Err, "no server listens there")
					require.Equal(t, anAddr, e.Addr)
					waits = append(waits, e.Wait)
				}
			}
		}, anAddr)
		pass(5 * time.Minute)
		c.Close()
		synctest.Wait()
		require.Greater(t, len(waits), 200)
		sum := time.Duration(0)
		for i, w := range waits {
			require.LessOrEqual(t, w, min(time.Second, 10*time.Millisecond<<min(i, 10)))
			if i >= 10 {
				sum += w
			}
		}
		require.InDelta(t, 500, float64(sum.Milliseconds())/float64(len(waits)-10), 150, "full jitter")
		require.Greater(t, slices.Max(waits), 800*time.Millisecond)
		require.Less(t, slices.Min(waits[10:]), 200*time.Millisecond)
	})
}

// A server that closes connections at once is not flooded with attempts; one that comes back after a while is
// there again soon.
func TestClientBackoffOfShortConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t)
		var short atomic.Bool
		short.Store(true)
		w := gotalk.NewServer(gotalk.NewHandlers(), nil, n.listen(anAddr))
		socks := make(chan *gotalk.Sock, 1000)
		w.AcceptHandler = func(s *gotalk.Sock) {
			if socks <- s; short.Load() {
				s.Close()
			}
		}
		go w.Accept()
		defer w.Close()
		c := n.client(nil, anAddr)
		pass(time.Minute)
		attempts := len(socks)
		require.Less(t, attempts, 60)
		short.Store(false)
		pass(10 * time.Second)
		for len(socks) > 1 {
			<-socks
		}
		require.Equal(t, gotalk.ClientConnected, c.State())
		start := time.Now()
		(<-socks).Close()
		last := <-socks
		require.LessOrEqual(t, time.Since(start), 100*time.Millisecond)
		c.Close()
		last.Close()
	})
}

func TestClientStatesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t)
		events := make(chan string, 100)
		w := n.serve(anAddr, nil, nil)
		c := n.client(func(c *gotalk.Client) {
			require.Equal(t, gotalk.ClientIdle, c.State())
			c.OnState = func(e gotalk.ClientEvent) { events <- e.State.String() }
		}, anAddr)
		require.NoError(t, c.WaitReady(context.Background()))
		pass(time.Hour) // heartbeats keep the connection
		(<-w.socks).Close()
		synctest.Wait()
		pass(time.Second)
		c.Close()
		synctest.Wait()
		close(events)
		var all []string
		for e := range events {
			all = append(all, e)
		}
		require.Equal(t, "connecting connected away connecting connected closed", strings.Join(all, " "))
		require.Equal(t, "ClientState(9)", gotalk.ClientState(9).String())
		require.Equal(t, "idle", gotalk.ClientIdle.String())
	})
}

func TestClientQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t)
		c := n.client(func(c *gotalk.Client) { c.MaxQueued = 3 }, anAddr)
		var results []<-chan error
		for range 3 {
			results = append(results, inBackground(func() error { return c.Request("echo", 1, nil) }))
		}
		synctest.Wait()
		for _, call := range []func() error{
			func() error { return c.Request("echo", 1, nil) },
			func() error { return c.Notify("note", 1) },
			func() error { _, err := c.OpenStream(context.Background(), "stream"); return err },
		} {
			err := call()
			require.Equal(t, gotalk.CodeUnavailable, gotalk.CodeOf(err))
			require.ErrorContains(t, err, "3 calls wait")
			require.ErrorContains(t, err, "connection refused")
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err := c.WaitReady(ctx) // is no call
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "connection refused")
		n.serve(anAddr, nil, nil)
		for _, r := range results {
			require.NoError(t, <-r)
		}
	})
}

func TestClientCallEndsWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t)
		c := n.client(nil, anAddr)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start := time.Now()
		err := c.RequestContext(ctx, "echo", 1, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, gotalk.CodeDeadlineExceeded, gotalk.CodeOf(err))
		require.ErrorContains(t, err, anAddr)
		require.Equal(t, time.Second, time.Since(start))
		waiting := inBackground(func() error { return c.Request("echo", 1, nil) })
		synctest.Wait()
		c.Close()
		require.ErrorIs(t, <-waiting, gotalk.ErrSockClosed)
	})
}

func TestClientWantsStart(t *testing.T) {
	c := gotalk.NewClient("localhost:1")
	defer c.Close()
	require.ErrorContains(t, c.Request("echo", 1, nil), "Start")
	require.ErrorContains(t, c.Connect("tcp", "127.0.0.1:1", nil), "connect")
	for addr, why := range map[string]string{
		"":                      "host and port",
		"localhost":             "host and port",
		"localhost:":            "host and port",
		"tcp://localhost":       "host and port",
		"tls://":                "host and port",
		"http://localhost:1234": "may begin with",
		"unix://":               "a path",
		"ws://":                 "a URL",
		"wss://%zz":             "a URL",
	} {
		require.ErrorContains(t, c.SetAddrs(addr), why)
		bad := gotalk.NewClient("localhost:1", addr)
		require.ErrorContains(t, bad.Start(), fmt.Sprintf("%q", addr))
		require.ErrorContains(t, bad.Notify("note", 1), fmt.Sprintf("%q", addr), "for those who do not look at Start's error")
		bad.Close()
	}
	require.NoError(t, c.SetAddrs())
	require.NoError(t, c.Start())
	require.ErrorContains(t, c.Start(), "already")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorContains(t, c.WaitReady(ctx), "no address")
	ours, theirs := net.Pipe()
	defer theirs.Close()
	require.ErrorContains(t, c.ConnectReader(ours, nil), "SetAddrs")
}

func deadline(t testing.TB, ctx context.Context, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(ctx, d)
	t.Cleanup(cancel)
	return ctx
}

func TestClientShutdown(t *testing.T) {
	for _, patient := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			n := newMemory(t)
			gate := make(chan struct{})
			h := gotalk.NewHandlers()
			h.HandleBufferRequest("slow", func(*gotalk.Sock, string, []byte) ([]byte, error) { <-gate; return nil, nil })
			w := n.serve(anAddr, h, nil)
			own := gotalk.NewHandlers()
			own.HandleBufferRequest("back", func(*gotalk.Sock, string, []byte) ([]byte, error) { <-gate; return []byte("back"), nil })
			c := n.client(func(c *gotalk.Client) { c.Handlers = own }, anAddr)
			made := inBackground(func() error { _, err := c.BufferRequest("slow", nil); return err })
			theirs := <-w.socks
			served := inBackground(func() error { _, err := theirs.BufferRequest("back", nil); return err })
			synctest.Wait()
			require.Equal(t, 1, c.Stats().Connections)
			require.Equal(t, 1, c.Stats().CallsPending)
			require.Equal(t, c.Stats(), c.Sock.Stats())
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			down := inBackground(func() error { return c.Shutdown(ctx) })
			synctest.Wait()
			require.ErrorIs(t, c.Request("slow", 1, nil), gotalk.ErrSockClosed)
			if patient {
				gate <- struct{}{}
				gate <- struct{}{}
				require.NoError(t, <-made)
				require.NoError(t, <-served)
				require.NoError(t, <-down)
			} else {
				require.ErrorIs(t, <-down, context.DeadlineExceeded)
				require.ErrorIs(t, <-made, gotalk.ErrSockClosed)
				require.ErrorIs(t, <-served, gotalk.ErrSockClosed)
				close(gate)
			}
		})
	}
}

// Everything that calls, calls through the Client.
func TestClientTakesAllKindsOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t)
		h := gotalk.NewHandlers()
		notes := make(chan string, 10)
		h.HandleNotification("note", func(text string) { notes <- text })
		h.HandleStream("stream", func(_ context.Context, st *gotalk.Stream) error {
			for b, err := range st.All() {
				if err != nil {
					return err
				}
				if err := st.Send(b); err != nil {
					return err
				}
			}
			return nil
		})
		n.serve(anAddr, h, streaming)
		c := n.client(nil, anAddr)
		number, err := gotalk.Call[int](context.Background(), c.Sock, "echo", 5)
		require.NoError(t, err)
		require.Equal(t, 5, number)
		number, err = gotalk.Op[int, int]{Name: "echo"}.Call(context.Background(), c.Sock, 6)
		require.NoError(t, err)
		require.Equal(t, 6, number)
		require.NoError(t, c.Notify("note", "a"))
		require.Equal(t, "a", <-notes)

		st, err := c.OpenStream(context.Background(), "stream")
		require.NoError(t, err)
		require.NoError(t, st.Send([]byte("x")))
		b, err := st.Recv()
		require.NoError(t, err)
		require.Equal(t, "x", string(b))
		require.NoError(t, st.Close())

		old, results := c.StreamRequest("stream")
		require.NoError(t, old.Write([]byte("y")))
		require.Equal(t, "y", string((<-results).Data))
		require.NoError(t, old.End())
		for range results {
		}
		single := make(chan gotalk.Response, 1)
		require.NoError(t, c.SendRequest(gotalk.NewRequest("echo", []byte("z")), single))
		require.Equal(t, "z", string((<-single).Data))
		_, err = c.BufferRequest("gotalk:own", nil)
		require.ErrorContains(t, err, "reserved")

		var refusal *gotalk.Response
		_, err = c.BufferRequest("nothing", nil)
		require.True(t, errors.As(err, &refusal))
		require.Equal(t, gotalk.CodeUnimplemented, gotalk.CodeOf(err))
	})
}

// Servers call back, on the Sock of the connection.
func TestClientIsCalledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t)
		w := n.serve(anAddr, nil, nil)
		socks := make(chan *gotalk.Sock, 1)
		closed := make(chan int, 1)
		c := n.client(func(c *gotalk.Client) {
			c.Handlers = gotalk.NewHandlers()
			c.Handlers.HandleBufferRequest("back", func(s *gotalk.Sock, _ string, b []byte) ([]byte, error) { socks <- s; return b, nil })
			c.UserData = "mine"
			c.CloseHandler = func(s *gotalk.Sock, code int) { closed <- code }
		}, anAddr)
		b, err := (<-w.socks).BufferRequest("back", []byte("x"))
		require.NoError(t, err)
		require.Equal(t, "x", string(b))
		s := <-socks
		require.NotSame(t, c.Sock, s)
		require.Equal(t, "mine", s.UserData)
		s.Close()
		require.Equal(t, -1, <-closed)
	})
}
