package main

import (
	"net/rpc"
)

func init() {
	register(&Peer{
		Name:  "net/rpc gob",
		Group: Theirs,
		Does:  does(Echo, Beside, Call), // structs are gob too, not JSON
		Serve: func(s *Server) error {
			srv, err := netRPCServer()
			if err != nil {
				return err
			}
			srv.Accept(s.Listener)
			return nil
		},
		Dial: func(addr string) (*Conn, error) {
			c, err := rpc.Dial("tcp", addr)
			return netRPCConn(c), err
		},
	})
}

// NetRPC is what net/rpc serves.
type NetRPC struct{}

// Echo returns what it gets.
func (NetRPC) Echo(in []byte, out *[]byte) error {
	*out = in
	return nil
}

// Item answers an Item.
func (NetRPC) Item(in Item, out *Item) error {
	*out = in.answer()
	return nil
}

func netRPCServer() (*rpc.Server, error) {
	s := rpc.NewServer()
	return s, s.Register(NetRPC{})
}

func netRPCConn(c *rpc.Client) *Conn {
	return &Conn{
		Echo: func(in, _ []byte) (out []byte, err error) {
			err = c.Call("NetRPC.Echo", in, &out)
			return out, err
		},
		Call: func(in Item) (out Item, err error) {
			err = c.Call("NetRPC.Item", in, &out)
			return out, err
		},
	}
}
