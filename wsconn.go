package gotalk

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

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
	ws  *websocket.Conn
	raw *wsNetConn // below the WebSocket

	// Owned by the reader.
	msg  io.Reader // what is left of the current message
	text textCheck // of text messages
	kind int       // of the current message
}

func (c *wsConn) Read(p []byte) (int, error) {
	for {
		if c.msg == nil {
			var err error
			if c.kind, c.msg, err = c.ws.NextReader(); err != nil {
				var closed *websocket.CloseError
				if errors.As(err, &closed) {
					err = io.EOF
				}
				return 0, err
			}
		}
		n, err := c.msg.Read(p)
		if c.kind == websocket.TextMessage && !c.text.valid(p[:n]) {
			c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseInvalidFramePayloadData, ""), time.Time{})
			return 0, errNotText
		}
		if err == io.EOF {
			c.msg = nil
			err = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

var errNotText = errors.New("gotalk: a WebSocket text message is not UTF-8")

// textCheck checks that text is UTF-8. A character may be split over messages, as all that is sent may.
type textCheck struct {
	part [utf8.UTFMax]byte // of a character
	n    int
}

func (c *textCheck) valid(p []byte) bool {
	for ; c.n > 0 && len(p) > 0; p = p[1:] {
		c.part[c.n] = p[0]
		c.n++
		if utf8.FullRune(c.part[:c.n]) {
			if !utf8.Valid(c.part[:c.n]) {
				return false
			}
			c.n = 0
		}
	}
	end := len(p)
	for i := 1; i < utf8.UTFMax && i <= len(p); i++ {
		if start := len(p) - i; utf8.RuneStart(p[start]) {
			if !utf8.FullRune(p[start:]) {
				c.n = copy(c.part[:], p[start:])
				end = start
			}
			break
		}
	}
	return utf8.Valid(p[:end])
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

// wsNetConn is the connection that gorilla's code writes to: first directly, for HTTP, then through a Sock's writer.
type wsNetConn struct {
	net.Conn
	closing atomic.Bool // a close frame was written
	mu      sync.Mutex
	w       *msgWriter
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
