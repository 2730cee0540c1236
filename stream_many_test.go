package gotalk_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// 10,000 streams at once, both ways over one connection, leave nothing behind.
func TestTenThousandStreams(t *testing.T) {
	const n = 5000 // of each side
	before := runtime.NumGoroutine()
	t.Run("at once", func(t *testing.T) {
		h := streamOps()
		s := serveTCP(t, h, nil)
		c := s.client(h)
		served := s.sock()
		streams := make([]*gotalk.Stream, 2*n)
		var all sync.WaitGroup
		for i, end := range []*gotalk.Sock{c, served} {
			all.Go(func() {
				for j := range n {
					st, err := end.OpenStream(context.Background(), "copy")
					require.NoError(t, err)
					require.NoError(t, st.Send([]byte(fmt.Sprint(j))))
					streams[i*n+j] = st
				}
			})
		}
		all.Wait()
		for _, end := range []*gotalk.Sock{c, served} {
			require.Eventually(t, func() bool { return end.Stats().StreamsServed == n }, patience, 5*time.Millisecond)
			require.Equal(t, n, end.Stats().CallsPending)
		}
		for k := range 8 { // of each a part for each stream
			all.Go(func() {
				for i := k; i < 2*n; i += 8 {
					st := streams[i]
					recvs(t, st, fmt.Sprint(i%n))
					require.NoError(t, st.Send(make([]byte, 1000)))
				}
				for i := k; i < 2*n; i += 8 {
					st := streams[i]
					require.NoError(t, st.CloseSend())
					b, err := io.ReadAll(st)
					require.NoError(t, err)
					require.Len(t, b, 1000)
				}
			})
		}
		all.Wait()
		eventuallyNothingHeld(t, c, served)
	})
	settledGoroutines(t, before)
}

// Streams end in all ways at any moment, from both sides, and leave nothing behind.
func TestStreamsEndAnyHow(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	before := runtime.NumGoroutine()
	t.Run("both sides", func(t *testing.T) {
		var dice atomic.Uint64
		var extensions atomic.Bool
		roll := func() *rand.Rand { return rand.New(rand.NewPCG(seed, dice.Add(1))) }
		h := echoHandlers()
		h.HandleStream("any", func(ctx context.Context, st *gotalk.Stream) error {
			return endAnyHow(ctx, st, roll(), extensions.Load())
		})
		h.HandleStreamRequest("old", func(_ *gotalk.Sock, _ string, rch chan []byte, out io.WriteCloser) error {
			r := roll()
			for b := range rch {
				if r.IntN(3) == 0 {
					if _, err := out.Write(b); err != nil {
						return err
					}
				}
				if r.IntN(20) == 0 {
					return map[int]error{0: gotalk.NewError(gotalk.CodeAborted, "enough")}[r.IntN(2)]
				}
			}
			return nil
		})
		for _, extended := range []bool{true, false} {
			extensions.Store(extended)
			s := serveTCP(t, h, streaming)
			c := quietSock(h)
			c.NoExtensions = !extended
			require.NoError(t, c.ConnectReader(s.dial(), streaming))
			defer c.Close()
			served := s.sock()
			var all sync.WaitGroup
			for i := range 16 {
				end := []*gotalk.Sock{c, served}[i%2]
				all.Go(func() {
					r := roll()
					for range 150 {
						if r.IntN(4) == 0 {
							requestAnyHow(end, r)
							continue
						}
						ctx, cancel := context.WithCancel(context.Background())
						if r.IntN(3) == 0 {
							ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(3000))*time.Microsecond)
						}
						st, err := end.OpenStream(ctx, []string{"any", "old", "no such"}[min(r.IntN(8)/3, 2)])
						if err == nil {
							endAnyHow(ctx, st, r, true)
							st.Close()
						}
						cancel()
					}
				})
			}
			finished := inBackground(func() error { all.Wait(); return nil })
			require.NoError(t, await(t, finished))
			for _, end := range []*gotalk.Sock{c, served} {
				require.False(t, end.IsClosed())
				_, err := end.BufferRequest("echo", nil)
				require.NoError(t, err)
			}
			eventuallyNothingHeld(t, c, served)
		}
	})
	settledGoroutines(t, before)
}

// endAnyHow does to a stream what comes to mind, for a while. If it is to stay, it may go on receiving after that. (The opener
// does not tell an old peer's handler that it sends no more when the result is over: to a handler that has returned, that
// would be an offence.)
func endAnyHow(ctx context.Context, st *gotalk.Stream, r *rand.Rand, stay bool) error {
	receiving := make(chan bool)
	go func() {
		defer close(receiving)
		for range st.All() {
		}
	}()
	defer func() {
		if r.IntN(2) == 0 || st.Context().Err() != nil {
			return
		}
		st.Close()
		<-receiving
	}()
	for range r.IntN(20) {
		switch r.IntN(24) {
		case 0:
			return gotalk.NewError(gotalk.CodeAborted, "enough")
		case 1:
			return nil
		case 2:
			st.CloseSend()
		case 3:
			st.Close()
		case 4:
			go st.Close()
		case 5:
			go st.CloseSend()
		default:
			size := 1 + r.IntN(2000)
			if r.IntN(10) == 0 {
				size = r.IntN(2*window) + 1
			}
			if err := st.Send(make([]byte, size)); err != nil {
				return err
			}
		}
	}
	if stay && r.IntN(2) == 0 {
		st.CloseSend()
		<-receiving
	}
	return ctx.Err()
}

// requestAnyHow is endAnyHow by the API of gotalk 1.x, which must always come to the end of its results.
func requestAnyHow(s *gotalk.Sock, r *rand.Rand) {
	req, results := s.StreamRequest("old")
	parts, size := r.IntN(20), 1+r.IntN(2000)
	go func() {
		for range parts {
			if req.Write(make([]byte, size)) != nil {
				return
			}
		}
		req.End()
	}()
	for range results {
	}
}
