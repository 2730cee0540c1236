package main

import (
	"context"
	"net"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"storj.io/drpc"
	"storj.io/drpc/drpcconn"
	"storj.io/drpc/drpcmanager"
	"storj.io/drpc/drpcmux"
	"storj.io/drpc/drpcpool"
	"storj.io/drpc/drpcserver"
	"storj.io/drpc/drpcwire"
)

// drpc is used as its generated code would: a message with one field of bytes, as protobuf. A connection of it takes one call
// at a time. So calls in flight are as many connections, from its own pool, as its programs do it; what happens beside a
// large call on the same connection cannot be measured. 4 MB is the limit unless it is said otherwise, which is enough here.
func init() {
	register(&Peer{
		Name:  "drpc",
		Group: Theirs,
		Does:  does(Echo, Notify),
		Serve: func(s *Server) error {
			mux := drpcmux.New()
			if err := mux.Register(drpcBench{s}, drpcService{}); err != nil {
				return err
			}
			return drpcserver.NewWithOptions(mux, drpcserver.Options{Manager: drpcmanager.Options{
				Reader: drpcwire.ReaderOptions{MaximumBufferSize: 4 << 20},
			}}).Serve(context.Background(), s.Listener)
		},
		Dial: dialDRPC,
	})
}

type drpcBench struct{ s *Server }

func (b drpcBench) Echo(_ context.Context, in *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
	return in, nil
}

func (b drpcBench) Notes(st drpc.Stream) error {
	for {
		in := new(wrapperspb.BytesValue)
		if err := st.MsgRecv(in, drpcProto{}); err != nil {
			return err
		}
		b.s.Arrived(in.Value)
	}
}

// drpcService is drpc's description of the service.
type drpcService struct{}

func (drpcService) NumMethods() int { return 2 }

func (drpcService) Method(n int) (string, drpc.Encoding, drpc.Receiver, any, bool) {
	switch n {
	case 0:
		return "/bench.Bench/Echo", drpcProto{}, func(srv any, ctx context.Context, in1, _ any) (drpc.Message, error) {
			return srv.(drpcBench).Echo(ctx, in1.(*wrapperspb.BytesValue))
		}, drpcBench.Echo, true
	case 1:
		return "/bench.Bench/Notes", drpcProto{}, func(srv any, _ context.Context, in1, _ any) (drpc.Message, error) {
			return nil, srv.(drpcBench).Notes(in1.(drpc.Stream))
		}, drpcBench.Notes, true
	}
	return "", nil, nil, nil, false
}

// drpcProto is the encoding of generated code.
type drpcProto struct{}

func (drpcProto) Marshal(m drpc.Message) ([]byte, error) { return proto.Marshal(m.(proto.Message)) }

func (drpcProto) Unmarshal(b []byte, m drpc.Message) error {
	return proto.Unmarshal(b, m.(proto.Message))
}

func dialDRPC(addr string) (*Conn, error) {
	ctx := context.Background()
	pool := drpcpool.New[string, drpcpool.Conn](drpcpool.Options{})
	c := pool.Get(ctx, addr, func(_ context.Context, addr string) (drpcpool.Conn, error) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return nil, err
		}
		return drpcconn.New(conn), nil
	})
	var notes drpc.Stream
	return &Conn{
		Echo: func(in, _ []byte) ([]byte, error) {
			out := new(wrapperspb.BytesValue)
			err := c.Invoke(ctx, "/bench.Bench/Echo", drpcProto{}, &wrapperspb.BytesValue{Value: in}, out)
			return out.Value, err
		},
		// Notifications are the messages of one stream.
		Notify: func(b []byte) (err error) {
			if notes == nil {
				if notes, err = c.NewStream(ctx, "/bench.Bench/Notes", drpcProto{}); err != nil {
					return err
				}
			}
			return notes.MsgSend(&wrapperspb.BytesValue{Value: b}, drpcProto{})
		},
	}, nil
}
