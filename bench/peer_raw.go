package main

import (
	"errors"
	"io"
	"net"
)

// Raw TCP is one write and one read on each side of a connection, without frames: the payload's size is known. So only one
// call at a time is possible.
func init() {
	register(&Peer{
		Name:  "raw TCP",
		Group: Ceilings,
		Does: func(w *Work) bool {
			return w.Kind == Echo && w.Conns == 1 && w.InFlight == 1 || w.Kind == Broadcast
		},
		Serve: func(s *Server) error {
			conns := broadcastTo(s, func(all []net.Conn, b []byte) error {
				for _, c := range all {
					if _, err := c.Write(b); err != nil {
						return err
					}
				}
				return nil
			})
			for {
				c, err := s.Listener.Accept()
				if err != nil {
					return err
				}
				conns.add(c)
				go func() { // ends when the connection does
					defer conns.remove(c)
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
		Receive: func(addr string, got func([]byte), lost func(error)) error {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				return err
			}
			go func() { // ends when the connection does
				for b := make([]byte, broadcastBytes); ; {
					if _, err := io.ReadFull(c, b); err != nil {
						lost(err)
						return
					}
					got(b)
				}
			}()
			return nil
		},
	})
}
