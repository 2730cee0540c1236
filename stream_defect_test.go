package gotalk_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// Each of these was wrong once.

// What was taken before the sender said hello was never given back, so that a stream begun before stood still for ever.
func TestCreditForWhatCameBeforeHello(t *testing.T) {
	const large = window / 2
	calling(t, "", func(t *testing.T, c *gotalk.Sock, p *peer) {
		st := p.begins(t.Context(), c, "op", id0)
		other := p.begins(t.Context(), c, "op", id1)
		for range 2 {
			p.say(part("S", id0, large) + zeros(large))
			recvs(t, st, zeros(large))
		}
		p.say(part("S", id1, large) + zeros(large))
		got := inBackground(func() error { _, err := st.Recv(); return err })
		waits(t, got)
		p.hello(helloTCP)
		p.hearsAll(credit("S", id0, 2*large))
		p.say(part("S", id0, 1) + "x")
		goesOn(t, got)
		recv := inBackground(func() error { _, err := other.Recv(); return err })
		p.hearsAll(credit("S", id1, large))
		goesOn(t, recv)
	})
}

// A stream that is opened while the peer's hello comes keeps to the window.
func TestHelloWhileStreamsAreOpened(t *testing.T) {
	for range 30 {
		c := quietSock(nil)
		p := connectTo(t, c, nil)
		p.hearsAll(notification("gotalk:hello", helloTCP))
		start, sent := make(chan bool), make(chan error, 20)
		for range cap(sent) {
			go func() {
				<-start
				r, _ := c.StreamRequest("op")
				err := r.Write(make([]byte, 1000))
				if err == nil {
					err = r.Write([]byte("x"))
				}
				sent <- err
			}()
		}
		close(start)
		p.hello(`{"credit":1000}`)
		for range cap(sent) {
			p.hearsBegin("s")
		}
		answered := inBackground(func() string { b, _ := c.BufferRequest("echo", nil); return string(b) })
		m := p.hear()
		require.Equal(t, "r", m[:1], "%.40q", m)
		p.say(part("R", m[1:5], 2) + "ok")
		require.Equal(t, "ok", await(t, answered))
		c.Close()
		for range cap(sent) {
			require.Error(t, await(t, sent))
		}
	}
}

// A channel of results had no end when the connection ended while StreamRequest was called.
func TestStreamRequestWhileConnectionEnds(t *testing.T) {
	for range 200 {
		c := quietSock(nil)
		p := connectTo(t, c, nil)
		start := make(chan bool)
		var all sync.WaitGroup
		ended := make(chan bool, 8)
		for range cap(ended) {
			all.Go(func() {
				<-start
				_, results := c.StreamRequest("op")
				var last gotalk.Response
				for last = range results {
				}
				ended <- last.IsError()
			})
		}
		all.Go(func() { <-start; c.Close() })
		close(start)
		for range cap(ended) {
			require.True(t, await(t, ended))
		}
		all.Wait()
		p.w.nc.Close()
	}
}

// A stream's context, and the interceptors around it, ended with the connection or the peer's error only if somebody called
// Recv, which nobody does for StreamRequest.
func TestContextEndsWithTheStream(t *testing.T) {
	calling(t, helloTCP, func(t *testing.T, c *gotalk.Sock, p *peer) {
		var around, open sync.WaitGroup
		outcomes := make(chan error, 10)
		c.Use(func(ctx context.Context, _ *gotalk.CallInfo, next func(context.Context) error) error {
			around.Add(1)
			defer around.Done()
			err := next(ctx)
			outcomes <- err
			return err
		})
		r, _ := c.StreamRequest("op")
		open.Go(func() { r.Write([]byte("x")) })
		p.hearsAll(begin(id0, "op", 1) + "x")
		p.say(part("E", id0, 2) + "no")
		require.EqualError(t, await(t, outcomes), "no")

		r, _ = c.StreamRequest("op")
		open.Go(func() { r.Write([]byte("x")) })
		p.hearsAll(begin(id1, "op", 1) + "x")
		st := p.begins(t.Context(), c, "op", "\x02\x00\x00\x00")
		p.say(part("S", "\x02\x00\x00\x00", 3) + "one")
		synctest.Wait()
		c.Close()
		for range 2 {
			require.ErrorIs(t, await(t, outcomes), gotalk.ErrSockClosed)
		}
		<-st.Context().Done()
		recvs(t, st, "one")
		_, err := st.Recv()
		require.ErrorIs(t, err, gotalk.ErrSockClosed)
		around.Wait()
		open.Wait()
	})
}

// An interceptor's timeout had no effect on a stream whose handler, or opener, waits for parts or for room.
func TestInterceptorLimitsTimeOfStream(t *testing.T) {
	limited := func(ctx context.Context, _ *gotalk.CallInfo, next func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return next(ctx)
	}
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 10)
		h := gotalk.NewHandlers()
		h.Use(limited)
		h.HandleStream("recv", func(_ context.Context, st *gotalk.Stream) error {
			_, err := st.Recv()
			ended <- err
			return err
		})
		h.HandleStream("send", func(_ context.Context, st *gotalk.Stream) error {
			for {
				if err := st.Send(make([]byte, 1000)); err != nil {
					ended <- err
					return err
				}
			}
		})
		c := serveInMemory(t, h, nil).client(nil)
		for _, op := range []string{"recv", "send"} {
			before := time.Now()
			st := open(t, c, op)
			require.Equal(t, context.DeadlineExceeded, await(t, ended))
			require.Equal(t, time.Second, time.Since(before))
			for {
				_, err := st.Recv()
				if err != nil {
					require.Equal(t, gotalk.CodeDeadlineExceeded, gotalk.CodeOf(err))
					break
				}
			}
		}
	})
	calling(t, helloTCP, func(t *testing.T, c *gotalk.Sock, p *peer) {
		c.Use(limited)
		r, results := c.StreamRequest("op")
		goesOn(t, inBackgroundAfter(p, func() error { return r.Write([]byte("x")) }, begin(id0, "op", 1)+"x"))
		p.hearsAll(notification("gotalk:cancel", id0))
		res := await(t, results)
		require.EqualError(t, &res, context.DeadlineExceeded.Error())
	})
}

// inBackgroundAfter runs f while the peer hears what it says.
func inBackgroundAfter(p *peer, f func() error, heard ...string) <-chan error {
	ch := inBackground(f)
	p.hearsAll(heard...)
	return ch
}

// A handler's Close waited for the Send that it was to end.
func TestHandlerClosesWhileItSends(t *testing.T) {
	serving(t, nil, func(t *testing.T, p *peer, opened chan *gotalk.Stream) {
		p.greets(`{"cancel":1,"credit":10}`)
		p.say(begin("aaaa", "held", 0))
		st := await(t, opened)
		goesOn(t, inBackgroundAfter(p, func() error { return st.Send(make([]byte, 10)) }, part("S", "aaaa", 10)+zeros(10)))
		sent := sending(st, 1)
		waits(t, sent)
		closed := inBackground(st.Close)
		p.hearsAll(part("S", "aaaa", 0))
		goesOn(t, closed)
		require.Equal(t, gotalk.ErrStreamEnded, await(t, sent))
		_, err := st.Recv()
		require.Equal(t, gotalk.ErrStreamEnded, err)
	})
}

// The peer got no end of a stream whose context ended while CloseSend waited for room.
func TestEndIsSentWhateverTheContext(t *testing.T) {
	limits := &gotalk.Limits{MaxUnsentBytes: 1000}
	for _, keys := range []string{"", helloTCP} {
		serving(t, limits, func(t *testing.T, p *peer, opened chan *gotalk.Stream) {
			if keys != "" {
				p.greets(keys)
			}
			p.say(notification("gotalk:meta", `aaaa{"timeout_ms":200}`), begin("aaaa", "held", 0))
			st := await(t, opened)
			large := inBackground(func() error { return st.Sock().BufferNotify("large", make([]byte, 5000)) })
			synctest.Wait()
			closed := inBackground(st.CloseSend)
			<-time.After(time.Second)
			p.hearsAll("n005large00001388"+zeros(5000), part("S", "aaaa", 0))
			goesOn(t, large)
			await(t, closed)
		})
	}
	// An old peer is told the end by an opener too.
	synctest.Test(t, func(t *testing.T) {
		c := quietSock(nil)
		p := connectInMemory(t, c, &gotalk.Limits{MaxUnsentBytes: 1000})
		p.hearsAll(notification("gotalk:hello", helloTCP))
		ctx, cancel := context.WithCancel(t.Context())
		st := p.begins(ctx, c, "op", id0)
		large := inBackground(func() error { return c.BufferNotify("large", make([]byte, 5000)) })
		synctest.Wait()
		closed := inBackground(st.CloseSend)
		synctest.Wait()
		cancel()
		synctest.Wait()
		p.hearsAll("n005large00001388"+zeros(5000), part("p", id0, 0))
		goesOn(t, large)
		await(t, closed)
	})
}

// A handler that took the loss of its stream for the end of its input ended the result as if all was well.
func TestLostStreamIsAlwaysAnError(t *testing.T) {
	limits := *streaming
	limits.MaxPayload = 10
	h := streamOps()
	h.HandleStreamRequest("old", func(_ *gotalk.Sock, _ string, rch chan []byte, out io.WriteCloser) error {
		for range rch {
		}
		return nil
	})
	h.HandleStream("new", func(_ context.Context, st *gotalk.Stream) error {
		for range st.All() {
		}
		return st.CloseSend()
	})
	s := serveTCP(t, h, &limits)
	p := s.peer()
	p.greets(helloTCP)
	for i := range 2000 {
		id := fmt.Sprintf("%04d", i)
		p.say(begin(id, []string{"old", "new"}[i%2], 0))
		p.say(part("p", id, 11) + zeros(11))
		p.hearsBegin("E" + id)
	}
	p.echoes()
}

// The peer was not told that a result was given up because of its size, and waited for credit for ever.
func TestTooLargeResultCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := quietSock(nil)
		p := connectInMemory(t, c, &gotalk.Limits{MaxPayload: 10})
		p.hearsAll(notification("gotalk:hello", helloTCP))
		p.hello(helloTCP)
		st := p.begins(t.Context(), c, "op", id0)
		p.say(part("S", id0, 3)+"one", part("S", id0, 11)+zeros(11))
		p.hearsAll(notification("gotalk:cancel", id0))
		recvs(t, st, "one")
		_, err := st.Recv()
		require.ErrorIs(t, err, gotalk.ErrPayloadTooLarge)
		require.Error(t, st.Send([]byte("late")))
		p.hearsNothingMore(c)
	})
	synctest.Test(t, func(t *testing.T) { // an old one
		c := quietSock(nil)
		p := connectInMemory(t, c, &gotalk.Limits{MaxPayload: 10})
		p.hearsAll(notification("gotalk:hello", helloTCP))
		st := p.begins(t.Context(), c, "op", id0)
		p.say(part("S", id0, 11) + zeros(11))
		p.hearsAll(part("p", id0, 0))
		_, err := st.Recv()
		require.ErrorIs(t, err, gotalk.ErrPayloadTooLarge)
	})
}

// A peer that sends more than its window loses that stream and nothing else, on either side.
func TestOverrunOfResult(t *testing.T) {
	const large = 2 * window
	calling(t, helloTCP, func(t *testing.T, c *gotalk.Sock, p *peer) {
		p.hasHello()
		synctest.Wait()
		st := p.begins(t.Context(), c, "op", id0)
		other := p.begins(t.Context(), c, "op", id1)
		p.say(part("S", id0, large)+zeros(large), part("S", id0, 1)+"x")
		p.hearsAll(notification("gotalk:cancel", id0))
		_, err := st.Recv()
		require.Equal(t, gotalk.CodeResourceExhausted, gotalk.CodeOf(err))
		require.Equal(t, gotalk.ErrStreamEnded, st.Send([]byte("late")))
		p.say(part("S", id0, 1)+"x", part("S", id1, 1)+"x")
		recvs(t, other, "x")
		p.hearsNothingMore(c)
	})
}

// What a stream lost because of Limits.MaxPendingBytes had no code at the opener.
func TestShedResultHasCode(t *testing.T) {
	for keys, last := range map[string]string{"": part("p", id0, 0), helloTCP: notification("gotalk:cancel", id0)} {
		synctest.Test(t, func(t *testing.T) {
			c := quietSock(nil)
			p := connectInMemory(t, c, &gotalk.Limits{MaxPendingBytes: 300_000, MaxPayload: 400_000})
			p.hearsAll(notification("gotalk:hello", helloTCP))
			if keys != "" {
				p.hello(keys)
			}
			st := p.begins(t.Context(), c, "op", id0)
			other := p.begins(t.Context(), c, "op", id1)
			said := inBackground(func() error {
				return p.trySay(part("S", id0, 350_000)+zeros(350_000), part("S", id1, 250_000)+zeros(250_000), part("S", id1, 1)+"x")
			})
			p.hearsAll(last) // to an old one after the time that a consumer is waited for
			goesOn(t, said)
			_, err := st.Recv()
			require.Equal(t, gotalk.CodeResourceExhausted, gotalk.CodeOf(err))
			require.Equal(t, gotalk.ErrStreamEnded, st.Send([]byte("late")))
			b, err := other.Recv()
			require.NoError(t, err)
			require.Len(t, b, 250_000)
			recvs(t, other, "x")
		})
	}
}

// A Sock whose MaxPendingBytes are few took streams from peers that kept to the window it had granted.
func TestOneWindowAlwaysFits(t *testing.T) {
	limits := *streaming
	limits.MaxPendingBytes = 1000
	serving(t, &limits, func(t *testing.T, p *peer, opened chan *gotalk.Stream) {
		p.greets(helloTCP)
		p.say(begin("aaaa", "held", 0))
		st := await(t, opened)
		for range 4 {
			p.say(part("p", "aaaa", window/4) + zeros(window/4))
		}
		p.echoes()
		for range 4 {
			recvs(t, st, zeros(window/4))
		}
	})
}

// The reader and a consumer whose context had ended waited for each other's lock.
func TestShedWhileContextsEnd(t *testing.T) {
	const n = 100
	limits := *streaming
	limits.MaxPendingBytes = 3 * window
	h := echoHandlers()
	h.HandleStream("op", func(ctx context.Context, st *gotalk.Stream) error {
		<-ctx.Done()
		for range 100 {
			st.Recv()
		}
		return ctx.Err()
	})
	s := serveTCP(t, h, &limits)
	for range 2 {
		p := s.peer()
		p.greets(helloTCP)
		var b strings.Builder
		for i := range n {
			b.WriteString(begin(fmt.Sprintf("%04d", i), "op", 0))
		}
		for i := range n {
			b.WriteString(notification("gotalk:cancel", fmt.Sprintf("%04d", i)))
			for j := range 8 {
				b.WriteString(part("p", fmt.Sprintf("%04d", i+j+1), 50_000) + zeros(50_000))
			}
		}
		said := inBackground(func() error { return p.trySay(b.String()) })
		for range n {
			p.hearsBegin("E")
		}
		goesOn(t, said)
		p.echoes()
	}
}

// Parts that the protocol cannot carry cost no credit, and are refused before they are counted.
func TestPartLargerThanTheProtocolCarries(t *testing.T) {
	calling(t, helloTCP, func(t *testing.T, c *gotalk.Sock, p *peer) {
		st := p.begins(t.Context(), c, "op", id0)
		require.ErrorIs(t, st.Reserve(1<<32), gotalk.ErrPayloadTooLarge)
		goesOn(t, inBackgroundAfter(p, func() error { return st.Send([]byte("x")) }, part("p", id0, 1)+"x"))
	})
}
