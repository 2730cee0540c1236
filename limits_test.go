package gotalk_test

import (
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
