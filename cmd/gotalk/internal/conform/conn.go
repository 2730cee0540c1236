package conform

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// conn is a connection to the peer under test, in the hands of a check.
type conn struct {
	t  *T
	n  int // which of the check's connections, from 1
	nc net.Conn
	br *bufio.Reader
	ws *frames // nil when this is no WebSocket

	raw bytes.Buffer

	ids        int
	ended      string    // how the connection has ended; "" while it has not
	closeCode  int       // of the close frame that has come
	pongs      []string  // that have come
	heartbeats []message // that have come
	upper      *message  // one that has digits in upper case
	framing    string    // what was wrong about WebSocket messages
	joinable   bool      // we said join: header and payload may share a message

	saidHello  bool
	hello      *message  // the peer's
	hellos     int       // how many have come
	extensions []message // all others with reserved names that have come
}

// Read keeps what was read, for the report.
func (c *conn) Read(b []byte) (int, error) {
	var n int
	var err error
	if c.ws != nil {
		n, err = c.ws.Read(b)
	} else {
		n, err = c.br.Read(b)
	}
	if c.raw.Len() <= shownBytes+1 { // a whole message is reported as such anyway
		c.raw.Write(b[:n])
	}
	return n, err
}

// onControl is told of control frames that have come.
func (c *conn) onControl(op byte, payload string) {
	switch op {
	case opPing:
		c.log('<', "(ping) "+payload)
		c.sendFrames(frame{first: finBit | opPong, payload: payload})
	case opPong:
		c.log('<', "(pong) "+payload)
		c.pongs = append(c.pongs, payload)
	case opClose:
		c.closeCode = 1005 // none was said
		if len(payload) >= 2 {
			c.closeCode = int(payload[0])<<8 | int(payload[1])
		}
		c.log('<', fmt.Sprintf("(close %d)", c.closeCode))
		c.write(frame{first: finBit | opClose, payload: payload}.append(nil))
	}
}

func (c *conn) log(dir byte, text string) { c.t.log(c.n, dir, text) }

// send sends messages in one write.
func (c *conn) send(messages ...sent) {
	if c.ws == nil {
		var b strings.Builder
		for _, m := range messages {
			b.WriteString(m.header + m.payload)
			c.log('>', m.String())
		}
		c.write([]byte(b.String()))
		return
	}
	var b []byte
	for _, m := range messages {
		b = binaryFrame(m.header).append(b)
		if m.payload != "" {
			b = binaryFrame(m.payload).append(b)
		}
		c.log('>', m.String())
	}
	c.write(b)
}

// sendText sends bytes, on a WebSocket as one message.
func (c *conn) sendText(s string) {
	c.log('>', s)
	if c.ws != nil {
		c.write(binaryFrame(s).append(nil))
	} else {
		c.write([]byte(s))
	}
}

func (c *conn) sendFrames(frames ...frame) {
	var b []byte
	for _, f := range frames {
		kind := map[byte]string{
			opContinue: "more", opText: "text", opBinary: "binary", opClose: "close", opPing: "ping", opPong: "pong",
		}
		what := kind[f.first&15]
		if what == "" {
			what = fmt.Sprintf("opcode %d", f.first&15)
		}
		if f.first&finBit == 0 {
			what += ", to be continued"
		}
		if f.first&0x70 != 0 {
			what += ", reserved bit"
		}
		if f.naked {
			what += ", no mask"
		}
		c.log('>', "("+what+") "+f.payload)
		b = f.append(b)
	}
	c.write(b)
}

// write gives up silently when the connection has ended: reading tells how.
func (c *conn) write(b []byte) {
	_, err := c.nc.Write(b)
	if timedOut(err) {
		panic(failure{Class: classSilence, Expected: "that the peer reads what is sent", Came: "it reads nothing"})
	}
}

// readVersion reads the peer's version.
func (c *conn) readVersion() string {
	c.raw.Reset()
	s, err := text(c, 2)
	if err == nil && !c.ws.boundary() {
		c.framing = "the version is not a WebSocket message of its own"
	}
	if err != nil {
		s = c.raw.String()
	}
	c.log('<', s)
	if err != nil {
		c.broken("the peer's version, 01", err)
	}
	return s
}

// read reads the next message, whatever it is. ok is false at the end of the connection.
func (c *conn) read(want string) (m message, ok bool) {
	c.raw.Reset()
	if c.ended != "" {
		return m, false
	}
	starts, before := c.ws.boundary(), c.ws.count()
	m, size, err := readHeader(c)
	alone := starts && c.ws.boundary() && c.ws.count() <= before+1
	binary := c.ws == nil || c.ws.opcode == opBinary
	whole := alone
	if err == nil && size > 0 {
		before = c.ws.count()
		m.payload, err = text(c, size)
		whole = c.ws.boundary() && c.ws.count() <= before+1
	}
	if err != nil {
		if c.raw.Len() > 0 {
			c.log('<', c.raw.String())
		}
		if c.raw.Len() == 0 && !timedOut(err) && !errors.As(err, new(malformed)) {
			c.noteEnd(err)
			return m, false
		}
		c.broken(want, err)
	}
	c.log('<', m.String())
	switch {
	case c.joinable || c.framing != "":
	case !alone:
		c.framing = "a header that is not a WebSocket message of its own: " + escape(m.String())
	case !whole:
		c.framing = "a payload that is not one WebSocket message of its own: " + escape(m.String())
	case !binary:
		c.framing = "a header that is not a binary WebSocket message: " + escape(m.String())
	}
	if m.upper && c.upper == nil {
		c.upper = &m
	}
	return m, true
}

// noteEnd says how the connection has ended.
func (c *conn) noteEnd(err error) {
	c.ended = "the end of the connection"
	if !errors.Is(err, io.EOF) {
		c.ended = "the end of the connection (" + cause(err) + ")"
	}
	c.log('<', "(end)")
}

// cause leaves the addresses out of an error.
func cause(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

// broken fails the check because no whole message came.
func (c *conn) broken(want string, err error) {
	var bad malformed
	switch {
	case errors.As(err, &bad):
		c.t.fail(classWrong, want, "%s", bad)
	case timedOut(err) && c.raw.Len() > 0:
		c.t.fail(classSilence, want, "the beginning of a message, and then nothing within %v: %s",
			c.t.options.Timeout, escape(c.raw.String()))
	case timedOut(err):
		c.t.fail(classSilence, want, "nothing within %v", c.t.options.Timeout)
	case c.raw.Len() > 0:
		c.t.fail(classClosed, want, "the end of the connection in the middle of a message: %s", escape(c.raw.String()))
	}
	c.noteEnd(err)
	c.t.fail(classClosed, want, "%s", c.ended)
}

func timedOut(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// maybe reads the next message that is not a heartbeat or of an extension. ok is false at the end of the connection.
func (c *conn) maybe(want string) (m message, ok bool) {
	for {
		m, ok = c.read(want)
		switch {
		case !ok:
			return m, false
		case m.typ == 'h':
			c.heartbeats = append(c.heartbeats, m)
		case m.typ == 'n' && strings.HasPrefix(m.name, "gotalk:"):
			if m.name == "gotalk:hello" {
				hello := m
				c.hello, c.hellos = &hello, c.hellos+1
			} else {
				c.extensions = append(c.extensions, m)
			}
		default:
			return m, true
		}
	}
}

// next is maybe for when the connection must go on.
func (c *conn) next(want string) message {
	m, ok := c.maybe(want)
	if !ok {
		c.t.fail(classClosed, want, "%s", c.ended)
	}
	return m
}

// waits tells whether something comes within d: data, or the end.
func (c *conn) waits(d time.Duration) bool {
	until := time.Now().Add(d)
	defer c.nc.SetReadDeadline(c.t.deadline)
	for {
		if c.ended != "" || c.ws != nil && c.ws.left > 0 {
			return c.ended == ""
		}
		c.nc.SetReadDeadline(earlier(until, c.t.deadline))
		_, err := c.br.Peek(1)
		if err != nil || c.ws == nil {
			return !timedOut(err)
		}
		c.nc.SetReadDeadline(c.t.deadline)
		if err := c.ws.nextFrame(); err != nil {
			if errors.As(err, new(malformed)) {
				c.broken("WebSocket frames", err)
			}
			c.noteEnd(err)
			return true
		}
	}
}

// soon reads the next message, passing over heartbeats and extensions, if one comes within d.
func (c *conn) soon(d time.Duration, want string) (m message, ok bool) {
	for c.waits(d) {
		before := len(c.heartbeats) + len(c.extensions)
		if m = c.unsolicited(want); len(c.heartbeats)+len(c.extensions) == before {
			return m, true
		}
	}
	return m, false
}

// unsolicited reads a message, whatever it is. The connection must go on.
func (c *conn) unsolicited(want string) message {
	m, ok := c.read(want)
	switch {
	case !ok:
		c.t.fail(classClosed, want, "%s", c.ended)
	case m.typ == 'h':
		c.heartbeats = append(c.heartbeats, m)
	case m.typ == 'n' && strings.HasPrefix(m.name, "gotalk:"):
		c.extensions = append(c.extensions, m)
	}
	return m
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// close drops the connection.
func (c *conn) close() {
	c.log('>', "(end)")
	c.nc.Close()
}
