package gotalk_test

import (
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// An id that was used before, by a stream that is over, is as good as any. Peers that count with three digits come to it
// after 46,656 streams. That many must not leave anything behind either.
func TestStreamIDUsedAgain(t *testing.T) {
	p := serveTCP(t, streamHandlers(), streaming).peer()
	const base36 = "0123456789abcdefghijklmnopqrstuvwxyz"
	n := 0
	hundreds := func(count int) {
		for range count {
			var said, want strings.Builder
			for range 100 {
				id := "!" + string([]byte{base36[n/1296%36], base36[n/36%36], base36[n%36]})
				said.WriteString(begin(id, "all", 1) + "x" + part("p", id, 1) + "y" + part("p", id, 0))
				want.WriteString(part("S", id, 0))
				n++
			}
			p.say(said.String())
			got := map[string]int{}
			for range 100 {
				got[p.hear()]++
			}
			for id := range got {
				require.Equal(t, 1, got[id])
				require.Contains(t, want.String(), id)
			}
		}
	}
	hundreds(30)
	before := heapInUse()
	hundreds(500)
	require.Greater(t, n, 36*36*36)
	require.Less(t, heapInUse()-before, int64(2<<20), "streams that are over hold memory")
	p.echoes()
}

// heapInUse is what live objects take.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Two streams with one id at the same time make no sense: the connection ends with a protocol error, and nothing else.
func TestStreamIDUsedTwiceAtOnce(t *testing.T) {
	eachServer(t, streamHandlers(), streaming, func(t *testing.T, s *testServer) {
		other, p := s.peer(), s.peer()
		p.say(begin("aaaa", "all", 1), "x", begin("aaaa", "all", 1), "x")
		p.hears("f00000002")
		p.ends()
		other.echoes()
	})
}

// A Sock that connects again knows nothing of the streams of its earlier connection.
func TestStreamIDUsedAgainAfterReconnect(t *testing.T) {
	c := quietSock(streamHandlers())
	for range 3 {
		p := connectTo(t, c, streaming)
		p.say(begin("aaaa", "all", 1), "x")
		p.echoes()
		require.NoError(t, c.Close())
		p.ends()
	}
}

// A stream whose result has been ended is over for the peer, who may use its id again while the handler still runs. The
// old handler's end has nothing to do with the new stream, and neither has its refusal.
func TestStreamIDUsedAgainBeforeHandlerReturns(t *testing.T) {
	gate, inputEnded := make(chan struct{}), make(chan struct{}, 10)
	h := streamHandlers()
	h.HandleStreamRequest("linger", func(_ *gotalk.Sock, _ string, rch chan []byte, out io.WriteCloser) error {
		out.Close()
		for range rch {
		}
		inputEnded <- struct{}{}
		<-gate
		return nil
	})
	h.HandleStreamRequest("stuck", func(*gotalk.Sock, string, chan []byte, io.WriteCloser) error { <-gate; return nil })
	limits := *streaming
	limits.MaxPayload = 10
	eachServer(t, h, &limits, func(t *testing.T, s *testServer) {
		for _, op := range []string{"linger", "stuck"} {
			p := s.in(t).peer()
			p.say(begin("aaaa", op, 1), "x")
			if op == "stuck" { // its stream is ended for it, because of a part that is too large
				p.say(part("p", "aaaa", 11), "hello world")
				require.Contains(t, p.hear(), "Limits.MaxPayload")
			}
			p.hears("Saaaa00000000")
			p.say(begin("aaaa", "copy", 1), "y")
			p.hears("Saaaa00000001y")
			if op == "linger" {
				await(t, inputEnded)
			}
			gate <- struct{}{}
			for range 20 {
				p.say(part("p", "aaaa", 1), "z")
				p.hears("Saaaa00000001z")
			}
			p.say(part("p", "aaaa", 0))
			p.hears("Saaaa00000000")
		}
	})
}
