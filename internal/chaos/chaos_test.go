package chaos_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk/internal/chaos"
	"github.com/stretchr/testify/require"
)

// through connects over a proxy, and returns both ends.
func through(t *testing.T, seed uint64, w chaos.Weights) (p *chaos.Proxy, client, server *net.TCPConn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	p, err = chaos.Listen(l.Addr().String(), seed, w)
	require.NoError(t, err)
	t.Cleanup(func() { p.Close() })
	dialed, err := net.Dial("tcp", p.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { dialed.Close() })
	accepted, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { accepted.Close() })
	return p, dialed.(*net.TCPConn), accepted.(*net.TCPConn)
}

// only are weights with which nothing but f happens.
func only(f chaos.Fault) (w chaos.Weights) {
	w[f] = 1
	return w
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// Whatever is done to bytes, they arrive whole and in order, in both directions, and so does the end.
func TestBytesArrive(t *testing.T) {
	for f, size := range map[chaos.Fault]int{
		chaos.Pass: 1 << 20, chaos.Delay: 200 << 10, chaos.Split: 5 << 10, chaos.Join: 300 << 10, chaos.Throttle: 10 << 10,
		chaos.Pause: 20 << 10,
	} {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			p, client, server := through(t, 1, only(f))
			var both sync.WaitGroup
			for _, way := range [][2]*net.TCPConn{{client, server}, {server, client}} {
				sent := randomBytes(size)
				both.Go(func() {
					way[0].Write(sent)
					way[0].CloseWrite()
				})
				both.Go(func() {
					got, err := io.ReadAll(way[1])
					if err != nil || !bytes.Equal(sent, got) {
						t.Errorf("%d bytes were sent, %d came: %v", len(sent), len(got), err)
					}
				})
			}
			both.Wait()
			require.Positive(t, p.Counts()[f])
			require.NoError(t, p.Close())
		})
	}
}

// Bytes that are split, or throttled, do not come all at once.
func TestSplitIntoPieces(t *testing.T) {
	for _, f := range []chaos.Fault{chaos.Split, chaos.Throttle} {
		_, client, server := through(t, 1, only(f))
		sent := randomBytes(20 << 10)
		client.Write(sent)
		got, reads := make([]byte, len(sent)), 0
		for n := 0; n < len(got); reads++ {
			k, err := server.Read(got[n:])
			require.NoError(t, err)
			n += k
		}
		require.Equal(t, sent, got)
		require.Greater(t, reads, 1)
	}
}

// A reset reaches both ends.
func TestReset(t *testing.T) {
	p, client, server := through(t, 1, chaos.Weights{chaos.Reset: 1})
	_, err := client.Write([]byte("x"))
	require.NoError(t, err)
	for _, nc := range []*net.TCPConn{client, server} {
		_, err := nc.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
	require.Positive(t, p.Counts()[chaos.Reset])
}

// Nothing passes a connection that is half open, not even its end, until the proxy is closed.
func TestHalfOpen(t *testing.T) {
	p, client, server := through(t, 1, chaos.Weights{chaos.HalfOpen: 1})
	_, err := client.Write(randomBytes(1 << 20)) // more than the system holds: it is taken, and dropped
	require.NoError(t, err)
	require.NoError(t, server.CloseWrite())
	for _, nc := range []*net.TCPConn{client, server} {
		require.NoError(t, nc.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
		_, err := nc.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, nc.SetReadDeadline(time.Time{}))
	}
	require.NoError(t, p.Close())
	_, err = client.Read(make([]byte, 1))
	require.Error(t, err)
}

// A server that is not there costs those who come to the proxy their connection.
func TestNoServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
	p, err := chaos.Listen(l.Addr().String(), 1, chaos.Weights{})
	require.NoError(t, err)
	if nc, err := net.Dial("tcp", p.Addr()); err == nil {
		_, err = nc.Read(make([]byte, 1))
		require.Error(t, err)
		nc.Close()
	}
	require.NoError(t, p.Close())
	_, err = net.Dial("tcp", p.Addr())
	require.True(t, errors.Is(err, syscall.ECONNREFUSED), "%v", err)
}

// The same seed makes the same choices.
func TestSeed(t *testing.T) {
	run := func(seed uint64) chaos.Counts {
		p, client, server := through(t, seed, chaos.Weights{chaos.Pass: 1, chaos.Split: 2, chaos.Join: 1})
		client.Write(make([]byte, 1<<20))
		client.CloseWrite()
		io.Copy(io.Discard, server)
		server.Close()
		io.Copy(io.Discard, client)
		return p.Counts()
	}
	first := run(7)
	require.Equal(t, first, run(7))
	require.NotEqual(t, first, run(8))
}
