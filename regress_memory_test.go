package gotalk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// inBubbles runs test in virtual time, with a server for plain connections and one for WebSockets.
func inBubbles(t *testing.T, h func() *gotalk.Handlers, limits *gotalk.Limits, test func(t *testing.T, s *testServer)) {
	for _, ws := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "websocket"}[ws], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, startServer(t, newPipeListener(), ws, h(), limits)) })
		})
	}
}

// hearsBegin checks what the next message begins with.
func (p *peer) hearsBegin(want string) {
	m := p.hear()
	require.Equal(p, want, m[:min(len(want), len(m))], "%.200q", m)
}

// The handler of a stream that had too large a part waited for ever for more, and kept others out.
func TestTooLargePartEndsHandler(t *testing.T) {
	limits := *gotalk.NewLimits(10, 1)
	limits.MaxPayload = 10
	for name, leave := range map[string]bool{"peer stays": false, "peer leaves": true} {
		t.Run(name, func(t *testing.T) {
			var ended atomic.Int32
			handlers := func() *gotalk.Handlers {
				ended.Store(0)
				h := streamHandlers()
				h.HandleStreamRequest("wait", func(_ *gotalk.Sock, _ string, rch chan []byte, _ io.WriteCloser) error {
					for range rch {
					}
					ended.Add(1)
					return nil
				})
				return h
			}
			inBubbles(t, handlers, &limits, func(t *testing.T, s *testServer) {
				p := s.peer()
				p.say(begin("aaaa", "wait", 1), "x", part("p", "aaaa", 11))
				if leave {
					p.w.nc.Close()
					synctest.Wait()
					require.EqualValues(t, 1, ended.Load())
					return
				}
				p.say(strings.Repeat("x", 11))
				p.hearsBegin("Eaaaa")
				p.hears(part("S", "aaaa", 0))
				synctest.Wait()
				require.EqualValues(t, 1, ended.Load())
				p.say(begin("bbbb", "copy", 1), "x")
				p.hears(part("S", "bbbb", 1) + "x")
			})
		})
	}
}

// A handler that failed after one of its parts had been too large made a second error result of it.
func TestOneErrorResultForOneStream(t *testing.T) {
	limits := *gotalk.NewLimits(10, 10)
	limits.MaxPayload = 10
	var gate chan struct{}
	handlers := func() *gotalk.Handlers {
		gate = make(chan struct{})
		h := echoHandlers()
		h.HandleStreamRequest("late", func(*gotalk.Sock, string, chan []byte, io.WriteCloser) error {
			<-gate
			return errors.New("late")
		})
		return h
	}
	inBubbles(t, handlers, &limits, func(t *testing.T, s *testServer) {
		p := s.peer()
		p.say(begin("aaaa", "late", 1), "x", part("p", "aaaa", 11), strings.Repeat("x", 11))
		p.hearsBegin("Eaaaa")
		p.hears(part("S", "aaaa", 0))
		close(gate)
		synctest.Wait()
		p.echoes()
	})
}

// Results that nobody collected from SendRequest's channel stopped all other calls.
func TestUncollectedResultsHoldUpNothing(t *testing.T) {
	const n, size = 12, 1 << 20
	c := quietSock(nil)
	p := connectTo(t, c, &gotalk.Limits{MaxPendingBytes: 2 * size, MaxPayload: size})
	results := make(chan gotalk.Response)
	var answers strings.Builder
	for range n {
		require.NoError(t, c.SendRequest(gotalk.NewRequest("big", nil), results))
		answers.WriteString(part("R", p.hear()[1:5], size) + strings.Repeat("x", size))
	}
	require.NoError(t, await(t, inBackground(func() error { return p.trySay(answers.String()) })))
	other := inBackground(func() error { _, err := c.BufferRequest("small", nil); return err })
	p.say(part("R", p.hear()[1:5], 0))
	require.NoError(t, await(t, other))
	for range n {
		res := await(t, results)
		require.Len(t, res.Data, size)
	}
}

// The names of notifications that wait for their handler were not counted.
func TestNamesOfNotificationsCount(t *testing.T) {
	gate := make(chan struct{})
	h := echoHandlers()
	h.HandleBufferNotification("", func(*gotalk.Sock, string, []byte) { <-gate })
	s := serveTCP(t, h, nil)
	p, other := s.peer(), s.peer()
	note := "nfff" + strings.Repeat("x", 4095) + "00000000"
	peak := peakMemory(func() { standsStill(t, p.flood(strings.Repeat(note, 100), 1000)) })
	require.Less(t, peak, int64(192<<20))
	other.echoes()
	close(gate)
}

// The first part of each stream was not counted, however many streams there were.
func TestFirstPartsCount(t *testing.T) {
	const size = 1 << 20
	gate := make(chan struct{})
	h := echoHandlers()
	h.HandleStreamRequest("slow", func(*gotalk.Sock, string, chan []byte, io.WriteCloser) error { <-gate; return nil })
	s := serveTCP(t, h, streaming)
	p, other := s.peer(), s.peer()
	payload := strings.Repeat("x", size)
	peak := peakMemory(func() {
		var sent atomic.Int64
		go func() {
			for i := range 400 {
				if p.trySay(begin(fmt.Sprintf("%04d", i), "slow", size), payload) != nil {
					return
				}
				sent.Add(1)
			}
		}()
		standsStill(t, &sent)
	})
	require.Less(t, peak, int64(192<<20))
	other.echoes()
	close(gate)
}

// A request larger than MaxPendingBytes closed the connection when a call of ours was under way.
func TestOnePayloadAlwaysFits(t *testing.T) {
	const size = 3 << 20
	gate := make(chan struct{})
	h := echoHandlers()
	h.HandleBufferRequest("size", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) {
		<-gate
		return fmt.Append(nil, len(b)), nil
	})
	s := serveTCP(t, h, &gotalk.Limits{MaxPendingBytes: 1 << 20, MaxPayload: size})
	p := s.peer()
	sock := s.sock()
	ours := inBackground(func() error { _, err := sock.BufferRequest("pending", nil); return err })
	id := p.hear()[1:5]
	p.say(request("aaaa", "size", size), strings.Repeat("x", size), request("bbbb", "echo", 0))
	p.hearsBegin("ebbbb") // there is no room for more
	close(gate)
	require.Equal(t, fmt.Sprint(size), p.answer("aaaa"))
	p.say(part("R", id, 0))
	require.NoError(t, await(t, ours))
	p.echoes()
}

// A consumer that lost its stream because it did not keep up was never told.
func TestLostStreamEndsWithError(t *testing.T) {
	for name, begin := range map[string]func(c *gotalk.Sock, results *chan gotalk.Response) error{
		"SendRequest": func(c *gotalk.Sock, results *chan gotalk.Response) error {
			*results = make(chan gotalk.Response)
			return c.SendRequest(&gotalk.Request{MsgType: gotalk.MsgTypeStreamReq, Op: "s"}, *results)
		},
		"StreamRequest": func(c *gotalk.Sock, results *chan gotalk.Response) (err error) {
			var r *gotalk.StreamRequest
			r, *results = c.StreamRequest("s")
			return r.Write(nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := quietSock(nil)
				p := connectInMemory(t, c, &gotalk.Limits{MaxPendingBytes: 1000})
				var results chan gotalk.Response
				begun := inBackground(func() error { return begin(c, &results) })
				id := p.hear()[1:5]
				require.NoError(t, await(t, begun))
				go func() { // answers at once whatever else is asked
					for {
						r, err := p.read(false)
						if err != nil {
							return
						}
						if m := bytes.Join(r.frames, nil); m[0] == 'r' {
							p.trySay(part("R", string(m[1:5]), 0))
						}
					}
				}()
				said := inBackground(func() (err error) {
					for i := 0; i < 100 && err == nil; i++ {
						err = p.trySay(part("S", id, 100), strings.Repeat("x", 100))
					}
					return errors.Join(err, p.trySay(part("S", id, 0)))
				})
				<-time.After(2 * time.Minute)
				require.NoError(t, await(t, said))
				var last gotalk.Response
				parts := 0
				for ; !last.IsError(); parts++ {
					last = await(t, results)
					require.NotEmpty(t, last.Data, "neither the end, nor closed")
				}
				require.Less(t, parts, 100)
				require.ErrorContains(t, &last, "did not keep up")
				synctest.Wait()
				select {
				case res, more := <-results:
					require.Equal(t, "StreamRequest", name, "%q follows", res.Data)
					require.False(t, more, "%q follows", res.Data)
				default:
					require.Equal(t, "SendRequest", name, "its channel is not closed")
				}
				_, err := c.BufferRequest("else", nil)
				require.NoError(t, err)
			})
		})
	}
}
