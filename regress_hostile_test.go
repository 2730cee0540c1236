package gotalk_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// peakMemory gives how much more memory than before the process had from the system at the worst time while f ran.
func peakMemory(f func()) (peak int64) {
	debug.FreeOSMemory()
	before := sysMemory()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			peak = max(peak, sysMemory()-before)
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	f()
	close(stop)
	<-stopped
	return peak
}

func sysMemory() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased)
}

// flood sends m again and again in the background, up to n times, until the connection takes no more.
func (p *peer) flood(m string, n int) (sent *atomic.Int64) {
	sent = new(atomic.Int64)
	go func() {
		for range n {
			if p.trySay(m) != nil {
				return
			}
			sent.Add(1)
		}
	}()
	return sent
}

// standsStill waits until n has not changed for a while: the flood is over, or held back.
func standsStill(t testing.TB, n *atomic.Int64) {
	last, since := int64(-1), time.Now()
	require.Eventually(t, func() bool {
		if now := n.Load(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 150*time.Millisecond
	}, patience, 5*time.Millisecond)
}

// Someone who asks for far more than there is memory for, and takes none of it, is held back. Others do not notice.
func TestPeerThatTakesNoAnswers(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		n, size int
		delay   time.Duration
	}{
		{1500, mib, 0}, {1500, mib, 5 * time.Millisecond},
		{96, 16 * mib, 0}, {96, 16 * mib, 5 * time.Millisecond},
		{100_000, 16 << 10, 0}, {100_000, 16 << 10, 5 * time.Millisecond},
	} {
		h := echoHandlers()
		h.HandleBufferRequest("big", func(*gotalk.Sock, string, []byte) ([]byte, error) {
			if c.delay > 0 {
				<-time.After(c.delay)
			}
			return make([]byte, c.size), nil
		})
		t.Run(fmt.Sprintf("%d of %d KiB after %v", c.n, c.size>>10, c.delay), func(t *testing.T) {
			eachServer(t, h, nil, func(t *testing.T, s *testServer) {
				p := s.peer()
				sock := s.sock()
				other := s.peer()
				peak := peakMemory(func() {
					sent := p.flood(request("aaaa", "big", 0), c.n)
					for range 10 {
						start := time.Now()
						other.echoes()
						require.Less(t, time.Since(start), time.Second)
					}
					standsStill(t, sent)
					other.echoes()
					start := time.Now()
					require.NoError(t, sock.Close())
					require.Less(t, time.Since(start), time.Second/2)
				})
				require.Less(t, peak, int64(256*mib))
				other.echoes()
			})
		})
	}
}

// A peer that takes nothing for the write timeout is closed, and what was to be sent is forgotten.
func TestPeerThatStopsReadingIsClosed(t *testing.T) {
	limits := *gotalk.DefaultLimits
	limits.WriteTimeout = 300 * time.Millisecond
	h := echoHandlers()
	h.HandleBufferRequest("big", func(*gotalk.Sock, string, []byte) ([]byte, error) { return make([]byte, 1<<20), nil })
	goroutines := runtime.NumGoroutine()
	eachServer(t, h, &limits, func(t *testing.T, s *testServer) {
		p := s.peer()
		sock := s.sock()
		p.flood(request("aaaa", "big", 0), 1500)
		<-sock.Context().Done()
		_, err := sock.BufferRequest("a", nil)
		require.ErrorIs(t, err, gotalk.ErrTimeout)
		p.discard()
	})
	settledGoroutines(t, goroutines)
}

// The same in virtual time: nothing that is called meanwhile hangs, and the time is right.
func TestNothingHangsOnPeerThatStopsReading(t *testing.T) {
	h := gotalk.NewHandlers()
	h.HandleBufferRequest("big", func(*gotalk.Sock, string, []byte) ([]byte, error) { return make([]byte, 1<<20), nil })
	for _, close := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := serveInMemory(t, h, nil)
			p := s.peer()
			sock, start, closed := s.sock(), time.Now(), make(chan int, 1)
			sock.CloseHandler = func(_ *gotalk.Sock, code int) { closed <- code }
			goroutines := runtime.NumGoroutine()
			p.flood(request("aaaa", "big", 0), 2000)
			<-time.After(10 * time.Second)
			require.Less(t, runtime.NumGoroutine(), goroutines+20)
			require.NotEmpty(t, sock.Addr())
			require.NotNil(t, sock.Conn())
			result := inBackground(func() error { _, err := sock.BufferRequest("a", []byte("x")); return err })
			synctest.Wait()
			if close {
				require.NoError(t, sock.Close())
				require.Equal(t, 10*time.Second, time.Since(start))
				require.ErrorIs(t, <-result, gotalk.ErrSockClosed)
				require.Equal(t, -1, <-closed)
			} else {
				require.ErrorIs(t, <-result, gotalk.ErrTimeout)
				require.Equal(t, gotalk.ProtocolErrorTimeout, <-closed)
				require.InDelta(t, 30, time.Since(start).Seconds(), 3)
			}
			p.w.nc.Close()
		})
	}
}

// Refusals go out while the reader goes on, so one who takes none of them is held back or closed like any other.
func TestPeerThatTakesNoRefusals(t *testing.T) {
	eachServer(t, echoHandlers(), nil, func(t *testing.T, s *testServer) {
		p := s.peer()
		sock := s.sock()
		other := s.peer()
		peak := peakMemory(func() {
			standsStill(t, p.flood(strings.Repeat(request("aaaa", strings.Repeat("n", 4095), 0), 100), 1000))
		})
		require.Less(t, peak, int64(128<<20))
		other.echoes()
		sock.Close()
		other.echoes()
	})
}

// So is one who sends what a handler is not ready for: notifications, parts of a stream, and results of ours.
func TestPeerThatSendsTooMuch(t *testing.T) {
	gate := make(chan struct{})
	h := streamHandlers()
	h.HandleBufferNotification("slow", func(*gotalk.Sock, string, []byte) { <-gate })
	h.HandleStreamRequest("slow", func(*gotalk.Sock, string, chan []byte, io.WriteCloser) error { <-gate; return nil })
	h.HandleBufferRequest("slow", func(*gotalk.Sock, string, []byte) ([]byte, error) { <-gate; return nil, nil })
	payload := strings.Repeat("x", 64<<10)
	for name, m := range map[string]string{
		"notifications":       "n004slow00010000" + payload,
		"empty notifications": strings.Repeat("n004slow00000000", 1000),
		"stream parts":        part("p", "aaaa", len(payload)) + payload,
		"requests":            request("aaaa", "slow", len(payload)) + payload,
	} {
		t.Run(name, func(t *testing.T) {
			s := serveTCP(t, h, streaming)
			p, other := s.peer(), s.peer()
			peak := peakMemory(func() {
				p.say(begin("aaaa", "slow", 0))
				standsStill(t, p.flood(m, 16_000))
			})
			require.Less(t, peak, int64(192<<20))
			other.echoes()
		})
	}
	t.Run("results", func(t *testing.T) {
		c := quietSock(nil)
		p := connectTo(t, c, nil)
		r, results := c.StreamRequest("a")
		require.NoError(t, r.Write(nil))
		p.hear()
		peak := peakMemory(func() {
			standsStill(t, p.flood(part("S", "\x00\x00\x00\x00", len(payload))+payload, 16_000))
		})
		require.Less(t, peak, int64(192<<20))
		require.NoError(t, c.Close())
		for range results { // what has come is still there
		}
	})
	close(gate)
}

// Slow requests of one peer, more than there is room for, take their turn and are all answered.
func TestSlowRequestsTakeTheirTurn(t *testing.T) {
	const n = 60_000
	synctest.Test(t, func(t *testing.T) {
		var most, running atomic.Int64
		h := gotalk.NewHandlers()
		h.HandleBufferRequest("slow", func(*gotalk.Sock, string, []byte) ([]byte, error) {
			most.Store(max(most.Load(), running.Add(1))) // a little too low at times, for all that matters
			<-time.After(time.Second)
			running.Add(-1)
			return nil, nil
		})
		goroutines := atomic.Int64{}
		h.HandleBufferRequest("count", func(*gotalk.Sock, string, []byte) ([]byte, error) {
			goroutines.Store(max(goroutines.Load(), int64(runtime.NumGoroutine())))
			return nil, nil
		})
		s := serveInMemory(t, h, nil)
		p := s.peer()
		ids := make(map[string]bool, n)
		p.flood(strings.Repeat(request("aaaa", "slow", 0), 100)+request("bbbb", "count", 0), n/100)
		answers := 0
		for range n + n/100 {
			m := p.hear()
			require.Equal(t, "R", m[:1])
			ids[m[1:5]] = true
			answers++
		}
		require.Equal(t, n+n/100, answers)
		require.Len(t, ids, 2)
		require.Less(t, goroutines.Load(), int64(20_000))
		require.Greater(t, most.Load(), int64(1000), "they are not one after the other either")
	})
}

// Who connects and says nothing is dropped, also when there are many.
func TestMutePeersAreDropped(t *testing.T) {
	for _, ws := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			limits := *gotalk.DefaultLimits
			limits.HandshakeTimeout = time.Second
			s := startServer(t, newPipeListener(), ws, echoHandlers(), &limits)
			start := time.Now()
			var peers []*peer
			for i := range 200 {
				p := s.mutePeer()
				if i%2 == 0 {
					p.say("0")
				}
				peers = append(peers, p)
			}
			for _, p := range peers {
				r, err := p.read(true)
				require.NoError(t, err)
				require.Equal(t, "01", string(r.frames[0]))
				for m := ""; m != "end"; m = p.hear() {
				}
			}
			require.InDelta(t, 1, time.Since(start).Seconds(), 0.2)
			require.Empty(t, s.socks)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ours, theirs := net.Pipe()
		defer theirs.Close()
		go io.Copy(io.Discard, theirs)
		err := gotalk.NewSock(nil).ConnectReader(networked{ours}, nil)
		require.ErrorIs(t, err, gotalk.ErrTimeout)
		require.InDelta(t, 10, time.Since(start).Seconds(), 1)
	})
}

// A peer that never gets done with a message is dropped like one that says nothing.
func TestPeerThatSendsByteByByte(t *testing.T) {
	for _, m := range []string{request("aaaa", strings.Repeat("n", 100), 0), request("aaaa", "echo", 1<<20)} {
		synctest.Test(t, func(t *testing.T) {
			p := serveInMemory(t, echoHandlers(), nil).peer()
			start := time.Now()
			said := inBackground(func() (n int) {
				for p.trySay(m[n:n+1]) == nil {
					<-time.After(20 * time.Second)
					n++
				}
				return n
			})
			p.hears("f00000003", "end")
			require.Less(t, time.Since(start), time.Minute)
			require.Less(t, <-said, 3)
		})
	}
}

// What a header claims takes no memory, whatever it is the header of and whatever is allowed.
func TestClaimedSizeTakesNoMemory(t *testing.T) {
	h := streamHandlers()
	h.HandleBufferNotification("note", func(*gotalk.Sock, string, []byte) {})
	claims := []string{"n004noneffffffff", "n004noteffffffff", "eaaaa00000000ffffffff"}
	for _, m := range []string{request("aaaa", "echo", 0), request("aaaa", "none", 0), begin("aaaa", "all", 0), begin("aaaa", "nope", 0),
		part("R", "aaaa", 0), part("S", "aaaa", 0), part("E", "aaaa", 0), part("p", "aaaa", 0)} {
		claims = append(claims, strings.TrimSuffix(m, "00000000")+"ffffffff")
	}
	for _, limits := range []*gotalk.Limits{nil, {StreamRequests: 5, MaxPayload: 1<<32 - 1}} {
		for _, claim := range claims {
			for _, transport := range []string{"tcp", "websocket", "client"} {
				take := func(t *testing.T) (took int64) {
					var s *testServer
					if transport != "client" {
						s = startServer(t, newPipeListener(), transport == "websocket", h, limits)
					}
					var peers []*peer
					for range 8 {
						var p *peer
						if s != nil {
							p = s.peer()
						} else {
							p = connectInMemory(t, quietSock(h), limits)
						}
						if claim[0] == 'p' {
							p.say(begin("aaaa", "none", 0)) // refused, or over
							p.hear()
						}
						go p.discard()
						peers = append(peers, p)
					}
					synctest.Wait()
					return allocated(func() {
						for _, p := range peers {
							p.say(claim, "x")
							if p.w.ws {
								p.w.nc.Write([]byte("\x82\xff\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00x"))
							}
						}
						synctest.Wait()
					})
				}
				const most = 1 << 20
				took := int64(most)
				for try := 0; took >= most && try < 5; try++ { // what tests before this one have left may take some too
					synctest.Test(t, func(t *testing.T) { took = take(t) })
				}
				require.Less(t, took, int64(most), "%q to %s", claim, transport)
			}
		}
	}
}

// Connections that are dropped in the middle of a stream leave nothing behind.
func TestDroppedConnectionsLeaveNothing(t *testing.T) {
	eachServer(t, streamHandlers(), streaming, func(t *testing.T, s *testServer) {
		goroutines := runtime.NumGoroutine()
		var peers []*peer
		for i := range 1000 {
			p := s.peer()
			p.say(begin("aaaa", "copy", 1), "x")
			p.hears("Saaaa00000001x")
			p.say(begin("bbbb", "all", 1), "x", part("p", "bbbb", 5), "y")
			peers = append(peers, p)
			if i%100 == 99 {
				for i, p := range peers {
					require.NoError(t, p.w.end(i%2 == 0))
					p.w.nc.Close()
				}
				peers = nil
			}
		}
		settledGoroutines(t, goroutines)
	})
}
