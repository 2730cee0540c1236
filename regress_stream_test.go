package gotalk_test

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

var streaming = gotalk.NewLimits(gotalk.Unlimited, gotalk.Unlimited)

// begin makes the header of a streaming request's first part.
func begin(id, op string, size int) string { return "s" + request(id, op, size)[1:] }

// part makes the header of a later part, or of a result: t is p, R, S or E.
func part(t, id string, size int) string { return fmt.Sprintf("%s%s%08x", t, id, size) }

// streamHandlers has echo and streaming operations of different manners.
func streamHandlers() *gotalk.Handlers {
	h := echoHandlers()
	stream := func(op string, f func(rch chan []byte, out io.WriteCloser) error) {
		h.HandleStreamRequest(op, func(_ *gotalk.Sock, _ string, rch chan []byte, out io.WriteCloser) error {
			return f(rch, out)
		})
	}
	stream("all", func(rch chan []byte, out io.WriteCloser) error { // waits for the end, as programs for 1.3.7 do or by range
		for b := range rch {
			if b == nil {
				break
			}
		}
		return nil
	})
	stream("none", func(chan []byte, io.WriteCloser) error { return nil })
	stream("fail", func(chan []byte, io.WriteCloser) error { return errors.New("no") })
	stream("panic", func(chan []byte, io.WriteCloser) error { panic("secret") })
	stream("exit", func(chan []byte, io.WriteCloser) error { runtime.Goexit(); return nil })
	stream("copy", func(rch chan []byte, out io.WriteCloser) error {
		for b := range rch {
			if _, err := out.Write(b); err != nil {
				return err
			}
		}
		return nil
	})
	return h
}

// A panic of a stream handler is answered, logged, and hurts nothing else.
func TestPanicInStreamHandler(t *testing.T) {
	log := logged(t)
	eachServer(t, streamHandlers(), streaming, func(t *testing.T, s *testServer) {
		p := s.peer()
		for _, op := range []string{"panic", "exit"} {
			p.say(begin("aaaa", op, 1), "x")
			p.hears("Eaaaa0000000einternal error", "Saaaa00000000")
			p.say(part("p", "aaaa", 1), "y", part("p", "aaaa", 0))
		}
		p.echoes()
	})
	require.Contains(t, log(), "secret")
	require.Contains(t, log(), "Goexit")
}

// A stream handler that takes its time holds up no other message of the connection.
func TestSlowStreamHandlerHoldsUpNothing(t *testing.T) {
	h, gate := streamHandlers(), make(chan struct{})
	h.HandleStreamRequest("slow", func(_ *gotalk.Sock, _ string, rch chan []byte, out io.WriteCloser) error {
		<-gate
		n := 0
		for range rch {
			n++
		}
		fmt.Fprint(out, n)
		return nil
	})
	eachServer(t, h, streaming, func(t *testing.T, s *testServer) {
		p := s.peer()
		p.say(begin("aaaa", "slow", 1), "x")
		for range 20 {
			p.say(part("p", "aaaa", 1), "y")
		}
		p.echoes()
		p.say(part("p", "aaaa", 0))
		p.echoes()
		gate <- struct{}{}
		p.hears("Saaaa0000000221", "Saaaa00000000")
	})
}

// A stream handler that returns before the request's end leaves the connection as it was, however much is to come.
func TestStreamHandlerReturnsEarly(t *testing.T) {
	eachServer(t, streamHandlers(), streaming, func(t *testing.T, s *testServer) {
		p := s.peer()
		for _, op := range []string{"none", "fail"} {
			p.say(begin("aaaa", op, 1), "x")
			if op == "fail" {
				p.hears("Eaaaa00000002no")
			}
			p.hears("Saaaa00000000")
			for range 50 {
				p.say(part("p", "aaaa", 1), "y")
			}
			p.say(part("p", "aaaa", 0))
			p.echoes()
		}
	})
}

// A handler that waits for parts is told when the connection ends: its channel is closed, and its Sock's context ends.
func TestStreamHandlersEndWithConnection(t *testing.T) {
	type end struct{ input, context bool }
	ends := make(chan end, 100)
	h := gotalk.NewHandlers()
	h.HandleStreamRequest("wait", func(s *gotalk.Sock, _ string, rch chan []byte, _ io.WriteCloser) error {
		ctx := s.Context()
		<-rch
		part, open := <-rch
		<-ctx.Done()
		ends <- end{part == nil && !open, ctx.Err() != nil}
		return nil
	})
	eachServer(t, h, streaming, func(t *testing.T, s *testServer) {
		for i := range 50 {
			p := s.peer()
			p.say(begin("aaaa", "wait", 1), "x")
			if i%2 == 0 { // else the request may still be under way when the connection ends
				s.sock()
				p.say(begin("bbbb", "nope", 0))
				p.hears(`Ebbbb00000018unknown operation "nope"`)
				require.NoError(t, p.w.end(true))
				require.Equal(t, end{true, true}, await(t, ends))
			} else {
				s.sock().Close()
				p.discard()
			}
		}
	})
}

// What was refused, or is over, the peer could not know when it sent more: such parts are dropped.
func TestPartOfRefusedStream(t *testing.T) {
	for name, c := range map[string]struct {
		limits *gotalk.Limits
		op     string
		answer string
	}{
		"streams not allowed": {nil, "all", "Eaaaa0000001dstream requests not supported"},
		"unknown operation":   {streaming, "nope", `Eaaaa00000018unknown operation "nope"`},
		"limit":               {gotalk.NewLimits(5, 1), "all", ""},
		"handler has failed":  {streaming, "fail", "Eaaaa00000002no"},
	} {
		t.Run(name, func(t *testing.T) {
			eachServer(t, streamHandlers(), c.limits, func(t *testing.T, s *testServer) {
				p := s.peer()
				if c.answer == "" {
					p.say(begin("zzzz", "all", 1), "x")
				}
				p.say(begin("aaaa", c.op, 3), "one", part("p", "aaaa", 3), "two", part("p", "aaaa", 0))
				answer := p.hear()
				switch {
				case c.answer != "":
					require.Equal(t, c.answer, answer)
				case s.ws:
					require.Equal(t, "Eaaaa00000012request rate limit", answer)
				default:
					require.Regexp(t, `^eaaaa[0-9a-f]{8}00000012request rate limit$`, answer)
				}
				if c.op == "fail" {
					p.hears("Saaaa00000000")
				}
				p.echoes()
				p.say(part("p", "aaaa", 5), "three", part("p", "aaaa", 0))
				p.echoes()
			})
		})
	}
}

// What the requestor sends has always one end, whichever methods the program calls, and nothing after it.
func TestStreamRequestEndsOnce(t *testing.T) {
	c := quietSock(nil)
	p := connectTo(t, c, nil)

	r, _ := c.StreamRequest("a")
	require.NoError(t, r.End()) // without a Write
	p.hears("s\x00\x00\x00\x00001a00000000", "p\x00\x00\x00\x0000000000")
	require.NoError(t, r.End())
	require.ErrorIs(t, r.Write([]byte("late")), gotalk.ErrStreamEnded)

	r, _ = c.StreamRequest("b")
	require.NoError(t, r.Write([]byte("x")))
	require.NoError(t, r.Write([]byte("y")))
	require.NoError(t, r.Write(nil)) // ends it too
	p.hears("s\x01\x00\x00\x00001b00000001x", "p\x01\x00\x00\x0000000001y", "p\x01\x00\x00\x0000000000")
	require.NoError(t, r.End())
	require.ErrorIs(t, r.Write(nil), gotalk.ErrStreamEnded)
	require.NoError(t, c.BufferNotify("next", nil))
	p.hears("n004next00000000")
}

// A requestor that was told of a failure sends no more parts, which an old peer would take for an offence.
func TestStreamRequestStopsAfterRefusal(t *testing.T) {
	c := quietSock(nil)
	p := connectTo(t, c, nil)
	r, results := c.StreamRequest("a")
	require.NoError(t, r.Write([]byte("x")))
	p.hears("s\x00\x00\x00\x00001a00000001x")
	p.say("E\x00\x00\x00\x0000000002no")
	res := await(t, results)
	require.EqualError(t, &res, "no")
	require.ErrorIs(t, r.Write([]byte("y")), gotalk.ErrStreamEnded)
	require.NoError(t, r.End())
	require.NoError(t, c.BufferNotify("next", nil))
	p.hears("n004next00000000")
}

// A responder that writes nothing, which on the wire would be the end, does not end its result.
func TestStreamHandlerWritesNothing(t *testing.T) {
	h := gotalk.NewHandlers()
	h.HandleStreamRequest("op", func(_ *gotalk.Sock, _ string, _ chan []byte, out io.WriteCloser) error {
		for _, s := range []string{"", "one", "", "two"} {
			if n, err := out.Write([]byte(s)); n != len(s) || err != nil {
				return fmt.Errorf("wrote %d: %w", n, err)
			}
		}
		out.Close()
		out.Close()
		if n, err := out.Write([]byte("late")); n != 0 || !errors.Is(err, gotalk.ErrStreamEnded) {
			return errors.New("written after the end")
		}
		return nil
	})
	eachServer(t, h, streaming, func(t *testing.T, s *testServer) {
		p := s.peer()
		for range 20 { // with the same id, although the handler may not have returned yet
			p.say(begin("aaaa", "op", 0))
			p.hears("Saaaa00000003one", "Saaaa00000003two", "Saaaa00000000")
		}
	})
}

// Results that a program does not take hold up none of its other calls, nor Read's return after Close.
func TestResultsThatNobodyTakes(t *testing.T) {
	const parts = 1000
	for name, start := range map[string]func(c *gotalk.Sock) chan gotalk.Response{
		"StreamRequest": func(c *gotalk.Sock) chan gotalk.Response {
			r, results := c.StreamRequest("a")
			r.Write([]byte("x"))
			return results
		},
		"SendRequest": func(c *gotalk.Sock) chan gotalk.Response {
			results := make(chan gotalk.Response)
			c.SendRequest(&gotalk.Request{MsgType: gotalk.MsgTypeStreamReq, Op: "a", Data: []byte("x")}, results)
			return results
		},
		"SendRequest of a single one": func(c *gotalk.Sock) chan gotalk.Response {
			results := make(chan gotalk.Response)
			c.SendRequest(gotalk.NewRequest("a", []byte("x")), results)
			return results
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := quietSock(nil)
				p := connectInMemory(t, c, nil)
				results := inBackground(func() chan gotalk.Response { return start(c) })
				require.Contains(t, p.hear(), "001a00000001x")
				single := strings.Contains(name, "single")
				answered := inBackground(func() string { b, _ := c.BufferRequest("b", nil); return string(b) })
				require.Contains(t, p.hear(), "001b00000000")
				for i := range parts {
					if single {
						break
					}
					p.say(part("S", "\x00\x00\x00\x00", 4), fmt.Sprintf("%04d", i))
				}
				if single {
					p.say(part("R", "\x00\x00\x00\x00", 4), "0000")
				}
				p.say(part("R", "\x01\x00\x00\x00", 4), "done")
				require.Equal(t, "done", await(t, answered))
				require.NoError(t, c.Close()) // the bubble sees to it that no goroutine is stuck

				// They are all there for it when it comes back to them, and then the news that the connection has ended.
				ch := await(t, results)
				for i := range parts {
					require.Equal(t, fmt.Sprintf("%04d", i), string(await(t, ch).Data))
					if single {
						return
					}
				}
				res := await(t, ch)
				require.True(t, res.IsError())
				require.EqualError(t, &res, "socket closed")
			})
		})
	}
}

// The channel of a stream that ended with the connection has the error and is closed, whoever was looking at the time.
func TestStreamEndsWithConnection(t *testing.T) {
	c := quietSock(nil)
	p := connectTo(t, c, nil)
	r, results := c.StreamRequest("a")
	require.NoError(t, r.Write([]byte("x")))
	p.hear()
	single := make(chan gotalk.Response)
	require.NoError(t, c.SendRequest(gotalk.NewRequest("b", nil), single))
	p.hear()
	c.Close()
	p.ends()
	for _, ch := range []chan gotalk.Response{results, single} {
		res := await(t, ch)
		require.True(t, res.IsError())
		require.EqualError(t, &res, "socket closed")
	}
	_, open := <-results
	require.False(t, open)
	require.ErrorIs(t, r.Write([]byte("y")), gotalk.ErrSockClosed)

	// So does one that is begun too late.
	r, results = c.StreamRequest("a")
	res := await(t, results)
	require.EqualError(t, &res, "socket closed")
	require.ErrorIs(t, r.Write([]byte("x")), gotalk.ErrSockClosed)
}
