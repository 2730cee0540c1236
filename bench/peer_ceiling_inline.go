package main

import (
	"io"
	"net"
)

// The ceiling whose reader answers each request itself, and writes the answers when no request is left in its buffer: no
// server does less. But a request that takes long holds up its whole connection.
func init() {
	register(&Peer{
		Name:  "ceiling: inline",
		Group: Ceilings,
		Does:  does(Echo, Beside, Notify),
		Serve: func(s *Server) error { return serveFrames(s, serveFramesInline) },
		Dial:  dialFrames,
	})
}

func serveFramesInline(s *Server, c net.Conn) error {
	r, w := newFrameReader(c), newFrameWriter(c, func() bool { return false })
	var out, large []byte
	for {
		size, id, err := r.next()
		if err != nil {
			return err
		}
		switch {
		case size < frameDirect:
			b, err := r.peek(size)
			if err != nil {
				return err
			}
			if id == frameNote {
				s.Arrived(b)
			} else {
				out = appendFrame(out, id, b)
			}
		default:
			if cap(large) < size {
				large = make([]byte, size)
			}
			if _, err = io.ReadFull(r.r, large[:size]); err == nil {
				err = w.send(id, large[:size])
			}
			if err != nil {
				return err
			}
		}
		if r.r.Buffered() >= frameHeader && len(out) < framesAhead {
			continue
		}
		if len(out) > 0 {
			if _, err = c.Write(out); err != nil {
				return err
			}
			out = out[:0]
		}
	}
}
