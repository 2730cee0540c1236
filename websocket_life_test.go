package gotalk_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

type middlewareKey struct{}

// ServeHTTP returns when the WebSocket begins. The Sock's context and the request's have the values of the HTTP request's,
// and live on until the connection ends, though net/http has ended its own.
func TestServeHTTPReturnsWhileConnectionLives(t *testing.T) {
	ws := gotalk.NewWebSocketServer()
	ws.Handlers = echoHandlers()
	served, socks := make(chan context.Context), make(chan *gotalk.WebSocket, 1)
	ws.OnConnect = func(s *gotalk.WebSocket) { socks <- s }
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(context.WithValue(r.Context(), middlewareKey{}, "kept"))
		defer cancel()
		ws.ServeHTTP(w, r.WithContext(ctx))
		served <- r.Context()
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	stopped := inBackground(func() error { return server.Serve(l) })
	nc, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	p := newPeer(t, nc, upgrade(t, nc, "http://"+l.Addr().String()), true, true)
	ctx := await(t, served)
	await(t, ctx.Done()) // net/http has

	p.shakeHands()
	p.echoes()
	s := await(t, socks)
	require.Equal(t, "/gotalk/", s.Request().URL.Path)
	require.Same(t, s.Request(), s.Request())
	for _, ctx := range []context.Context{s.Context(), s.Request().Context()} {
		require.NoError(t, ctx.Err())
		require.Equal(t, "kept", ctx.Value(middlewareKey{}))
	}
	require.NoError(t, server.Close())
	require.ErrorIs(t, await(t, stopped), http.ErrServerClosed)
	p.echoes() // http.Server does not know of the connection

	ends, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, ws.Shutdown(ends))
	await(t, s.Context().Done())
	await(t, s.Request().Context().Done())
	p.ends()
	require.Nil(t, new(gotalk.WebSocket).Request())
}

// A connection that comes when Shutdown was called is closed, and one that has not shaken hands is waited for.
func TestShutdownWaitsForConnectionsWithoutHandshake(t *testing.T) {
	s := serveWebSocket(t, echoHandlers(), &gotalk.Limits{HandshakeTimeout: 10 * time.Millisecond})
	s.mutePeer()
	require.NoError(t, s.web.Shutdown(t.Context()))
	s.mutePeer().ends()
}
