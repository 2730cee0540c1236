package main

import (
	"context"

	"github.com/gotalk-go/gotalk"
)

// gotalk's forms that use memory again: the caller's for results, the server's for payloads that are lent to the handler.
func init() {
	register(&Peer{
		Name: "gotalk reuse",
		Does: does(Echo, Beside),
		Serve: func(s *Server) error {
			h := &gotalk.Handlers{}
			h.HandleBufferRequestLent("echo", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) { return b, nil })
			return gotalk.NewServer(h, nil, s.Listener).Accept()
		},
		Dial: func(addr string) (*Conn, error) {
			s, err := gotalk.Connect("tcp", addr)
			return &Conn{Echo: func(in, dst []byte) ([]byte, error) {
				return s.BufferRequestInto(context.Background(), "echo", in, dst)
			}}, err
		},
	})
}
