package gotalk

import (
	"net"
	"sync/atomic"

	"github.com/gorilla/websocket"
)

// wsConn is a WebSocket as a byte stream: what the messages that come in hold, one after the other.
type wsConn struct {
	net.Conn    // below the WebSocket
	w           *msgWriter
	closing     atomic.Bool // a close frame was written
	frames      frameReader // owned by the reader
	subprotocol string
	known       atomic.Pointer[websocket.Conn] // once the program has asked for it
}

func newWSLink(s *Sock, conn net.Conn, f framing) *link {
	c := &wsConn{Conn: conn}
	l := newLink(s, c, f)
	c.w, c.frames.conn, c.frames.masked = &l.w, c, f == serverFraming
	return l
}

func (c *wsConn) Read(p []byte) (int, error) {
	for len(p) > 0 {
		if err := c.frames.ended(); err != nil {
			return 0, err
		}
		n, err := c.Conn.Read(p)
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
	if err := c.w.postRaw(appendFrame(nil, c.w.framing, opBinary, p), false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// writeRaw writes whole frames that begin with b.
func (c *wsConn) writeRaw(b []byte) error {
	last := len(b) > 0 && b[0] == finalFrame|websocket.CloseMessage
	if last && c.closing.Swap(true) {
		return nil
	}
	return c.w.postRaw(b, last)
}

// control sends a control frame.
func (c *wsConn) control(op byte, body []byte) error {
	return c.writeRaw(appendFrame(nil, c.w.framing, op, body))
}

// closeFrame is the last frame that we send, or nil if the link is no WebSocket's or one was sent in answer to the peer's.
func (l *link) closeFrame() []byte {
	if c, ok := l.conn.(*wsConn); !ok || c.closing.Swap(true) {
		return nil
	}
	return appendFrame(nil, l.w.framing, websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
}
