package main

import (
	"context"
	"net"

	"github.com/creachadair/jrpc2"
	"github.com/creachadair/jrpc2/channel"
	"github.com/creachadair/jrpc2/handler"
	"github.com/creachadair/jrpc2/server"
)

// jrpc2 speaks JSON-RPC 2.0, here one message a line. Bytes are a field of an object, in base64, as JSON has no bytes.
func init() {
	register(&Peer{
		Name:  "jrpc2",
		Group: Theirs,
		Does:  does(Echo, Beside, Call, Notify),
		Serve: func(s *Server) error {
			methods := handler.Map{
				"echo": handler.New(func(_ context.Context, b jrpc2Bytes) (jrpc2Bytes, error) { return b, nil }),
				"item": handler.New(func(_ context.Context, i Item) (Item, error) { return i.answer(), nil }),
				"note": handler.New(func(_ context.Context, b jrpc2Bytes) error {
					s.Arrived(b.Bytes)
					return nil
				}),
			}
			return server.Loop(context.Background(), server.NetAccepter(s.Listener, channel.Line), server.Static(methods), nil)
		},
		Dial: func(addr string) (*Conn, error) {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				return nil, err
			}
			c := jrpc2.NewClient(channel.Line(conn, conn), nil)
			ctx := context.Background()
			return &Conn{
				Echo: func(in, _ []byte) ([]byte, error) {
					var out jrpc2Bytes
					err := c.CallResult(ctx, "echo", jrpc2Bytes{in}, &out)
					return out.Bytes, err
				},
				Call: func(in Item) (out Item, err error) {
					err = c.CallResult(ctx, "item", in, &out)
					return out, err
				},
				Notify: func(b []byte) error { return c.Notify(ctx, "note", jrpc2Bytes{b}) },
			}, nil
		},
	})
}

type jrpc2Bytes struct{ Bytes []byte }
