package gotalk_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// What is under way is counted, for a Sock and for all of a server, and is the load that the peer is told.
func TestStatsAndLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, gate, _ := fewAtATime()
		limits := gotalk.NewLimits(8, 0)
		limits.MaxHandlers = 4
		s := serveInMemory(t, h, limits)
		require.Zero(t, s.tcp.Stats())
		require.Zero(t, gotalk.NewSock(nil).Stats())
		var loads []int
		c := gotalk.NewSock(nil)
		c.HeartbeatInterval = 100 * time.Millisecond
		c.OnHeartbeat = func(load int, _ time.Time) {
			loads = append(loads, (load*100+gotalk.HeartbeatMsgMaxLoad/2)/gotalk.HeartbeatMsgMaxLoad)
		}
		require.NoError(t, c.ConnectReader(networked{s.dial()}, nil))
		defer c.Close()
		sock, other := s.sock(), s.peer()
		defer other.w.nc.Close()
		synctest.Wait()
		last := func() int {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			return loads[len(loads)-1]
		}
		require.Equal(t, 0, last())
		results := make(chan error, 6)
		call := func() { _, err := c.BufferRequest("hold", []byte("1234")); results <- err }
		go call()
		require.Equal(t, 25, last())
		go call()
		require.Equal(t, 50, last())
		for range 3 {
			go call()
		}
		require.Equal(t, 100, last(), "one waits")
		synctest.Wait()
		require.Equal(t, gotalk.Stats{Connections: 1, CallsPending: 5}, c.Stats())
		want := gotalk.Stats{Connections: 1, RequestsRunning: 4, RequestsWaiting: 1, OldestWait: 100 * time.Millisecond, PendingBytes: 5 * 68}
		require.Equal(t, want, sock.Stats())
		want.Connections = 2
		require.Equal(t, want, s.tcp.Stats())
		close(gate)
		for range 5 {
			require.NoError(t, <-results)
		}
		require.Equal(t, 0, last())
		require.Equal(t, gotalk.Stats{Connections: 2}, s.tcp.Stats())
		c.Close()
		synctest.Wait()
		require.Zero(t, c.Stats())
		require.Equal(t, gotalk.Stats{Connections: 1}, s.tcp.Stats())
	})
}
