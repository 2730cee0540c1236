package main

import (
	"io"
	"net"
	"sync"
)

// The ceiling with a goroutine for each request, as gotalk and most others have them: a slow request holds up no other.
func init() {
	register(&Peer{
		Name:  "ceiling: goroutines",
		Group: Ceilings,
		Does:  does(Echo, Beside, Notify),
		Serve: func(s *Server) error { return serveFrames(s, serveFramesByGoroutines) },
		Dial:  dialFrames,
	})
}

// serveFrames calls serve with each connection, on a goroutine that ends with it.
func serveFrames(s *Server, serve func(s *Server, c net.Conn) error) error {
	for {
		c, err := s.Listener.Accept()
		if err != nil {
			return err
		}
		go serve(s, c)
	}
}

// frameBuffers are payloads of requests.
var frameBuffers = sync.Pool{New: func() any { return new([]byte) }}

func serveFramesByGoroutines(s *Server, c net.Conn) error {
	r, w := newFrameReader(c), newFrameWriter(c, func() bool { return true })
	for {
		size, id, err := r.next()
		if err != nil {
			return err
		}
		if id == frameNote {
			b, err := r.peek(size)
			if err != nil {
				return err
			}
			s.Arrived(b)
			continue
		}
		b := frameBuffers.Get().(*[]byte)
		if cap(*b) < size {
			*b = make([]byte, size)
		}
		*b = (*b)[:size]
		if _, err = io.ReadFull(r.r, *b); err != nil {
			return err
		}
		go func() { // ends when the answer is written
			w.send(id, *b)
			frameBuffers.Put(b)
		}()
	}
}
