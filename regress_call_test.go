package gotalk_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// A name that the wire cannot carry is an error of the call, and of nothing else.
func TestNameTooLong(t *testing.T) {
	h := echoHandlers()
	long := strings.Repeat("n", 4096)
	h.HandleBufferRequest("inside", func(s *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
		_, err := s.BufferRequest(long, nil)
		return nil, err
	})
	s := serveTCP(t, h, nil)
	c := s.client(nil)
	_, err := c.BufferRequest(long, nil)
	require.ErrorContains(t, err, "4095")
	require.ErrorContains(t, c.Request(long, 1, nil), "4095")
	require.ErrorContains(t, c.BufferNotify(long, nil), "4095")
	require.ErrorContains(t, c.Notify(long, 1), "4095")
	require.ErrorContains(t, c.SendRequest(gotalk.NewRequest(long, nil), make(chan gotalk.Response, 1)), "4095")
	r, results := c.StreamRequest(long)
	res := await(t, results)
	require.ErrorContains(t, &res, "4095")
	require.ErrorContains(t, r.Write([]byte("x")), "4095")
	_, err = c.BufferRequest("inside", nil)
	require.ErrorContains(t, err, "4095")
	b, err := c.BufferRequest("echo", []byte("still here"))
	require.NoError(t, err)
	require.Equal(t, "still here", string(b))
	require.NoError(t, c.Close())
}

// A notification handler may call its peer back and wait for the answer.
func TestNotificationHandlerCallsBack(t *testing.T) {
	h, answers := echoHandlers(), make(chan string, 10)
	h.HandleBufferNotification("ask", func(s *gotalk.Sock, _ string, _ []byte) {
		b, err := s.BufferRequest("back", []byte("?"))
		answers <- fmt.Sprint(string(b), err)
	})
	eachServer(t, h, nil, func(t *testing.T, s *testServer) {
		p := s.peer()
		p.say("n003ask00000000")
		p.hears("r\x00\x00\x00\x00004back00000001?")
		p.echoes()
		p.say("R\x00\x00\x00\x0000000001", "!")
		require.Equal(t, "!<nil>", await(t, answers))
	})
}

// An empty name is a name like others: three digits say so, and nothing of what follows is taken for it.
func TestEmptyName(t *testing.T) {
	h := gotalk.NewHandlers()
	heard := make(chan string, 10)
	h.HandleBufferRequest("", func(_ *gotalk.Sock, op string, b []byte) ([]byte, error) {
		return []byte(fmt.Sprintf("%q %s", op, b)), nil
	})
	h.HandleBufferNotification("", func(_ *gotalk.Sock, name string, b []byte) { heard <- fmt.Sprintf("%q %s", name, b) })
	eachServer(t, h, nil, func(t *testing.T, s *testServer) {
		p := s.peer()
		p.say("n00000000002", "hi", "raaaa00000000003", "abc", "n00000000000", "rbbbb00000000000")
		answers := []string{p.hear(), p.hear()}
		require.ElementsMatch(t, []string{`Raaaa00000006"" abc`, `Rbbbb00000003"" `}, answers)
		require.Equal(t, `"" hi`, await(t, heard))
		require.Equal(t, `"" `, await(t, heard))
	})
	c := quietSock(nil)
	p := connectTo(t, c, nil)
	require.NoError(t, c.BufferNotify("", []byte("hi")))
	p.hears("n00000000002hi")
	require.NoError(t, c.SendRequest(gotalk.NewRequest("", []byte("x")), make(chan gotalk.Response, 1)))
	p.hears("r\x00\x00\x00\x0000000000001x")
}

// A peer that answers a single request with a stream gets nowhere: the call ends with an error, the rest is dropped.
func TestStreamAnswersSingleRequest(t *testing.T) {
	c := quietSock(nil)
	p := connectTo(t, c, nil)
	for i := range 3 {
		id := string(gotalk.FormatRequestID(uint32(2 * i)))
		result := inBackground(func() error { _, err := c.BufferRequest("a", nil); return err })
		p.hears("r" + id + "001a00000000")
		for range 10 {
			p.say(part("S", id, 1), "x")
		}
		p.say(part("S", id, 0))
		require.ErrorIs(t, await(t, result), gotalk.ErrUnexpectedStreamingRes)
		id = string(gotalk.FormatRequestID(uint32(2*i + 1)))
		answer := inBackground(func() string { b, _ := c.BufferRequest("b", nil); return string(b) })
		p.hears("r" + id + "001b00000000")
		p.say(part("R", id, 2), "ok")
		require.Equal(t, "ok", await(t, answer))
	}
}

// Results that nobody asked for are dropped, whatever their type and size.
func TestResultsThatNobodyAskedFor(t *testing.T) {
	eachServer(t, echoHandlers(), nil, func(t *testing.T, s *testServer) {
		p := s.peer()
		big := strings.Repeat("x", 100_000)
		for _, typ := range []string{"R", "S", "E"} {
			p.say(part(typ, "\x00\x00\x00\x00", 0), part(typ, "\xff\xff\xff\xff", len(big)), big)
		}
		p.say("eaaaa00000001"+"00000004", "wait")
		p.echoes()
	})
}

// helloWait is how long a call that has a deadline may wait for the hello of a new connection's peer.
const helloWait = 100 * time.Millisecond

// retries connects a Sock in memory to a peer that answers each try of a request with the wait given, and tells how many
// tries there were and when they came.
func retries(t *testing.T, wait string, c *gotalk.Sock, ctx context.Context) (tries []time.Duration, err error) {
	p := connectInMemory(t, c, nil)
	start := time.Now()
	result := inBackground(func() error {
		_, err := c.BufferRequestContext(ctx, "a", []byte("x"))
		return err
	})
	go func() {
		for {
			r, err := p.read(false)
			if err != nil {
				return
			}
			if r.frames[0][0] != byte(gotalk.MsgTypeSingleReq) {
				continue // the hello
			}
			tries = append(tries, time.Since(start))
			p.trySay("e"+string(r.frames[0][1:5])+wait+"00000004", "busy")
		}
	}()
	err = <-result
	synctest.Wait()
	return tries, err
}

// A wait that the peer asks for is kept, with some time on top, and taken with a grain of salt; the number of tries has an
// end, and none comes after a deadline.
func TestRetryHasAnEnd(t *testing.T) {
	const oneSecond, days49 = "000003e8", "ffffffff"
	for _, c := range []struct {
		name        string
		set         func(*gotalk.Sock)
		wait        string
		limit       time.Duration // of the context
		least, most int           // tries
		over        time.Duration // by then
	}{
		{"three tries", nil, oneSecond, 0, 3, 3, 4 * time.Second},
		{"as many as were asked for", func(c *gotalk.Sock) { c.MaxTries = 7 }, oneSecond, 0, 7, 7, 36 * time.Second},
		{"none", func(c *gotalk.Sock) { c.AutoRetryRequests = false }, oneSecond, 0, 1, 1, 0},
		{"a wait out of all reason", nil, days49, 0, 3, 3, 70 * time.Second},
		{"until the deadline", nil, oneSecond, 2 * time.Minute, 20, 120, 2 * time.Minute},
		{"as many as were asked for until the deadline", func(c *gotalk.Sock) { c.MaxTries = 2 }, oneSecond, 2 * time.Minute, 2, 2, 2 * time.Second},
		{"a wait past the deadline", nil, days49, time.Hour, 1, 1, helloWait},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, ctx, start := quietSock(nil), context.Background(), time.Now()
				if c.set != nil {
					c.set(s)
				}
				if c.limit > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.limit)
					defer cancel()
				}
				tries, err := retries(t, c.wait, s, ctx)
				require.LessOrEqual(t, time.Since(start), c.over)
				require.GreaterOrEqual(t, len(tries), c.least)
				require.LessOrEqual(t, len(tries), c.most)
				for i := range len(tries) - 1 {
					require.GreaterOrEqual(t, tries[i+1]-tries[i], time.Second)
				}
				var res *gotalk.Response
				require.ErrorAs(t, err, &res)
				require.EqualError(t, err, "busy")
				require.True(t, res.IsRetry())
				require.Equal(t, gotalk.CodeUnavailable, gotalk.CodeOf(err))
			})
		})
	}
}

// Closing the Sock, or the end of the context, ends the wait between two tries.
func TestRetryWaitIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, start := quietSock(nil), time.Now()
		time.AfterFunc(3*time.Second, func() { c.Close() })
		_, err := retries(t, "00007530", c, context.Background())
		require.ErrorIs(t, err, gotalk.ErrSockClosed)
		require.Equal(t, 3*time.Second, time.Since(start))
	})
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(3*time.Second, cancel)
		_, err := retries(t, "00007530", quietSock(nil), ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 3*time.Second, time.Since(start))
	})
}

// A client that sends its next request when it has the answer to the last is never over a limit of one.
func TestSequentialClientIsWithinLimit(t *testing.T) {
	limits := gotalk.NewLimits(1, 1)
	p := serveTCP(t, streamHandlers(), limits).peer()
	for range 3000 {
		require.Equal(t, "x", p.call("aaaa", "echo", "x"))
	}
	for range 1000 {
		p.say(begin("aaaa", "none", 1) + "x")
		p.hears(part("S", "aaaa", 0))
		p.say(begin("aaaa", "fail", 1) + "x")
		p.hears(part("E", "aaaa", 2)+"no", part("S", "aaaa", 0))
	}
}

// When the count of requests has gone round, an id that is still in use is passed over.
func TestRequestIDInUse(t *testing.T) {
	c := quietSock(nil)
	p := connectTo(t, c, nil)
	first := inBackground(func() string { b, _ := c.BufferRequest("a", nil); return string(b) })
	p.hears("r\x00\x00\x00\x00001a00000000")
	gotalk.SetNextID(c, 0xffffffff)
	for _, id := range []string{"\xff\xff\xff\xff", "\x01\x00\x00\x00"} {
		result := inBackground(func() string { b, _ := c.BufferRequest("b", nil); return string(b) })
		p.hears("r" + id + "001b00000000")
		p.say(part("R", id, 6), "second")
		require.Equal(t, "second", await(t, result))
	}
	p.say(part("R", "\x00\x00\x00\x00", 5), "first")
	require.Equal(t, "first", await(t, first))
}

// A handler that ends its goroutine, or panics, is answered for; its value is for the log alone.
func TestHandlerPanicsOrExits(t *testing.T) {
	log := logged(t)
	h := echoHandlers()
	h.HandleBufferRequest("panic", func(*gotalk.Sock, string, []byte) ([]byte, error) { panic("password is hunter2") })
	h.HandleBufferRequest("exit", func(*gotalk.Sock, string, []byte) ([]byte, error) { runtime.Goexit(); return nil, nil })
	h.HandleBufferRequest("runtimepanic", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) { return b[len(b)+1:], nil })
	h.Handle("json", func(v *struct{ N int }) (int, error) { return v.N, nil })
	eachServer(t, h, gotalk.NewLimits(1, 1), func(t *testing.T, s *testServer) {
		p := s.peer()
		for range 20 {
			for _, op := range []string{"panic", "exit", "runtimepanic"} {
				p.say(request("aaaa", op, 0))
				p.hears("Eaaaa0000000einternal error")
			}
		}
		p.say(request("aaaa", "json", 4), "null")
		p.hears("Eaaaa0000000einternal error")
		p.echoes()
	})
	require.Contains(t, log(), "hunter2")
	require.Contains(t, log(), "slice bounds")
}

// A panic or exit of a notification handler, or of OnHeartbeat, is logged and later ones are handled.
func TestNotificationHandlerPanicsOrExits(t *testing.T) {
	log := logged(t)
	h, heard := echoHandlers(), make(chan string, 10)
	h.HandleBufferNotification("panic", func(*gotalk.Sock, string, []byte) { panic("oh no") })
	h.HandleBufferNotification("exit", func(*gotalk.Sock, string, []byte) { runtime.Goexit() })
	h.HandleNotification("json", func(v *struct{ N int }) { heard <- fmt.Sprint(v.N) }) // dereferences what bad input leaves nil
	h.HandleBufferNotification("ok", func(_ *gotalk.Sock, _ string, b []byte) { heard <- string(b) })
	eachServer(t, h, nil, func(t *testing.T, s *testServer) {
		p := s.peer()
		s.sock().OnHeartbeat = func(load int, _ time.Time) { panic(fmt.Sprint("load ", load)) }
		p.say("n005panic00000000", "n004exit00000000", "n004json00000003", "bad", "h002a00000000", "n002ok00000001", "x")
		require.Equal(t, "x", await(t, heard))
		p.echoes()
	})
	for _, text := range []string{"oh no", "Goexit", "nil pointer", "load 42"} {
		require.Contains(t, log(), text)
	}
}

// Limits that were filled in by half mean the default for the other half, not that everything is refused.
func TestZeroLimitsRefuseNothing(t *testing.T) {
	for _, limits := range []*gotalk.Limits{{}, {ReadTimeout: time.Minute}} {
		p := serveTCP(t, echoHandlers(), limits).peer()
		p.echoes()
	}
}

// Whatever the two bounds of the wait are, a refusal asks for one that makes sense.
func TestRefusalWaits(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	for _, c := range []struct{ least, most, from, to time.Duration }{
		{0, 0, 500 * ms, 5 * s},
		{s, s, s, s},
		{s, s + 100*time.Microsecond, s, s}, // equal in milliseconds
		{3 * s, s, s, 3 * s},
		{100 * s, 0, 100 * s, 100 * s},
		{0, 100 * ms, 100 * ms, 100 * ms},
		{-s, -s, 500 * ms, 5 * s},
		{1e6 * time.Hour, 1e6 * time.Hour, 0xffffffff * ms, 0xffffffff * ms},
	} {
		h, gate := streamHandlers(), make(chan struct{})
		h.HandleBufferRequest("wait", func(*gotalk.Sock, string, []byte) ([]byte, error) { <-gate; return nil, nil })
		limits := gotalk.NewLimits(1, 1)
		limits.BufferMinWait, limits.BufferMaxWait, limits.StreamMinWait, limits.StreamMaxWait = c.least, c.most, c.least, c.most
		p := serveTCP(t, h, limits).peer()
		p.say(request("aaaa", "wait", 0), begin("bbbb", "all", 1), "x")
		for range 20 {
			for _, m := range []string{request("cccc", "echo", 0), begin("cccc", "all", 0)} {
				p.say(m)
				mt, id, _, wait, size, err := gotalk.ReadMsg(strings.NewReader(p.hear()), nil)
				require.NoError(t, err)
				require.Equal(t, "ecccc"+"18", fmt.Sprintf("%c%s%d", mt, id, size))
				d := time.Duration(wait) * ms
				require.True(t, c.from <= d && d <= c.to, "%+v: %v", c, d)
			}
		}
		close(gate)
		p.answer("aaaa")
	}
}

// Socks are often tested in bubbles of virtual time: nothing of one may get out and be used in the next.
func TestCallsInSeveralBubbles(t *testing.T) {
	call := func(t *testing.T) {
		a, b, err := gotalk.Pipe(echoHandlers(), nil)
		require.NoError(t, err)
		defer b.Close()
		defer a.Close()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { a.BufferRequest("echo", []byte("x")) })
		}
		wg.Wait()
	}
	for range 10 {
		synctest.Test(t, call)
		call(t)
	}
}

// Two peers that refuse each other's requests do not wait for each other.
func TestPeersRefuseEachOther(t *testing.T) {
	a, b, err := gotalk.Pipe(gotalk.NewHandlers(), nil)
	require.NoError(t, err)
	defer b.Close()
	defer a.Close()
	var wg sync.WaitGroup
	refused := make(chan error, 400)
	for range 100 {
		for _, s := range []*gotalk.Sock{a, b} {
			wg.Go(func() { _, err := s.BufferRequest("nope", []byte("x")); refused <- err })
			wg.Go(func() {
				r, results := s.StreamRequest("nope")
				r.Write([]byte("x"))
				res := <-results
				refused <- errors.New(res.Error())
			})
		}
	}
	for range cap(refused) {
		require.Error(t, await(t, refused))
	}
	wg.Wait()
}
