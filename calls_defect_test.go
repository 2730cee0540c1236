package gotalk_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// A deadline so far away that no time.Duration can say how far, which is how some programs say that there is none, must not
// become one that is near.
func TestDeadlineInTheFarFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := gotalk.NewHandlers()
		h.Handle("left", func(ctx context.Context) (time.Duration, error) {
			time.Sleep(time.Second)
			deadline, ok := ctx.Deadline()
			require.True(t, ok)
			return time.Until(deadline), ctx.Err()
		})
		a, _ := pipe(t, nil, h)
		for _, deadline := range []time.Time{
			time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
			time.Now().Add(math.MaxInt64),
			time.Now().Add(math.MaxInt64 - time.Minute),
		} {
			ctx, cancel := context.WithDeadline(t.Context(), deadline)
			left, err := gotalk.Call[time.Duration](ctx, a, "left", nil)
			cancel()
			require.NoError(t, err, "%v", deadline)
			require.Greater(t, left, 24*time.Hour)
		}
	})
}

// A timeout that is no number is none.
func TestTimeoutThatIsNoNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := gotalk.NewHandlers()
		h.Handle("limited", func(ctx context.Context) (bool, error) {
			_, limited := ctx.Deadline()
			return limited, ctx.Err()
		})
		p := serveInMemory(t, h, nil).peer()
		p.say(notification("gotalk:hello", "{}"))
		for _, ms := range []string{"null", `"5"`, "-1", "[]"} {
			p.say(notification("gotalk:meta", `1111{"timeout_ms":`+ms+`}`))
			require.Equal(t, "false", p.call("1111", "limited", ""), ms)
		}
	})
}

// Metadata counts for what may wait to be handled: a peer must not fill the memory with it.
func TestMetadataIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 256 << 10
		h := gotalk.NewHandlers()
		h.HandleBufferRequestContext("wait", func(ctx context.Context, _ *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		s := serveInMemory(t, h, &gotalk.Limits{MaxPendingBytes: limit, MaxHandlers: 1})
		for name, meta := range map[string]string{
			"large": `{"` + strings.Repeat("x", 15<<10) + `":"1"}`,
			"many":  manyValues(1500),
		} {
			p := s.peer()
			go p.discard()
			go func() {
				for i := range 2000 {
					id := fmt.Sprintf("%04d", i)
					if p.trySay(notification("gotalk:hello", `{"cancel":1,"meta":1}`), notification("gotalk:meta", id+meta),
						request(id, "wait", 0)) != nil {
						return
					}
				}
			}()
			sock := s.sock()
			synctest.Wait()
			stats := sock.Stats()
			require.NotZero(t, stats.RequestsWaiting, name)
			require.Less(t, (stats.RequestsRunning+stats.RequestsWaiting)*len(meta), 2*limit, name)
			sock.Close()
		}
	})
}

func manyValues(n int) string {
	values := map[string]string{}
	for i := range n {
		values[fmt.Sprintf("%x", i)] = ""
	}
	b, _ := json.Marshal(values)
	return string(b)
}

// What a server says about when to come back holds also if the connection has ended by the time that the client looks.
func TestGoawayBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		go func() {
			for {
				nc, err := l.Accept()
				if err != nil {
					return
				}
				p := newPeer(t, nc, nil, false, false)
				p.trySay("01", notification("gotalk:hello", `{"goaway":1}`), notification("gotalk:goaway", `{"after_ms":60000}`))
				go p.discard()
			}
		}()
		var waits []time.Duration
		c := gotalk.NewClient("tcp://server:1")
		c.Dial = func(context.Context, string, string) (net.Conn, error) { return l.dial(), nil }
		c.OnState = func(e gotalk.ClientEvent) {
			switch e.State {
			case gotalk.ClientConnected:
				<-time.After(time.Second) // the connection has ended when the client goes on
			case gotalk.ClientAway:
				waits = append(waits, e.Wait)
			}
		}
		require.NoError(t, c.Start())
		<-time.After(20 * time.Minute)
		c.Close()
		l.Close()
		synctest.Wait()
		require.Greater(t, len(waits), 15)
		for _, w := range waits {
			require.GreaterOrEqual(t, w, time.Minute)
		}
	})
}

// brokenError is an error that cannot be asked for its text, as nil pointers are that a function returns as an error.
type brokenError struct{ text string }

func (e *brokenError) Error() string { return e.text }

// A handler that returns such an error costs its caller the result, and nobody else anything.
func TestErrorWithoutText(t *testing.T) {
	for name, broken := range map[string]error{"own": (*brokenError)(nil), "gotalk": (*gotalk.Error)(nil)} {
		for _, around := range []bool{false, true} {
			t.Run(fmt.Sprint(name, around), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					log, h := logged(t), echoHandlers()
					if around {
						h.Use(func(ctx context.Context, _ *gotalk.CallInfo, next func(context.Context) error) error {
							return next(ctx)
						})
					}
					h.HandleBufferRequestContext("request", func(context.Context, *gotalk.Sock, string, []byte) ([]byte, error) {
						return nil, broken
					})
					h.HandleStream("stream", func(context.Context, *gotalk.Stream) error { return broken })
					a, _ := pipe(t, nil, h)
					_, err := a.BufferRequest("request", nil)
					require.Equal(t, gotalk.CodeInternal, gotalk.CodeOf(err))
					st, err := a.OpenStream(t.Context(), "stream")
					require.NoError(t, err)
					_, err = st.Recv()
					require.Equal(t, gotalk.CodeInternal, gotalk.CodeOf(err))
					out, err := a.BufferRequest("echo", []byte("x"))
					require.NoError(t, err)
					require.Equal(t, "x", string(out))
					require.Contains(t, log(), "nil pointer")
				})
			})
		}
	}
}

// A connection that ConnectContext returns is there to stay, also if ctx ends at the moment when it is made.
func TestConnectAtTheEndOfContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	for i := range 3000 {
		ctx, cancel := context.WithCancel(t.Context())
		closed := make(chan struct{})
		go func() {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			nc.Write([]byte("01"))
			for range i % 100 * 50 {
				_ = time.Now()
			}
			cancel()
			<-closed
			nc.Close()
		}()
		s := quietSock(nil)
		if err = s.ConnectContext(ctx, "tcp", l.Addr().String(), nil); err == nil {
			<-ctx.Done()
			for range 100 {
				runtime.Gosched()
			}
			require.False(t, s.IsClosed())
		} else {
			require.ErrorIs(t, err, context.Canceled)
			<-ctx.Done()
		}
		s.Close()
		close(closed)
	}
}

// On a slow network the hello comes long after this side has said its own, though not long after the version.
func TestHelloOverSlowNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		p := newPeer(t, b, nil, false, false)
		s := quietSock(nil)
		connected := inBackground(func() error { return s.ConnectReader(networked{a}, nil) })
		for _, version := range []bool{true, false} { // and hello
			_, err := p.read(version)
			require.NoError(t, err)
		}
		<-time.After(300 * time.Millisecond)
		p.say("01")
		require.NoError(t, <-connected)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		result := inBackground(func() error { return s.RequestContext(ctx, "op", nil, nil) })
		<-time.After(20 * time.Millisecond)
		p.say(notification("gotalk:hello", `{"meta":1}`))
		r, err := p.read(false)
		require.NoError(t, err)
		require.Contains(t, string(r.frames[0]), "gotalk:meta")
		s.Close()
		require.ErrorIs(t, <-result, gotalk.ErrSockClosed)
	})
}

// Streams count for the load also where their limit is the usual one.
func TestLoadOfStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := gotalk.NewHandlers()
		h.HandleStream("wait", func(ctx context.Context, _ *gotalk.Stream) error {
			<-ctx.Done()
			return ctx.Err()
		})
		p := serveInMemory(t, h, nil).peer()
		for i := range 1024 { // a sixteenth of them
			p.say(fmt.Sprintf("s%04d004wait00000000", i))
		}
		synctest.Wait()
		p.say("h000000000000")
		r, err := p.read(false)
		require.NoError(t, err)
		require.Equal(t, "h0fff", string(r.frames[0])[:5])
		p.w.nc.Close()
	})
}

// The metadata of streams that are under way together is bounded, too.
func TestMetadataOfStreamsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 256 << 10
		h := gotalk.NewHandlers()
		h.HandleStream("wait", func(_ context.Context, st *gotalk.Stream) error {
			st.Recv()
			return nil
		})
		s := serveInMemory(t, h, &gotalk.Limits{MaxPendingBytes: limit})
		p := s.peer()
		p.say(notification("gotalk:hello", `{"meta":1}`))
		go p.discard()
		sock, meta := s.sock(), manyValues(1500)
		for range 2 { // what has ended does not count
			for i := range 100 {
				id := fmt.Sprintf("%04d", i)
				p.say(notification("gotalk:meta", id+meta), "s"+id+"004wait00000000")
			}
			p.say("snone004wait00000000")
			synctest.Wait()
			n := sock.Stats().StreamsServed
			require.Greater(t, n, 2)
			require.Less(t, n*len(meta), limit)
			for i := range 100 {
				p.say(fmt.Sprintf("p%04d00000000", i))
			}
			synctest.Wait()
			require.Equal(t, 1, sock.Stats().StreamsServed)
			p.say("pnone00000000")
			synctest.Wait()
			require.Zero(t, sock.Stats().StreamsServed)
		}
	})
}

// A connection that is being made while further addresses come is asked for its load as often as the others.
func TestClientAsksForLoadsOfWhatIsBeingConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t)
		var beats atomic.Int64
		w := n.serve("worker:0", nil, nil)
		w.OnHeartbeat = func(int, time.Time) { beats.Add(1) }
		n.serve("worker:1", nil, nil)
		dialing, dial := make(chan struct{}), make(chan struct{})
		c := n.client(func(c *gotalk.Client) {
			c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if addr == "worker:0" {
					close(dialing)
					<-dial
				}
				return n.dial(ctx, network, addr)
			}
		}, "worker:0")
		<-dialing
		require.NoError(t, c.SetAddrs("worker:0", "worker:1"))
		close(dial)
		pass(10 * time.Second)
		require.GreaterOrEqual(t, beats.Load(), int64(9))
	})
}

// Programs written for gotalk 1.x find an error's text where it always was, and no JSON, also if it came with a code.
func TestTextOfErrorsWithCode(t *testing.T) {
	h := gotalk.NewHandlers()
	h.Handle("add", func(p struct{ A, B int }) (int, error) { return p.A + p.B, nil })
	h.Handle("find", func() error {
		return &gotalk.Error{Code: gotalk.CodeNotFound, Message: "no such user", Details: []byte(`{"id":7}`)}
	})
	h.Handle("mute", func() error { return gotalk.NewError(gotalk.CodeAborted, "") })
	s := serveTCP(t, h, nil).client(nil)
	for op, want := range map[string]struct {
		text    string
		code    gotalk.Code
		details string
	}{
		"add":  {"unexpected parameter type", gotalk.CodeInvalidArgument, ""},
		"none": {`unknown operation "none"`, gotalk.CodeUnimplemented, ""},
		"find": {"no such user", gotalk.CodeNotFound, `{"id":7}`},
		"mute": {"aborted", gotalk.CodeAborted, ""},
	} {
		_, err := s.BufferRequest(op, []byte("x"))
		res, ok := err.(*gotalk.Response)
		require.True(t, ok)
		require.True(t, res.IsError())
		require.Equal(t, want.text, string(res.Data))
		require.Equal(t, want.text, res.Error())
		copied := *res
		for _, err := range []error{res, &copied, fmt.Errorf("around: %w", err)} {
			var e *gotalk.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, want.code, e.Code)
			require.Equal(t, want.details, string(e.Details))
		}
	}
}
