package gotalk

import (
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

const (
	maxControlPayload = 125 // of a ping, a pong or a close frame

	opContinuation = 0
	opText         = websocket.TextMessage
	opBinary       = websocket.BinaryMessage
)

// frameReader takes WebSocket frames apart that come in, and leaves what the messages hold: one byte stream, as a message
// of ours may be spread over WebSocket messages in any way. It is used by one goroutine, the connection's reader.
type frameReader struct {
	conn   *wsConn // that control frames are answered on
	masked bool    // frames are: those of a client

	head    [maxFrameHeader]byte // of the frame, as far as it has come
	headLen uint8
	op      uint8 // of the frame whose payload comes; valid while inFrame
	inFrame bool  // the header is complete and the payload is not
	open    bool  // a message has begun, and its last frame not come
	text    bool  // it is one of text
	turn    uint8 // how far the key is used: 0 to 3
	key     [4]byte
	left    int64  // of the frame's payload
	control []byte // the payload of a control frame, as far as it has come
	chars   textCheck

	// Set where no more is to be read: says so to the peer, and returns why. It is called when all that came before has
	// been acted on.
	last func() error
	err  error // what it has returned
}

// unframe takes p, the next bytes that have come, and moves what they hold for us to the front of p. It returns how many
// bytes that are.
func (f *frameReader) unframe(p []byte) (n int) {
	for in := p; f.last == nil && len(in) > 0; {
		if !f.inFrame {
			in = in[f.header(in):]
			continue
		}
		part := in[:min(int64(len(in)), f.left)]
		in = in[len(part):]
		f.left -= int64(len(part))
		f.unmask(part)
		switch {
		case f.op >= websocket.CloseMessage:
			f.control = append(f.control, part...)
		case f.text && !f.chars.valid(part):
			f.fail(websocket.CloseInvalidFramePayloadData, "a text message is not UTF-8")
			continue
		default:
			n += copy(p[n:], part)
		}
		if f.left == 0 {
			f.endFrame()
		}
	}
	return n
}

// ended returns why there is no more to come, or nil. Before it is called all that unframe has left is to be acted on.
func (f *frameReader) ended() error {
	if f.last != nil && f.err == nil {
		f.err = f.last()
	}
	return f.err
}

// header takes what of a frame's header is in p, and returns how many bytes that are.
func (f *frameReader) header(p []byte) (n int) {
	for ; n < len(p); n++ {
		f.head[f.headLen] = p[n]
		f.headLen++
		if f.headLen == 2 && !f.check() {
			return n + 1
		}
		if int(f.headLen) >= f.headerSize() {
			f.headLen = 0
			f.begin()
			return n + 1
		}
	}
	return n
}

// headerSize is how long the header is that begins with head.
func (f *frameReader) headerSize() int {
	n := 2
	if f.headLen < 2 {
		return n
	}
	switch f.head[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if f.head[1]&0x80 != 0 {
		n += len(f.key)
	}
	return n
}

// check looks whether a frame that begins with the two bytes that are there is allowed.
func (f *frameReader) check() bool {
	final, reserved, op, size := f.head[0]&0x80 != 0, f.head[0]&0x70, f.head[0]&0x0f, f.head[1]&0x7f
	isControl := op >= websocket.CloseMessage
	switch {
	case reserved != 0:
		f.violation("a reserved bit is set")
	case op > opBinary && !isControl || op > websocket.PongMessage:
		f.violation("unknown opcode")
	case f.masked != (f.head[1]&0x80 != 0):
		f.violation("frames of clients are masked, and only those")
	case isControl && (!final || size > maxControlPayload):
		f.violation("a control frame is fragmented or too large")
	case op == opContinuation && !f.open:
		f.violation("a frame continues no message")
	case !isControl && op != opContinuation && f.open:
		f.violation("a message begins within another")
	}
	return f.last == nil
}

// begin begins a frame whose header is complete.
func (f *frameReader) begin() {
	f.op = f.head[0] & 0x0f
	size, rest := uint64(f.head[1]&0x7f), f.head[2:]
	switch size {
	case 126:
		size, rest = uint64(binary.BigEndian.Uint16(rest)), rest[2:]
	case 127:
		size, rest = binary.BigEndian.Uint64(rest), rest[8:]
	}
	if size>>63 != 0 {
		f.violation("a size is negative")
		return
	}
	if f.op < websocket.CloseMessage {
		if f.op != opContinuation {
			f.text = f.op == opText
		}
		f.open = f.head[0]&0x80 == 0
	}
	if f.masked {
		copy(f.key[:], rest)
	}
	f.left, f.turn, f.inFrame = int64(size), 0, true
	if size == 0 {
		f.endFrame()
	}
}

// unmask unmasks p, which is the next of the frame's payload.
func (f *frameReader) unmask(p []byte) {
	if !f.masked {
		return
	}
	var key [4]byte
	for i := range key {
		key[i] = f.key[(int(f.turn)+i)&3]
	}
	f.turn = (f.turn + uint8(len(p)&3)) & 3
	mask(p, binary.LittleEndian.Uint32(key[:]))
}

// endFrame acts on a frame that is complete.
func (f *frameReader) endFrame() {
	f.inFrame = false
	if f.op < websocket.CloseMessage {
		return
	}
	body := f.control
	f.control = nil
	ws := f.conn.known.Load() // the program may have handlers for these
	var err error
	switch {
	case f.op == websocket.CloseMessage:
		f.onClose(body)
	case f.op == websocket.PingMessage && ws != nil:
		err = ws.PingHandler()(string(body))
	case f.op == websocket.PingMessage:
		err = f.conn.control(websocket.PongMessage, body)
	case ws != nil:
		err = ws.PongHandler()(string(body))
	}
	if err != nil {
		f.last = func() error { return err }
	}
}

// onClose takes the peer's last frame, and lets it be answered.
func (f *frameReader) onClose(body []byte) {
	code, reason := websocket.CloseNoStatusReceived, ""
	if len(body) >= 2 {
		code, reason = int(binary.BigEndian.Uint16(body)), string(body[2:])
	}
	switch {
	case len(body) == 1, len(body) > 1 && !mayBeReceived(code):
		f.violation("a close frame without a valid code")
	case !utf8.ValidString(reason):
		f.violation("the reason in a close frame is not UTF-8")
	default:
		f.last = func() error {
			if ws := f.conn.known.Load(); ws != nil {
				if err := ws.CloseHandler()(code, reason); err != nil {
					return err
				}
			} else {
				f.conn.control(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""))
			}
			return io.EOF
		}
	}
}

// mayBeReceived tells whether a close frame may have this code.
func mayBeReceived(code int) bool {
	return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1013 || code >= 3000 && code <= 4999
}

func (f *frameReader) violation(what string) { f.fail(websocket.CloseProtocolError, what) }

// fail lets no more be read, and the peer be told what is wrong with what it sent.
func (f *frameReader) fail(code int, what string) {
	f.last = func() error {
		f.conn.control(websocket.CloseMessage, websocket.FormatCloseMessage(code, what))
		return errors.New("gotalk: WebSocket: " + what)
	}
}

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
