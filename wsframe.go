package gotalk

import (
	"encoding/binary"
	"math/rand/v2"
)

// framing says how messages are packed for the connection they go out on.
type framing uint8

const (
	unframed       framing = iota // a byte stream: messages follow each other
	serverFraming                 // WebSocket frames from a server
	clientFraming                 // WebSocket frames from a client, masked as RFC 6455 wants it
	maxFrameHeader = 14
)

const finalFrame = 0x80 // in the first byte of a frame: it is the message's last, beside its opcode

// appendFrameHeader appends the header of a frame that is a whole binary WebSocket message of n bytes. The payload that
// follows is to be masked with key, if f says so.
func appendFrameHeader(b []byte, f framing, n int) (frame []byte, key uint32) {
	masked := byte(0)
	if f == clientFraming {
		masked = 0x80
	}
	b = append(b, finalFrame|opBinary)
	switch {
	case n < 126:
		b = append(b, masked|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, masked|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, masked|127), uint64(n))
	}
	if masked != 0 {
		key = rand.Uint32()
		b = binary.LittleEndian.AppendUint32(b, key)
	}
	return b, key
}

// mask masks p in place; p is the whole payload of a frame.
func mask(p []byte, key uint32) {
	wide := uint64(key)<<32 | uint64(key)
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^wide)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= byte(key >> (8 * (i & 3)))
	}
}

// joinFrom returns the bytes of the buffer at i, which is to be joined. If it is the first of its frame, they begin with
// the frame's header, which is put where room was left for it.
func joinFrom(segments []segment, i int) []byte {
	b := segments[i].buf.b
	if i > 0 && (segments[i-1].joined || segments[i-1].buf != nil && segments[i-1].buf.joined) {
		return b[maxFrameHeader:]
	}
	n := 0
	for _, s := range segments[i:] {
		switch {
		case s.buf != nil && s.buf.joined:
			n += len(s.buf.b) - maxFrameHeader
			continue
		case s.joined:
			n += len(s.lent)
			continue
		}
		break
	}
	var room [maxFrameHeader]byte
	head, _ := appendFrameHeader(room[:0], serverFraming, n)
	start := maxFrameHeader - len(head)
	copy(b[start:], head)
	return b[start:]
}

// appendFrame appends a frame that is a whole WebSocket message, or a control frame.
func appendFrame(b []byte, f framing, op byte, p []byte) []byte {
	start := len(b)
	b, key := appendFrameHeader(b, f, len(p))
	b[start] = finalFrame | op
	b = append(b, p...)
	if f == clientFraming {
		mask(b[len(b)-len(p):], key)
	}
	return b
}

// startJoining lets messages from now on share WebSocket messages: one frame for each write.
func (w *msgWriter) startJoining() {
	w.mu.Lock()
	w.joining = true
	w.mu.Unlock()
}
