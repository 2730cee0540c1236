package gotalk_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

type greetIn struct{ Name string }
type greetOut struct{ Text string }

var (
	greet  = gotalk.Op[greetIn, greetOut]{Name: "greet"}
	joined = gotalk.Note[*greetIn]{Name: "joined"}
)

func TestTypedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := gotalk.NewHandlers()
		var peer *gotalk.Sock
		greet.Handle(h, func(ctx context.Context, s *gotalk.Sock, in greetIn) (greetOut, error) {
			require.Same(t, peer, s)
			if in.Name == "" {
				return greetOut{"dropped"}, gotalk.NewError(gotalk.CodeInvalidArgument, "who?")
			}
			return greetOut{"Hello " + in.Name + gotalk.MetaFrom(ctx)["mark"]}, nil
		})
		gotalk.HandleFunc(h, "double", func(_ context.Context, _ *gotalk.Sock, n int) (int, error) { return 2 * n, nil })
		gotalk.HandleFunc(h, "pointer", func(_ context.Context, _ *gotalk.Sock, in *greetIn) (*greetIn, error) { return in, nil })
		gotalk.HandleFunc(h, "nothing", func(context.Context, *gotalk.Sock, struct{}) (struct{}, error) { return struct{}{}, nil })
		gotalk.HandleFunc(h, "unfit", func(context.Context, *gotalk.Sock, struct{}) (chan int, error) { return nil, nil })
		h.Handle("old", func() error { return nil })
		a, b := pipe(t, nil, h)
		peer = b

		ctx := gotalk.WithMeta(t.Context(), map[string]string{"mark": "!"})
		out, err := greet.Call(ctx, a, greetIn{"Anna"})
		require.NoError(t, err)
		require.Equal(t, greetOut{"Hello Anna!"}, out)
		out, err = greet.Call(ctx, a, greetIn{})
		require.Equal(t, gotalk.CodeInvalidArgument, gotalk.CodeOf(err))
		require.Zero(t, out)

		n, err := gotalk.Call[int](ctx, a, "double", 21)
		require.NoError(t, err)
		require.Equal(t, 42, n)
		text, err := gotalk.Call[string](ctx, a, "double", 21)
		require.Error(t, err, "a number is no string")
		require.Empty(t, text)
		p, err := gotalk.Call[*greetIn](ctx, a, "pointer", nil)
		require.NoError(t, err)
		require.Nil(t, p)
		_, err = gotalk.Call[int](ctx, a, "double", make(chan int))
		require.ErrorContains(t, err, "json")
		_, err = gotalk.Call[int](ctx, a, "unfit", nil)
		require.ErrorContains(t, err, "json")
		for _, op := range []string{"nothing", "old"} { // the latter has no result at all
			_, err = gotalk.Call[struct{}](ctx, a, op, struct{}{})
			require.NoError(t, err)
		}
		raw, err := a.BufferRequest("nothing", []byte("{")) // whatever it is
		require.NoError(t, err)
		require.Equal(t, "{}", string(raw))
		for _, op := range []string{"double", "greet", "pointer"} {
			for _, payload := range []string{"", "{", `"x"`} {
				_, err = a.BufferRequest(op, []byte(payload))
				require.EqualError(t, err, "unexpected parameter type")
				require.Equal(t, gotalk.CodeInvalidArgument, gotalk.CodeOf(err))
			}
		}

		ctx, cancel := context.WithCancel(ctx)
		cancel()
		_, err = greet.Call(ctx, a, greetIn{"Anna"})
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestTypedNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, h, heard := logged(t), gotalk.NewHandlers(), make(chan any, 10)
		joined.Handle(h, func(ctx context.Context, _ *gotalk.Sock, in *greetIn) {
			require.NoError(t, ctx.Err())
			heard <- in
		})
		gotalk.HandleNotificationFunc(h, "tick", func(context.Context, *gotalk.Sock, struct{}) { heard <- "tick" })
		a, _ := pipe(t, nil, h)
		require.NoError(t, joined.Send(t.Context(), a, &greetIn{"Anna"}))
		require.NoError(t, joined.Send(t.Context(), a, nil))
		require.NoError(t, a.BufferNotify("joined", []byte("[1]")))
		require.NoError(t, a.BufferNotify("joined", nil))
		require.NoError(t, a.BufferNotify("tick", nil))
		require.Equal(t, &greetIn{"Anna"}, <-heard)
		require.Equal(t, (*greetIn)(nil), <-heard)
		require.Equal(t, "tick", <-heard)
		require.Contains(t, log(), `notification "joined" dropped: its payload is no *gotalk_test.greetIn`)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Equal(t, context.Canceled, joined.Send(ctx, a, nil))
	})
}

// A nil set of handlers stands for the default one; a nil function is a mistake.
func TestTypedRegistration(t *testing.T) {
	old := gotalk.DefaultHandlers
	gotalk.DefaultHandlers = gotalk.NewHandlers()
	t.Cleanup(func() { gotalk.DefaultHandlers = old })
	greet.Handle(nil, func(context.Context, *gotalk.Sock, greetIn) (greetOut, error) {
		return greetOut{}, errors.New("default")
	})
	joined.Handle(nil, func(context.Context, *gotalk.Sock, *greetIn) {})
	_, err := gotalk.DefaultHandlers.FindBufferRequestHandler("greet")(&gotalk.Sock{}, "greet", []byte("{}"))
	require.EqualError(t, err, "default")
	require.NotNil(t, gotalk.DefaultHandlers.FindNotificationHandler("joined"))
	require.Panics(t, func() { greet.Handle(nil, nil) })
	require.Panics(t, func() { joined.Handle(nil, nil) })
}
