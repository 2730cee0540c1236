package gotalk

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// gorilla's package opens WebSockets for us, and what it has for each is given to programs that ask for it. The frames are
// read and written without it, so that it takes no memory where nobody asks.

// writeBuffers is for programs that write to a WebSocketConnection.
var writeBuffers sync.Pool

// hijacker takes the connection from a ResponseWriter, one that is wrapped by others too.
type hijacker struct{ http.ResponseWriter }

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(h.ResponseWriter).Hijack()
}

// gorilla returns the connection as gorilla's package sees it.
func (c *wsConn) gorilla() *websocket.Conn {
	if ws := c.known.Load(); ws != nil {
		return ws
	}
	conn := &gorillaConn{Conn: c.Conn, c: c}
	up := websocket.Upgrader{ReadBufferSize: 1, WriteBufferPool: &writeBuffers}
	r := &http.Request{Method: http.MethodGet, Header: http.Header{
		"Connection": {"upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
	}}
	ws, _ := up.Upgrade(upgraded{conn}, r, http.Header{"Sec-Websocket-Protocol": {c.subprotocol}}) // nothing that can fail
	conn.open = true
	c.known.CompareAndSwap(nil, ws)
	return c.known.Load()
}

// upgraded is the http.ResponseWriter of a request whose connection is a WebSocket already.
type upgraded struct{ conn *gorillaConn }

func (u upgraded) Header() http.Header         { return http.Header{} }
func (u upgraded) Write(b []byte) (int, error) { return len(b), nil }
func (u upgraded) WriteHeader(int)             {}

func (u upgraded) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return u.conn, bufio.NewReadWriter(bufio.NewReaderSize(u.conn, 16), bufio.NewWriterSize(u.conn, 16)), nil
}

// gorillaConn is the connection that a program's *websocket.Conn stands on. What it writes are frames, which take their
// place among ours.
type gorillaConn struct {
	net.Conn
	c    *wsConn
	open bool // the WebSocket is; before, it is said to be opened, which it was long ago
}

func (g *gorillaConn) Write(b []byte) (int, error) {
	if g.open {
		if err := g.c.writeRaw(b); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func (g *gorillaConn) SetDeadline(t time.Time) error {
	if g.open {
		return g.Conn.SetReadDeadline(t)
	}
	return nil
}

// SetWriteDeadline is the writer's alone.
func (g *gorillaConn) SetWriteDeadline(time.Time) error { return nil }

// responseConn is a connection that gorilla's Dialer reads the response to its request from, and no byte more unless it
// asks for what follows.
type responseConn struct {
	net.Conn
	inLine int    // bytes of a line of the header
	ended  bool   // the header has
	ahead  []byte // what has come behind it
}

func (c *responseConn) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	for i, b := range p[:n] {
		switch {
		case c.ended || b == '\r':
		case b != '\n':
			c.inLine++
		case c.inLine > 0:
			c.inLine = 0
		default:
			c.ended = true
			c.ahead = append(c.ahead, p[i+1:n]...)
			return i + 1, err
		}
	}
	return n, err
}
