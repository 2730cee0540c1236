package main

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The service is described by hand, as protoc-gen-go-grpc would have it: a message with one field of bytes, by the usual
// protobuf codec. 4 MB is the limit unless it is said otherwise, so that one is raised on both sides.
const grpcMaxMessage = 64 << 20

func init() {
	register(&Peer{
		Name:  "grpc-go",
		Group: Theirs,
		Does:  does(Echo, Beside, Notify),
		Serve: func(s *Server) error {
			srv := grpc.NewServer(grpc.MaxRecvMsgSize(grpcMaxMessage))
			srv.RegisterService(grpcService(s), nil)
			return srv.Serve(s.Listener)
		},
		Dial: dialGRPC,
	})
}

func grpcService(s *Server) *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "bench.Bench",
		Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: func(_ any, _ context.Context, decode func(any) error,
			_ grpc.UnaryServerInterceptor) (any, error) {
			in := new(wrapperspb.BytesValue)
			err := decode(in)
			return in, err
		}}},
		Streams: []grpc.StreamDesc{{StreamName: "Notes", ClientStreams: true, Handler: func(_ any, st grpc.ServerStream) error {
			for {
				in := new(wrapperspb.BytesValue)
				if err := st.RecvMsg(in); err != nil {
					return err
				}
				s.Arrived(in.Value)
			}
		}}},
	}
}

func dialGRPC(addr string) (*Conn, error) {
	c, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(grpcMaxMessage)))
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	if err = c.Invoke(ctx, "/bench.Bench/Echo", &wrapperspb.BytesValue{}, &emptypb.Empty{}); err != nil { // connects
		return nil, err
	}
	var notes grpc.ClientStream
	return &Conn{
		Echo: func(in, _ []byte) ([]byte, error) {
			out := new(wrapperspb.BytesValue)
			err := c.Invoke(ctx, "/bench.Bench/Echo", &wrapperspb.BytesValue{Value: in}, out)
			return out.Value, err
		},
		// Notifications are the messages of one stream.
		Notify: func(b []byte) (err error) {
			if notes == nil {
				if notes, err = c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, "/bench.Bench/Notes"); err != nil {
					return err
				}
			}
			return notes.SendMsg(&wrapperspb.BytesValue{Value: b})
		},
	}, nil
}
