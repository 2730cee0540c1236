package gotalk_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

const goingAway = `{"after_ms":0,"jitter_ms":500,"reason":"shutting down"}`

// greets makes the peer say hello and hears the answer.
func (p *peer) greets(hello string) {
	p.say(notification("gotalk:hello", hello))
	require.Contains(p, p.hearAny(), "gotalk:hello")
}

// hearAny is hear that does not pass over what peers of ours say among themselves.
func (p *peer) hearAny() string {
	r, err := p.read(false)
	if err != nil || r.close != 0 {
		require.False(p, timedOut(err), "nothing comes")
		return "end"
	}
	m := ""
	for _, f := range r.frames {
		m += string(f)
	}
	return m
}

// A peer that acts on goaway closes the connection itself, so that what it has sent meanwhile is still answered.
func TestShutdownTellsPeer(t *testing.T) {
	for _, closes := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := serveInMemory(t, echoHandlers(), nil)
			p := s.peer()
			p.greets(`{"goaway":1}`)
			start := time.Now()
			down := inBackground(func() error { return s.tcp.Shutdown(context.Background()) })
			require.Equal(t, notification("gotalk:goaway", goingAway), p.hearAny())
			p.say(request("aaaa", "echo", 1), "x")
			require.Regexp(t, `^eaaaa0{8}.{8}shutting down$`, p.hear())
			require.Zero(t, time.Since(start))
			if closes {
				p.w.nc.Close()
				require.NoError(t, <-down)
				require.Zero(t, time.Since(start))
			} else { // only for so long
				p.ends()
				require.NoError(t, <-down)
				require.Equal(t, 3*time.Second, time.Since(start))
			}
		})
	}
}

// Between two of ours a shutdown ends as soon as nothing is under way, on either side.
func TestShutdownOfIdlePeersEndsAtOnce(t *testing.T) {
	eachServer(t, echoHandlers(), nil, func(t *testing.T, s *testServer) {
		c := quietSock(echoHandlers())
		defer c.Close()
		if s.ws {
			require.NoError(t, c.ConnectWebSocket(context.Background(), "ws://"+s.dial().RemoteAddr().String(), nil, nil))
		} else {
			require.NoError(t, c.ConnectReader(s.dial(), nil))
		}
		s.sock()
		require.NoError(t, c.Request("echo", 1, nil)) // the hellos are exchanged
		closed := make(chan int, 1)
		c.CloseHandler = func(_ *gotalk.Sock, code int) { closed <- code }
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) // less than the grace
		defer cancel()
		if s.ws {
			s.web.Shutdown(ctx) // dial has left a connection behind that never sends a version
		} else {
			require.NoError(t, s.tcp.Shutdown(ctx))
		}
		require.Equal(t, -1, await(t, closed))
	})
}

// A Sock that is told to go away finishes what is under way, in both directions, makes no new calls, and closes.
func TestGoawayFinishesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		h := gotalk.NewHandlers()
		h.HandleBufferRequest("slow", func(*gotalk.Sock, string, []byte) ([]byte, error) { <-gate; return []byte("served"), nil })
		c := quietSock(h)
		p := connectInMemory(t, c, nil)
		p.say(notification("gotalk:hello", `{"goaway":1}`))
		called := inBackground(func() error {
			b, err := c.BufferRequest("work", nil)
			require.Equal(t, "made", string(b))
			return err
		})
		work := p.hear()
		require.Equal(t, "004work00000000", work[5:])
		opened := inBackground(func() *gotalk.Stream {
			stream, err := c.OpenStream(context.Background(), "parts")
			require.NoError(t, err)
			return stream
		})
		parts := p.hear()
		require.Equal(t, "005parts00000000", parts[5:])
		stream := <-opened
		p.say(request("aaaa", "slow", 0), notification("gotalk:goaway", `{"after_ms":100}`))
		synctest.Wait()

		_, err := c.BufferRequest("work", nil)
		require.ErrorIs(t, err, gotalk.ErrSockClosed)
		require.ErrorIs(t, c.BufferNotify("note", nil), gotalk.ErrSockClosed)
		_, err = c.OpenStream(context.Background(), "parts")
		require.ErrorIs(t, err, gotalk.ErrSockClosed)

		p.say("R" + work[1:5] + "00000004made")
		require.NoError(t, <-called)
		gate <- struct{}{}
		p.hears("Raaaa00000006served")
		synctest.Wait()
		require.False(t, c.IsClosed())
		p.say("S"+parts[1:5]+"00000004part", "S"+parts[1:5]+"00000000")
		b, err := stream.Recv()
		require.NoError(t, err)
		require.Equal(t, "part", string(b))
		for p.hearAny() != "end" { // the end of the stream may still be said
		}
		require.True(t, c.IsClosed())
	})
}

func TestShutdownOfBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, err := gotalk.Pipe(echoHandlers(), nil)
		require.NoError(t, err)
		_, err = a.BufferRequest("echo", nil)
		require.NoError(t, err)
		_, err = b.BufferRequest("echo", nil)
		require.NoError(t, err)
		start := time.Now()
		var wg sync.WaitGroup
		wg.Add(2)
		require.NoError(t, a.Shutdown(&wg, time.Minute))
		require.NoError(t, b.Shutdown(&wg, time.Minute))
		wg.Wait()
		require.Zero(t, time.Since(start))
	})
}

func TestGoawayThatIsNone(t *testing.T) {
	s := serveTCP(t, echoHandlers(), nil)
	p := s.peer()
	p.say(notification("gotalk:goaway", "{}")) // without a hello it means nothing
	p.echoes()
	p.greets(`{}`)
	p.say(notification("gotalk:goaway", `{"after_ms":"soon"}`))
	p.hears("f00000002", "end")
}

// accept is the server's end of the next connection to a listener in memory, with hands shaken.
func accept(t testing.TB, l *pipeListener) *peer {
	nc, err := l.Accept()
	require.NoError(t, err)
	p := newPeer(t, nc, nil, false, false)
	p.shakeHands()
	return p
}

// A request that crosses a goaway is refused, and made on the next connection as soon as that is there.
func TestRequestThatCrossesGoaway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t)
		l := n.listen(anAddr)
		c := n.client(func(c *gotalk.Client) { c.HeartbeatInterval, c.AutoRetryRequests = 0, false }, anAddr)
		p := accept(t, l)
		p.say(notification("gotalk:hello", `{"goaway":1}`))
		called := inBackground(func() error {
			return c.RequestContext(deadline(t, context.Background(), time.Second), "work", nil, nil)
		})
		work := p.hear()
		start := time.Now()
		p.say(notification("gotalk:goaway", `{"after_ms":300,"jitter_ms":200}`), "e"+work[1:5]+"00002710"+"0000000dshutting down")
		require.Equal(t, "end", p.hear())
		require.Zero(t, time.Since(start), "nothing else is under way")
		p = accept(t, l)
		require.GreaterOrEqual(t, time.Since(start), 300*time.Millisecond)
		require.LessOrEqual(t, time.Since(start), 500*time.Millisecond)
		work = p.hear()
		p.say("R" + work[1:5] + "00000000")
		require.NoError(t, <-called)
	})
}
