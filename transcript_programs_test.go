package gotalk_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// clientRun is a client of ours that does what the program of a recorded client did.
type clientRun struct {
	testing.TB
	*gotalk.Sock
	notes  chan string   // notifications that came in, as name:payload
	beats  chan int      // loads of the heartbeats that came in
	closed chan int      // gets what CloseHandler is called with
	sent   chan struct{} // gets a token for each message that the scripted server has seen and found right
	failed chan struct{} // closed when the scripted server has got something else
}

// clientScenario is the program of a recorded client.
type clientScenario struct {
	setup func(s *gotalk.Sock)
	run   func(c *clientRun)
	ours  func(steps []step) []step
	why   string // of ours
}

func program(run func(c *clientRun)) clientScenario { return clientScenario{run: run} }

// request makes a request and checks its result.
func (c *clientRun) request(op, in, want string) {
	got, err := c.BufferRequest(op, []byte(in))
	require.NoError(c, err)
	require.Equal(c, want, string(got))
}

// fail makes a request that the other side refuses.
func (c *clientRun) fail(op, in, want string) {
	_, err := c.BufferRequest(op, []byte(in))
	require.EqualError(c, err, want)
	var res *gotalk.Response
	require.ErrorAs(c, err, &res)
	require.True(c, res.IsError())
}

// start makes a request and leaves its result in a channel.
func (c *clientRun) start(op, in string) chan gotalk.Response {
	results := make(chan gotalk.Response, 1)
	require.NoError(c, c.SendRequest(gotalk.NewRequest(op, []byte(in)), results))
	return results
}

// next gives what comes next on a channel.
func next[T any](c *clientRun, ch <-chan T) (v T) {
	select {
	case v = <-ch:
	case <-c.failed:
		require.FailNow(c, "the scripted server gave up")
	case <-time.After(patience):
		require.FailNow(c, "nothing comes")
	}
	return v
}

// chunk is a stream's next result: its data, or "" at the end.
func (c *clientRun) chunk(results chan gotalk.Response) string {
	res := next(c, results)
	require.True(c, res.IsStreaming(), "%+v", res)
	return string(res.Data)
}

// awaitClose waits until CloseHandler was called, and leaves its code to be looked at.
func (c *clientRun) awaitClose() { c.closed <- next(c, c.closed) }

// closedBy gives a program that asks the server to close the connection in one way or the other.
func closedBy(how string, want error) clientScenario {
	return program(func(c *clientRun) {
		require.NoError(c, c.BufferNotify("closeme", []byte(how)))
		c.awaitClose()
		_, err := c.BufferRequest("echo", nil)
		require.ErrorIs(c, err, want)
	})
}

var clientScenarios = map[string]clientScenario{
	"tcp-bidirectional": program(func(c *clientRun) {
		require.NoError(c, c.BufferNotify("askback", []byte("cecho")))
		mine := c.start("delay", "60:mine")
		require.Equal(c, "askresult:ok: client saw question", next(c, c.notes))
		require.Equal(c, "mine", string(next(c, mine).Data))
		require.NoError(c, c.BufferNotify("askback", []byte("cfail")))
		require.NoError(c, c.BufferNotify("askback", []byte("cmissing")))
		require.Equal(c, "askresult:error: client refuses", next(c, c.notes))
		require.Equal(c, `askresult:error: unknown operation "cmissing"`, next(c, c.notes))
	}),
	"tcp-close-by-server": closedBy("", gotalk.ErrSockClosed),
	"tcp-close-with-pending": program(func(c *clientRun) {
		failed := make(chan error, 1)
		go func() {
			_, err := c.BufferRequest("delay", []byte("500:never"))
			failed <- err
		}()
		next(c, c.sent)
		require.NoError(c, c.BufferNotify("closeme", nil))
		err := next(c, failed)
		require.ErrorIs(c, err, gotalk.ErrSockClosed)
		require.ErrorContains(c, err, "socket closed")
	}),
	"tcp-closeerror-0-abnormal":    closedBy("0", gotalk.ErrAbnormal),
	"tcp-closeerror-1-unsupported": closedBy("1", gotalk.ErrUnsupported),
	"tcp-closeerror-2-invalid":     closedBy("2", gotalk.ErrInvalidMsg),
	"tcp-closeerror-3-timeout":     closedBy("3", gotalk.ErrTimeout),
	"tcp-error-bad-params": program(func(c *clientRun) {
		require.EqualError(c, c.Request("greet", 5, new(any)), "unexpected parameter type")
		c.fail("greet", "", "unexpected parameter type")
	}),
	"tcp-error-handler": program(func(c *clientRun) {
		c.fail("fail", "x", `it failed: "quoted" ☃`)
		c.fail("failempty", "", "")
	}),
	"tcp-error-panic": program(func(c *clientRun) {
		c.fail("panic", "", "secret internals: /etc/db=hunter2")
		c.request("echo", "still here", "still here")
	}),
	"tcp-error-unknown-op": program(func(c *clientRun) {
		c.fail("nope", "some payload", `unknown operation "nope"`)
		c.fail("no\"quote\x01", "", "unknown operation \"no\"quote\x01\"")
	}),
	"tcp-handshake": program(func(*clientRun) {}),
	"tcp-heartbeat-defaults": {
		setup: func(s *gotalk.Sock) { s.HeartbeatInterval = gotalk.NewSock(nil).HeartbeatInterval },
		run: func(c *clientRun) {
			require.Equal(c, 20*time.Second, c.HeartbeatInterval)
			next(c, c.sent)
		},
	},
	"tcp-heartbeat": {
		setup: func(s *gotalk.Sock) { s.HeartbeatInterval = 150 * time.Millisecond },
		run: func(c *clientRun) {
			for range 3 {
				next(c, c.sent)
			}
			for _, load := range []float32{0, 0.5, 1} {
				require.NoError(c, c.SendHeartbeat(load, make([]byte, 13)))
			}
			for range 4 {
				require.Equal(c, 3, next(c, c.beats))
			}
		},
		why: "the loads that the program names are not left to chance",
		ours: func(steps []step) []step {
			loads := []string{"0000", "7fff", "ffff"}
			for i := len(steps) - 1; len(loads) > 0; i-- {
				if s := steps[i]; s.from == "client" && s.is('h') {
					steps[i].volatile = []volatileRange{{5, 8}}
					steps[i].frames = [][]byte{[]byte("h" + loads[len(loads)-1] + "00000000")}
					loads = loads[:len(loads)-1]
				}
			}
			return steps
		},
	},
	"tcp-interleaved": program(func(c *clientRun) {
		results := []chan gotalk.Response{
			c.start("delay", "300:A"), c.start("delay", "200:B"), c.start("delay", "100:C"), c.start("echo", "D"),
		}
		for _, i := range []int{3, 2, 1, 0} {
			require.Equal(c, "ABCD"[i:i+1], string(next(c, results[i]).Data))
		}
	}),
	"tcp-notification": program(func(c *clientRun) {
		require.NoError(c, c.BufferNotify("note", []byte("raw bytes \x00\xff")))
		require.NoError(c, c.Notify("njson", map[string]int{"x": 1}))
		require.NoError(c, c.BufferNotify("note", nil))
		require.NoError(c, c.BufferNotify("nobody-listens", []byte("dropped")))
		require.NoError(c, c.BufferNotify("push", nil))
		require.Equal(c, "raw:raw bytes \x00\xff", next(c, c.notes))
		require.Equal(c, "none:", next(c, c.notes))
		require.Equal(c, `json:{"a":1,"s":"☃"}`, next(c, c.notes))
	}),
	"tcp-read-timeout": program((*clientRun).awaitClose),
	"tcp-request-binary": program(func(c *clientRun) {
		c.request("echo", "\x00\x01\n\r\x7f\x80\xff", "\x00\x01\n\r\x7f\x80\xff")
	}),
	"tcp-request-empty": program(func(c *clientRun) {
		got, err := c.BufferRequest("echo", nil)
		require.NoError(c, err)
		require.Nil(c, got)
	}),
	"tcp-request-json": program(func(c *clientRun) {
		var hello struct{ Greeting string }
		require.NoError(c, c.Request("greet", "Bob", &hello))
		require.Equal(c, "Hello Bob", hello.Greeting)
		var sum int
		require.NoError(c, c.Request("sum", []int{1, 2, 3}, &sum))
		require.Equal(c, 6, sum)
		require.NoError(c, c.Request("greet", "☃ 😀 \u2028 <&>", &hello))
		require.Equal(c, "Hello ☃ 😀 \u2028 <&>", hello.Greeting)
	}),
	"tcp-request-name-4095": program(func(c *clientRun) { c.request(strings.Repeat("n", 4095), "x", "long name ok") }),
	"tcp-request-payload-70000": program(func(c *clientRun) {
		long := strings.Repeat("0123456789", 7000)
		c.request("echo", long, long)
	}),
	"tcp-request-raw":       program(func(c *clientRun) { c.request("echo", "hello", "hello") }),
	"tcp-request-utf8-name": program(func(c *clientRun) { c.request("grüße/☃", "x", "grüße/☃") }),
	"tcp-result-nil-and-null": program(func(c *clientRun) {
		c.request("nilresult", "", "")
		c.request("jsonnull", "", "null")
	}),
	"tcp-retry-limit": {
		run: func(c *clientRun) {
			first := c.start("delay", "300:first")
			c.request("echo", "second", "second")
			require.Equal(c, "first", string(next(c, first).Data))
		},
		why: "a wait of a millisecond does as well as the random one of the recording",
		ours: func(steps []step) []step {
			for i, s := range steps {
				if s.is('e') {
					steps[i].frames[0] = []byte(string(s.frames[0][:5]) + "00000001" + string(s.frames[0][13:]))
				}
			}
			return steps
		},
	},
	"tcp-shutdown-idle": program((*clientRun).awaitClose),
	"tcp-stream-disabled-more-parts": {
		run: func(c *clientRun) {
			req, results := c.StreamRequest("secho")
			require.NoError(c, req.Write([]byte("x")))
			require.NoError(c, req.Write([]byte("y")))
			res := next(c, results)
			require.EqualError(c, &res, "stream requests not supported")
		},
		why: "the refusal crosses the second part; a client that has seen it sends no more parts",
		ours: func(steps []step) []step {
			steps[3], steps[4] = steps[4], steps[3]
			steps[5].reset = false // or the refusal might be lost with it
			return steps
		},
	},
	"tcp-stream-disabled": program(func(c *clientRun) {
		req, results := c.StreamRequest("secho")
		require.NoError(c, req.Write([]byte("x")))
		res := next(c, results)
		require.EqualError(c, &res, "stream requests not supported")
	}),
	"tcp-stream-echo": program(func(c *clientRun) {
		req, results := c.StreamRequest("secho")
		for _, part := range []string{"one", "two", "three"} {
			require.NoError(c, req.Write([]byte(part)))
			require.Equal(c, part, c.chunk(results))
		}
		require.NoError(c, req.End())
		require.Empty(c, c.chunk(results))
	}),
	"tcp-stream-empty-first-chunk": program(func(c *clientRun) {
		req, results := c.StreamRequest("scount")
		require.NoError(c, req.Write(nil))
		require.NoError(c, req.End())
		require.Equal(c, "0 bytes in 1 parts", c.chunk(results))
		require.Empty(c, c.chunk(results))
	}),
	"tcp-stream-handler-error": {
		run: func(c *clientRun) {
			req, results := c.StreamRequest("sfail")
			require.NoError(c, req.Write([]byte("x")))
			res := next(c, results)
			require.EqualError(c, &res, "stream failed")
			c.request("echo", "still here", "still here")
		},
		why: "one request more shows that the S after the E does no harm",
		ours: func(steps []step) []step {
			return beforeEnd(steps, say("client", "r\x01\x00\x00\x00004echo0000000a", "still here"),
				say("server", "R\x01\x00\x00\x000000000a", "still here"))
		},
	},
	"tcp-stream-limit": program(func(c *clientRun) {
		one, ones := c.StreamRequest("secho")
		require.NoError(c, one.Write([]byte("x")))
		require.Equal(c, "x", c.chunk(ones))
		two, twos := c.StreamRequest("secho")
		require.NoError(c, two.Write([]byte("y")))
		res := next(c, twos)
		require.True(c, res.IsRetry())
		require.Equal(c, 0xe20*time.Millisecond, res.Wait)
		require.NoError(c, one.End())
		require.Empty(c, c.chunk(ones))
	}),
	"tcp-stream-no-result-data": program(func(c *clientRun) {
		req, results := c.StreamRequest("snone")
		require.NoError(c, req.Write([]byte("abc")))
		require.NoError(c, req.End())
		require.Empty(c, c.chunk(results))
	}),
	"tcp-stream-single-chunk": program(func(c *clientRun) {
		req, results := c.StreamRequest("scount")
		require.NoError(c, req.Write([]byte("abc")))
		require.NoError(c, req.End())
		require.Equal(c, "3 bytes in 1 parts", c.chunk(results))
		require.Empty(c, c.chunk(results))
	}),
	"tcp-stream-unknown-op": program(func(c *clientRun) {
		req, results := c.StreamRequest("nope")
		require.NoError(c, req.Write([]byte("x")))
		res := next(c, results)
		require.EqualError(c, &res, `unknown operation "nope"`)
	}),
}
