package gotalk_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// What goes over the wire for a stream of the new API, towards peers that have said hello and those that have not.

const (
	window = 256 << 10

	helloTCP = `{"cancel":1,"credit":262144,"error":1,"goaway":1,"meta":1,"split":131072}` // what this side says without a WebSocket

	id0, id1 = "\x00\x00\x00\x00", "\x01\x00\x00\x00" // of a Sock's first calls
)

// hearAll is hear that passes over nothing but heartbeats.
func (p *peer) hearAll() string {
	for {
		r, err := p.read(false)
		if err != nil {
			require.False(p, timedOut(err), "nothing comes")
			return "end"
		}
		if m := string(bytes.Join(r.frames, nil)); m[0] != 'h' {
			return m
		}
	}
}

// hearsAll checks what comes next, extensions included.
func (p *peer) hearsAll(want ...string) {
	for _, w := range want {
		got := p.hearAll()
		require.Equal(p, fmt.Sprintf("%.80q %d", w, len(w)), fmt.Sprintf("%.80q %d", got, len(got)))
		require.Equal(p, w, got)
	}
}

// hearsNothingMore checks that c has said nothing more.
func (p *peer) hearsNothingMore(c *gotalk.Sock) {
	notified := inBackground(func() error { return c.BufferNotify("next", nil) })
	p.hearsAll("n004next00000000")
	goesOn(p, notified)
}

func (p *peer) hello(keys string) { p.say(notification("gotalk:hello", keys)) }

func credit(dir, id string, n int) string {
	return notification("gotalk:credit", fmt.Sprintf("%s%s%08x", dir, id, n))
}

// calling gives a Sock in virtual time and the peer that it is connected to. The peer says hello with those keys, or not
// if there are none.
func calling(t *testing.T, keys string, test func(t *testing.T, c *gotalk.Sock, p *peer)) {
	synctest.Test(t, func(t *testing.T) {
		c := quietSock(nil)
		p := connectInMemory(t, c, &gotalk.Limits{})
		p.hearsAll(notification("gotalk:hello", helloTCP))
		if keys != "" {
			p.hello(keys)
			synctest.Wait()
		}
		test(t, c, p)
	})
}

// begins opens a stream, whose beginning the peer hears.
func (p *peer) begins(ctx context.Context, c *gotalk.Sock, op, id string) *gotalk.Stream {
	opened := inBackground(func() *gotalk.Stream {
		st, err := c.OpenStream(ctx, op)
		require.NoError(p, err)
		return st
	})
	p.hearsAll(begin(id, op, 0))
	return <-opened
}

// goesOn waits for what was started, and wants no error of it.
func goesOn(t testing.TB, ch <-chan error) {
	require.NoError(t, await(t, ch))
}

// waits checks that what was started has not ended.
func waits[T any](t testing.TB, ch <-chan T) {
	synctest.Wait()
	select {
	case v := <-ch:
		require.FailNow(t, "it does not wait", "%v", v)
	default:
	}
}

func sending(st *gotalk.Stream, n int) <-chan error {
	return inBackground(func() error { return st.Send(make([]byte, n)) })
}

func zeros(n int) string { return string(make([]byte, n)) }

func recvs(t testing.TB, st *gotalk.Stream, want string) {
	b, err := st.Recv()
	require.NoError(t, err)
	require.Equal(t, want, string(b))
}

func TestOpenStreamOnTheWire(t *testing.T) {
	for _, keys := range []string{"", helloTCP} {
		calling(t, keys, func(t *testing.T, c *gotalk.Sock, p *peer) {
			st := p.begins(t.Context(), c, "op", id0)
			require.Equal(t, "op", st.Op())
			require.Equal(t, c, st.Sock())
			goesOn(t, inBackgroundAfter(p, func() error { return st.Send([]byte("one")) }, part("p", id0, 3)+"one"))
			require.NoError(t, st.CloseSend())
			require.NoError(t, st.CloseSend())
			p.hearsAll(part("p", id0, 0))
			require.Equal(t, gotalk.ErrStreamEnded, st.Send([]byte("late")))

			p.say(part("S", id0, 3)+"two", part("S", id0, 5)+"three", part("S", id0, 0))
			recvs(t, st, "two")
			require.NoError(t, st.Context().Err())
			recvs(t, st, "three")
			_, err := st.Recv()
			require.Equal(t, io.EOF, err)
			require.Error(t, st.Context().Err())
			_, err = st.Recv()
			require.Equal(t, io.EOF, err)
			require.NoError(t, st.Close())
			p.hearsNothingMore(c)
		})
	}
}

// An opener that is told that the result is over ends what it sends, for a handler that goes on receiving.
func TestOpenStreamEndsItsDirectionWithTheResult(t *testing.T) {
	calling(t, helloTCP, func(t *testing.T, c *gotalk.Sock, p *peer) {
		st := p.begins(t.Context(), c, "op", id0)
		p.say(part("S", id0, 0))
		p.hearsAll(part("p", id0, 0))
		require.Equal(t, gotalk.ErrStreamEnded, st.Send([]byte("late")))
		require.NoError(t, st.CloseSend())
		_, err := st.Recv()
		require.Equal(t, io.EOF, err)

		st = p.begins(t.Context(), c, "op", id1)
		p.say(part("E", id1, 36) + `{"code":"not_found","message":"cat"}`)
		_, err = st.Recv()
		require.Equal(t, gotalk.CodeNotFound, gotalk.CodeOf(err))
		require.EqualError(t, err, "cat")
		require.Equal(t, gotalk.ErrStreamEnded, st.Send([]byte("late")))
		p.hearsNothingMore(c)
	})
}

func TestCancelledStreamOnTheWire(t *testing.T) {
	for keys, last := range map[string]string{
		"":              part("p", id0, 0),
		`{"credit":10}`: part("p", id0, 0),
		helloTCP:        notification("gotalk:cancel", id0),
	} {
		for _, byContext := range []bool{true, false} {
			calling(t, keys, func(t *testing.T, c *gotalk.Sock, p *peer) {
				ctx, cancel := context.WithCancel(t.Context())
				st := p.begins(ctx, c, "op", id0)
				goesOn(t, inBackgroundAfter(p, func() error { return st.Send([]byte("one")) }, part("p", id0, 3)+"one"))
				want := gotalk.ErrStreamEnded
				if byContext {
					cancel()
					want = context.Canceled
				} else {
					require.NoError(t, st.Close())
				}
				p.hearsAll(last)
				_, err := st.Recv()
				require.Equal(t, want, err)
				require.Equal(t, want, st.Send([]byte("late")))
				require.Error(t, st.Context().Err())
				p.say(part("S", id0, 3)+"two", part("S", id0, 0)) // too late
				cancel()
				require.NoError(t, st.Close())
				p.hearsNothingMore(c)
			})
		}
	}
}

func TestStreamMetaOnTheWire(t *testing.T) {
	calling(t, helloTCP, func(t *testing.T, c *gotalk.Sock, p *peer) {
		ctx, cancel := context.WithTimeout(gotalk.WithMeta(t.Context(), map[string]string{"a": "b"}), time.Second)
		defer cancel()
		opened := inBackground(func() error { _, err := c.OpenStream(ctx, "op"); return err })
		p.hearsAll(notification("gotalk:meta", id0+`{"a":"b","timeout_ms":1000}`), begin(id0, "op", 0))
		goesOn(t, opened)
		before := time.Now()
		p.hearsAll(notification("gotalk:cancel", id0))
		require.Equal(t, time.Second, time.Since(before))

		_, err := c.OpenStream(gotalk.WithMeta(t.Context(), map[string]string{"big": zeros(1 << 20)}), "op")
		require.Equal(t, gotalk.CodeResourceExhausted, gotalk.CodeOf(err))
		_, err = c.OpenStream(ctx, "op")
		require.Equal(t, context.DeadlineExceeded, err)
		_, err = c.OpenStream(t.Context(), "gotalk:op")
		require.Error(t, err)
		p.hearsNothingMore(c)
	})
}

// serving gives a peer in virtual time of a server with the streams that have been opened.
func serving(t *testing.T, limits *gotalk.Limits, test func(t *testing.T, p *peer, opened chan *gotalk.Stream)) {
	synctest.Test(t, func(t *testing.T) {
		h, opened := streamOps(), make(chan *gotalk.Stream, 100)
		h.HandleStream("held", func(ctx context.Context, st *gotalk.Stream) error {
			opened <- st
			<-ctx.Done()
			return ctx.Err()
		})
		h.HandleStream("taken", func(ctx context.Context, st *gotalk.Stream) error {
			opened <- st
			_, err := io.Copy(io.Discard, st)
			return err
		})
		test(t, serveInMemory(t, h, limits).peer(), opened)
	})
}

func TestHandleStreamOnTheWire(t *testing.T) {
	for _, keys := range []string{"", helloTCP} {
		serving(t, streaming, func(t *testing.T, p *peer, _ chan *gotalk.Stream) {
			if keys != "" {
				p.greets(keys)
			}
			p.say(begin("aaaa", "copy", 0), part("p", "aaaa", 3)+"one", part("p", "aaaa", 0))
			p.hearsAll(part("S", "aaaa", 3)+"one", part("S", "aaaa", 0))
			p.say(begin("aaaa", "copy", 3)+"one", part("p", "aaaa", 0)) // as an old API begins
			p.hearsAll(part("S", "aaaa", 3)+"one", part("S", "aaaa", 0))

			p.say(begin("aaaa", "fail", 0))
			p.hearsAll(part("S", "aaaa", 5) + "first")
			text, unknown, internal := "no such thing", `unknown operation "nope"`, "internal error"
			if keys != "" {
				text = `{"code":"not_found","message":"no such thing"}`
				unknown = `{"code":"unimplemented","message":"unknown operation \"nope\""}`
				internal = `{"code":"internal","message":"internal error"}`
			}
			p.hearsAll(part("E", "aaaa", len(text)) + text)
			if keys == "" {
				p.hearsAll(part("S", "aaaa", 0))
			}
			p.say(part("p", "aaaa", 3)+"one", part("p", "aaaa", 0))
			p.say(begin("aaaa", "nope", 3) + "one")
			p.hearsAll(part("E", "aaaa", len(unknown)) + unknown)
			p.say(begin("aaaa", "panic", 0))
			p.hearsAll(part("E", "aaaa", len(internal)) + internal)
			if keys == "" {
				p.hearsAll(part("S", "aaaa", 0))
			}
			p.echoes()
		})
	}
}

func TestPartsOfUnknownStreams(t *testing.T) {
	serving(t, nil, func(t *testing.T, p *peer, _ chan *gotalk.Stream) {
		p.greets(helloTCP)
		p.say(part("p", "none", 3)+"one", part("p", "none", 0))
		p.echoes()
	})
	serving(t, nil, func(t *testing.T, p *peer, _ chan *gotalk.Stream) {
		p.say(part("p", "none", 3) + "one")
		p.hears("f00000002", "end")
	})
}

// A peer that cancels gets one final reply and no part after it.
func TestServedStreamIsCancelledOnTheWire(t *testing.T) {
	serving(t, nil, func(t *testing.T, p *peer, opened chan *gotalk.Stream) {
		p.greets(helloTCP)
		p.say(begin("aaaa", "held", 3) + "one")
		st := await(t, opened)
		recvs(t, st, "one")
		p.say(part("p", "aaaa", 3)+"two", notification("gotalk:cancel", "aaaa"))
		text := `{"code":"canceled","message":"context canceled"}`
		p.hearsAll(part("E", "aaaa", len(text)) + text)
		_, err := st.Recv()
		require.Error(t, err)
		require.Error(t, st.Send([]byte("late")))
		require.NoError(t, st.CloseSend())
		p.echoes()
	})
}

func TestServedStreamWithDeadline(t *testing.T) {
	serving(t, nil, func(t *testing.T, p *peer, opened chan *gotalk.Stream) {
		p.greets(helloTCP)
		p.say(notification("gotalk:meta", `aaaa{"timeout_ms":200,"who":"me"}`), begin("aaaa", "held", 0))
		st := await(t, opened)
		require.Equal(t, map[string]string{"who": "me"}, gotalk.MetaFrom(st.Context()))
		deadline, ok := st.Context().Deadline()
		require.True(t, ok)
		require.Equal(t, 200*time.Millisecond, time.Until(deadline))
		_, err := st.Recv()
		require.Error(t, err)
		require.Equal(t, context.DeadlineExceeded, st.Context().Err())
		text := `{"code":"deadline_exceeded","message":"context deadline exceeded"}`
		p.hearsAll(part("E", "aaaa", len(text)) + text)
		p.echoes()
	})
}

// What is sent keeps to the peer's window to the byte.
func TestWindowOfThePeer(t *testing.T) {
	calling(t, `{"cancel":1,"credit":1000}`, func(t *testing.T, c *gotalk.Sock, p *peer) {
		st := p.begins(t.Context(), c, "op", id0)
		sends := func(n int) {
			sent := sending(st, n)
			p.hearsAll(part("p", id0, n) + zeros(n))
			goesOn(t, sent)
		}
		for range 9 {
			sends(100)
		}
		sent := sending(st, 101) // 1 more than there is credit for
		waits(t, sent)
		p.say(credit("S", id0, 100), credit("p", id1, 100), credit("p", "none", 100)) // of others
		waits(t, sent)
		p.say(credit("p", id0, 1))
		p.hearsAll(part("p", id0, 101) + zeros(101))
		goesOn(t, sent)

		// A part of more than half of the window needs half of it.
		sent = sending(st, 501)
		p.say(credit("p", id0, 499))
		waits(t, sent)
		p.say(credit("p", id0, 1))
		p.hearsAll(part("p", id0, 501) + zeros(501)) // 1 too many now
		goesOn(t, sent)
		sent = sending(st, 500)
		p.say(credit("p", id0, 500))
		waits(t, sent)
		p.say(credit("p", id0, 1))
		p.hearsAll(part("p", id0, 500) + zeros(500))
		goesOn(t, sent)
		sent = sending(st, 100_000)
		p.say(credit("p", id0, 500))
		p.hearsAll(part("p", id0, 100_000) + zeros(100_000))
		goesOn(t, sent)
		p.say(credit("p", id0, 99_500))
		sent = sending(st, 1)
		waits(t, sent)
		p.say(credit("p", id0, 1001))
		p.hearsAll(part("p", id0, 1) + "\x00")
		goesOn(t, sent)

		// Write divides what it is given so that it never waits for more than half of the window.
		wrote := inBackground(func() error { _, err := st.Write(make([]byte, 1200)); return err })
		p.hearsAll(part("p", id0, 500)+zeros(500), part("p", id0, 500)+zeros(500))
		waits(t, wrote)
		p.say(credit("p", id0, 200))
		p.hearsAll(part("p", id0, 200) + zeros(200))
		goesOn(t, wrote)

		// The end needs no credit.
		goesOn(t, inBackground(st.CloseSend))
		p.hearsAll(part("p", id0, 0))
	})
}
