package gotalk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// How large payloads leave in parts.

const (
	largestPart = 128 << 10
	splits      = `{"cancel":1,"error":1,"meta":1,"split":131072}`
)

// counting is a payload in which no two parts are alike.
func counting(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8)*3 ^ byte(i>>16)*7
	}
	return b
}

// inParts is what a payload looks like in parts: the first message is of type first, the others and the end of type t.
func inParts(first, t, id string, payload []byte, size int) (messages []string) {
	for at := 0; at < len(payload); at += size {
		p := payload[at:min(at+size, len(payload))]
		header := part(t, id, len(p))
		if at == 0 && first != t {
			header = begin(id, first, len(p))
		}
		messages = append(messages, header+string(p))
	}
	return append(messages, part(t, id, 0))
}

func sizeOf(id string, n int) string {
	return notification("gotalk:meta", fmt.Sprintf(`%s{"size":%d}`, id, n))
}

type reply struct {
	b   []byte
	err error
}

func calls(ctx context.Context, c *gotalk.Sock, op string, payload []byte) <-chan reply {
	return inBackground(func() reply {
		b, err := c.BufferRequestContext(ctx, op, payload)
		return reply{b, err}
	})
}

func (p *peer) gives(ch <-chan reply, want string) {
	r := await(p, ch)
	require.NoError(p, r.err)
	require.Equal(p, want, string(r.b))
}

func TestLargeRequestOnTheWire(t *testing.T) {
	large := counting(300_000)
	for _, x := range []struct {
		keys  string
		sized bool
		part  int // 0: it leaves whole
	}{
		{splits, true, largestPart},
		{`{"meta":1,"split":100000}`, true, 100_000},
		{`{"meta":1,"split":1000000}`, true, 0},
		{`{"meta":1,"split":299999}`, true, largestPart},
		{`{"meta":1,"split":300000}`, true, 0},
		{`{"meta":1,"split":1}`, true, 1024},
		{`{"split":65536}`, false, 65536},
		{`{"meta":1}`, false, 0},
		{"", false, 0},
	} {
		calling(t, x.keys, func(t *testing.T, c *gotalk.Sock, p *peer) {
			synctest.Wait()
			made := calls(context.Background(), c, "op", large)
			if x.part == 0 {
				p.hearsAll(request(id0, "op", len(large)) + string(large))
			} else {
				if x.sized {
					p.hearsAll(sizeOf(id0, len(large)))
				}
				p.hearsAll(inParts("op", "p", id0, large, x.part)...)
			}
			p.say(part("R", id0, 2) + "ok")
			p.gives(made, "ok")

			small := make([]byte, 64<<10) // whatever the peer likes
			made = calls(context.Background(), c, "op", small)
			p.hearsAll(request(id1, "op", len(small)) + string(small))
			p.say(part("R", id1, 0))
			p.gives(made, "")
			p.hearsNothingMore(c)
		})
	}
}

// What a call says besides goes with it, but for metadata that has the name of the size: then the payload stays whole.
func TestMetadataOfLargeRequest(t *testing.T) {
	large := counting(200_000)
	calling(t, splits, func(t *testing.T, c *gotalk.Sock, p *peer) {
		synctest.Wait()
		ctx, cancel := context.WithTimeout(gotalk.WithMeta(t.Context(), map[string]string{"user": "rasmus"}), time.Second)
		defer cancel()
		made := calls(ctx, c, "op", large)
		p.hearsAll(notification("gotalk:meta", id0+`{"size":200000,"timeout_ms":1000,"user":"rasmus"}`))
		p.hearsAll(inParts("op", "p", id0, large, largestPart)...)
		p.say(part("R", id0, 0))
		p.gives(made, "")

		made = calls(gotalk.WithMeta(t.Context(), map[string]string{"size": "large"}), c, "op", large)
		p.hearsAll(notification("gotalk:meta", id1+`{"size":"large"}`), request(id1, "op", len(large))+string(large))
		p.say(part("R", id1, 0))
		p.gives(made, "")
	})
	// A call that its context may end cannot be given up half-way if the peer does not know of cancel.
	calling(t, `{"meta":1,"split":65536}`, func(t *testing.T, c *gotalk.Sock, p *peer) {
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		made := calls(ctx, c, "op", large)
		p.hearsAll(request(id0, "op", len(large)) + string(large))
		p.say(part("R", id0, 0))
		p.gives(made, "")
	})
}

func TestSendRequestInParts(t *testing.T) {
	large := counting(200_000)
	calling(t, splits, func(t *testing.T, c *gotalk.Sock, p *peer) {
		synctest.Wait()
		results := make(chan gotalk.Response, 2)
		sent := inBackground(func() error { return c.SendRequest(gotalk.NewRequest("op", large), results) })
		p.hearsAll(sizeOf(id0, len(large)))
		p.hearsAll(inParts("op", "p", id0, large, largestPart)...)
		goesOn(t, sent)
		p.say(inParts("S", "S", id0, large, 100_000)...)
		res := await(t, results)
		require.Equal(t, gotalk.MsgTypeSingleRes, res.MsgType)
		require.True(t, bytes.Equal(large, res.Data))
		p.hearsNothingMore(c)
		require.Empty(t, results)
	})
}

// The connection takes nothing that the peer does not read, so that what is in front of a small message is known.
func TestSmallMessagesPassLargeRequests(t *testing.T) {
	large := counting(20 * largestPart)
	parts := inParts("op", "p", id0, large, largestPart)
	for _, ends := range []bool{false, true} {
		calling(t, splits, func(t *testing.T, c *gotalk.Sock, p *peer) {
			synctest.Wait()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if !ends {
				ctx = context.Background()
			}
			made := calls(ctx, c, "op", large)
			p.hearsAll(sizeOf(id0, len(large)), parts[0], parts[1], parts[2])
			synctest.Wait()
			noted := inBackground(func() error { return c.BufferNotify("small", nil) })
			synctest.Wait()
			heard := 0
			for m := p.hearAll(); m != "n005small00000000"; m = p.hearAll() {
				require.Equal(t, parts[3+heard], m)
				heard++
			}
			require.LessOrEqual(t, heard, 2)
			goesOn(t, noted)
			p.hearsAll(parts[3+heard:]...)
			p.say(part("R", id0, 0))
			p.gives(made, "")
		})
	}
}

// So it is with results.
func TestSmallMessagesPassLargeResults(t *testing.T) {
	large := counting(20 * largestPart)
	synctest.Test(t, func(t *testing.T) {
		h := echoHandlers()
		h.HandleBufferRequest("large", func(*gotalk.Sock, string, []byte) ([]byte, error) { return large, nil })
		p := serveInMemory(t, h, nil).peer()
		p.greets(splits)
		parts := inParts("S", "S", "aaaa", large, largestPart)
		p.say(request("aaaa", "large", 0))
		p.hearsAll(parts[0], parts[1], parts[2])
		p.say(request("bbbb", "echo", 1) + "x")
		synctest.Wait()
		heard := 3
		for m := p.hearAll(); m != part("R", "bbbb", 1)+"x"; m = p.hearAll() {
			require.Equal(t, parts[heard], m)
			heard++
		}
		require.LessOrEqual(t, heard, 4)
		p.hearsAll(parts[heard:]...)
		p.echoes()
	})
}

func TestLargeResultOnTheWire(t *testing.T) {
	large := counting(300_000)
	h := echoHandlers()
	h.HandleBufferRequest("large", func(*gotalk.Sock, string, []byte) ([]byte, error) { return large, nil })
	eachServer(t, h, nil, func(t *testing.T, s *testServer) {
		for keys, size := range map[string]int{
			`{"split":131072}`: largestPart, `{"split":70000}`: 70_000, `{"split":300000}`: 0, `{"meta":1}`: 0, "": 0,
		} {
			p := s.peer()
			if keys != "" {
				p.greets(keys)
			}
			p.say(request("aaaa", "large", 0))
			if size == 0 {
				p.hearsAll(part("R", "aaaa", len(large)) + string(large))
			} else {
				p.hearsAll(inParts("S", "S", "aaaa", large, size)...)
			}
			p.echoes()
		}
	})
}

// Of many large payloads few are on their way at a time, so that the peer does not have to hold more. Still larger ones go
// beside them, one at a time.
func TestLargePayloadsTakeTurns(t *testing.T) {
	calling(t, splits, func(t *testing.T, c *gotalk.Sock, p *peer) {
		synctest.Wait()
		const n = 20
		var all []<-chan reply
		for i := range n {
			size := 3 * largestPart
			if i%4 == 0 {
				size = 2 << 20
			}
			all = append(all, calls(t.Context(), c, "op", make([]byte, size)))
		}
		under, begun, most := map[string]int{}, map[string]int{}, map[int]int{}
		for ended := 0; ended < n; {
			m := p.hearAll()
			id := m[1:5]
			switch {
			case strings.HasPrefix(m, "n00bgotalk:meta"):
				begun[m[len("n00bgotalk:meta00000000"):][:4]] = len(strings.Split(m, "2097152"))
				continue
			case m[0] == 's':
				under[id] = begun[id]
			case m == part("p", id, 0):
				delete(under, id)
				ended++
				p.say(part("R", id, 0))
			}
			lanes := map[int]int{}
			for _, lane := range under {
				lanes[lane]++
			}
			most[1], most[2] = max(most[1], lanes[1]), max(most[2], lanes[2])
		}
		require.Equal(t, map[int]int{1: 4, 2: 1}, most)
		for _, made := range all {
			p.gives(made, "")
		}
	})
}

// One that waits for its turn is given up without a word to the peer.
func TestWaitingForTurnEnds(t *testing.T) {
	large := counting(2 << 20)
	for name, end := range map[string]func(cancel func(), c *gotalk.Sock) error{
		"cancel": func(cancel func(), c *gotalk.Sock) error { cancel(); return context.Canceled },
		"close":  func(cancel func(), c *gotalk.Sock) error { c.Close(); return gotalk.ErrSockClosed },
	} {
		t.Run(name, func(t *testing.T) {
			calling(t, splits, func(t *testing.T, c *gotalk.Sock, p *peer) {
				synctest.Wait()
				first := calls(context.Background(), c, "first", large)
				synctest.Wait()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				second := calls(ctx, c, "second", large)
				synctest.Wait()
				third := calls(context.Background(), c, "third", large)
				waits(t, second)
				start, want := time.Now(), end(cancel, c)
				require.ErrorIs(t, (await(t, second)).err, want)
				if name == "close" {
					require.ErrorIs(t, (await(t, third)).err, want)
					require.Zero(t, time.Since(start), "it need not wait for what is being written")
					require.ErrorIs(t, (await(t, first)).err, want)
					return
				}
				p.hearsAll(sizeOf(id0, len(large)))
				p.hearsAll(inParts("first", "p", id0, large, largestPart)...)
				id2 := string(gotalk.FormatRequestID(2))
				p.hearsAll(sizeOf(id2, len(large)))
				p.hearsAll(inParts("third", "p", id2, large, largestPart)...)
				p.say(part("R", id0, 0), part("R", id2, 0))
				p.gives(first, "")
				p.gives(third, "")
			})
		})
	}
}

// Whoever does not want a result any more stops sending, and says so.
func TestLargeRequestIsCancelled(t *testing.T) {
	large := counting(20 * largestPart)
	parts := inParts("op", "p", id0, large, largestPart)
	calling(t, splits, func(t *testing.T, c *gotalk.Sock, p *peer) {
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		made := calls(ctx, c, "op", large)
		p.hearsAll(sizeOf(id0, len(large)), parts[0], parts[1])
		cancel()
		require.Equal(t, context.Canceled, (await(t, made)).err)
		heard := 2
		m := p.hearAll()
		for ; m != cancelOf(id0); m = p.hearAll() {
			require.Equal(t, parts[heard], m)
			heard++
		}
		require.LessOrEqual(t, heard, 5)
		p.say(failed(id0, "canceled", "late"))
		p.hearsNothingMore(c)
		synctest.Wait()
		require.Equal(t, gotalk.Stats{Connections: 1}, c.Stats())
	})
}

// An answer before the end ends the request, and is not waited for until all is sent.
func TestLargeRequestIsAnsweredEarly(t *testing.T) {
	large := counting(20 * largestPart)
	parts := inParts("op", "p", id0, large, largestPart)
	for answer, want := range map[string]string{part("E", id0, 2) + "no": "no", part("R", id0, 3) + "yes": "yes"} {
		calling(t, splits, func(t *testing.T, c *gotalk.Sock, p *peer) {
			synctest.Wait()
			made := calls(context.Background(), c, "op", large)
			p.hearsAll(sizeOf(id0, len(large)), parts[0], parts[1])
			said := inBackground(func() error { return p.trySay(answer) })
			goesOn(t, said)
			synctest.Wait()
			noted := inBackground(func() error { return c.BufferNotify("next", nil) })
			heard := 2
			for m := p.hearAll(); m != "n004next00000000"; m = p.hearAll() {
				require.Equal(t, parts[heard], m)
				heard++
			}
			require.LessOrEqual(t, heard, 4)
			goesOn(t, noted)
			r := await(t, made)
			if answer[0] == 'R' {
				require.NoError(t, r.err)
				require.Equal(t, want, string(r.b))
			} else {
				require.EqualError(t, r.err, want)
			}
			p.hearsNothingMore(c)
		})
	}
}

// A request that is to be made again is sent again from its beginning.
func TestLargeRequestIsRetried(t *testing.T) {
	large := counting(5 * largestPart)
	calling(t, splits, func(t *testing.T, c *gotalk.Sock, p *peer) {
		synctest.Wait()
		made := calls(context.Background(), c, "op", large)
		p.hearsAll(sizeOf(id0, len(large)), inParts("op", "p", id0, large, largestPart)[0])
		p.say("e" + id0 + "000000640000000arate limit")
		m := p.hearAll()
		for ; m[0] == 'p'; m = p.hearAll() {
			require.NotEqual(t, part("p", id0, 0), m, "the end would have the peer handle it")
		}
		require.Equal(t, sizeOf(id1, len(large)), m)
		p.hearsAll(inParts("op", "p", id1, large, largestPart)...)
		p.say(part("R", id1, 4) + "done")
		p.gives(made, "done")
	})
}

// The peer handles nothing before all has come, so what was lost before that is made again by a Client.
func TestClientResendsHalfARequest(t *testing.T) {
	large := counting(20 * largestPart)
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t)
		var runs atomic.Int32
		h := gotalk.NewHandlers()
		h.HandleBufferRequest("size", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) {
			runs.Add(1)
			return fmt.Append(nil, len(b)), nil
		})
		l := n.listen(anAddr)
		c := n.client(nil, anAddr)
		nc, err := l.Accept()
		require.NoError(t, err)
		p := newPeer(t, nc, nil, false, false)
		p.shakeHands()
		p.say(notification("gotalk:hello", splits))
		synctest.Wait()
		made := inBackground(func() reply {
			b, err := c.BufferRequest("size", large)
			return reply{b, err}
		})
		p.hear()
		p.w.nc.Close()
		require.NoError(t, l.Close())
		n.serve(anAddr, h, nil)
		p.gives(made, fmt.Sprint(len(large)))
		require.EqualValues(t, 1, runs.Load())
	})
}

// A result that nobody wants any more is not sent to its end.
func TestLargeResultIsCancelled(t *testing.T) {
	large := counting(20 * largestPart)
	synctest.Test(t, func(t *testing.T) {
		h := echoHandlers()
		h.HandleBufferRequest("large", func(*gotalk.Sock, string, []byte) ([]byte, error) { return large, nil })
		p := serveInMemory(t, h, nil).peer()
		p.greets(splits)
		parts := inParts("S", "S", "aaaa", large, largestPart)
		for range 2 { // nor keeps it others from being sent
			p.say(request("aaaa", "large", 0))
			p.hearsAll(parts[0], parts[1])
			p.say(request("bbbb", "large", 0))
			p.say(cancelOf("aaaa"))
			synctest.Wait()
			heard := 2
			m := p.hearAll()
			for ; m[0] == 'S'; m = p.hearAll() {
				require.Equal(t, parts[heard], m)
				heard++
			}
			require.Equal(t, failed("aaaa", "canceled", "context canceled"), m)
			require.LessOrEqual(t, heard, 4)
			p.hearsAll(inParts("S", "S", "bbbb", large, largestPart)...)
		}
		p.echoes()
	})
}

// A thousand calls at once, with payloads of all kinds of sizes.
func TestThousandLargeCalls(t *testing.T) {
	eachServer(t, echoHandlers(), nil, func(t *testing.T, s *testServer) {
		c := s.client(nil)
		ends := []*gotalk.Sock{c, s.sock()}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		payload := counting(300_000)
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				n := 100_000 + i*199
				ctx := ctx
				if i%3 == 0 {
					ctx = context.Background()
				}
				b, err := c.BufferRequestContext(ctx, "echo", payload[:n])
				if err != nil || !bytes.Equal(payload[:n], b) {
					t.Errorf("call %d: %v, %d bytes instead of %d", i, err, len(b), n)
				}
			})
		}
		all.Wait()
		for _, end := range ends {
			require.Eventually(t, func() bool { return end.Stats() == gotalk.Stats{Connections: 1} }, patience, time.Millisecond)
		}
	})
}

// Calls that end at any moment leave nothing behind, and do not disturb others.
func TestLargeCallsAreCancelledAtAnyTime(t *testing.T) {
	h := echoHandlers()
	s := serveTCP(t, h, nil)
	c := s.client(nil)
	served := s.sock()
	payload := counting(1_100_000) // of which one may be on its way: if one leaves and its turn stays, no other can
	_, err := c.BufferRequest("echo", nil)
	require.NoError(t, err)
	var all sync.WaitGroup
	for i := range 2000 {
		if i%200 == 0 {
			all.Wait()
		}
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%200)*200*time.Microsecond)
			defer cancel()
			b, err := c.BufferRequestContext(ctx, "echo", payload)
			if err == nil && !bytes.Equal(payload, b) || err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, %d bytes", err, len(b))
			}
		})
	}
	all.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b, err := c.BufferRequestContext(ctx, "echo", payload)
	require.NoError(t, err)
	require.True(t, bytes.Equal(payload, b))
	for _, end := range []*gotalk.Sock{c, served} {
		require.Eventually(t, func() bool { return end.Stats() == gotalk.Stats{Connections: 1} }, patience, time.Millisecond)
	}
}

// endsBroken is a connection that delivers the end of a split request and fails then.
type endsBroken struct{ net.Conn }

func (c endsBroken) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if len(b) >= 13 && string(b[len(b)-13:len(b)-12]) == "p" && string(b[len(b)-8:]) == "00000000" {
		return 0, io.ErrClosedPipe
	}
	return n, err
}

// A split request whose end may have been delivered may have run, so a Client does not make it again.
func TestSplitRequestRunsOnce(t *testing.T) {
	var runs, dials atomic.Int32
	started := make(chan struct{}, 2)
	h := echoHandlers()
	h.HandleBufferRequestContext("op", func(ctx context.Context, _ *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
		runs.Add(1)
		started <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	s := serveTCP(t, h, nil)
	c := gotalk.NewClient("tcp://" + s.addr)
	c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		if dials.Add(1) == 1 && err == nil {
			return endsBroken{nc}, nil
		}
		return nc, err
	}
	require.NoError(t, c.Start())
	defer c.Close()
	_, err := c.BufferRequest("echo", nil)
	require.NoError(t, err)
	made := calls(context.Background(), c.Sock, "op", make([]byte, 300<<10))
	await(t, started)
	require.Error(t, await(t, made).err)
	require.EqualValues(t, 1, runs.Load())
}
