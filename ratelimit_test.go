package gotalk_test

import (
	"errors"
	"math"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// limited returns handlers that count what they are called for: requests and streams named "a" and "b", notifications "a".
func limited(limits ...gotalk.RateLimit) (h *gotalk.Handlers, served *atomic.Int32) {
	h, served = streamOps(), new(atomic.Int32)
	for _, op := range []string{"a", "b"} {
		h.HandleBufferRequest(op, func(*gotalk.Sock, string, []byte) ([]byte, error) {
			served.Add(1)
			return nil, nil
		})
	}
	h.HandleBufferNotification("a", func(*gotalk.Sock, string, []byte) { served.Add(1) })
	h.Use(gotalk.LimitRate(limits...))
	return h, served
}

// impatient returns a client that takes the first answer.
func impatient(s *testServer) *gotalk.Sock {
	c := s.client(nil)
	c.AutoRetryRequests = false
	return c
}

// passes tells after how long the peer wants a request to be made again; 0 means that it was served.
func passes(t *testing.T, c *gotalk.Sock, op string) time.Duration {
	_, err := c.BufferRequest(op, nil)
	if err == nil {
		return 0
	}
	var res *gotalk.Response
	require.True(t, errors.As(err, &res))
	require.True(t, res.IsRetry())
	require.EqualError(t, err, "rate limit")
	return res.Wait
}

func TestLimitRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := limited(gotalk.RateLimit{PerSecond: 4, Burst: 3})
		c := impatient(serveInMemory(t, h, &gotalk.Limits{}))
		for range 3 {
			require.Zero(t, passes(t, c, "a"))
		}
		require.Equal(t, 250*time.Millisecond, passes(t, c, "a"))
		require.Equal(t, 250*time.Millisecond, passes(t, c, "b"), "a call that fails takes nothing")
		<-time.After(100 * time.Millisecond)
		require.Equal(t, 150*time.Millisecond, passes(t, c, "a"))
		<-time.After(150 * time.Millisecond)
		require.Zero(t, passes(t, c, "b"), "who comes when told is served")
		require.Equal(t, 250*time.Millisecond, passes(t, c, "a"))
		<-time.After(time.Hour)
		for range 3 {
			require.Zero(t, passes(t, c, "a"))
		}
		require.NotZero(t, passes(t, c, "a"), "a pause gives no more than Burst")
	})
}

func TestLimitRateHoldsInTheLongRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, served := limited(gotalk.RateLimit{PerSecond: 7})
		c := impatient(serveInMemory(t, h, &gotalk.Limits{}))
		for range 1000 { // in ten seconds
			passes(t, c, "a")
			<-time.After(10 * time.Millisecond)
		}
		require.InDelta(t, 7+10*7, int(served.Load()), 1)
	})
}

func TestLimitRateIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := limited(gotalk.RateLimit{PerSecond: 2, Burst: 1})
		c := serveInMemory(t, h, nil).client(nil)
		for range 3 {
			_, err := c.BufferRequest("a", nil)
			require.NoError(t, err)
		}
	})
}

func TestLimitRateByOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logged(t)
		h, served := limited(
			gotalk.RateLimit{PerSecond: 1, Ops: []string{"a", "copy"}},
			gotalk.RateLimit{PerSecond: 0.1, Ops: []string{"a"}, Refuse: true},
		)
		c := impatient(serveInMemory(t, h, nil))
		for range 20 {
			require.Zero(t, passes(t, c, "b"))
		}
		require.Zero(t, passes(t, c, "a"))
		_, err := open(t, c, "copy").Recv()
		require.EqualError(t, err, "rate limit")
		require.Equal(t, gotalk.CodeUnavailable, gotalk.CodeOf(err))
		<-time.After(time.Second)
		_, err = c.BufferRequest("a", nil)
		require.EqualError(t, err, "rate limit")
		require.Equal(t, gotalk.CodeResourceExhausted, gotalk.CodeOf(err))
		st := open(t, c, "copy")
		require.NoError(t, st.Send([]byte("there is one for this")))
		_, err = st.Recv()
		require.NoError(t, err)

		n := served.Load()
		for range 5 {
			require.NoError(t, c.BufferNotify("a", nil))
		}
		synctest.Wait()
		require.Equal(t, n, served.Load(), "notifications are dropped")
		<-time.After(10 * time.Second)
		require.NoError(t, c.BufferNotify("a", nil))
		synctest.Wait()
		require.Equal(t, n+1, served.Load())
	})
}

func TestLimitRateLogsNoDroppedNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := logged(t)
		h, served := limited(gotalk.RateLimit{PerSecond: 1, Refuse: true})
		c := serveInMemory(t, h, nil).client(nil)
		for range 5 {
			require.NoError(t, c.BufferNotify("a", nil))
		}
		synctest.Wait()
		require.EqualValues(t, 1, served.Load())
		require.Empty(t, lines())
	})
}

func TestLimitRateOfEachConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := limited(gotalk.RateLimit{PerSecond: 1, Burst: 2, EachSock: true}, gotalk.RateLimit{PerSecond: 5})
		s := serveInMemory(t, h, nil)
		a, b, c := impatient(s), impatient(s), impatient(s)
		for _, client := range []*gotalk.Sock{a, b} {
			require.Zero(t, passes(t, client, "a"))
			require.Zero(t, passes(t, client, "a"))
			require.Equal(t, time.Second, passes(t, client, "a"))
		}
		require.Zero(t, passes(t, c, "a"))
		require.Equal(t, 200*time.Millisecond, passes(t, c, "a"), "of all together")
		require.Equal(t, time.Second, passes(t, a, "a"), "until both are there")
	})
}

func TestLimitRateOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, served := limited()
		c := serveInMemory(t, h, nil).client(nil)
		c.Use(gotalk.LimitRate(gotalk.RateLimit{PerSecond: 1, EachSock: true}))
		require.NoError(t, c.BufferNotify("a", nil))
		_, err := c.BufferRequest("a", nil)
		require.Equal(t, gotalk.CodeResourceExhausted, gotalk.CodeOf(err))
		require.Equal(t, gotalk.CodeResourceExhausted, gotalk.CodeOf(c.BufferNotify("a", nil)))
		synctest.Wait()
		require.EqualValues(t, 1, served.Load())
		<-time.After(time.Second)
		_, err = c.BufferRequest("a", nil)
		require.NoError(t, err)
	})
}

func TestLimitRateExtremes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, perSecond := range []float64{0, -1, math.NaN(), math.Inf(-1)} {
			require.Panics(t, func() { gotalk.LimitRate(gotalk.RateLimit{PerSecond: perSecond}) })
		}
		for _, perSecond := range []float64{1e12, math.Inf(1)} {
			h, _ := limited(gotalk.RateLimit{PerSecond: perSecond})
			c := impatient(serveInMemory(t, h, nil))
			for range 10 {
				require.Zero(t, passes(t, c, "a"))
			}
		}
		for _, burst := range []int{1, 5} {
			h, _ := limited(gotalk.RateLimit{PerSecond: math.SmallestNonzeroFloat64, Burst: burst})
			c := impatient(serveInMemory(t, h, nil))
			require.Zero(t, passes(t, c, "a"))
			for range burst - 1 {
				passes(t, c, "a")
			}
			require.Greater(t, passes(t, c, "a"), 24*time.Hour)
		}
	})
}

// What is remembered of a connection would keep its Sock in memory.
func TestLimitRateForgetsConnections(t *testing.T) {
	h, _ := limited(gotalk.RateLimit{PerSecond: 1, EachSock: true})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := gotalk.NewServer(h, nil, l)
	accepted := make(chan weak.Pointer[gotalk.Sock], 1)
	s.AcceptHandler = func(sock *gotalk.Sock) { accepted <- weak.Make(sock) }
	stopped := inBackground(s.Accept)
	for range 3 {
		c := quietSock(nil)
		require.NoError(t, c.Connect("tcp", s.Addr(), nil))
		_, err := c.BufferRequest("a", nil)
		require.NoError(t, err)
		sock := await(t, accepted)
		require.NotNil(t, sock.Value())
		require.NoError(t, c.Close())
		require.Eventually(t, func() bool { runtime.GC(); return sock.Value() == nil }, patience, 5*time.Millisecond)
	}
	require.NoError(t, s.Close())
	require.Error(t, <-stopped)
	runtime.KeepAlive(h)
}
