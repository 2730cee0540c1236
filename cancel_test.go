package gotalk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// pipe connects two Socks in memory, each with its handlers, which know each other's hello. It is for bubbles of virtual
// time.
func pipe(t *testing.T, a, b *gotalk.Handlers) (*gotalk.Sock, *gotalk.Sock) {
	sa, sb, err := gotalk.Pipe(&gotalk.Handlers{}, gotalk.NoLimits)
	require.NoError(t, err)
	sa.Handlers, sb.Handlers = a, b
	t.Cleanup(func() {
		sa.Close()
		sb.Close()
	})
	synctest.Wait()
	return sa, sb
}

// reported is what a handler saw of its context.
type reported struct {
	err  error
	at   time.Time
	left time.Duration // of its time when it began; 0 if there is no end
}

// waitHandler waits for the end of its context, reports it, and returns it.
func waitHandler(reports chan<- reported) gotalk.BufferReqContextHandler {
	return func(ctx context.Context, s *gotalk.Sock, op string, payload []byte) ([]byte, error) {
		r := reported{}
		if d, ok := ctx.Deadline(); ok {
			r.left = time.Until(d)
		}
		<-ctx.Done()
		r.err, r.at = ctx.Err(), time.Now()
		reports <- r
		return []byte("late"), ctx.Err()
	}
}

// A handler ends at the moment when its caller cancels, and the caller does not wait for that.
func TestCancelReachesHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, h, reports := logged(t), echoHandlers(), make(chan reported, 1)
		h.HandleBufferRequestContext("wait", waitHandler(reports))
		a, b := pipe(t, nil, h)
		ctx, cancel := context.WithCancel(context.Background())
		start := time.Now()
		time.AfterFunc(time.Second, cancel)
		out, err := a.BufferRequestContext(ctx, "wait", []byte("x"))
		require.Equal(t, context.Canceled, err)
		require.Nil(t, out)
		require.Equal(t, time.Second, time.Since(start))
		synctest.Wait()
		require.Equal(t, reported{context.Canceled, start.Add(time.Second), 0}, <-reports)

		out, err = a.BufferRequest("echo", []byte("the late reply is dropped"))
		require.NoError(t, err)
		require.Equal(t, "the late reply is dropped", string(out))
		synctest.Wait()
		for _, s := range []*gotalk.Sock{a, b} {
			require.Equal(t, gotalk.Stats{Connections: 1}, s.Stats())
		}
		require.Empty(t, log(), "that a caller cancels is no mistake")
	})
}

// A deadline is seen by the handler, shrinks when that calls on with its context, and ends all calls at once.
func TestDeadlineShrinksOverHops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, last, middle, reports := logged(t), gotalk.NewHandlers(), gotalk.NewHandlers(), make(chan reported, 1)
		last.HandleBufferRequestContext("wait", waitHandler(reports))
		b, _ := pipe(t, nil, last)
		left := make(chan reported, 1)
		middle.HandleBufferRequestContext("relay", func(ctx context.Context, _ *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
			d, _ := ctx.Deadline()
			r := reported{left: time.Until(d)}
			time.Sleep(50 * time.Millisecond) // its work
			out, err := b.BufferRequestContext(ctx, "wait", nil)
			r.err, r.at = err, time.Now()
			left <- r
			return out, err
		})
		a, _ := pipe(t, nil, middle)
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		_, err := a.BufferRequestContext(ctx, "relay", nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, gotalk.CodeDeadlineExceeded, gotalk.CodeOf(err))
		require.Equal(t, 200*time.Millisecond, time.Since(start))
		end := start.Add(200 * time.Millisecond)
		relay, wait := <-left, <-reports
		for _, err := range []error{relay.err, wait.err} { // which depends on what is faster, the clock or who looks at it
			require.Contains(t, []gotalk.Code{gotalk.CodeDeadlineExceeded, gotalk.CodeCanceled}, gotalk.CodeOf(err))
		}
		relay.err, wait.err = nil, nil
		require.Equal(t, reported{nil, end, 200 * time.Millisecond}, relay)
		require.Equal(t, reported{nil, end, 150 * time.Millisecond}, wait)
		synctest.Wait()
		require.Empty(t, log())
	})
}

// Part of a millisecond is a whole one for the peer, so that nobody gives up before the caller does.
func TestDeadlineIsRoundedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, reports := gotalk.NewHandlers(), make(chan reported, 1)
		h.HandleBufferRequestContext("wait", waitHandler(reports))
		a, _ := pipe(t, nil, h)
		ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Microsecond)
		defer cancel()
		_, err := a.BufferRequestContext(ctx, "wait", nil)
		require.Equal(t, context.DeadlineExceeded, err)
		require.Equal(t, 2*time.Millisecond, (<-reports).left)
	})
}

// Metadata arrives with the request, and is not passed on by itself.
func TestMetadataArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := gotalk.NewHandlers()
		h.Handle("meta", func(ctx context.Context) (map[string]string, error) { return gotalk.MetaFrom(ctx), nil })
		h.Handle("relay", func(ctx context.Context, s *gotalk.Sock) (m map[string]string, err error) {
			return m, s.RequestContext(ctx, "meta", nil, &m)
		})
		a, _ := pipe(t, h, h)
		ctx := gotalk.WithMeta(t.Context(), map[string]string{"traceparent": "00-1", "user": "ä"})
		ctx = gotalk.WithMeta(ctx, map[string]string{"user": "ö"})
		for op, want := range map[string]map[string]string{"meta": {"traceparent": "00-1", "user": "ö"}, "relay": nil} {
			var got map[string]string
			require.NoError(t, a.RequestContext(ctx, op, nil, &got))
			require.Equal(t, want, got, op)
		}
		require.Equal(t, gotalk.CodeResourceExhausted, gotalk.CodeOf(a.RequestContext(
			gotalk.WithMeta(ctx, map[string]string{"much": strings.Repeat("x", 16<<10)}), "meta", nil, nil)))
	})
}

// greeted connects to the server and has said hello, with all that our side can say.
func (s *testServer) greeted() *peer {
	p := s.peer()
	p.say(notification("gotalk:hello", `{"cancel":1,"error":1,"meta":1}`))
	r, err := p.read(false)
	require.NoError(p, err)
	require.Contains(p, string(r.frames[0]), "gotalk:hello")
	return p
}

func cancelOf(id string) string { return notification("gotalk:cancel", id) }

func failed(id, code, message string) string {
	b, _ := json.Marshal(map[string]string{"code": code, "message": message})
	return part("E", id, len(b)) + string(b)
}

// fewAtATime has an operation "hold", which holds one of the two handlers until gate is closed, and others to cancel.
func fewAtATime() (h *gotalk.Handlers, limits *gotalk.Limits, gate chan struct{}, ran *atomic.Int32) {
	h, gate, ran = gotalk.NewHandlers(), make(chan struct{}), new(atomic.Int32)
	h.HandleBufferRequest("hold", func(*gotalk.Sock, string, []byte) ([]byte, error) { <-gate; return []byte("held"), nil })
	h.HandleBufferRequest("plain", func(*gotalk.Sock, string, []byte) ([]byte, error) { ran.Add(1); return nil, nil })
	h.HandleBufferRequestContext("context", func(context.Context, *gotalk.Sock, string, []byte) ([]byte, error) {
		ran.Add(1)
		return nil, nil
	})
	return h, &gotalk.Limits{MaxHandlers: 2}, gate, ran
}

// A request that waits for its turn when it is cancelled is answered at once and never handled; once, whatever the peer
// does.
func TestCancelOfWaitingRequest(t *testing.T) {
	for _, op := range []string{"plain", "context"} {
		synctest.Test(t, func(t *testing.T) {
			h, limits, gate, ran := fewAtATime()
			s := serveInMemory(t, h, limits)
			p, sock := s.greeted(), s.sock()
			defer p.w.nc.Close()
			p.say(request("hold", "hold", 0), request("aaaa", "hold", 0), request("bbbb", op, 0), cancelOf("bbbb"), cancelOf("bbbb"), cancelOf("none"))
			p.hears(failed("bbbb", "canceled", "context canceled"))
			synctest.Wait()
			require.Equal(t, gotalk.Stats{Connections: 1, RequestsRunning: 2, PendingBytes: 128}, sock.Stats())
			p.say(cancelOf("aaaa")) // which cannot be stopped
			synctest.Wait()
			close(gate)
			p.hear()
			p.hear()
			require.Equal(t, "", p.call("cccc", op, ""))
			require.EqualValues(t, 1, ran.Load())
			synctest.Wait()
			require.Equal(t, gotalk.Stats{Connections: 1}, sock.Stats())
		})
	}
}

// As many may wait as there is memory for when the handlers at work may only end by being cancelled.
func TestCancelIsReadWhenManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, reports := gotalk.NewHandlers(), make(chan reported, 100)
		h.HandleBufferRequestContext("wait", waitHandler(reports))
		p := serveInMemory(t, h, &gotalk.Limits{MaxHandlers: 1}).greeted()
		defer p.w.nc.Close()
		for i := range 100 {
			p.say(request(fmt.Sprintf("%04d", i), "wait", 0))
		}
		p.say(cancelOf("0000"))
		p.hears(failed("0000", "canceled", "context canceled"))
		require.Len(t, reports, 1)
	})
}

// A request whose time is over before its turn comes is not handled.
func TestDeadlineOfWaitingRequest(t *testing.T) {
	for _, op := range []string{"plain", "context"} {
		synctest.Test(t, func(t *testing.T) {
			h, limits, gate, ran := fewAtATime()
			p := serveInMemory(t, h, limits).greeted()
			defer p.w.nc.Close()
			p.say(request("hold", "hold", 0), request("hold", "hold", 0), notification("gotalk:meta", `bbbb{"timeout_ms":50}`), request("bbbb", op, 0))
			p.say(notification("gotalk:meta", `cccc{"timeout_ms":5000}`), request("cccc", op, 0))
			time.Sleep(51 * time.Millisecond) // a moment after the deadline
			close(gate)
			var heard []string
			for range 4 {
				heard = append(heard, p.hear())
			}
			held := part("R", "hold", 4) + "held"
			require.ElementsMatch(t, []string{held, held, failed("bbbb", "deadline_exceeded", "context deadline exceeded"), part("R", "cccc", 0)}, heard)
			require.EqualValues(t, 1, ran.Load())
		})
	}
}

// What is said about a request holds for the one that follows, if that has the id, and for no other.
func TestMetaBelongsToTheNextRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := gotalk.NewHandlers()
		h.HandleBufferRequestContext("left", func(ctx context.Context, _ *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
			d, ok := ctx.Deadline()
			if !ok {
				return []byte("for ever"), nil
			}
			return []byte(time.Until(d).String()), nil
		})
		p := serveInMemory(t, h, nil).greeted()
		defer p.w.nc.Close()
		p.say(notification("gotalk:meta", `aaaa{"timeout_ms":50}`))
		require.Equal(t, "50ms", p.call("aaaa", "left", ""))
		require.Equal(t, "for ever", p.call("aaaa", "left", ""))
		p.say(notification("gotalk:meta", `bbbb{"timeout_ms":50}`))
		require.Equal(t, "for ever", p.call("aaaa", "left", ""))
		require.Equal(t, "for ever", p.call("bbbb", "left", ""))
	})
}

// A peer that uses an id twice at the same time gets as many answers as it has made requests.
func TestCancelOfDoubleID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, reports := gotalk.NewHandlers(), make(chan reported, 10)
		h.HandleBufferRequestContext("wait", waitHandler(reports))
		s := serveInMemory(t, h, nil)
		p, sock := s.greeted(), s.sock()
		for range 3 {
			p.say(notification("gotalk:meta", `aaaa{"timeout_ms":50}`), request("aaaa", "wait", 0))
		}
		synctest.Wait()
		p.say(cancelOf("aaaa"))
		p.hears(failed("aaaa", "canceled", "context canceled"))
		p.say(cancelOf("aaaa"))
		synctest.Wait()
		require.Len(t, reports, 1)
		p.hears(failed("aaaa", "deadline_exceeded", "context deadline exceeded"), failed("aaaa", "deadline_exceeded", "context deadline exceeded"))
		synctest.Wait()
		require.Equal(t, gotalk.Stats{Connections: 1}, sock.Stats())
		p.w.nc.Close()
		synctest.Wait()
	})
}

// A handler's context ends with the connection, and when it has returned; it has the values of the HTTP request.
func TestContextOfHandler(t *testing.T) {
	h, contexts, ended := echoHandlers(), make(chan context.Context, 1), make(chan error, 1)
	h.HandleBufferRequestContext("return", func(ctx context.Context, _ *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
		contexts <- ctx
		return fmt.Append(nil, ctx.Err(), ctx.Value(http.ServerContextKey) != nil), nil
	})
	h.HandleBufferNotificationContext("return", func(ctx context.Context, _ *gotalk.Sock, _ string, _ []byte) { contexts <- ctx })
	h.HandleBufferRequestContext("stay", func(ctx context.Context, s *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
		s.BufferNotify("staying", nil)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, nil
	})
	eachServer(t, h, nil, func(t *testing.T, s *testServer) {
		p := s.peer()
		require.Equal(t, fmt.Sprint(nil, s.ws), p.call("aaaa", "return", ""))
		<-await(t, contexts).Done()
		p.say("n006return00000000")
		<-await(t, contexts).Done()
		p.say(request("aaaa", "stay", 0))
		p.hears("n007staying00000000")
		p.w.nc.Close()
		require.Equal(t, context.Canceled, await(t, ended))
	})
}

// The error of a handler is logged, but not that it ended because its caller did or that it asks to try again.
func TestWhichErrorsAreLogged(t *testing.T) {
	log, h := logged(t), gotalk.NewHandlers()
	h.HandleBufferRequestContext("fail", func(_ context.Context, _ *gotalk.Sock, _ string, why []byte) ([]byte, error) {
		switch string(why) {
		case "own context":
			return nil, fmt.Errorf("database: %w", context.DeadlineExceeded) // which was not the caller's
		case "retry":
			return nil, gotalk.RetryAfter(0, "the cache is cold")
		}
		return nil, errors.New(string(why))
	})
	p := serveTCP(t, h, nil).peer()
	for _, why := range []string{"own context", "retry", "mistake"} {
		p.say(request("aaaa", "fail", len(why)), why)
		p.hear()
	}
	require.Contains(t, log(), "mistake")
	require.Contains(t, log(), "database: context deadline exceeded")
	require.NotContains(t, log(), "cold")
}

// An old peer sees of deadlines, metadata and cancelled calls nothing at all.
func TestOldPeerSeesNoContexts(t *testing.T) {
	for _, off := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := quietSock(nil)
			c.NoExtensions = off
			p := connectInMemory(t, c, nil)
			if !off {
				p.hearsAll(notification("gotalk:hello", `{"cancel":1,"credit":262144,"error":1,"goaway":1,"meta":1,"split":131072}`))
			}
			start := time.Now()
			for i, want := range []error{context.Canceled, context.DeadlineExceeded} {
				ctx, cancel := context.WithTimeout(gotalk.WithMeta(t.Context(), map[string]string{"a": "b"}), time.Second)
				result := inBackground(func() error { _, err := c.BufferRequestContext(ctx, "a", []byte("x")); return err })
				p.hearsAll(request(string(gotalk.FormatRequestID(uint32(i))), "a", 1) + "x")
				if want == context.Canceled {
					cancel()
				}
				require.Equal(t, want, <-result)
				cancel()
				p.say(part("R", string(gotalk.FormatRequestID(uint32(i))), 4) + "late")
			}
			waited := time.Since(start) - time.Second
			require.Equal(t, map[bool]time.Duration{true: 0, false: helloWait}[off], waited, "for a hello, once")
			require.NoError(t, c.NotifyContext(t.Context(), "note", 1))
			p.hearsAll("n004note000000011")
			c.Close()
			synctest.Wait()
		})
	}
}

// A peer of ours is told of a cancelled call, if that was sent, and its answer is dropped.
func TestPeerIsToldOfCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := quietSock(nil)
		p := connectInMemory(t, c, nil)
		p.hearsAll(notification("gotalk:hello", `{"cancel":1,"credit":262144,"error":1,"goaway":1,"meta":1,"split":131072}`))
		p.say(notification("gotalk:hello", `{"cancel":1,"meta":1}`))
		synctest.Wait()
		id := func(n uint32) string { return string(gotalk.FormatRequestID(n)) }

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		result := inBackground(func() error { _, err := c.BufferRequestContext(ctx, "a", nil); return err })
		p.hearsAll(notification("gotalk:meta", id(0)+`{"timeout_ms":1000}`), request(id(0), "a", 0))
		require.Equal(t, context.DeadlineExceeded, <-result)
		p.hearsAll(cancelOf(id(0)))
		p.say(failed(id(0), "deadline_exceeded", "late"))

		_, err := c.BufferRequestContext(ctx, "a", nil) // not even sent
		require.Equal(t, context.DeadlineExceeded, err)
		require.Equal(t, context.DeadlineExceeded, c.BufferNotifyContext(ctx, "a", nil))

		answer := inBackground(func() string { b, _ := c.BufferRequest("b", nil); return string(b) })
		p.hearsAll(request(id(1), "b", 0))
		p.say(part("R", id(1), 2) + "ok")
		require.Equal(t, "ok", <-answer)
		c.Close()
		synctest.Wait()
	})
}

// A handler that asks to try again is tried again, when it has said and a little later. An old WebSocket client, which
// does not know of that, gets an error.
func TestRetryAfter(t *testing.T) {
	refuse := func(left *atomic.Int32) func() (string, error) {
		return func() (string, error) {
			if left.Add(-1) >= 0 {
				return "", gotalk.RetryAfter(time.Second, "warming up")
			}
			return "hot", nil
		}
	}
	synctest.Test(t, func(t *testing.T) {
		h, left := gotalk.NewHandlers(), new(atomic.Int32)
		h.Handle("soup", refuse(left))
		a, _ := pipe(t, nil, h)
		start, soup := time.Now(), ""
		left.Store(2)
		require.NoError(t, a.Request("soup", nil, &soup))
		require.Equal(t, "hot", soup)
		require.GreaterOrEqual(t, time.Since(start), 2*time.Second)
		require.LessOrEqual(t, time.Since(start), 2*time.Second+600*time.Millisecond)
		left.Store(3)
		err := a.Request("soup", nil, &soup)
		require.EqualError(t, err, "warming up")
		require.Equal(t, gotalk.CodeUnavailable, gotalk.CodeOf(err))
	})
	h, left := gotalk.NewHandlers(), new(atomic.Int32)
	h.Handle("soup", refuse(left))
	eachServer(t, h, nil, func(t *testing.T, s *testServer) {
		left.Store(1 << 20)
		p := s.peer()
		p.say(request("aaaa", "soup", 0))
		if s.ws {
			p.hears("Eaaaa0000000awarming up")
		} else {
			p.hears("eaaaa000003e80000000awarming up")
		}
	})
}

// What was given up before the peer's hello came is cancelled when it comes.
func TestCancelledBeforeHello(t *testing.T) {
	c := quietSock(nil)
	p := connectTo(t, c, nil)
	ctx, cancel := context.WithCancel(t.Context())
	st, err := c.OpenStream(ctx, "stream")
	require.NoError(t, err)
	require.NoError(t, st.Send([]byte("x")))
	p.hears(begin(st0, "stream", 0), part("p", st0, 1)+"x")
	cancel()
	p.hears(part("p", st0, 0))
	ctx, cancel = context.WithCancel(t.Context())
	done := inBackground(func() error { _, err := c.BufferRequestContext(ctx, "plain", nil); return err })
	p.hears(request("\x01\x00\x00\x00", "plain", 0))
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	p.say(notification("gotalk:hello", `{"cancel":1}`))
	require.Equal(t, notification("gotalk:cancel", st0), p.hearAny())
	require.Equal(t, notification("gotalk:cancel", "\x01\x00\x00\x00"), p.hearAny())
}

const st0 = "\x00\x00\x00\x00" // the id of the first request
