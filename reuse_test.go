package gotalk_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// pattern returns n bytes that differ from place to place and from one seed to the next.
func pattern(n, seed int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i>>8 + seed)
	}
	return p
}

func lentHandlers() *gotalk.Handlers {
	h := echoHandlers()
	h.HandleBufferRequestLent("lent", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) { return b, nil })
	h.HandleBufferRequestLent("half", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) { return b[:len(b)/2], nil })
	return h
}

var reuseSizes = []int{0, 1, 25, 1000, 30_000, 40_000, 64 << 10, 100_000, 128<<10 + 1, 300_000, 1 << 20, 3 << 20}

// Results come into the caller's memory, requests in memory that is used again, of whatever size, over whatever connection.
func TestReusedMemory(t *testing.T) {
	eachServer(t, lentHandlers(), nil, func(t *testing.T, s *testServer) {
		for _, old := range []bool{false, true} {
			c := quietSock(nil)
			c.NoExtensions = old
			s.connect(c)
			t.Run(fmt.Sprint("like an old one ", old), func(t *testing.T) {
				dst := make([]byte, 1<<20)
				for round := range 3 {
					for i, n := range reuseSizes {
						want := pattern(n, round*100+i)
						sent := bytes.Clone(want)
						got, err := c.BufferRequestInto(t.Context(), []string{"lent", "echo"}[round%2], sent, dst)
						require.NoError(t, err)
						require.Equal(t, want, sent, "the request is changed")
						require.True(t, bytes.Equal(want, got), "%d bytes", n)
						if n > 0 {
							require.Equal(t, n <= len(dst), &got[0] == &dst[0], "%d bytes", n)
						}
						got, err = c.BufferRequest("half", sent)
						require.NoError(t, err)
						require.True(t, bytes.Equal(want[:n/2], got), "half of %d bytes", n)
					}
				}
			})
		}
	})
}

// Many at once, some of them given up: nobody's memory is written to by somebody else.
func TestReusedMemoryUnderLoad(t *testing.T) {
	eachServer(t, lentHandlers(), nil, func(t *testing.T, s *testServer) {
		c := s.client(nil)
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				dst := make([]byte, 300_000)
				for i := range 60 {
					want := pattern(reuseSizes[(worker+i)%len(reuseSizes)]%400_000, worker*1000+i)
					ctx, cancel := context.WithCancel(t.Context())
					if i%3 == 0 {
						go cancel()
					}
					got, err := c.BufferRequestInto(ctx, "lent", want, dst)
					if err == nil && !bytes.Equal(want, got) || err != nil && ctx.Err() == nil {
						t.Errorf("%d bytes: %v", len(want), err)
					}
					cancel()
					for j := range dst { // it is ours again
						dst[j] = 0xee
					}
				}
			})
		}
		wg.Wait()
	})
}

// A handler that keeps the reading goroutine from its work still has its payload, whatever comes meanwhile.
func TestLentPayloadOfHandlerThatTakesLong(t *testing.T) {
	h := echoHandlers()
	block, release := make(chan bool, 1), make(chan bool)
	var kept string
	h.HandleBufferRequestLent("lent", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) {
		select {
		case <-block:
			<-release
			kept = string(b)
		default:
		}
		return b, nil
	})
	eachServer(t, h, nil, func(t *testing.T, s *testServer) {
		c := s.client(nil)
		for range 10 {
			for i := range 300 {
				got, err := c.BufferRequest("lent", fmt.Append(nil, i))
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint(i), string(got))
			}
			block <- true
			done := inBackground(func() error {
				got, err := c.BufferRequest("lent", []byte("mine alone"))
				if err == nil && string(got) != "mine alone" {
					err = fmt.Errorf("%q", got)
				}
				return err
			})
			for i := range 300 {
				got, err := c.BufferRequest("echo", pattern(1000, i))
				require.NoError(t, err)
				require.Equal(t, pattern(1000, i), got)
			}
			release <- true
			require.NoError(t, <-done)
			require.Equal(t, "mine alone", kept)
		}
	})
}

func TestReusedMemoryAllocatesNothing(t *testing.T) {
	c := serveTCP(t, lentHandlers(), nil).client(nil)
	for _, n := range []int{25, 1000} {
		payload, dst := make([]byte, n), make([]byte, n)
		call := func() {
			if _, err := c.BufferRequestInto(context.Background(), "lent", payload, dst); err != nil {
				panic(err)
			}
		}
		for range 1000 {
			call()
		}
		budget := 0.5 // for both sides
		if raceDetector {
			budget = 3 // the race detector empties pools
		}
		require.LessOrEqual(t, testing.AllocsPerRun(2000, call), budget, "%d bytes", n)
	}
}
