package gotalk_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// The budgets of this file do not depend on the machine: allocations and writes are counted, not timed.

var headerTypes = "rspRSEenhf"

func TestHeadersAllocateNothing(t *testing.T) {
	for _, typ := range headerTypes {
		b := make([]byte, 0, 64)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			b = gotalk.AppendHeader(b[:0], gotalk.MsgType(typ), [4]byte{1, 2, 3, 4}, "operation", 5, 6)
		}), "append %c", typ)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if _, _, _, _, _, n, err := gotalk.ParseHeader(b); n != len(b) || err != nil {
				panic(err)
			}
		}), "parse %c", typ)
	}
}

// scriptedPeer answers or asks with messages made beforehand, so that it allocates nothing itself.
type scriptedPeer struct {
	nc       net.Conn
	out, buf []byte
}

// exchange writes out and reads n bytes.
func (p *scriptedPeer) exchange(n int) []byte {
	if _, err := p.nc.Write(p.out); err != nil {
		panic(err)
	}
	if _, err := io.ReadFull(p.nc, p.buf[:n]); err != nil {
		panic(err)
	}
	return p.buf[:n]
}

const message25 = `{"message":"Hello World"}`

func TestServingAllocatesLittle(t *testing.T) {
	s := serveTCP(t, echoHandlers(), nil)
	p := &scriptedPeer{nc: s.peer().w.nc, out: []byte(request("aaaa", "echo", 25) + message25), buf: make([]byte, 100)}
	require.Equal(t, part("R", "aaaa", 25)+message25, string(p.exchange(38)))
	require.LessOrEqual(t, testing.AllocsPerRun(2000, func() { p.exchange(38) }), 3.0)
}

func TestCallingAllocatesLittle(t *testing.T) {
	c := quietSock(nil)
	nc := connectTo(t, c, nil).w.nc
	var wg sync.WaitGroup
	defer wg.Wait()
	defer c.Close()
	wg.Go(func() {
		in, out := make([]byte, len(request("aaaa", "echo", 25)+message25)), []byte(part("R", "aaaa", 25)+message25)
		for {
			if _, err := io.ReadFull(nc, in); err != nil {
				return
			}
			copy(out[1:5], in[1:5])
			nc.Write(out)
		}
	})
	payload := []byte(message25)
	call := func() {
		if b, err := c.BufferRequest("echo", payload); err != nil || len(b) != 25 {
			panic(err)
		}
	}
	call()
	require.LessOrEqual(t, testing.AllocsPerRun(2000, call), 3.0)
}

func TestRoundTripAllocatesLittle(t *testing.T) {
	s := serveTCP(t, echoHandlers(), nil)
	c := s.client(nil)
	payload := []byte(message25)
	require.LessOrEqual(t, testing.AllocsPerRun(2000, func() { c.BufferRequest("echo", payload) }), 4.0)
}

func TestNotificationsAllocateLittle(t *testing.T) {
	h := echoHandlers()
	h.HandleBufferNotification("note", func(*gotalk.Sock, string, []byte) {})
	c := serveTCP(t, h, nil).client(nil)
	payload := []byte(message25)
	notify := func() {
		for range 100 {
			if err := c.BufferNotify("note", payload); err != nil {
				panic(err)
			}
		}
		c.BufferRequest("echo", nil) // by then they have come
	}
	for range 10 {
		notify()
	}
	budget := 1.1 // for both sides: the payload, which is the handler's
	if raceDetector {
		budget = 2
	}
	require.LessOrEqual(t, testing.AllocsPerRun(50, notify)/100, budget)
}

// countingConn counts the writes to a connection, of which each is a system call.
type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countingConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// countingListener counts the writes to all connections that it accepts.
type countingListener struct {
	net.Listener
	writes atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return countingConn{nc, &l.writes}, err
}

// countedPair is a server and a client of it with their writes counted.
func countedPair(t testing.TB, ws bool, h *gotalk.Handlers) (c *gotalk.Sock, client, server *atomic.Int64) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &countingListener{Listener: inner}
	s := startServer(t, l, ws, h, streaming)
	c, client = quietSock(nil), new(atomic.Int64)
	t.Cleanup(func() { c.Close() })
	if ws {
		require.NoError(t, c.ConnectWebSocket(t.Context(), "ws://"+inner.Addr().String(), nil, nil))
		client = nil // its connection is its own business
	} else {
		require.NoError(t, c.ConnectReader(countingConn{s.dial(), client}, nil))
		client.Store(0)
	}
	s.sock()
	_, err = c.BufferRequest("echo", nil)
	require.NoError(t, err)
	if client != nil {
		client.Store(0)
	}
	l.writes.Store(0)
	return c, client, &l.writes
}

// A message alone is a write, however many pieces it has. With many under way at once they share writes.
func TestWritesPerMessage(t *testing.T) {
	for _, ws := range []bool{false, true} {
		for _, size := range []int{0, 64, 20_000, 100_000} {
			c, client, server := countedPair(t, ws, echoHandlers())
			payload := []byte(strings.Repeat("x", size))
			const n = 200
			for range n {
				b, err := c.BufferRequest("echo", payload)
				require.NoError(t, err)
				require.Len(t, b, size)
			}
			require.LessOrEqual(t, server.Load(), int64(n))
			if client != nil {
				require.LessOrEqual(t, client.Load(), int64(n))
			}
			c.Close()
		}
	}
	for _, ws := range []bool{false, true} {
		c, client, server := countedPair(t, ws, echoHandlers())
		const callers, each = 64, 200
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range each {
					c.BufferRequest("echo", []byte(message25))
				}
			})
		}
		wg.Wait()
		t.Logf("%d calls with %d under way: %d writes of the server", callers*each, callers, server.Load())
		require.Less(t, server.Load(), int64(callers*each))
		if client != nil {
			require.Less(t, client.Load(), int64(callers*each))
		}
	}
}
