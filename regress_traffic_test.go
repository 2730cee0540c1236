package gotalk_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// Two peers that send each other all they can, without waiting for anything, get all of it.
func TestBothSendNotifications(t *testing.T) {
	for _, size := range []int{100, 10_000, 300_000} {
		n, senders := min(20_000, 60_000_000/size)/64, 64
		var got atomic.Int64
		all := make(chan struct{})
		h := gotalk.NewHandlers()
		h.HandleBufferNotification("n", func(_ *gotalk.Sock, _ string, b []byte) {
			if len(b) == size && got.Add(1) == int64(2*n*senders) {
				close(all)
			}
		})
		s := serveTCP(t, h, nil)
		c := s.client(h)
		sock := s.sock()
		var wg sync.WaitGroup
		payload := make([]byte, size)
		for i := range 2 * senders {
			s := []*gotalk.Sock{c, sock}[i%2]
			wg.Go(func() {
				for range n {
					if err := s.BufferNotify("n", payload); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		await(t, all)
		wg.Wait()
	}
}

// So it is with requests whose payloads and answers are large, in both directions.
func TestBothSendLargeRequests(t *testing.T) {
	s := serveTCP(t, echoHandlers(), nil)
	c := s.client(echoHandlers())
	sock := s.sock()
	payload := make([]byte, 500_000)
	var wg sync.WaitGroup
	for _, s := range []*gotalk.Sock{c, sock} {
		for range 16 {
			wg.Go(func() {
				for range 10 {
					if b, err := s.BufferRequest("echo", payload); err != nil || len(b) != len(payload) {
						t.Error(len(b), err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
}

// Handlers that call back get their answers although far more requests are there than may be handled at once: the others
// wait, or are told to try again. Where both sides do it, and so are in each other's way, it comes to an end as well.
func TestHandlersCallBackUnderLoad(t *testing.T) {
	h := echoHandlers()
	h.HandleBufferRequest("ask", func(s *gotalk.Sock, _ string, b []byte) ([]byte, error) { return s.BufferRequest("echo", b) })
	h.HandleBufferRequest("chain", func(s *gotalk.Sock, _ string, b []byte) ([]byte, error) { // calls of calls of calls
		if len(b) == 0 {
			return nil, nil
		}
		return s.BufferRequest("chain", b[1:])
	})
	limits := *gotalk.DefaultLimits
	limits.MaxHandlers, limits.MaxPendingBytes, limits.MaxUnsentBytes = 8, 10_000, 10_000
	for _, bothWays := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := serveInMemory(t, h, &limits)
			c := quietSock(h)
			require.NoError(t, c.ConnectReader(networked{s.dial()}, &limits))
			defer c.Close()
			var wg sync.WaitGroup
			var answered, refused atomic.Int64
			const callers = 100
			callWith := func(s *gotalk.Sock) {
				for i := range callers {
					wg.Go(func() {
						b, err := s.BufferRequest("ask", make([]byte, 1000))
						if i%10 == 0 && err == nil {
							b, err = s.BufferRequest("chain", make([]byte, 4))
							b = make([]byte, 1000+len(b))
						}
						switch res, _ := err.(*gotalk.Response); {
						case err == nil && len(b) == 1000:
							answered.Add(1)
						case res != nil && res.Error() == "request rate limit":
							refused.Add(1)
						default:
							t.Error(len(b), err)
						}
					})
				}
			}
			callWith(c)
			if bothWays {
				callWith(s.sock())
			}
			wg.Wait()
			t.Logf("%d answered, %d refused in the end", answered.Load(), refused.Load())
			if !bothWays {
				require.Equal(t, int64(callers), answered.Load())
			}
			b, err := c.BufferRequest("ask", []byte("still here"))
			require.NoError(t, err)
			require.Equal(t, "still here", string(b))
		})
	}
}

// Handlers of two peers that are all in use and call each other do not wait for ever: what would have to wait for them is
// refused, so that they may try again and give up in the end.
func TestHandlersWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const handlers = 2
		var running sync.WaitGroup
		running.Add(2 * handlers)
		h := echoHandlers()
		h.HandleBufferRequest("ask", func(s *gotalk.Sock, _ string, b []byte) ([]byte, error) {
			running.Done()
			running.Wait() // for all of both sides
			return s.BufferRequest("echo", b)
		})
		limits := *gotalk.DefaultLimits
		limits.ReadTimeout, limits.MaxHandlers = 0, handlers
		s := serveInMemory(t, h, &limits)
		c := quietSock(h)
		require.NoError(t, c.ConnectReader(networked{s.dial()}, &limits))
		defer c.Close()
		time.AfterFunc(10*time.Minute, func() { c.Close() })
		var wg sync.WaitGroup
		for _, s := range []*gotalk.Sock{c, s.sock()} {
			for range handlers {
				wg.Go(func() {
					_, err := s.BufferRequest("ask", []byte("x"))
					if err != nil && err.Error() != "request rate limit" {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		b, err := c.BufferRequest("echo", []byte("still here"))
		require.NoError(t, err)
		require.Equal(t, "still here", string(b))
	})
}

// What was sent is not lost by closing right after it.
func TestCloseSendsWhatIsThere(t *testing.T) {
	for _, size := range []int{10, 100_000} {
		for range 20 {
			var got, sent atomic.Int64
			h := gotalk.NewHandlers()
			h.HandleBufferNotification("n", func(*gotalk.Sock, string, []byte) { got.Add(1) })
			s := serveTCP(t, h, nil)
			c := s.client(nil)
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					for range 5 {
						if c.BufferNotify("n", make([]byte, size)) == nil {
							sent.Add(1)
						}
					}
				})
			}
			wg.Wait()
			require.NoError(t, c.Close())
			sock := s.sock()
			<-sock.Context().Done()
			require.Equal(t, int64(80), sent.Load())
			require.Eventually(t, func() bool { return got.Load() == 80 }, patience, time.Millisecond, "%v", &got)
		}
	}
}

// A client's streams that are over leave nothing behind.
func TestFinishedCallsLeaveNothing(t *testing.T) {
	s := serveTCP(t, streamHandlers(), streaming)
	c := s.client(nil)
	run := func(n int) {
		for range n {
			r, results := c.StreamRequest("copy")
			require.NoError(t, r.Write([]byte("x")))
			require.Equal(t, "x", string(await(t, results).Data))
			require.NoError(t, r.End())
			require.Empty(t, await(t, results).Data)
			_, open := <-results
			require.False(t, open)
			_, err := c.BufferRequest("nope", nil)
			require.Error(t, err)
		}
	}
	run(1100)
	before := heapInUse()
	run(3000)
	require.Less(t, heapInUse()-before, int64(500_000))
}

// StreamReqLimit is a limit.
func TestStreamReqLimit(t *testing.T) {
	c := quietSock(streamHandlers())
	c.StreamReqLimit = 2
	p := connectTo(t, c, nil)
	for i := range 3 {
		p.say(begin(fmt.Sprintf("aaa%d", i), "copy", 1), "x")
		if i < 2 {
			p.hears(fmt.Sprintf("Saaa%d00000001x", i))
		} else {
			require.Regexp(t, "^eaaa2.*request rate limit$", p.hear())
		}
	}
}

type (
	namedFunc      func()
	namedErrorFunc func() error
)

// Functions of named types are functions like others.
func TestHandlersOfNamedTypes(t *testing.T) {
	h, called := echoHandlers(), make(chan struct{}, 1)
	h.HandleNotification("n", namedFunc(func() { called <- struct{}{} }))
	h.Handle("r", namedErrorFunc(func() error { return fmt.Errorf("named") }))
	p := serveTCP(t, h, nil).peer()
	p.say("n001n00000000")
	await(t, called)
	p.say(request("aaaa", "r", 0))
	p.hears("Eaaaa00000005named")
}

// A server that shuts down lets handlers finish, but no longer than the context.
func TestServerShutdown(t *testing.T) {
	h, gate, running := echoHandlers(), make(chan struct{}), make(chan struct{}, 1)
	h.HandleBufferRequest("slow", func(*gotalk.Sock, string, []byte) ([]byte, error) {
		running <- struct{}{}
		<-gate
		return []byte("done"), nil
	})
	for _, patient := range []bool{true, false} {
		eachServer(t, h, nil, func(t *testing.T, s *testServer) {
			idle, p := s.peer(), s.peer()
			p.say(request("aaaa", "slow", 0))
			await(t, running)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			result := inBackground(func() error {
				if s.ws {
					return s.web.Shutdown(ctx)
				}
				return s.tcp.Shutdown(ctx)
			})
			idle.ends()
			if patient {
				gate <- struct{}{}
				p.hears("Raaaa00000004done")
				p.ends()
				require.NoError(t, await(t, result))
			} else {
				cancel()
				p.ends()
				require.ErrorIs(t, await(t, result), context.Canceled)
				gate <- struct{}{}
			}
		})
	}
}
func TestBothSidesGiveUp(t *testing.T) {
	for _, plain := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			h := gotalk.NewHandlers()
			h.HandleBufferRequest("large", func(*gotalk.Sock, string, []byte) ([]byte, error) {
				time.Sleep(10 * time.Millisecond)
				return make([]byte, 300_000), nil
			})
			s := serveInMemory(t, h, nil)
			c := quietSock(h)
			c.NoExtensions = plain
			s.connect(c)
			ends := []*gotalk.Sock{c, s.sock()}
			time.Sleep(time.Second) // no hello is waited for any more
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			defer cancel()
			for _, end := range ends {
				for range 200 {
					go end.BufferRequestContext(ctx, "large", nil)
				}
			}
			time.Sleep(5 * time.Second)
			for _, end := range ends {
				require.Equal(t, gotalk.Stats{Connections: 1}, end.Stats())
			}
			time.Sleep(10 * time.Second)
			for _, end := range ends {
				require.False(t, end.IsClosed())
			}
		})
	}
}

// Notifications are read even where there is no room for them, as long as a call's result may come behind them, but only up to
// twice the bound and one more: then the connection ends.
func TestTooManyNotificationsDuringCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, gate := logged(t), make(chan struct{})
		h := echoHandlers()
		h.HandleBufferNotification("held", func(*gotalk.Sock, string, []byte) { <-gate })
		s := serveInMemory(t, h, &gotalk.Limits{MaxPendingBytes: 10_000, MaxPayload: 1000})
		p := s.peer()
		made := calls(context.Background(), s.sock(), "op", nil)
		p.hearsAll(request(id0, "op", 0))
		heard, n := inBackground(p.hear), 0
		for ; p.trySay(notification("held", zeros(900))) == nil && n < 100; n++ {
			synctest.Wait()
		}
		close(gate)
		require.InDelta(t, 22, n, 2)
		require.Equal(t, "f00000000", await(t, heard))
		require.ErrorIs(t, (await(t, made)).err, gotalk.ErrAbnormal)
		require.Contains(t, log(), "too many notifications wait")
	})
}

// Who reads nothing at all makes this side read on, but not for long.
func TestReadingOnIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := gotalk.NewHandlers()
		h.HandleBufferRequest("echo", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) { return b, nil })
		s := serveInMemory(t, h, &gotalk.Limits{MaxUnsentBytes: 10_000})
		p := s.peer()
		sock := s.sock()
		said := inBackground(func() (err error) {
			for m := request("aaaa", "echo", 1000) + zeros(1000); err == nil; err = p.trySay(m) {
			}
			return err
		})
		time.Sleep(500 * time.Millisecond)
		before := sock.Stats().PendingBytes
		time.Sleep(10 * time.Second)
		after := sock.Stats().PendingBytes
		require.Greater(t, after, before)
		require.LessOrEqual(t, after, before+40_000+2000)
		p.w.nc.Close()
		require.Error(t, await(t, said))
	})
}

// Requests that wait were refused when calls of ours had been pending at two moments far apart, as if it had been all the time.
func TestShortCallsAreNoLongOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := echoHandlers()
		h.HandleBufferRequest("slow", func(*gotalk.Sock, string, []byte) ([]byte, error) {
			<-time.After(5 * time.Second)
			return nil, nil
		})
		peers := echoHandlers()
		peers.HandleBufferRequest("quick", func(*gotalk.Sock, string, []byte) ([]byte, error) {
			<-time.After(30 * time.Millisecond)
			return nil, nil
		})
		ca, cb := net.Pipe()
		a, b := quietSock(h), quietSock(peers)
		a.Adopt(ca)
		b.Adopt(cb)
		b.AutoRetryRequests = false
		go a.Read(&gotalk.Limits{MaxHandlers: 1})
		go b.Read(nil)
		slow := []<-chan reply{calls(t.Context(), b, "slow", nil), calls(t.Context(), b, "slow", nil)}
		for range 4 {
			<-time.After(1100 * time.Millisecond)
			_, err := a.BufferRequest("quick", nil)
			require.NoError(t, err)
		}
		for _, made := range slow {
			require.NoError(t, await(t, made).err)
		}
		a.Close()
		b.Close()
	})
}
