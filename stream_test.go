package gotalk_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// streamOps has what the tests of streams call.
func streamOps() *gotalk.Handlers {
	h := echoHandlers()
	h.HandleStream("copy", func(_ context.Context, st *gotalk.Stream) error {
		for part, err := range st.All() {
			if err != nil {
				return err
			}
			if err := st.Send(part); err != nil {
				return err
			}
		}
		return nil
	})
	h.HandleStream("fail", func(_ context.Context, st *gotalk.Stream) error {
		st.Send([]byte("first"))
		return gotalk.NewError(gotalk.CodeNotFound, "no such thing")
	})
	h.HandleStream("panic", func(context.Context, *gotalk.Stream) error { panic("at the disco") })
	return h
}

func open(t testing.TB, s *gotalk.Sock, op string) *gotalk.Stream {
	st, err := s.OpenStream(context.Background(), op)
	require.NoError(t, err)
	t.Cleanup(func() { st.Close() })
	return st
}

func TestStreamBothWays(t *testing.T) {
	eachServer(t, streamOps(), nil, func(t *testing.T, s *testServer) {
		st := open(t, s.client(nil), "copy")
		for _, text := range []string{"one", "two", "three"} {
			require.NoError(t, st.Send([]byte(text)))
			b, err := st.Recv()
			require.NoError(t, err)
			require.Equal(t, text, string(b))
		}
		require.NoError(t, st.CloseSend())
		_, err := st.Recv()
		require.Equal(t, io.EOF, err)
		require.Equal(t, gotalk.ErrStreamEnded, st.Send([]byte("late")))
		require.Error(t, st.Context().Err())
	})
}

func TestStreamFailures(t *testing.T) {
	eachServer(t, streamOps(), nil, func(t *testing.T, s *testServer) {
		c := s.client(nil)
		st := open(t, c, "fail")
		b, err := st.Recv()
		require.NoError(t, err)
		require.Equal(t, "first", string(b))
		_, err = st.Recv()
		require.Equal(t, gotalk.CodeNotFound, gotalk.CodeOf(err))
		var res *gotalk.Response
		require.True(t, errors.As(err, &res))
		require.EqualError(t, err, "no such thing")

		_, err = open(t, c, "panic").Recv()
		require.EqualError(t, err, "internal error")
		require.Equal(t, gotalk.CodeInternal, gotalk.CodeOf(err))
		_, err = open(t, c, "no such").Recv()
		require.Equal(t, gotalk.CodeUnimplemented, gotalk.CodeOf(err))
	})
}

func TestStreamReaderAndWriter(t *testing.T) {
	eachServer(t, streamOps(), nil, func(t *testing.T, s *testServer) {
		st := open(t, s.client(nil), "copy")
		data := bytes.Repeat([]byte("0123456789abcde\n"), 1<<16)
		go func() {
			n, err := io.Copy(st, bytes.NewReader(data))
			if err == nil && n == int64(len(data)) {
				st.CloseSend()
			}
		}()
		first := make([]byte, 10)
		_, err := io.ReadFull(st, first)
		require.NoError(t, err)
		rest, err := io.ReadAll(st)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, append(first, rest...)))
	})
}

func TestStreamIsCancelled(t *testing.T) {
	ended := make(chan error, 1)
	h := streamOps()
	h.HandleStream("wait", func(ctx context.Context, st *gotalk.Stream) error {
		<-ctx.Done()
		_, err := st.Recv()
		ended <- err
		return ctx.Err()
	})
	eachServer(t, h, nil, func(t *testing.T, s *testServer) {
		ctx, cancel := context.WithCancel(context.Background())
		st, err := s.client(nil).OpenStream(ctx, "wait")
		require.NoError(t, err)
		cancel()
		_, err = st.Recv()
		require.Equal(t, context.Canceled, err)
		require.Equal(t, context.Canceled, await(t, ended))
	})
}
