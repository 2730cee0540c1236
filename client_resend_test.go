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

// What may have run is made again only if that does no harm.
func TestClientResends(t *testing.T) {
	for name, test := range map[string]struct {
		setup func(*gotalk.Client)
		ctx   func(testing.TB, context.Context) context.Context
		runs  int64
		fails bool
	}{
		"not idempotent":    {runs: 1, fails: true},
		"operation":         {setup: func(c *gotalk.Client) { c.Idempotent = func(op string) bool { return op == "work" } }, runs: 3},
		"another operation": {setup: func(c *gotalk.Client) { c.Idempotent = func(op string) bool { return op == "other" } }, runs: 1, fails: true},
		"call":              {ctx: func(_ testing.TB, ctx context.Context) context.Context { return gotalk.Idempotent(ctx) }, runs: 3},
		"call with deadline": {ctx: func(t testing.TB, ctx context.Context) context.Context {
			return gotalk.Idempotent(deadline(t, ctx, time.Hour))
		}, runs: 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newMemory(t)
				var runs atomic.Int64
				h := gotalk.NewHandlers()
				h.HandleBufferRequest("work", func(s *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
					if runs.Add(1) < 3 {
						s.Close()
					}
					return []byte("done"), nil
				})
				n.serve(anAddr, h, nil)
				c := n.client(test.setup, anAddr)
				ctx := context.Background()
				if test.ctx != nil {
					ctx = test.ctx(t, ctx)
				}
				b, err := c.BufferRequestContext(ctx, "work", nil)
				require.Equal(t, test.runs, runs.Load())
				if test.fails {
					require.ErrorIs(t, err, gotalk.ErrSockClosed)
					require.Equal(t, gotalk.CodeUnavailable, gotalk.CodeOf(err))
					require.ErrorContains(t, err, "may have run")
				} else {
					require.NoError(t, err)
					require.Equal(t, "done", string(b))
				}
			})
		})
	}
}

// An idempotent call does not go on for ever.
func TestClientResendHasAnEnd(t *testing.T) {
	for _, limit := range []time.Duration{0, 10 * time.Second, 10 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			n := newMemory(t)
			h := gotalk.NewHandlers()
			h.HandleBufferRequest("work", func(s *gotalk.Sock, _ string, _ []byte) ([]byte, error) { s.Close(); return nil, nil })
			n.serve(anAddr, h, nil)
			c := n.client(nil, anAddr)
			ctx, want := gotalk.Idempotent(context.Background()), time.Minute
			if limit > 0 {
				ctx, want = deadline(t, ctx, limit), limit
			}
			start := time.Now()
			_, err := c.BufferRequestContext(ctx, "work", nil)
			if limit > 0 {
				require.ErrorIs(t, err, context.DeadlineExceeded)
			} else {
				require.ErrorIs(t, err, gotalk.ErrSockClosed)
				require.ErrorContains(t, err, "may have run")
			}
			require.InDelta(t, want.Seconds(), time.Since(start).Seconds(), 6)
		})
	}
}

// A server that shuts down and one that takes its place: no call is lost, idempotent or not.
func TestClientMovesOnWhenServerShutsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t)
		gate := make(chan struct{})
		slow := func() *gotalk.Handlers {
			h := gotalk.NewHandlers()
			h.HandleBufferRequest("slow", func(*gotalk.Sock, string, []byte) ([]byte, error) { <-gate; return []byte("first"), nil })
			return h
		}
		first := n.serve(anAddr, slow(), nil)
		events := make(chan gotalk.ClientEvent, 100)
		c := n.client(func(c *gotalk.Client) { c.OnState = func(e gotalk.ClientEvent) { events <- e } }, anAddr)
		require.NoError(t, c.Request("echo", 1, nil))
		underWay := inBackground(func() string { b, err := c.BufferRequest("slow", nil); return fmt.Sprint(string(b), err) })
		synctest.Wait()
		for len(events) > 0 {
			<-events
		}
		down := inBackground(func() error { return first.Shutdown(context.Background()) })
		synctest.Wait()
		away := <-events
		require.Equal(t, gotalk.ClientAway, away.State)
		require.LessOrEqual(t, away.Wait, 500*time.Millisecond)
		require.ErrorContains(t, away.Err, "shutting down")
		require.NotEqual(t, gotalk.ClientConnected, c.State())

		later := inBackground(func() error { return c.Request("echo", 1, nil) })
		synctest.Wait()
		second := n.serve(anAddr, slow(), nil)
		require.NoError(t, <-later, "on the new connection, while the old one finishes")
		require.EqualValues(t, 1, second.calls.Load())
		require.EqualValues(t, 1, first.calls.Load())
		gate <- struct{}{}
		require.Equal(t, "first<nil>", <-underWay)
		require.NoError(t, <-down)
	})
}

// Calls that are made all the time while the server is replaced, and that cannot run twice.
func TestClientLosesNothingWhileServersShutDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t)
		handlers := func() *gotalk.Handlers {
			h := gotalk.NewHandlers()
			h.HandleBufferRequest("work", func(*gotalk.Sock, string, []byte) ([]byte, error) { pass(7 * time.Millisecond); return nil, nil })
			return h
		}
		w := n.serve(anAddr, handlers(), nil)
		c := n.client(nil, anAddr)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		var failed, done atomic.Int64
		for range 20 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := c.BufferRequest("work", nil); err != nil {
						failed.Add(1)
						t.Log(err)
					}
					done.Add(1)
				}
			})
		}
		for range 10 {
			pass(2 * time.Second)
			require.NoError(t, w.Shutdown(context.Background()))
			pass(300 * time.Millisecond)
			w = n.serve(anAddr, handlers(), nil)
		}
		pass(2 * time.Second)
		close(stop)
		wg.Wait()
		require.Zero(t, failed.Load())
		require.Greater(t, done.Load(), int64(1000))
	})
}
