package gotalk_test

import (
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

func TestMalformedCredit(t *testing.T) {
	for _, payload := range []string{"", "paaaa0000000", "paaaa000000001", "paaaa0000000g", "xaaaa00000001"} {
		serving(t, nil, func(t *testing.T, p *peer, _ chan *gotalk.Stream) {
			p.greets(helloTCP)
			p.say(notification("gotalk:credit", payload))
			p.hearsAll("f00000002", "end")
		})
	}
	serving(t, nil, func(t *testing.T, p *peer, _ chan *gotalk.Stream) { // of somebody who has not said hello
		p.say(notification("gotalk:credit", "x"))
		p.echoes()
	})
}

// Credit comes back when half of the window was taken, or an eighth and the consumer waits.
func TestCreditIsReturned(t *testing.T) {
	const eighth = window / 8
	serving(t, nil, func(t *testing.T, p *peer, opened chan *gotalk.Stream) {
		p.greets(helloTCP)
		p.say(begin("aaaa", "held", eighth) + zeros(eighth)) // the first part counts
		st := await(t, opened)
		for range 7 {
			p.say(part("p", "aaaa", eighth) + zeros(eighth))
		}
		p.echoes()
		for range 3 {
			recvs(t, st, zeros(eighth))
		}
		p.echoes() // and no credit
		recvs(t, st, zeros(eighth))
		p.hearsAll(credit("p", "aaaa", window/2))
		for range 3 {
			recvs(t, st, zeros(eighth))
		}
		recvs(t, st, zeros(eighth))
		p.hearsAll(credit("p", "aaaa", window/2))
		p.say(part("p", "aaaa", eighth-1) + zeros(eighth-1))
		synctest.Wait()
		recvs(t, st, zeros(eighth-1))
		got := inBackground(func() error { _, err := st.Recv(); return err })
		waits(t, got)
		p.echoes()
		p.say(part("p", "aaaa", 1) + "x")
		goesOn(t, got)
		got = inBackground(func() error { _, err := st.Recv(); return err })
		p.hearsAll(credit("p", "aaaa", eighth))
		p.say(part("p", "aaaa", 5*window) + zeros(5*window)) // large, and taken at once
		p.hearsAll(credit("p", "aaaa", 5*window))
		goesOn(t, got)
		p.say(part("p", "aaaa", window/2)+zeros(window/2), part("p", "aaaa", 0))
		synctest.Wait()
		recvs(t, st, zeros(window/2)) // no credit after the end
		_, err := st.Recv()
		require.Equal(t, io.EOF, err)
		p.echoes()
	})
}

// A consumer that keeps waiting for more gets up to three windows; one that falls behind is back at one.
func TestWindowGrowsWithItsConsumer(t *testing.T) {
	const half, most = window / 2, 3 * window
	serving(t, nil, func(t *testing.T, p *peer, opened chan *gotalk.Stream) {
		p.greets(helloTCP)
		p.say(begin("aaaa", "held", 0))
		st := await(t, opened)
		left := window // what the peer may send
		for left < most {
			got := inBackground(func() error { _, err := st.Recv(); return err })
			synctest.Wait()
			p.say(part("p", "aaaa", half) + zeros(half))
			goesOn(t, got)
			given, err := strconv.ParseInt(p.hearAll()[len(credit("p", "aaaa", 0))-8:], 16, 64)
			require.NoError(t, err)
			require.GreaterOrEqual(t, given, int64(half))
			left += int(given) - half
			require.LessOrEqual(t, left, most)
		}
		for range most / half { // now it takes its time
			p.say(part("p", "aaaa", half) + zeros(half))
		}
		synctest.Wait()
		given := 0
		for range most / half {
			recvs(t, st, zeros(half))
		}
		synctest.Wait()
		p.say(request("bbbb", "echo", 0))
		for {
			m := p.hearAll()
			if m[0] == 'R' {
				break
			}
			n, err := strconv.ParseInt(m[len(m)-8:], 16, 64)
			require.NoError(t, err)
			given += int(n)
		}
		require.Less(t, given, most, "some of it is not given again")
		require.GreaterOrEqual(t, given, window)
	})
}

// hasHello lets the peer say what is only said to those whose hello has come.
func (p *peer) hasHello() { p.say(credit("p", "none", 1)) }

// A peer that sends far more than its window loses that stream; others and calls do not notice.
func TestOverrunOfRequest(t *testing.T) {
	serving(t, nil, func(t *testing.T, p *peer, opened chan *gotalk.Stream) {
		p.greets(helloTCP)
		p.hasHello()
		p.say(begin("aaaa", "held", 0))
		a := await(t, opened)
		p.say(begin("bbbb", "held", 0))
		b := await(t, opened)
		for range 4 {
			p.say(part("p", "aaaa", window/2) + zeros(window/2))
		}
		p.say(part("p", "aaaa", 1) + "x")
		text := `{"code":"resource_exhausted","message":"more was sent on the stream than its window allows"}`
		p.hearsAll(part("E", "aaaa", len(text)) + text)
		synctest.Wait()
		require.Error(t, a.Context().Err())
		_, err := a.Recv()
		require.Equal(t, gotalk.CodeResourceExhausted, gotalk.CodeOf(err))
		p.say(part("p", "aaaa", 1)+"x", part("p", "aaaa", 0), part("p", "bbbb", 1)+"x")
		recvs(t, b, "x")
		p.echoes()
		p.say(begin("aaaa", "copy", 1) + "x") // the id can be used again
		p.hearsAll(part("S", "aaaa", 1) + "x")
	})
}

// Where the hello takes long the sender of a stream lost it, as it had sent more before than the window that it did not know.
func TestStreamBeforeTheHelloHasCome(t *testing.T) {
	const half, halves = window / 2, 10
	parts := func(dir string, id string) string { return strings.Repeat(part(dir, id, half)+zeros(half), halves) }
	serving(t, nil, func(t *testing.T, p *peer, opened chan *gotalk.Stream) {
		p.say(notification("gotalk:hello", helloTCP), begin("aaaa", "held", 0))
		st := await(t, opened)
		p.say(parts("p", "aaaa"))
		synctest.Wait()
		for range halves {
			recvs(t, st, zeros(half))
		}
		p.hasHello()
		p.say(part("p", "aaaa", 1) + "x")
		recvs(t, st, "x")
	})
	calling(t, helloTCP, func(t *testing.T, c *gotalk.Sock, p *peer) {
		st := p.begins(t.Context(), c, "op", id0)
		go p.discard()
		p.say(parts("S", id0))
		synctest.Wait()
		for range halves {
			recvs(t, st, zeros(half))
		}
	})
}

// A stream that began before the peer said hello has a window from then on, and what was sent before counts.
func TestHelloAfterStreamsBegan(t *testing.T) {
	calling(t, "", func(t *testing.T, c *gotalk.Sock, p *peer) {
		st := p.begins(t.Context(), c, "op", id0)
		sent := sending(st, 300)
		p.hearsAll(part("p", id0, 300) + zeros(300))
		goesOn(t, sent)
		p.hello(`{"credit":1000}`)
		synctest.Wait()
		sent = sending(st, 400)
		p.hearsAll(part("p", id0, 400) + zeros(400))
		goesOn(t, sent)
		sent = sending(st, 301)
		waits(t, sent)
		p.say(credit("p", id0, 1))
		p.hearsAll(part("p", id0, 301) + zeros(301))
		goesOn(t, sent)
	})
	serving(t, nil, func(t *testing.T, p *peer, opened chan *gotalk.Stream) {
		p.say(begin("aaaa", "held", 0))
		st := await(t, opened)
		sent := sending(st, 2000)
		p.hearsAll(part("S", "aaaa", 2000) + zeros(2000))
		goesOn(t, sent)
		p.greets(`{"credit":1000}`)
		synctest.Wait()
		sent = sending(st, 1)
		waits(t, sent)
		p.say(credit("S", "aaaa", 1001))
		p.hearsAll(part("S", "aaaa", 1) + "\x00")
		goesOn(t, sent)
	})
}
