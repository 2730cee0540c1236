package gotalk_test

import (
	"context"
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

// How payloads that come in parts are put together.

// splitHandlers has an operation "size" for single requests and for streams, "echo" for single requests, and "wait", which
// waits for its context.
func splitHandlers() *gotalk.Handlers {
	h := echoHandlers()
	h.HandleBufferRequest("size", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) {
		return fmt.Append(nil, "single ", len(b)), nil
	})
	h.HandleStream("size", func(_ context.Context, st *gotalk.Stream) error {
		n, err := io.Copy(io.Discard, st)
		if err == nil {
			err = st.Send(fmt.Append(nil, "stream ", n))
		}
		return err
	})
	h.HandleBufferRequestContext("wait", func(ctx context.Context, _ *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	return h
}

// joining serves h in virtual time to a peer that has said hello with those keys.
func joining(t *testing.T, h *gotalk.Handlers, limits *gotalk.Limits, keys string,
	test func(t *testing.T, s *testServer, p *peer)) {
	synctest.Test(t, func(t *testing.T) {
		s := serveInMemory(t, h, limits)
		p := s.peer()
		if keys != "" {
			p.greets(keys)
		}
		test(t, s, p)
	})
}

// sends says a payload in parts, as a request.
func (p *peer) sends(id, op, payload string, size int) {
	p.say(inParts(op, "p", id, []byte(payload), size)...)
}

func TestRequestInParts(t *testing.T) {
	const text = "ten bytes!"
	for _, keys := range []string{splits, `{"meta":1}`, `{}`} { // it is enough that the peer knows of us
		joining(t, splitHandlers(), nil, keys, func(t *testing.T, _ *testServer, p *peer) {
			for _, size := range []int{1, 3, 10} {
				p.sends("aaaa", "echo", text, size)
				p.hearsAll(part("R", "aaaa", 10) + text)
			}
			p.say(begin("aaaa", "echo", 0), part("p", "aaaa", 10)+text, part("p", "aaaa", 0))
			p.hearsAll(part("R", "aaaa", 10) + text)
			p.say(begin("aaaa", "echo", 0), part("p", "aaaa", 0))
			p.hearsAll(part("R", "aaaa", 0))

			// An operation for both: the size says which is meant, whether it is right or not.
			p.sends("aaaa", "size", text, 4)
			p.hearsAll(part("S", "aaaa", 9)+"stream 10", part("S", "aaaa", 0))
			for _, size := range []string{"10", "0", "-5", "3.5", "1e3"} {
				p.say(notification("gotalk:meta", `aaaa{"size":`+size+`}`))
				p.sends("aaaa", "size", text, 4)
				p.hearsAll(part("R", "aaaa", 9) + "single 10")
			}
			for _, size := range []string{`"10"`, `null`, `[10]`} { // that is something of the program's
				p.say(notification("gotalk:meta", `aaaa{"size":`+size+`}`))
				p.sends("aaaa", "size", text, 4)
				p.hearsAll(part("S", "aaaa", 9)+"stream 10", part("S", "aaaa", 0))
			}
			p.say(notification("gotalk:meta", `bbbb{"size":10}`)) // of another one
			p.sends("aaaa", "size", text, 4)
			p.hearsAll(part("S", "aaaa", 9)+"stream 10", part("S", "aaaa", 0))

			p.say(notification("gotalk:meta", `aaaa{"size":10}`), request("aaaa", "size", 10)+text)
			p.hearsAll(part("R", "aaaa", 9) + "single 10")
			p.echoes()
		})
	}
}

func TestRequestInPartsForNobody(t *testing.T) {
	joining(t, splitHandlers(), nil, `{}`, func(t *testing.T, _ *testServer, p *peer) {
		p.say(notification("gotalk:meta", `aaaa{"size":10}`))
		p.sends("aaaa", "none", "ten bytes!", 4)
		p.hearsAll(part("E", "aaaa", 24) + `unknown operation "none"`)
		p.sends("aaaa", "none", "ten bytes!", 4)
		p.hearsAll(part("E", "aaaa", 29) + textNoStreams)
		p.echoes()
	})
	// Towards a peer that has not said hello all is as ever.
	joining(t, splitHandlers(), nil, "", func(t *testing.T, _ *testServer, p *peer) {
		p.say(begin("aaaa", "echo", 0))
		p.hears(part("E", "aaaa", 29) + textNoStreams)
		p.say(part("p", "aaaa", 1)+"x", part("p", "aaaa", 0))
		p.echoes()
	})
	joining(t, splitHandlers(), gotalk.NoLimits, "", func(t *testing.T, _ *testServer, p *peer) {
		p.say(begin("aaaa", "echo", 0))
		p.hears(part("E", "aaaa", 24) + `unknown operation "echo"`)
		p.echoes()
	})
}

const textNoStreams = "stream requests not supported"

// A payload that is too large is known for it as soon as it says so, or is it, and skipped.
func TestRequestInPartsTooLarge(t *testing.T) {
	limits := &gotalk.Limits{MaxPayload: 1000, StreamRequests: 10}
	joining(t, splitHandlers(), limits, `{}`, func(t *testing.T, s *testServer, p *peer) {
		p.say(notification("gotalk:meta", `aaaa{"size":1001}`), begin("aaaa", "echo", 1)+"x")
		p.hearsBegin("Eaaaa")
		p.say(part("p", "aaaa", 1000)+zeros(1000), part("p", "aaaa", 0))

		for _, meta := range []string{"", notification("gotalk:meta", `aaaa{"size":1}`)} {
			p.say(meta + begin("aaaa", "echo", 600) + zeros(600))
			p.say(part("p", "aaaa", 400)+zeros(400), part("p", "aaaa", 0))
			require.Equal(t, zeros(1000), p.answer("aaaa"))
			p.say(meta + begin("aaaa", "echo", 600) + zeros(600))
			p.say(part("p", "aaaa", 401) + zeros(401))
			p.hearsBegin("Eaaaa")
			p.say(part("p", "aaaa", 1)+"x", part("p", "aaaa", 0))
		}
		p.say(begin("aaaa", "echo", 1001) + zeros(1001))
		p.hearsBegin("Eaaaa")
		p.say(part("p", "aaaa", 0))
		p.echoes()
		synctest.Wait()
		require.Equal(t, gotalk.Stats{Connections: 1}, s.sock().Stats())
	})
}

// A call that comes in parts is a request in all respects.
func TestRequestInPartsIsARequest(t *testing.T) {
	h := splitHandlers()
	infos := make(chan gotalk.CallInfo, 10)
	h.Use(func(ctx context.Context, info *gotalk.CallInfo, next func(context.Context) error) error {
		err := next(ctx)
		infos <- *info
		return err
	})
	h.HandleBufferRequestContext("who", func(ctx context.Context, _ *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
		left := "for ever"
		if d, ok := ctx.Deadline(); ok {
			left = time.Until(d).String()
		}
		return []byte(gotalk.MetaFrom(ctx)["user"] + " " + left), nil
	})
	joining(t, h, gotalk.NewLimits(2, 0), `{"cancel":1,"error":1}`, func(t *testing.T, s *testServer, p *peer) {
		sock := s.sock()
		p.say(notification("gotalk:meta", `aaaa{"size":3,"timeout_ms":3000,"user":"rasmus"}`), begin("aaaa", "who", 1)+"x")
		<-time.After(time.Second)
		synctest.Wait()
		begun := time.Now()
		p.say(part("p", "aaaa", 1)+"x", part("p", "aaaa", 0))
		require.Equal(t, "rasmus 2s", p.answer("aaaa"))
		info := <-infos
		require.Equal(t, gotalk.KindRequest, info.Kind)
		require.Equal(t, begun, info.Received)
		require.EqualValues(t, 2, info.BytesIn)
		require.EqualValues(t, 9, info.BytesOut)

		// It counts for the limit before all of it is there, and what there is of it for the memory that is taken.
		p.say(begin("aaaa", "wait", 1000)+zeros(1000), begin("bbbb", "wait", 1)+"x")
		synctest.Wait()
		require.Greater(t, sock.Stats().PendingBytes, int64(1000))
		require.Zero(t, sock.Stats().RequestsRunning)
		p.say(request("cccc", "echo", 0))
		p.hearsBegin("ecccc")
		p.say(begin("dddd", "echo", 0))
		p.hearsBegin("edddd")
		p.say(part("p", "dddd", 0), part("p", "aaaa", 0), part("p", "bbbb", 0))
		synctest.Wait()
		require.Equal(t, 2, sock.Stats().RequestsRunning)

		// It can be cancelled before and after that.
		p.say(cancelOf("aaaa"), cancelOf("bbbb"))
		for range 2 {
			require.Contains(t, p.hearAll(), `{"code":"canceled"`)
			<-infos
		}
		p.say(begin("aaaa", "echo", 1)+"x", part("p", "aaaa", 1)+"x", cancelOf("aaaa"))
		p.hearsAll(failed("aaaa", "canceled", "context canceled"))
		p.say(part("p", "aaaa", 1)+"x", part("p", "aaaa", 0), cancelOf("aaaa"))
		p.echoes()
		<-infos

		// Its time may be over before it is there.
		p.say(notification("gotalk:meta", `aaaa{"size":3,"timeout_ms":1000}`), begin("aaaa", "who", 1)+"x")
		<-time.After(2 * time.Second)
		p.say(part("p", "aaaa", 1) + "x")
		p.hearsAll(failed("aaaa", "deadline_exceeded", "context deadline exceeded"))
		p.say(part("p", "aaaa", 1)+"x", part("p", "aaaa", 0))
		p.echoes()
		<-infos
		synctest.Wait()
		require.Empty(t, infos)
		require.Equal(t, gotalk.Stats{Connections: 1}, sock.Stats())
	})
}

// Two requests with one id cannot be told from each other.
func TestRequestInPartsWithUsedID(t *testing.T) {
	for _, second := range []string{"echo", "size"} {
		joining(t, splitHandlers(), nil, `{}`, func(t *testing.T, _ *testServer, p *peer) {
			p.say(begin("aaaa", "echo", 1)+"x", begin("aaaa", second, 1)+"x")
			p.hears("f00000002")
			p.ends()
		})
	}
}

// What others send does not wait for a payload of which not all has come.
func TestOthersDoNotWaitForTheRest(t *testing.T) {
	h := splitHandlers()
	noted := make(chan string, 1)
	h.HandleBufferNotification("note", func(_ *gotalk.Sock, name string, _ []byte) { noted <- name })
	for _, keys := range []string{`{}`, ""} {
		joining(t, h, nil, keys, func(t *testing.T, _ *testServer, p *peer) {
			for range 100 { // long enough for handlers to be known for quick ones
				p.say(request("aaaa", "echo", 3)+"one", notification("note", ""), request("bbbb", "size", 100_000))
				require.Equal(t, "one", p.answer("aaaa"))
				require.Equal(t, "note", await(t, noted))
				p.say(zeros(100_000))
				require.Equal(t, "single 100000", p.answer("bbbb"))
			}
			if keys == "" {
				return
			}
			for range 100 {
				p.say(begin("bbbb", "echo", 100_000) + zeros(50_000))
				synctest.Wait()
				p.say(zeros(50_000), request("aaaa", "echo", 3)+"one", notification("note", ""))
				require.Equal(t, "one", p.answer("aaaa"))
				require.Equal(t, "note", await(t, noted))
				p.say(request("aaaa", "echo", 3)+"two", notification("note", ""), part("p", "bbbb", 100_000))
				require.Equal(t, "two", p.answer("aaaa"))
				require.Equal(t, "note", await(t, noted))
				p.say(zeros(100_000), part("p", "bbbb", 0))
				require.Equal(t, zeros(200_000), p.answer("bbbb"))
			}
		})
	}
}

// A sender that keeps to windows gets credit for all that may come.
func TestPartsGetCredit(t *testing.T) {
	joining(t, splitHandlers(), &gotalk.Limits{MaxPayload: 1 << 20}, `{"credit":1}`, func(t *testing.T, _ *testServer, p *peer) {
		p.say(begin("aaaa", "size", 0), part("p", "aaaa", 0)) // a stream, which is none of this
		p.hearsAll(part("S", "aaaa", 8)+"stream 0", part("S", "aaaa", 0))
		p.say(begin("aaaa", "echo", window/2) + zeros(window/2))
		p.hearsAll(credit("p", "aaaa", 1<<20))
		p.say(part("p", "aaaa", window/2)+zeros(window/2), part("p", "aaaa", 1)+"x", part("p", "aaaa", 0))
		p.hearsAll(part("R", "aaaa", window+1) + zeros(window) + "x")
		// One that is split need not be told.
		p.say(notification("gotalk:meta", `aaaa{"size":262144}`), begin("aaaa", "echo", window)+zeros(window), part("p", "aaaa", 0))
		p.hearsAll(part("R", "aaaa", window) + zeros(window))
	})
	calling(t, `{"credit":1}`, func(t *testing.T, c *gotalk.Sock, p *peer) {
		made := calls(context.Background(), c, "op", nil)
		p.hearsAll(request(id0, "op", 0))
		p.say(part("S", id0, window/2) + zeros(window/2))
		p.hearsAll(credit("S", id0, 16<<20))
		p.say(part("S", id0, 100)+zeros(100), part("S", id0, 0))
		p.gives(made, zeros(window/2+100))
	})
}

// begunForEver begins n requests of op that never end, with parts of size, and tells how many were refused.
func (p *peer) begunForEver(n int, op, meta string, size int) (refused *atomic.Int32) {
	refused = new(atomic.Int32)
	go func() { // ends with the connection
		for {
			r, err := p.read(false)
			if err != nil {
				return
			}
			if r.frames[0][0] == 'e' {
				refused.Add(1)
			}
		}
	}()
	payload := zeros(size)
	for i := range n {
		id := fmt.Sprintf("%04d", i)
		if meta != "" {
			p.say(notification("gotalk:meta", id+meta))
		}
		p.say(begin(id, op, size) + payload)
		if size > 0 {
			p.say(part("p", id, size), payload)
		}
	}
	return refused
}

// Requests that are begun and never ended take up so much memory and no more, and hold up nobody else on the connection.
func TestRequestsThatNeverEnd(t *testing.T) {
	const mib = 1 << 20
	for name, x := range map[string]struct {
		n, size int
		meta    string
		limits  gotalk.Limits
		holds   int64
	}{
		"large":     {n: 200, size: mib / 2, holds: 48 * mib},
		"announced": {n: 200, size: mib / 2, meta: `{"size":16000000}`, holds: 48 * mib},
		"empty": {n: 3000, meta: `{"size":1000000,"timeout_ms":1e9}`, limits: gotalk.Limits{MaxPendingBytes: mib, MaxPayload: mib},
			holds: 2 * mib},
		"little room":   {n: 100, size: 100_000, limits: gotalk.Limits{MaxPendingBytes: mib, MaxPayload: mib}, holds: 2 * mib},
		"few at a time": {n: 100, size: 1000, limits: gotalk.Limits{BufferRequests: 10}, holds: mib},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serveInMemory(t, splitHandlers(), &x.limits)
				p, sock := s.peer(), s.sock()
				p.greets(`{}`)
				refused := p.begunForEver(x.n, "wait", x.meta, x.size)
				synctest.Wait()
				require.LessOrEqual(t, sock.Stats().PendingBytes, x.holds)
				require.NotZero(t, refused.Load())
				require.LessOrEqual(t, int(refused.Load()), x.n)
				before := refused.Load()
				if name != "few at a time" {
					p.say(request("bbbb", "nope", 0), request("cccc", "echo", 1)+"x")
					synctest.Wait()
					require.Equal(t, before, refused.Load(), "single requests are still taken")
				}
				for i := range x.n { // and those that began can be given up
					p.say(cancelOf(fmt.Sprintf("%04d", i)))
				}
				synctest.Wait()
				require.Equal(t, gotalk.Stats{Connections: 1}, sock.Stats())
			})
		})
	}
}

// What a peer says about sizes takes no memory.
func TestAnnouncedSizeTakesNoMemory(t *testing.T) {
	for _, first := range []int{0, 1, 16 << 20} { // of the header of the first part, of which one byte comes at most
		joining(t, splitHandlers(), nil, `{}`, func(t *testing.T, s *testServer, p *peer) {
			took := allocated(func() {
				for i := range 50 {
					p.say(notification("gotalk:meta", fmt.Sprintf(`%04d{"size":16777216}`, i)), begin(fmt.Sprintf("%04d", i), "echo", first))
					if first > 0 {
						p.say("x")
					}
					if first > 1 {
						break
					}
				}
				synctest.Wait()
			})
			require.Less(t, took, int64(50*(256<<10)))
		})
	}
}

// With the connection goes what has come.
func TestPartsEndWithConnection(t *testing.T) {
	h := echoHandlers()
	var ended atomic.Int32
	h.HandleBufferRequestContext("op", func(context.Context, *gotalk.Sock, string, []byte) ([]byte, error) {
		ended.Add(1)
		return nil, nil
	})
	joining(t, h, nil, splits, func(t *testing.T, s *testServer, p *peer) {
		p.say(begin("aaaa", "op", 1000)+zeros(1000), part("p", "aaaa", 10)+"half")
		synctest.Wait()
		p.w.nc.Close()
		synctest.Wait()
		require.Zero(t, ended.Load())
		require.Zero(t, gotalk.HeldParts(s.sock()))
	})
	calling(t, splits, func(t *testing.T, c *gotalk.Sock, p *peer) {
		made := calls(context.Background(), c, "op", nil)
		p.hearsAll(request(id0, "op", 0))
		p.say(part("S", id0, 1000)+zeros(1000), part("S", id0, 10)+"half")
		p.w.nc.Close()
		require.ErrorIs(t, (await(t, made)).err, gotalk.ErrSockClosed)
	})
}

// A server that shuts down waits for what it has begun to take.
func TestShutdownWaitsForTheRest(t *testing.T) {
	joining(t, splitHandlers(), nil, `{}`, func(t *testing.T, s *testServer, p *peer) {
		p.say(begin("aaaa", "size", 0)) // a stream's handler is waited for
		p.say(begin("bbbb", "echo", 1) + "x")
		synctest.Wait()
		down := inBackground(func() error { return s.tcp.Shutdown(t.Context()) })
		waits(t, down)
		p.say(part("p", "aaaa", 0))
		p.hears(part("S", "aaaa", 8)+"stream 0", part("S", "aaaa", 0))
		p.say(begin("cccc", "echo", 1) + "x")
		p.hearsBegin("ecccc")
		waits(t, down)
		p.say(part("p", "bbbb", 1)+"y", part("p", "bbbb", 0))
		require.Equal(t, "xy", p.answer("bbbb"))
		p.ends()
		goesOn(t, down)
	})
}

func TestResultInParts(t *testing.T) {
	for _, keys := range []string{splits, `{}`} {
		calling(t, keys, func(t *testing.T, c *gotalk.Sock, p *peer) {
			synctest.Wait()
			c.HeartbeatInterval = 0
			for i, size := range []int{1, 3, 10} {
				id := string(gotalk.FormatRequestID(uint32(i)))
				made := calls(context.Background(), c, "op", nil)
				p.hearsAll(request(id, "op", 0))
				p.say(inParts("S", "S", id, []byte("ten bytes!"), size)...)
				p.gives(made, "ten bytes!")
			}
			id := string(gotalk.FormatRequestID(3))
			made := calls(context.Background(), c, "op", nil)
			p.hearsAll(request(id, "op", 0))
			p.say(part("S", id, 0))
			r := await(t, made)
			require.NoError(t, r.err)
			require.Nil(t, r.b)
			p.hearsNothingMore(c)
		})
	}
	// Whoever has not said hello cannot know.
	calling(t, "", func(t *testing.T, c *gotalk.Sock, p *peer) {
		<-time.After(helloWait)
		made := calls(context.Background(), c, "op", nil)
		p.hearsAll(request(id0, "op", 0))
		p.say(inParts("S", "S", id0, []byte("ten bytes!"), 3)...)
		require.Equal(t, gotalk.ErrUnexpectedStreamingRes, (await(t, made)).err)
		p.hearsNothingMore(c)
	})
}

// A result that fails half-way fails, and leaves nothing to the next one.
func TestHalfAResult(t *testing.T) {
	for name, x := range map[string]struct {
		says []string
		err  string
	}{
		"error":     {[]string{failed(id0, "aborted", "no more")}, "no more"},
		"retry":     {[]string{"e" + id0 + "0000000000000003now"}, "now"},
		"too large": {[]string{part("S", id0, 1000) + zeros(1000), part("S", id0, 1) + "x", part("S", id0, 0)}, "payload too large"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := quietSock(nil)
				c.AutoRetryRequests = false
				p := connectInMemory(t, c, &gotalk.Limits{MaxPayload: 1000})
				p.hearsAll(notification("gotalk:hello", helloTCP))
				p.hello(splits)
				synctest.Wait()
				made := calls(context.Background(), c, "op", nil)
				p.hearsAll(request(id0, "op", 0))
				p.say(part("S", id0, 4) + "half")
				said := inBackground(func() error { return p.trySay(x.says...) })
				if name == "too large" {
					p.hearsAll(cancelOf(id0))
				}
				r := await(t, made)
				require.ErrorContains(t, r.err, x.err)
				require.Equal(t, name == "too large", strings.Contains(fmt.Sprint(r.err), "result of 1004 bytes"), "%v", r.err)
				goesOn(t, said)

				made = calls(context.Background(), c, "op", nil)
				p.hearsAll(request(id1, "op", 0))
				p.say(inParts("S", "S", id1, []byte("whole"), 2)...)
				p.gives(made, "whole")
			})
		})
	}
	// The caller may leave in the middle of a part.
	calling(t, splits, func(t *testing.T, c *gotalk.Sock, p *peer) {
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		made := calls(ctx, c, "op", nil)
		p.hearsAll(request(id0, "op", 0))
		p.say(part("S", id0, 4)+"half", part("S", id0, 10)+"of ")
		synctest.Wait()
		cancel()
		require.Equal(t, context.Canceled, (await(t, made)).err)
		p.hearsAll(cancelOf(id0))
		made = calls(t.Context(), c, "op", nil)
		p.hearsAll(request(id1, "op", 0))
		p.say("a resul", part("S", id0, 1)+"t", part("S", id0, 0))
		p.say(inParts("S", "S", id1, []byte("whole"), 2)...)
		p.gives(made, "whole")
	})
}

func TestHelloWithMalformedSplit(t *testing.T) {
	for _, value := range []string{"0", "-1", `"x"`, "{}", "1.5"} {
		joining(t, splitHandlers(), nil, "", func(t *testing.T, _ *testServer, p *peer) {
			p.hello(`{"split":` + value + `}`)
			p.hears("f00000002")
			p.ends()
		})
	}
}

// What a peer has sent before earns it memory for what is to come, but not for what it never sends.
func TestClaimsEarnNoMemory(t *testing.T) {
	const large, n = 16 << 20, 100
	many := func(f func(id string) string) (all []string) {
		for i := range n {
			all = append(all, f(string([]byte{byte(i + 1), 0, 0, 0})))
		}
		return all
	}
	h := splitHandlers()
	h.HandleBufferRequest("held", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) {
		<-time.After(time.Second)
		return fmt.Append(nil, cap(b) < 128<<10), nil
	})
	joining(t, h, nil, splits, func(t *testing.T, _ *testServer, p *peer) {
		p.say(request("aaaa", "size", large) + zeros(large))
		p.hears("Raaaa0000000fsingle 16777216")
		before := liveMemory()
		p.say(many(func(id string) string {
			return sizeOf(id, large) + begin(id, "held", 1) + "x" + part("p", id, 0)
		})...)
		synctest.Wait()
		require.Less(t, liveMemory()-before, int64(2*large))
		for range n {
			require.Contains(t, p.hear(), "true")
		}
	})
	calling(t, splits, func(t *testing.T, c *gotalk.Sock, p *peer) {
		made := calls(context.Background(), c, "op", nil)
		p.hearsAll(request(id0, "op", 0))
		p.say(inParts("S", "S", id0, make([]byte, large), 1<<20)...)
		require.Len(t, await(t, made).b, large)

		var pending []<-chan reply
		for range n {
			pending = append(pending, calls(context.Background(), c, "op", nil))
		}
		for range n {
			p.hear()
		}
		before := liveMemory()
		p.say(many(func(id string) string { return part("S", id, 1) + "x" })...)
		synctest.Wait()
		require.Less(t, liveMemory()-before, int64(3*large))
		p.say(many(func(id string) string { return part("S", id, 0) })...)
		for _, made := range pending {
			r := await(t, made)
			require.Equal(t, "x", string(r.b))
			require.Less(t, cap(r.b), 128<<10, "what callers keep is not more than it seems")
		}
	})
}
