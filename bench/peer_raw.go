package main

import (
	"errors"
	"io"
	"net"
)

// Raw ping-pong is one write and one read on each side of a connection, without frames: the payload's size is known. So
// only one call at a time is possible.
func init() {
	register(&Peer{
		Name:  "raw ping-pong",
		Group: Ceilings,
		Does:  func(w *Work) bool { return w.Kind == Echo && w.InFlight == 1 },
		Serve: func(s *Server) error {
			for {
				c, err := s.Listener.Accept()
				if err != nil {
					return err
				}
				go func() { // ends when the connection does
					for b := make([]byte, 4096); ; {
						n, err := c.Read(b)
						if err == nil {
							_, err = c.Write(b[:n])
						}
						if err != nil {
							return
						}
					}
				}()
			}
		},
		Dial: func(addr string) (*Conn, error) {
			c, err := net.Dial("tcp", addr)
			return &Conn{Echo: func(in, dst []byte) ([]byte, error) {
				_, err := c.Write(in)
				n, readErr := io.ReadFull(c, dst)
				return dst[:n], errors.Join(err, readErr)
			}}, err
		},
	})
}
