package gotalk_test

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// trade is an operation whose handler is quick, until it is told what else to do.
type trade struct {
	instead atomic.Pointer[func(s *gotalk.Sock)]
	runs    atomic.Int64
	onRead  atomic.Bool // a run of late was on the goroutine that reads
}

func (d *trade) run(s *gotalk.Sock) {
	if f := d.instead.Swap(nil); f != nil {
		(*f)(s)
		return
	}
	if d.runs.Add(1)%10 != 0 {
		return // looking at the stack is not quick
	}
	var callers [16]uintptr
	found := false
	for _, pc := range callers[:runtime.Callers(3, callers[:])] {
		found = found || strings.HasSuffix(runtime.FuncForPC(pc-1).Name(), "readMessages")
	}
	d.onRead.Store(found)
}

func (d *trade) next(f func(s *gotalk.Sock)) { d.instead.Store(&f) }

func (d *trade) handlers() *gotalk.Handlers {
	h := echoHandlers()
	h.HandleBufferRequest("trade", func(s *gotalk.Sock, _ string, b []byte) ([]byte, error) { d.run(s); return b, nil })
	return h
}

// trust calls until the handler is run on the goroutine that reads, since it has been quick so often.
func (d *trade) trust(t testing.TB, c *gotalk.Sock) {
	for range 30_000 {
		if _, err := c.BufferRequest("trade", nil); err != nil {
			t.Fatal(err)
		} else if d.onRead.Load() {
			return
		}
	}
	t.Fatal("the handler is never run on the goroutine that reads")
}

func TestQuickHandlersThatTakeLong(t *testing.T) {
	d := new(trade)
	eachServer(t, d.handlers(), nil, func(t *testing.T, s *testServer) {
		c := s.client(nil)
		check := func(payload string) {
			got, err := c.BufferRequest("echo", []byte(payload))
			require.NoError(t, err)
			require.Equal(t, payload, string(got))
		}

		t.Run("do not hold up others", func(t *testing.T) {
			d.trust(t, c)
			blocked, release, done := make(chan bool), make(chan bool), make(chan error)
			d.next(func(*gotalk.Sock) { close(blocked); <-release })
			go func() {
				got, err := c.BufferRequest("trade", []byte("late"))
				if err == nil && string(got) != "late" {
					err = fmt.Errorf("got %q", got)
				}
				done <- err
			}()
			<-blocked
			for range 100 {
				check("meanwhile")
			}
			close(release)
			require.NoError(t, <-done)
			check("afterwards")
		})
		t.Run("are not trusted for some time", func(t *testing.T) {
			d.trust(t, c)
			for range 3 {
				d.next(func(*gotalk.Sock) { time.Sleep(10 * time.Millisecond) })
				_, err := c.BufferRequest("trade", nil)
				require.NoError(t, err)
			}
			for range 20 {
				_, err := c.BufferRequest("trade", nil)
				require.NoError(t, err)
			}
			require.False(t, d.onRead.Load())
		})
		t.Run("may call the peer", func(t *testing.T) {
			d.trust(t, c)
			var answer []byte
			d.next(func(s *gotalk.Sock) { answer, _ = s.BufferRequest("back", []byte("and forth")) })
			c.Handlers = gotalk.NewHandlers()
			c.Handlers.HandleBufferRequest("back", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) { return b, nil })
			_, err := c.BufferRequest("trade", nil)
			require.NoError(t, err)
			require.Equal(t, "and forth", string(answer))
		})
		t.Run("may panic", func(t *testing.T) {
			d.trust(t, c)
			d.next(func(*gotalk.Sock) { panic("oh") })
			_, err := c.BufferRequest("trade", nil)
			require.EqualError(t, err, "internal error")
			check("afterwards")
		})
		t.Run("may end the goroutine", func(t *testing.T) {
			d.trust(t, c)
			d.next(func(*gotalk.Sock) { runtime.Goexit() })
			_, err := c.BufferRequest("trade", nil)
			require.EqualError(t, err, "internal error")
			check("afterwards")
			d.trust(t, c)
		})
		t.Run("may close the connection", func(t *testing.T) {
			d.trust(t, c)
			d.next(func(s *gotalk.Sock) { s.Close() })
			_, err := c.BufferRequest("trade", nil)
			require.ErrorIs(t, err, gotalk.ErrSockClosed)
		})
	})
}

// tcpPair returns both ends of a TCP connection.
func tcpPair(t testing.TB) (a, b net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	b, err = net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	a, err = l.Accept()
	require.NoError(t, err)
	return a, b
}

// The goroutine that Accept started ends only with the connection, whoever reads.
func TestReadReturnsAtTheEnd(t *testing.T) {
	d := new(trade)
	for name, long := range map[string]func(){"long": func() { time.Sleep(5 * time.Millisecond) }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			server, c := quietSock(d.handlers()), quietSock(nil)
			a, b := tcpPair(t)
			server.Adopt(a)
			returned := make(chan bool)
			go func() {
				defer close(returned) // even if a handler ends this goroutine
				if server.Handshake() == nil {
					server.Read(nil)
				}
			}()
			require.NoError(t, c.ConnectReader(b, nil))
			d.trust(t, c)
			d.next(func(*gotalk.Sock) { long() })
			c.BufferRequest("trade", nil)
			for range 1000 {
				_, err := c.BufferRequest("echo", nil)
				require.NoError(t, err)
			}
			select {
			case <-returned:
				t.Fatal("Read has returned")
			default:
			}
			require.False(t, server.IsClosed())
			c.Close()
			<-returned
			require.True(t, server.IsClosed())
		})
	}
}

func TestQuickNotificationsThatTakeLong(t *testing.T) {
	h := echoHandlers()
	d := new(trade)
	var got []int // appended to by one handler at a time
	h.HandleBufferNotification("n", func(s *gotalk.Sock, _ string, b []byte) {
		d.run(s)
		got = append(got, len(b))
	})
	eachServer(t, h, nil, func(t *testing.T, s *testServer) {
		c := s.client(nil)
		sync := func() {
			_, err := c.BufferRequest("echo", nil)
			require.NoError(t, err)
		}
		for i := 0; !d.onRead.Load(); i++ {
			require.Less(t, i, 30_000)
			require.NoError(t, c.BufferNotify("n", nil))
			sync()
		}
		for name, instead := range map[string]func(*gotalk.Sock){
			"panic": func(*gotalk.Sock) { panic("oh") }, "goexit": func(*gotalk.Sock) { runtime.Goexit() },
		} {
			d.next(instead)
			require.NoError(t, c.BufferNotify("n", nil), name)
			sync()
		}
		blocked, release, last := make(chan bool), make(chan bool), make(chan bool)
		d.onRead.Store(false)
		for i := 0; !d.onRead.Load(); i++ {
			require.Less(t, i, 30_000)
			require.NoError(t, c.BufferNotify("n", nil))
			sync()
		}
		d.next(func(*gotalk.Sock) { got = nil; close(blocked); <-release })
		for i := range 1000 {
			require.NoError(t, c.BufferNotify("n", make([]byte, i)))
		}
		<-blocked
		sync() // requests do not wait for it
		h.HandleBufferNotification("last", func(*gotalk.Sock, string, []byte) { close(last) })
		require.NoError(t, c.BufferNotify("last", nil))
		close(release)
		<-last
		require.Len(t, got, 1000)
		for i, n := range got {
			require.Equal(t, i, n)
		}
	})
}

// Shutdown waits for a handler that runs on the goroutine that reads, too.
func TestShutdownWaitsForQuickHandlers(t *testing.T) {
	d := new(trade)
	s := serveTCP(t, d.handlers(), nil)
	c := s.client(nil)
	d.trust(t, c)
	blocked, release := make(chan bool), make(chan bool)
	d.next(func(*gotalk.Sock) { close(blocked); <-release })
	done := make(chan error)
	go func() {
		_, err := c.BufferRequest("trade", nil)
		done <- err
	}()
	<-blocked
	down := make(chan error)
	go func() { down <- s.tcp.Shutdown(t.Context()) }()
	select {
	case <-down:
		t.Fatal("Shutdown did not wait")
	case <-time.After(20 * time.Millisecond): // cannot fail by being too short
	}
	close(release)
	require.NoError(t, <-done)
	require.NoError(t, <-down)
}

// Handlers that are quick, slow and now and then slow; calls, notifications and calls back at the same time.
func TestHandoverUnderLoad(t *testing.T) {
	h := echoHandlers()
	var n, notes atomic.Int64
	h.HandleBufferRequest("mixed", func(s *gotalk.Sock, _ string, b []byte) ([]byte, error) {
		switch i := n.Add(1); {
		case i%997 == 0:
			time.Sleep(time.Millisecond)
		case i%499 == 0:
			return s.BufferRequest("echo", b)
		case i%251 == 0:
			panic("now and then")
		case i%101 == 0:
			return make([]byte, 100<<10), nil
		}
		return b, nil
	})
	h.HandleBufferNotification("note", func(*gotalk.Sock, string, []byte) {
		if notes.Add(1)%1009 == 0 {
			time.Sleep(time.Millisecond)
		}
	})
	eachServer(t, h, nil, func(t *testing.T, s *testServer) {
		notes.Store(0)
		c := s.client(echoHandlers())
		var wg sync.WaitGroup
		for worker := range 16 {
			wg.Go(func() {
				for i := range 2000 {
					want := fmt.Sprintf("%d.%d", worker, i)
					got, err := c.BufferRequest("mixed", []byte(want))
					if err != nil && err.Error() != "internal error" || err == nil && string(got) != want && len(got) != 100<<10 {
						t.Errorf("%v, %.20q for %q", err, got, want)
						return
					}
					if err := c.BufferNotify("note", []byte(want)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		require.Eventually(t, func() bool { return notes.Load() == 16*2000 }, patience, time.Millisecond)
	})
}
