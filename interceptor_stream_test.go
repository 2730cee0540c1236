package gotalk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// watch returns an interceptor that reports each call's outcome.
func watch(seen chan<- string) gotalk.Interceptor {
	return func(ctx context.Context, info *gotalk.CallInfo, next func(context.Context) error) error {
		err := next(ctx)
		seen <- fmt.Sprintf("%v %s served=%v in=%d out=%d %v", info.Kind, info.Op, info.Served, info.BytesIn, info.BytesOut, err)
		return err
	}
}

func TestInterceptorsAroundStreams(t *testing.T) {
	h := streamOps()
	h.HandleStreamRequest("old", func(_ *gotalk.Sock, _ string, rch chan []byte, out io.WriteCloser) error {
		for part := range rch {
			out.Write(part)
		}
		return nil
	})
	served, made := make(chan string, 1), make(chan string, 1)
	h.Use(watch(served))
	c := serveTCP(t, h, streaming).client(nil)
	c.Use(watch(made))

	st := open(t, c, "copy")
	require.NoError(t, st.Send([]byte("twelve bytes")))
	_, err := st.Recv()
	require.NoError(t, err)
	require.NoError(t, st.CloseSend())
	_, err = st.Recv()
	require.Equal(t, io.EOF, err)
	require.Equal(t, "stream copy served=true in=12 out=12 <nil>", await(t, served))
	require.Equal(t, "stream copy served=false in=12 out=12 <nil>", await(t, made))

	_, err = io.ReadAll(open(t, c, "fail"))
	require.EqualError(t, err, "no such thing")
	require.Equal(t, "stream fail served=true in=0 out=5 not_found: no such thing", await(t, served))
	require.Equal(t, "stream fail served=false in=5 out=0 no such thing", await(t, made))

	_, err = open(t, c, "panic").Recv()
	require.EqualError(t, err, "internal error")
	require.Equal(t, "stream panic served=true in=0 out=0 panic: at the disco", await(t, served))
	require.Equal(t, "stream panic served=false in=0 out=0 internal error", await(t, made))

	ctx, cancel := context.WithCancel(context.Background())
	st, err = c.OpenStream(ctx, "copy")
	require.NoError(t, err)
	cancel()
	_, err = st.Recv()
	require.Equal(t, context.Canceled, err)
	require.Equal(t, "stream copy served=true in=0 out=0 context canceled", await(t, served))
	require.Equal(t, "stream copy served=false in=0 out=0 context canceled", await(t, made))

	r, results := c.StreamRequest("old")
	require.NoError(t, r.Write([]byte("abc")))
	require.NoError(t, r.End())
	require.Equal(t, "abc", string((<-results).Data))
	<-results
	require.Equal(t, "stream old served=true in=3 out=3 <nil>", await(t, served))
	require.Equal(t, "stream old served=false in=3 out=3 <nil>", await(t, made))
}

func TestInterceptorRefusesStreams(t *testing.T) {
	h := streamOps()
	c := serveTCP(t, h, nil).client(nil)
	h.Use(func(context.Context, *gotalk.CallInfo, func(context.Context) error) error {
		return gotalk.NewError(gotalk.CodePermissionDenied, "not you")
	})
	_, err := open(t, c, "copy").Recv()
	require.Equal(t, gotalk.CodePermissionDenied, gotalk.CodeOf(err))

	mine := errors.New("not me")
	c.Use(func(context.Context, *gotalk.CallInfo, func(context.Context) error) error { return mine })
	_, err = c.OpenStream(context.Background(), "copy")
	require.Equal(t, mine, err)
	_, results := c.StreamRequest("copy")
	res := <-results
	require.EqualError(t, &res, "not me")
}

// An interceptor's goroutine is not the caller's: its panic ended the process.
func TestInterceptorPanicsAroundOpenStream(t *testing.T) {
	h := streamOps()
	for _, end := range []func(){func() { panic("no") }, runtime.Goexit} {
		c := serveTCP(t, h, nil).client(nil)
		c.Use(func(context.Context, *gotalk.CallInfo, func(context.Context) error) error { end(); return nil })
		_, err := c.OpenStream(context.Background(), "copy")
		require.Equal(t, gotalk.CodeInternal, gotalk.CodeOf(err))
	}
}
