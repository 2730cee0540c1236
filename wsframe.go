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

const wsBinaryFinal = 0x82 // first byte of a frame that is a whole binary message

// appendFrameHeader appends the header of a frame that is a whole binary WebSocket message of n bytes. The payload that
// follows is to be masked with key, if f says so.
func appendFrameHeader(b []byte, f framing, n int) (frame []byte, key uint32) {
	masked := byte(0)
	if f == clientFraming {
		masked = 0x80
	}
	b = append(b, wsBinaryFinal)
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
