package gotalk

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// closeFrame is the last frame that we send, or nil if the link is no WebSocket's or one was sent in answer to the peer's.
func (l *link) closeFrame() []byte {
	if c, ok := l.conn.(*wsConn); !ok || c.raw.closing.Swap(true) {
		return nil
	}
	b := []byte{0x88, 0x02}
	body := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	if l.w.framing == clientFraming {
		b[1] |= 0x80
		b = append(b, 0, 0, 0, 0) // a key like any other: two known bytes need no hiding
	}
	return append(b, body...)
}

// wsConn is a WebSocket as a byte stream: what the messages that come in hold, one after the other.
type wsConn struct {
	ws     *websocket.Conn
	raw    *wsNetConn // below the WebSocket
	frames frameReader
}

func (c *wsConn) Read(p []byte) (int, error) {
	for len(p) > 0 {
		if err := c.frames.ended(); err != nil {
			return 0, err
		}
		n, err := c.raw.Conn.Read(p)
		if n = c.frames.unframe(p[:n]); n > 0 {
			return n, nil // an error, if there was one, comes again
		}
		if err != nil && c.frames.last == nil {
			return 0, err
		}
	}
	return 0, nil
}

// Write sends p as one binary message. It is there for programs that use Sock.Conn; a Sock's own messages go another way.
func (c *wsConn) Write(p []byte) (int, error) {
	if err := c.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *wsConn) Close() error                       { return c.raw.Conn.Close() }
func (c *wsConn) LocalAddr() net.Addr                { return c.raw.Conn.LocalAddr() }
func (c *wsConn) RemoteAddr() net.Addr               { return c.raw.Conn.RemoteAddr() }
func (c *wsConn) SetDeadline(t time.Time) error      { return c.raw.Conn.SetDeadline(t) }
func (c *wsConn) SetReadDeadline(t time.Time) error  { return c.raw.Conn.SetReadDeadline(t) }
func (c *wsConn) SetWriteDeadline(t time.Time) error { return c.raw.Conn.SetWriteDeadline(t) }

// hijacker gives gorilla's Upgrader our kind of connection.
type hijacker struct {
	http.ResponseWriter
	conn **wsNetConn
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	*h.conn = &wsNetConn{Conn: conn}
	return *h.conn, rw, nil
}

// wsNetConn is the connection that gorilla's code writes to: first directly, for HTTP, then through a Sock's writer. It
// reads HTTP alone from it; see wsConn.Read.
type wsNetConn struct {
	net.Conn
	closing atomic.Bool // a close frame was written
	mu      sync.Mutex
	w       *msgWriter

	// What gorilla's Dialer reads: the header of the response, and no byte more unless it asks for what follows.
	inLine int    // bytes of a line of the header
	ended  bool   // the header has
	ahead  []byte // what has come behind it
}

func (c *wsNetConn) Read(p []byte) (int, error) {
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

func (c *wsNetConn) attach(w *msgWriter) {
	c.mu.Lock()
	c.w = w
	c.mu.Unlock()
}

func (c *wsNetConn) writer() *msgWriter {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.w
}

func (c *wsNetConn) Write(p []byte) (int, error) {
	w := c.writer()
	if w == nil {
		return c.Conn.Write(p)
	}
	last := len(p) > 0 && p[0] == 0x80|websocket.CloseMessage
	if last && c.closing.Swap(true) {
		return len(p), nil
	}
	if err := w.postRaw(p, last); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetWriteDeadline is the writer's alone once it is there.
func (c *wsNetConn) SetWriteDeadline(t time.Time) error {
	if c.writer() != nil {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}
