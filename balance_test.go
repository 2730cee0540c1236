package gotalk_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// pool is several workers with a Client that is connected to all.
type pool struct {
	*memory
	client  *gotalk.Client
	workers []*worker
	socks   []*gotalk.Sock
	release func() // lets calls of "hold" return
}

// newPool starts n workers with an operation "hold", which blocks until release, and a Client that hears of their loads
// only by say.
func newPool(t testing.TB, n int, limits *gotalk.Limits) *pool {
	released := make(chan struct{})
	p := &pool{memory: newMemory(t), release: sync.OnceFunc(func() { close(released) })}
	var addrs []string
	for i := range n {
		h := gotalk.NewHandlers()
		addrs = append(addrs, fmt.Sprint("worker:", i))
		w := p.serve(addrs[i], h, limits)
		h.HandleBufferRequest("hold", func(*gotalk.Sock, string, []byte) ([]byte, error) {
			w.calls.Add(1)
			<-released
			return []byte(addrs[i]), nil
		})
		p.workers = append(p.workers, w)
	}
	p.client = p.memory.client(func(c *gotalk.Client) { c.HeartbeatInterval = 0 }, addrs...)
	for _, w := range p.workers {
		p.socks = append(p.socks, <-w.socks)
	}
	t.Cleanup(p.release)
	synctest.Wait()
	return p
}

// say makes the workers say their loads.
func (p *pool) say(loads ...float32) {
	for i, load := range loads {
		require.NoError(p, p.socks[i].SendHeartbeat(load, nil))
	}
	synctest.Wait()
}

// hold begins n calls of "hold" and returns how many of them each worker gets.
func (p *pool) hold(n int) (got []int64) {
	for _, w := range p.workers {
		got = append(got, -w.calls.Load())
	}
	for range n {
		go p.client.BufferRequest("hold", nil)
		synctest.Wait()
	}
	if n > 6 {
		pass(time.Second) // until there are enough handlers
	}
	for i, w := range p.workers {
		got[i] += w.calls.Load()
	}
	return got
}

func TestClientSpreadsCalls(t *testing.T) {
	for name, test := range map[string]struct {
		loads []float32
		calls int
		want  []int64
	}{
		"nothing is known":              {nil, 30, []int64{10, 10, 10}},
		"equal loads":                   {[]float32{.5, .5, .5}, 30, []int64{10, 10, 10}},
		"the least loaded first":        {[]float32{.9, .1, .8}, 5, []int64{0, 5, 0}},
		"but not more than it can take": {[]float32{.5, .0, 1}, 16 + 8, []int64{8, 16, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, 3, nil)
				p.say(test.loads...)
				got := p.hold(test.calls)
				for i := range got {
					require.InDelta(t, test.want[i], got[i], 1, "%v", got)
				}
				p.release()
			})
		})
	}
}

// What a call adds to the load of a peer is learned from what it says while calls are under way.
func TestClientLearnsWhatWorkersCanTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, 2, nil)
		require.Equal(t, []int64{5, 5}, p.hold(10))
		p.say(.05, .5) // the first one can take 100 calls, the second one 10
		got := p.hold(45)
		require.Equal(t, []int64{45, 0}, got)
		got = p.hold(11)
		require.InDelta(t, 10, got[0], 1)
		require.InDelta(t, 1, got[1], 1)
		p.release()
		synctest.Wait()
		p.say(0, 0)
		require.Equal(t, gotalk.ClientConnected, p.client.State())
	})
}

// Ties are broken at random, so that many clients do not all begin with the same worker.
func TestClientBreaksTiesAtRandom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, 4, nil)
		p.release()
		for _, n := range p.hold(400) {
			require.InDelta(t, 100, n, 60)
		}
	})
}

// A worker that has no room is left alone for the time that it asks for, while others take what it would get.
func TestClientLeavesFullWorkersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := gotalk.NewLimits(2, 0)
		limits.BufferMinWait, limits.BufferMaxWait = time.Second, time.Second
		p := newPool(t, 3, limits)
		p.say(0, .5, .5) // says that it has nothing to do, but can take only two
		start := time.Now()
		require.Equal(t, []int64{2, 2, 2}, p.hold(6))
		require.Zero(t, time.Since(start), "a call that is refused goes elsewhere at once")

		waiting := inBackground(func() error { _, err := p.client.BufferRequest("hold", nil); return err })
		synctest.Wait()
		p.client.AutoRetryRequests = false
		_, err := p.client.BufferRequest("hold", nil)
		require.ErrorContains(t, err, "request rate limit")
		require.Equal(t, gotalk.CodeUnavailable, gotalk.CodeOf(err))
		p.client.AutoRetryRequests = true
		p.release()
		require.NoError(t, <-waiting)
		require.InDelta(t, 1.1, time.Since(start).Seconds(), .1, "when all refuse it waits, and a little more")

		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		require.NoError(t, p.client.RequestContext(ctx, "echo", 1, nil))
	})
}

// A call that all have refused is made at once when another worker comes.
func TestClientUsesNewWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := gotalk.NewLimits(1, 0)
		limits.BufferMinWait, limits.BufferMaxWait = time.Minute, time.Minute
		p := newPool(t, 1, limits)
		p.hold(1)
		start := time.Now()
		waiting := inBackground(func() error { return p.client.Request("echo", 1, nil) })
		pass(10 * time.Second)
		p.serve("worker:1", nil, nil)
		require.NoError(t, p.client.SetAddrs("worker:0", "worker:1"))
		require.NoError(t, <-waiting)
		require.Equal(t, 10*time.Second, time.Since(start))
	})
}

// Tries are counted when all have refused, so an operation that always refuses does not go on for ever.
func TestClientGivesUpWhenAllRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t)
		var calls atomic.Int64
		h := gotalk.NewHandlers()
		h.HandleBufferRequest("never", func(*gotalk.Sock, string, []byte) ([]byte, error) {
			calls.Add(1)
			return nil, gotalk.RetryAfter(0, "not today")
		})
		n.serve("worker:0", h, nil)
		n.serve("worker:1", h, nil)
		c := n.client(nil, "worker:0", "worker:1")
		require.NoError(t, c.WaitReady(context.Background()))
		synctest.Wait()
		_, err := c.BufferRequest("never", nil)
		require.ErrorContains(t, err, "not today")
		require.EqualValues(t, 6, calls.Load())
	})
}

func TestClientSetAddrs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, 2, nil)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				_, err := p.client.BufferRequest("hold", nil)
				require.NoError(t, err, "what is under way is finished")
			})
			synctest.Wait()
		}
		stays := p.socks[1]
		require.NoError(t, p.client.SetAddrs("worker:1", "worker:2"))
		w := p.serve("worker:2", nil, nil)
		synctest.Wait()
		require.False(t, p.socks[0].IsClosed())
		require.False(t, stays.IsClosed())
		before := p.workers[0].calls.Load()
		for range 50 {
			require.NoError(t, p.client.Request("echo", 1, nil))
		}
		pass(time.Second)
		for range 50 {
			require.NoError(t, p.client.Request("echo", 1, nil))
		}
		require.Equal(t, before, p.workers[0].calls.Load())
		require.NotZero(t, w.calls.Load())
		p.release()
		wg.Wait()
		synctest.Wait()
		require.True(t, p.socks[0].IsClosed(), "once nothing is under way")
		require.False(t, stays.IsClosed(), "is not connected anew")
		require.NoError(t, p.client.SetAddrs())
		synctest.Wait()
		require.True(t, stays.IsClosed())
		require.Equal(t, gotalk.ClientAway, p.client.State())
	})
}

// With several servers heartbeats ask for their loads more often.
func TestClientAsksForLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t)
		var beats [2]atomic.Int64
		var addrs []string
		for i := range beats {
			addrs = append(addrs, fmt.Sprint("worker:", i))
			n.serve(addrs[i], nil, nil).OnHeartbeat = func(int, time.Time) { beats[i].Add(1) }
		}
		c := n.client(nil, addrs[0])
		pass(time.Minute)
		require.InDelta(t, 4, beats[0].Load(), 1)
		require.NoError(t, c.SetAddrs(addrs...))
		pass(time.Minute)
		require.InDelta(t, 64, beats[0].Load(), 2)
		require.InDelta(t, 60, beats[1].Load(), 2)
	})
}

// A server that does not answer for some seconds is not taken for dead, however often it is asked for its load.
func TestClientBearsWithSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t)
		l := n.listen(anAddr)
		away := make(chan error, 10)
		n.client(func(c *gotalk.Client) {
			c.HeartbeatInterval = 100 * time.Millisecond
			c.OnState = func(e gotalk.ClientEvent) {
				if e.State == gotalk.ClientAway {
					away <- e.Err
				}
			}
		}, anAddr)
		p := accept(t, l)
		for range 20 {
			for r, err := p.read(false); r.frames[0][0] != 'h'; r, err = p.read(false) {
				require.NoError(t, err)
			}
			p.say("h000000000000")
		}
		start := time.Now()
		go p.discard()
		require.ErrorIs(t, <-away, gotalk.ErrTimeout)
		require.InDelta(t, 10, time.Since(start).Seconds(), 1)
	})
}
