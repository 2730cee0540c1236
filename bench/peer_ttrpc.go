package main

import (
	"context"
	"net"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// ttrpc is used as its generated code would: a message with one field of bytes, as protobuf. It is made for Unix sockets;
// here it runs over TCP as all do. 4 MB is the limit of a message.
func init() {
	register(&Peer{
		Name:  "ttrpc",
		Group: Theirs,
		Does:  does(Echo, Notify),
		Serve: func(s *Server) error {
			srv, err := ttrpc.NewServer()
			if err != nil {
				return err
			}
			srv.RegisterService("bench.Bench", ttrpcService(s))
			return srv.Serve(context.Background(), s.Listener)
		},
		Dial: dialTTRPC,
	})
}

func ttrpcService(s *Server) *ttrpc.ServiceDesc {
	return &ttrpc.ServiceDesc{
		Methods: map[string]ttrpc.Method{"Echo": func(_ context.Context, unmarshal func(any) error) (any, error) {
			in := new(wrapperspb.BytesValue)
			err := unmarshal(in)
			return in, err
		}},
		Streams: map[string]ttrpc.Stream{"Notes": {StreamingClient: true,
			Handler: func(_ context.Context, st ttrpc.StreamServer) (any, error) {
				for {
					in := new(wrapperspb.BytesValue)
					if err := st.RecvMsg(in); err != nil {
						return nil, err
					}
					s.Arrived(in.Value)
				}
			}}},
	}
}

func dialTTRPC(addr string) (*Conn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := ttrpc.NewClient(conn)
	ctx := context.Background()
	var notes ttrpc.ClientStream
	return &Conn{
		Echo: func(in, _ []byte) ([]byte, error) {
			out := new(wrapperspb.BytesValue)
			err := c.Call(ctx, "bench.Bench", "Echo", &wrapperspb.BytesValue{Value: in}, out)
			return out.Value, err
		},
		// Notifications are the messages of one stream.
		Notify: func(b []byte) (err error) {
			if notes == nil {
				desc := &ttrpc.StreamDesc{StreamingClient: true}
				if notes, err = c.NewStream(ctx, desc, "bench.Bench", "Notes", &emptypb.Empty{}); err != nil {
					return err
				}
			}
			return notes.SendMsg(&wrapperspb.BytesValue{Value: b})
		},
	}, nil
}
