package gotalk_test

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// Bytes of one stream over loopback, beside the same bytes over a plain TCP connection.
func BenchmarkStreamBytes(b *testing.B) {
	const size = 64 << 10
	b.Run("raw TCP", func(b *testing.B) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(b, err)
		defer l.Close()
		done := make(chan int64)
		go func() {
			c, _ := l.Accept()
			buf := make([]byte, size)
			var n int64
			for {
				k, err := c.Read(buf)
				n += int64(k)
				if err != nil {
					break
				}
			}
			done <- n
		}()
		c, err := net.Dial("tcp", l.Addr().String())
		require.NoError(b, err)
		p := make([]byte, size)
		b.SetBytes(size)
		b.ResetTimer()
		for range b.N {
			c.Write(p)
		}
		c.Close()
		<-done
	})
	for _, way := range []string{"Send", "Write"} {
		b.Run(way, func(b *testing.B) {
			done := make(chan int64, 1)
			h := &gotalk.Handlers{}
			h.HandleStream("sink", func(ctx context.Context, st *gotalk.Stream) error {
				var n int64
				if way == "Write" {
					n, _ = io.Copy(io.Discard, st)
				} else {
					for p, err := range st.All() {
						if err != nil {
							return err
						}
						n += int64(len(p))
					}
				}
				done <- n
				return nil
			})
			s := serveTCP(b, h, nil).client(nil)
			st, err := s.OpenStream(context.Background(), "sink")
			require.NoError(b, err)
			p := make([]byte, size)
			b.SetBytes(size)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if way == "Send" {
					err = st.Send(p)
				} else {
					_, err = st.Write(p)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, st.CloseSend())
			require.EqualValues(b, b.N*size, <-done)
		})
	}
}
