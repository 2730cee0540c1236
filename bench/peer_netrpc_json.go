package main

import (
	"net/rpc/jsonrpc"
)

// net/rpc with JSON-RPC 1.0, where bytes are in base64.
func init() {
	register(&Peer{
		Name:  "net/rpc JSON",
		Group: Theirs,
		Does:  does(Echo, Beside, Call),
		Serve: func(s *Server) error {
			srv, err := netRPCServer()
			if err != nil {
				return err
			}
			for {
				c, err := s.Listener.Accept()
				if err != nil {
					return err
				}
				go srv.ServeCodec(jsonrpc.NewServerCodec(c)) // ends when the connection does
			}
		},
		Dial: func(addr string) (*Conn, error) {
			c, err := jsonrpc.Dial("tcp", addr)
			return netRPCConn(c), err
		},
	})
}
