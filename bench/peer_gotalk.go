package main

import (
	"github.com/gotalk-go/gotalk"
)

func init() {
	register(&Peer{
		Name:  "gotalk",
		Does:  does(Echo, Beside, Call, Notify),
		Serve: func(s *Server) error { return gotalk.NewServer(gotalkHandlers(s), nil, s.Listener).Accept() },
		Dial: func(addr string) (*Conn, error) {
			s, err := gotalk.Connect("tcp", addr)
			return gotalkConn(s), err
		},
	})
}

// gotalkHandlers are those of all forms of gotalk.
func gotalkHandlers(s *Server) *gotalk.Handlers {
	h := &gotalk.Handlers{}
	h.HandleBufferRequest("echo", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) { return b, nil })
	h.HandleBufferNotification("note", func(_ *gotalk.Sock, _ string, b []byte) { s.Arrived(b) })
	h.Handle("item", func(i Item) (Item, error) { return i.answer(), nil })
	return h
}

func gotalkConn(s *gotalk.Sock) *Conn {
	return &Conn{
		Echo: func(in, _ []byte) ([]byte, error) { return s.BufferRequest("echo", in) },
		Call: func(in Item) (out Item, err error) {
			err = s.Request("item", in, &out)
			return out, err
		},
		Notify: func(b []byte) error { return s.BufferNotify("note", b) },
	}
}
