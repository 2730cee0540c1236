package conform

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Opcodes of WebSocket frames.
const (
	opContinue = 0
	opText     = 1
	opBinary   = 2
	opClose    = 8
	opPing     = 9
	opPong     = 10
)

const (
	finBit     = 0x80
	maskBit    = 0x80
	maxControl = 125
)

// frame is a WebSocket frame to be sent.
type frame struct {
	first   byte // opcode, with finBit and whatever reserved bits a check likes
	payload string
	naked   bool // not masked, which clients must not do
}

func binaryFrame(s string) frame { return frame{first: finBit | opBinary, payload: s} }

// append appends the frame's bytes, with the shortest length that there is.
func (f frame) append(b []byte) []byte {
	mask := byte(maskBit)
	if f.naked {
		mask = 0
	}
	b = append(b, f.first)
	switch n := len(f.payload); {
	case n <= maxControl:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
	if f.naked {
		return append(b, f.payload...)
	}
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b = append(b, key[:]...)
	for i := range len(f.payload) {
		b = append(b, f.payload[i]^key[i%4])
	}
	return b
}

// frames is the content of a WebSocket's data messages, as one stream.
type frames struct {
	br      *bufio.Reader
	control func(op byte, payload string) // is told of ping, pong and close

	left   uint64 // bytes of this frame that were not read
	fin    bool   // this frame is the last of its message
	open   bool   // a message has begun and its last frame has not come
	opcode byte   // of the latest data message
	begun  int    // data messages that have begun
	closed bool   // a close frame has come
}

// boundary tells whether all that was read so far are whole messages.
func (f *frames) boundary() bool { return f == nil || f.left == 0 && !f.open }

// count returns how many messages have begun.
func (f *frames) count() int {
	if f == nil {
		return 0
	}
	return f.begun
}

func (f *frames) Read(b []byte) (int, error) {
	for f.left == 0 {
		if err := f.nextFrame(); err != nil {
			return 0, err
		}
	}
	n, err := f.br.Read(b[:min(uint64(len(b)), f.left)])
	f.left -= uint64(n)
	if f.left == 0 && f.fin {
		f.open = false
	}
	return n, err
}

// nextFrame reads the head of a data frame, or the whole of a control frame. A server's frames have no mask.
func (f *frames) nextFrame() error {
	if f.closed {
		if _, err := f.br.ReadByte(); err != nil {
			return err
		}
		return malformed("more bytes behind a close frame")
	}
	var head [2]byte
	if _, err := io.ReadFull(f.br, head[:]); err != nil {
		return err
	}
	op, fin := head[0]&15, head[0]&finBit != 0
	n := uint64(head[1] & 127)
	long := map[uint64]int{126: 2, 127: 8}[n]
	if long > 0 {
		b := make([]byte, 8)
		if _, err := io.ReadFull(f.br, b[8-long:]); err != nil {
			return err
		}
		n = binary.BigEndian.Uint64(b)
	}
	switch {
	case head[0]&0x70 != 0:
		return malformed(fmt.Sprintf("a WebSocket frame with reserved bits (first byte %#x)", head[0]))
	case head[1]&maskBit != 0:
		return malformed("a WebSocket frame with a mask, which a server must not use")
	case n > maxPayload:
		return malformed(fmt.Sprintf("a WebSocket frame that claims %d bytes", n))
	case op >= opClose && (!fin || long > 0):
		return malformed("a WebSocket control frame that is fragmented or longer than 125 bytes")
	case op == opClose || op == opPing || op == opPong:
		payload, err := text(f.br, uint32(n))
		if err != nil {
			return err
		}
		f.closed = op == opClose
		f.control(op, payload)
		return nil
	case op == opContinue && !f.open, op != opContinue && f.open:
		return malformed("a WebSocket frame that does not continue the fragmented message before it, or continues none")
	case op > opBinary:
		return malformed(fmt.Sprintf("a WebSocket frame with the reserved opcode %d", op))
	}
	if op != opContinue {
		f.opcode = op
		f.begun++
	}
	f.left, f.fin = n, fin
	f.open = n > 0 || !fin
	return nil
}
