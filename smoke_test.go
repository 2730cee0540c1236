package gotalk_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

func TestSmoke(t *testing.T) {
	h := gotalk.NewHandlers()
	h.HandleBufferRequest("echo", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) { return b, nil })
	h.Handle("greet", func(n string) (string, error) { return "Hello " + n, nil })
	srv, err := gotalk.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv.Handlers = h
	go srv.Accept()
	s, err := gotalk.Connect("tcp", srv.Addr())
	require.NoError(t, err)
	b, err := s.BufferRequest("echo", []byte("x"))
	require.NoError(t, err)
	require.Equal(t, "x", string(b))
	var out string
	require.NoError(t, s.Request("greet", "Bob", &out))
	require.Equal(t, "Hello Bob", out)
	big := make([]byte, 5<<20)
	b, err = s.BufferRequest("echo", big)
	require.NoError(t, err)
	require.Equal(t, len(big), len(b))
	require.NoError(t, srv.Shutdown(context.Background()))
	ws := gotalk.NewWebSocketServer()
	ws.Handlers = h
	hs := httptest.NewServer(ws)
	s, err = gotalk.ConnectWebSocket(context.Background(), strings.Replace(hs.URL, "http", "ws", 1), nil)
	require.NoError(t, err)
	require.NoError(t, s.Request("greet", "Bob", &out))
	b, err = s.BufferRequest("echo", big)
	require.NoError(t, err)
	require.Equal(t, len(big), len(b))
	s.Close()
}
func BenchmarkEcho(b *testing.B) {
	h := gotalk.NewHandlers()
	h.HandleBufferRequest("echo", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) { return b, nil })
	srv, _ := gotalk.Listen("tcp", "127.0.0.1:0")
	srv.Handlers = h
	go srv.Accept()
	s, _ := gotalk.Connect("tcp", srv.Addr())
	msg := []byte(`{"message":"Hello World"}`)
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			s.BufferRequest("echo", msg)
		}
	})
	b.Run("64", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				s.BufferRequest("echo", msg)
			}
		})
	})
	b.Run("1024", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(512)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				s.BufferRequest("echo", msg)
			}
		})
	})
}
