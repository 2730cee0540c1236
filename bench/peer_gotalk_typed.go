package main

import (
	"context"

	"github.com/gotalk-go/gotalk"
)

// What is declared with its types: HandleFunc and Call in place of Handle and Request.
func init() {
	item := gotalk.Op[Item, Item]{Name: "item"}
	register(&Peer{
		Name: "gotalk typed",
		Does: does(Call),
		Serve: func(s *Server) error {
			h := &gotalk.Handlers{}
			item.Handle(h, func(_ context.Context, _ *gotalk.Sock, i Item) (Item, error) { return i.answer(), nil })
			return gotalk.NewServer(h, nil, s.Listener).Accept()
		},
		Dial: func(addr string) (*Conn, error) {
			s, err := gotalk.Connect("tcp", addr)
			return &Conn{Call: func(in Item) (Item, error) { return item.Call(context.Background(), s, in) }}, err
		},
	})
}
