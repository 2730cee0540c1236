package gotalk_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// Even a peer that may send any number of requests may not send payloads of any size.
func TestPayloadOverDefault(t *testing.T) {
	const most = 16 << 20
	s, peer, err := gotalk.Pipe(echoHandlers(), gotalk.NoLimits)
	require.NoError(t, err)
	defer s.Close()
	defer peer.Close()
	result, err := s.BufferRequest("echo", make([]byte, most))
	require.NoError(t, err)
	require.Len(t, result, most)
	_, err = s.BufferRequest("echo", make([]byte, most+1))
	var refusal *gotalk.Response
	require.ErrorAs(t, err, &refusal)
	require.Contains(t, err.Error(), "16777217 bytes is over Limits.MaxPayload, 16777216 bytes")
}

// However many requests a peer makes, only so many handlers are at work at once; all get their turn.
func TestHandlersAtOnceByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 5000
		var running atomic.Int32
		gate := make(chan struct{})
		h := &gotalk.Handlers{}
		h.HandleBufferRequest("wait", func(*gotalk.Sock, string, []byte) ([]byte, error) {
			running.Add(1)
			<-gate
			return nil, nil
		})
		s, peer, err := gotalk.Pipe(h, nil)
		require.NoError(t, err)
		defer s.Close()
		defer peer.Close()
		results := make(chan gotalk.Response, n)
		for range n {
			require.NoError(t, s.SendRequest(gotalk.NewRequest("wait", nil), results))
		}
		<-time.After(time.Minute) // more handlers are started by and by
		require.Equal(t, int32(4096), running.Load())
		close(gate)
		for range n {
			result := <-results
			require.False(t, result.IsError())
		}
	})
}

// Who sends more than it may is read later, and neither dropped nor refused. Others do not notice.
func TestBytesPerSecond(t *testing.T) {
	limits := *gotalk.DefaultLimits
	limits.BytesPerSecond = 1000
	inBubbles(t, echoHandlers, &limits, func(t *testing.T, s *testServer) {
		p := s.peer()
		sock := s.sock()
		other := s.peer()
		start := time.Now()
		flood := func(m string, n int) time.Duration {
			p.flood(m, n)
			for range n {
				p.hear()
			}
			return time.Since(start)
		}
		const size = 20 // bytes of a request
		require.Zero(t, flood(request("aaaa", "echo", 0), 1000/size-1), "as much as may come in a second comes at once")
		took := flood(request("bbbb", "none", 0), 10_000/size)
		require.InDelta(t, 10, took.Seconds(), 1, "virtual")
		before := time.Now()
		other.echoes()
		require.Equal(t, before, time.Now())

		<-time.After(5 * time.Second)
		start = time.Now()
		p.say(request("cccc", "echo", 60_000), strings.Repeat("x", 60_000))
		p.flood(request("dddd", "echo", 0), 1)
		require.Len(t, p.answer("cccc"), 60_000)
		require.Less(t, time.Since(start), time.Second, "what has begun is read whole")
		require.Empty(t, p.answer("dddd"))
		require.InDelta(t, 59, time.Since(start).Seconds(), 2, "longer than ReadTimeout")
		p.echoes()

		p.flood(request("eeee", "echo", 30_000)+strings.Repeat("x", 30_000), 2)
		p.answer("eeee")
		start = time.Now()
		require.NoError(t, sock.Close())
		for p.hear() != "end" { // the second answer may have been on its way
		}
		require.LessOrEqual(t, time.Since(start), time.Second, "nor does Close wait")
	})
}
