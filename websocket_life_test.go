package gotalk_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

type middlewareKey struct{}

// ServeHTTP returns when the WebSocket begins. The Sock's context and the request's have the values of the HTTP request's,
// and live on until the connection ends, though net/http has ended its own.
func TestServeHTTPReturnsWhileConnectionLives(t *testing.T) {
	ws := gotalk.NewWebSocketServer()
	ws.Handlers = echoHandlers()
	served, socks, requests := make(chan context.Context), make(chan *gotalk.WebSocket, 1), make(chan *http.Request, 1)
	ws.OnConnect = func(s *gotalk.WebSocket) { socks <- s }
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(context.WithValue(r.Context(), middlewareKey{}, "kept"))
		defer cancel()
		r = r.WithContext(ctx)
		r.SetPathValue("id", "seven")
		requests <- r
		ws.ServeHTTP(w, r)
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
	require.Same(t, s.Request(), s.Request())
	want := await(t, requests)
	require.Equal(t, want.WithContext(s.Context()), s.Request())
	require.Equal(t, "/gotalk/", s.Request().URL.Path)
	require.Equal(t, "websocket", s.Request().Header.Get("Upgrade"))
	require.Equal(t, "seven", s.Request().PathValue("id"))
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

// What handlers around the server have changed of a request is found by WebSocket.Request.
func TestWebSocketRequestThatWasChanged(t *testing.T) {
	ws := gotalk.NewWebSocketServer()
	requests := make(chan *http.Request, 1)
	ws.OnConnect = func(s *gotalk.WebSocket) { requests <- s.Request() }
	server := httptest.NewServer(http.StripPrefix("/prefix", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header["X-Many"], r.Header["X-None"] = []string{"a", "", "b\x00c"}, []string{}
		r.RequestURI = "/left/as/it/is?"
		ws.ServeHTTP(w, r)
	})))
	defer server.Close()
	c, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http")+"/prefix/gotalk/?a=b", nil)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.WriteMessage(websocket.BinaryMessage, []byte("01")))
	r := await(t, requests)
	require.Equal(t, "/gotalk/?a=b", r.URL.String())
	require.Equal(t, "/left/as/it/is?", r.RequestURI)
	require.Equal(t, []string{"a", "", "b\x00c"}, r.Header["X-Many"])
	require.Equal(t, []string{}, r.Header["X-None"])
	require.Equal(t, "Upgrade", r.Header.Get("Connection"))
}

// A connection that comes when Shutdown was called is closed, and one that has not shaken hands is waited for.
func TestShutdownWaitsForConnectionsWithoutHandshake(t *testing.T) {
	s := serveWebSocket(t, echoHandlers(), &gotalk.Limits{HandshakeTimeout: 10 * time.Millisecond})
	s.mutePeer()
	require.NoError(t, s.web.Shutdown(t.Context()))
	s.mutePeer().ends()
}

// What a program sets with Conn holds: handlers of control frames, and what it writes takes its place among our messages.
func TestWebSocketConn(t *testing.T) {
	s := serveWebSocket(t, echoHandlers(), nil)
	accept, heard := s.web.OnConnect, make(chan string, 10)
	s.web.OnConnect = func(ws *gotalk.WebSocket) {
		conn := ws.Conn()
		require.Same(t, conn, ws.Conn())
		require.Equal(t, ws.Addr(), conn.RemoteAddr().String())
		require.Equal(t, "chat", conn.Subprotocol())
		conn.SetPongHandler(func(b string) error { heard <- "pong " + b; return nil })
		conn.SetPingHandler(func(b string) error {
			err := conn.WriteControl(websocket.PongMessage, []byte("own"), time.Now().Add(time.Second))
			heard <- "ping " + b
			return err
		})
		closing := conn.CloseHandler()
		conn.SetCloseHandler(func(code int, text string) error { heard <- "close " + text; return closing(code, text) })
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Hour)))
		require.NoError(t, conn.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(time.Second)))
		require.NoError(t, conn.WriteMessage(websocket.BinaryMessage, []byte("n004note00000000")))
		accept(ws)
	}
	d := websocket.Dialer{Subprotocols: []string{"chat", "other"}}
	c, res, err := d.Dial("ws://"+s.addr, nil)
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, "chat", res.Header.Get("Sec-WebSocket-Protocol"))
	pings := make(chan string, 1)
	answer := c.PingHandler()
	c.SetPingHandler(func(b string) error { pings <- b; return answer("hi") })
	pongs := make(chan string, 1)
	c.SetPongHandler(func(b string) error { pongs <- b; return nil })
	hears := func(want string) {
		_, b, err := c.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, want, string(b))
	}
	hears("01")
	require.NoError(t, c.WriteMessage(websocket.BinaryMessage, []byte("01")))
	hears("n004note00000000")
	require.Equal(t, "are you there", await(t, pings))
	require.Equal(t, "pong hi", await(t, heard))
	require.NoError(t, c.WriteControl(websocket.PingMessage, []byte("and you"), time.Now().Add(patience)))
	require.Equal(t, "ping and you", await(t, heard))
	n, err := s.sock().Conn().Write([]byte("n004note00000001x"))
	require.NoError(t, err)
	require.Equal(t, 17, n)
	hears("n004note00000001x")
	require.Equal(t, "own", await(t, pongs))
	bye := websocket.FormatCloseMessage(websocket.CloseGoingAway, "bye")
	require.NoError(t, c.WriteControl(websocket.CloseMessage, bye, time.Now().Add(patience)))
	_, _, err = c.ReadMessage()
	require.True(t, websocket.IsCloseError(err, websocket.CloseGoingAway), "%v", err)
	require.Equal(t, "close bye", await(t, heard))
}
