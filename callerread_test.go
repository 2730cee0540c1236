package gotalk_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// readerWatch is a connection that knows whether the goroutine that last read from it is a caller's.
type readerWatch struct {
	net.Conn
	caller atomic.Bool
}

func (c *readerWatch) Read(p []byte) (int, error) {
	buf := make([]byte, 8<<10)
	c.caller.Store(strings.Contains(string(buf[:runtime.Stack(buf, false)]), "BufferRequest"))
	return c.Conn.Read(p)
}

// alone calls until callers read for themselves, as there is one at a time.
func (c *readerWatch) alone(t testing.TB, s *gotalk.Sock) {
	for range 30_000 {
		got, err := s.BufferRequest("echo", []byte("alone"))
		require.NoError(t, err)
		require.Equal(t, "alone", string(got))
		if c.caller.Load() {
			return
		}
	}
	t.Fatal("callers never read")
}

// watchedPair is a server with h and a client with its own handlers that is connected to it.
func watchedPair(t testing.TB, h, own *gotalk.Handlers) (s *testServer, c *gotalk.Sock, watch *readerWatch) {
	s = serveTCP(t, h, streaming)
	nc, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	watch = &readerWatch{Conn: nc}
	c = quietSock(own)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.ConnectReader(watch, nil))
	return s, c, watch
}

func TestCallersThatRead(t *testing.T) {
	own := echoHandlers()
	pushed := make(chan string, 100)
	own.HandleBufferNotification("push", func(_ *gotalk.Sock, _ string, b []byte) { pushed <- string(b) })
	own.HandleBufferRequest("exit", func(*gotalk.Sock, string, []byte) ([]byte, error) { runtime.Goexit(); return nil, nil })
	h := streamHandlers()
	h.HandleBufferRequest("echo", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) { return b, nil })
	h.HandleBufferRequest("back", func(s *gotalk.Sock, _ string, op []byte) ([]byte, error) { return s.BufferRequest(string(op), op) })
	h.HandleBufferRequest("push first", func(s *gotalk.Sock, _ string, b []byte) ([]byte, error) { return b, s.BufferNotify("push", b) })
	h.HandleBufferRequest("large", func(*gotalk.Sock, string, []byte) ([]byte, error) { return make([]byte, 1<<20), nil })
	s, c, watch := watchedPair(t, h, own)
	server := s.sock()

	t.Run("leave the rest to others", func(t *testing.T) {
		for i := range 20 {
			watch.alone(t, c)
			require.NoError(t, server.BufferNotify("push", fmt.Append(nil, i)))
			require.Equal(t, fmt.Sprint(i), await(t, pushed)) // nobody calls
		}
	})
	t.Run("serve the peer", func(t *testing.T) {
		watch.alone(t, c)
		got, err := c.BufferRequest("back", []byte("echo"))
		require.NoError(t, err)
		require.Equal(t, "echo", string(got))
		watch.alone(t, c)
		_, err = c.BufferRequest("back", []byte("exit")) // not on the caller's goroutine
		require.EqualError(t, err, "internal error")
		watch.alone(t, c)
		_, err = c.BufferRequest("push first", []byte("now"))
		require.NoError(t, err)
		require.Equal(t, "now", await(t, pushed))
	})
	t.Run("are joined by others", func(t *testing.T) {
		for range 20 {
			watch.alone(t, c)
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					for j := range 50 {
						want := fmt.Sprint(i, j)
						var got []byte
						var err error
						if (i+j)%3 == 0 {
							got, err = c.BufferRequestContext(ctx, "echo", []byte(want))
						} else {
							got, err = c.BufferRequest("echo", []byte(want))
						}
						if err != nil || string(got) != want {
							t.Errorf("%q, %v instead of %q", got, err, want)
						}
					}
				})
			}
			wg.Wait()
		}
	})
	t.Run("are followed by other calls", func(t *testing.T) {
		for range 20 {
			watch.alone(t, c)
			got, err := c.BufferRequestContext(deadline(t, t.Context(), patience), "echo", []byte("with a deadline"))
			require.NoError(t, err)
			require.Equal(t, "with a deadline", string(got))
			watch.alone(t, c)
			r, results := c.StreamRequest("copy")
			require.NoError(t, r.Write([]byte("part")))
			require.Equal(t, "part", string(await(t, results).Data))
			require.NoError(t, r.End())
			for range results {
			}
			watch.alone(t, c)
			got, err = c.BufferRequest("large", nil)
			require.NoError(t, err)
			require.Len(t, got, 1<<20)
		}
	})
}

// What ends the connection while a caller reads ends it as always.
func TestConnectionEndsWhileCallerReads(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(server, client *gotalk.Sock)
		code int
		err  error
	}{
		"closed by the peer":   {func(s, _ *gotalk.Sock) { s.Close() }, -1, gotalk.ErrSockClosed},
		"protocol error":       {func(s, _ *gotalk.Sock) { s.CloseError(gotalk.ProtocolErrorAbnormal) }, gotalk.ProtocolErrorAbnormal, gotalk.ErrAbnormal},
		"closed by this side":  {func(_, c *gotalk.Sock) { c.Close() }, -1, gotalk.ErrSockClosed},
		"adopts something new": {func(_, c *gotalk.Sock) { c.Adopt(new(closedConn)) }, -1, gotalk.ErrSockClosed},
	} {
		for _, during := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/during a call %v", name, during), func(t *testing.T) {
				h := echoHandlers()
				var client *gotalk.Sock
				h.HandleBufferRequest("end", func(s *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
					c.end(s, client)
					<-s.Context().Done()
					return nil, nil
				})
				s, sock, watch := watchedPair(t, h, nil)
				client = sock
				code := make(chan int, 1)
				client.CloseHandler = func(_ *gotalk.Sock, c int) { code <- c }
				watch.alone(t, client)
				if during {
					_, err := client.BufferRequest("end", nil)
					require.ErrorIs(t, err, c.err)
				} else {
					c.end(s.sock(), client)
				}
				require.Equal(t, c.code, await(t, code))
			})
		}
	}
}

// closedConn is a connection that has ended.
type closedConn struct{}

func (closedConn) Read([]byte) (int, error)  { return 0, net.ErrClosed }
func (closedConn) Write([]byte) (int, error) { return 0, net.ErrClosed }
func (closedConn) Close() error              { return nil }
