package main

import (
	"context"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Connect is used as its generated code would: a message with one field of bytes, its own protocol with binary protobuf,
// over HTTP/2 without TLS, as many calls at once would have as many connections with HTTP/1. Go's client opens further
// connections when the server's limit of 250 calls on one is reached. Answers are not compressed, as they are not with the
// other peers: that is asked for unless it is said otherwise.
func init() {
	register(&Peer{
		Name:  "connect",
		Group: Theirs,
		Does:  does(Echo, Beside, Notify),
		Serve: func(s *Server) error {
			mux := http.NewServeMux()
			mux.Handle("/bench.Bench/Echo", connect.NewUnaryHandlerSimple("/bench.Bench/Echo",
				func(_ context.Context, in *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) { return in, nil }))
			mux.Handle("/bench.Bench/Notes", connect.NewClientStreamHandlerSimple("/bench.Bench/Notes",
				func(_ context.Context, st *connect.ClientStream[wrapperspb.BytesValue]) (*emptypb.Empty, error) {
					for st.Receive() {
						s.Arrived(st.Msg().Value)
					}
					return &emptypb.Empty{}, st.Err()
				}))
			return (&http.Server{Handler: mux, Protocols: plainHTTP2()}).Serve(s.Listener)
		},
		Dial: dialConnect,
	})
}

func plainHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

func dialConnect(addr string) (*Conn, error) {
	hc := &http.Client{Transport: &http.Transport{Protocols: plainHTTP2()}}
	plain := connect.WithAcceptCompression("gzip", nil, nil)
	echo := connect.NewClient[wrapperspb.BytesValue, wrapperspb.BytesValue](hc, "http://"+addr+"/bench.Bench/Echo", plain)
	notes := connect.NewClient[wrapperspb.BytesValue, emptypb.Empty](hc, "http://"+addr+"/bench.Bench/Notes", plain)
	var stream *connect.ClientStreamForClientSimple[wrapperspb.BytesValue, emptypb.Empty]
	ctx := context.Background()
	return &Conn{
		Echo: func(in, _ []byte) ([]byte, error) {
			out, err := echo.CallUnary(ctx, connect.NewRequest(&wrapperspb.BytesValue{Value: in}))
			if err != nil {
				return nil, err
			}
			return out.Msg.Value, nil
		},
		// Notifications are the messages of one stream.
		Notify: func(b []byte) (err error) {
			if stream == nil {
				if stream, err = notes.CallClientStreamSimple(ctx); err != nil {
					return err
				}
			}
			return stream.Send(&wrapperspb.BytesValue{Value: b})
		},
	}, nil
}
