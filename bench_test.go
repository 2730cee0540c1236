package gotalk_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// spread runs f b.N times, by so many goroutines, and reports the writes of each round.
func spread(b *testing.B, inflight int, writes []*atomic.Int64, f func() error) {
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	var before int64
	for _, w := range writes {
		before += w.Load()
	}
	b.ResetTimer()
	var wg sync.WaitGroup
	for range inflight {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	if len(writes) > 0 {
		after := int64(0)
		for _, w := range writes {
			after += w.Load()
		}
		b.ReportMetric(float64(after-before)/float64(b.N), "writes/op")
	}
}

// BenchmarkRequest is a call and its answer over TCP: two messages.
func BenchmarkRequest(b *testing.B) {
	for _, size := range []int{0, 64, 1024, 16 << 10} {
		for _, inflight := range []int{1, 16, 64, 1024} {
			b.Run(fmt.Sprintf("bytes=%d/inflight=%d", size, inflight), func(b *testing.B) {
				c, client, server := countedPair(b, false, echoHandlers())
				payload := make([]byte, size)
				b.SetBytes(int64(2 * size))
				spread(b, inflight, []*atomic.Int64{client, server}, func() error {
					_, err := c.BufferRequest("echo", payload)
					return err
				})
			})
		}
	}
	for _, size := range []int{64 << 10, 1 << 20} { // written from the caller's slice, which a counted connection cannot do
		b.Run(fmt.Sprintf("bytes=%d/inflight=4", size), func(b *testing.B) {
			c := serveTCP(b, echoHandlers(), nil).client(nil)
			payload := make([]byte, size)
			b.SetBytes(int64(2 * size))
			spread(b, 4, nil, func() error {
				_, err := c.BufferRequest("echo", payload)
				return err
			})
		})
	}
}

// BenchmarkWebSocketRequest is BenchmarkRequest over a WebSocket; writes are those of the server.
func BenchmarkWebSocketRequest(b *testing.B) {
	for _, inflight := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("bytes=64/inflight=%d", inflight), func(b *testing.B) {
			c, _, server := countedPair(b, true, echoHandlers())
			payload := make([]byte, 64)
			spread(b, inflight, []*atomic.Int64{server}, func() error {
				_, err := c.BufferRequest("echo", payload)
				return err
			})
		})
	}
}

// BenchmarkJSONRequest has values encoded and decoded on both sides.
func BenchmarkJSONRequest(b *testing.B) {
	type greeting struct{ Name, Text string }
	h := echoHandlers()
	h.Handle("greet", func(g greeting) (greeting, error) { g.Text = "Hello"; return g, nil })
	for _, inflight := range []int{1, 64} {
		b.Run(fmt.Sprintf("bytes=25/inflight=%d", inflight), func(b *testing.B) {
			c, client, server := countedPair(b, false, h)
			spread(b, inflight, []*atomic.Int64{client, server}, func() error {
				var out greeting
				return c.Request("greet", greeting{Name: "Bob"}, &out)
			})
		})
	}
}

// BenchmarkNotify sends notifications, and one request at the end that shows that all have arrived.
func BenchmarkNotify(b *testing.B) {
	for _, inflight := range []int{1, 16} {
		b.Run(fmt.Sprintf("bytes=64/inflight=%d", inflight), func(b *testing.B) {
			h := echoHandlers()
			var got atomic.Int64
			h.HandleBufferNotification("note", func(*gotalk.Sock, string, []byte) { got.Add(1) })
			c, client, _ := countedPair(b, false, h)
			payload := make([]byte, 64)
			spread(b, inflight, []*atomic.Int64{client}, func() error { return c.BufferNotify("note", payload) })
			_, err := c.BufferRequest("echo", nil)
			require.NoError(b, err)
			b.ReportMetric(float64(got.Load())/float64(b.N), "handled/op")
		})
	}
}

// BenchmarkStream has each part of a request sent back as a part of the result.
func BenchmarkStream(b *testing.B) {
	b.Run("bytes=64/inflight=1", func(b *testing.B) {
		c, client, server := countedPair(b, false, streamHandlers())
		r, results := c.StreamRequest("copy")
		part := make([]byte, 64)
		require.NoError(b, r.Write(part))
		<-results
		spread(b, 1, []*atomic.Int64{client, server}, func() error {
			err := r.Write(part)
			<-results
			return err
		})
		require.NoError(b, r.End())
		<-results
	})
}

// BenchmarkConnect is the life of a connection with one call.
func BenchmarkConnect(b *testing.B) {
	for _, inflight := range []int{1, 16} {
		b.Run(fmt.Sprintf("bytes=0/inflight=%d", inflight), func(b *testing.B) {
			s := serveTCP(b, echoHandlers(), nil)
			spread(b, inflight, nil, func() error {
				c := quietSock(nil)
				defer c.Close()
				if err := c.Connect("tcp", s.tcp.Addr(), nil); err != nil {
					return err
				}
				<-s.socks
				_, err := c.BufferRequest("echo", nil)
				return err
			})
		})
	}
}

func BenchmarkHeader(b *testing.B) {
	header := []byte(request("aaaa", "echo", 25))
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			header = gotalk.AppendHeader(header[:0], gotalk.MsgTypeSingleReq, [4]byte{'a', 'a', 'a', 'a'}, "echo", 0, 25)
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			gotalk.ParseHeader(header)
		}
	})
}

// BenchmarkInterceptors is a request that is served without a context, with one, and with interceptors: those who use
// neither pay for neither.
func BenchmarkInterceptors(b *testing.B) {
	pass := func(ctx context.Context, _ *gotalk.CallInfo, next func(context.Context) error) error {
		return next(ctx)
	}
	for _, c := range []struct {
		name, op string
		n        int
	}{{"none", "echo", 0}, {"context", "context", 0}, {"one", "echo", 1}, {"three", "echo", 3}} {
		b.Run(c.name, func(b *testing.B) {
			h := echoHandlers()
			h.HandleBufferRequestContext("context", func(_ context.Context, _ *gotalk.Sock, _ string, p []byte) ([]byte, error) { return p, nil })
			for range c.n {
				h.Use(pass)
			}
			client := serveTCP(b, h, nil).client(nil)
			payload := make([]byte, 64)
			spread(b, 16, nil, func() error {
				_, err := client.BufferRequest(c.op, payload)
				return err
			})
		})
	}
}
