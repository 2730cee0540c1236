package gotalk_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// patientHandlers has operations and streams that end with their context: "wait" and "forever".
func patientHandlers() *gotalk.Handlers {
	h := &gotalk.Handlers{}
	for _, op := range []string{"wait", "forever"} {
		h.HandleBufferRequestContext(op, func(ctx context.Context, _ *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		h.HandleStream(op, func(ctx context.Context, _ *gotalk.Stream) error {
			<-ctx.Done()
			return ctx.Err()
		})
	}
	return h
}

// took tells how long f takes.
func took(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func TestLimitTimeOfHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logged(t)
		h := patientHandlers()
		h.HandleBufferRequest("deaf", func(*gotalk.Sock, string, []byte) ([]byte, error) {
			<-time.After(time.Minute)
			return []byte("done"), nil
		})
		noted := make(chan time.Duration, 1)
		h.HandleBufferNotificationContext("wait", func(ctx context.Context, _ *gotalk.Sock, _ string, _ []byte) {
			noted <- took(func() { <-ctx.Done() })
		})
		byOp := map[string]time.Duration{"wait": 3 * time.Second, "forever": 0}
		h.Use(gotalk.LimitTime(10*time.Second, byOp))
		byOp["wait"] = time.Hour // which comes too late
		c := serveInMemory(t, h, &gotalk.Limits{ReadTimeout: time.Hour}).client(nil)

		ends := func(op string, after time.Duration) {
			require.Equal(t, after, took(func() {
				_, err := c.BufferRequest(op, nil)
				require.Equal(t, gotalk.CodeDeadlineExceeded, gotalk.CodeOf(err))
			}))
		}
		ends("wait", 3*time.Second)
		h.HandleBufferRequestContext("other", func(ctx context.Context, _ *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		ends("other", 10*time.Second)

		require.Equal(t, time.Minute, took(func() {
			b, err := c.BufferRequest("deaf", nil)
			require.NoError(t, err, "nobody can stop it")
			require.Equal(t, "done", string(b))
		}))

		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
		defer cancel()
		require.Equal(t, 20*time.Minute, took(func() {
			_, err := c.BufferRequestContext(ctx, "forever", nil)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}))
		ctx, cancel = context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.Equal(t, time.Second, took(func() { c.BufferRequestContext(ctx, "wait", nil) }), "the earlier one holds")

		require.NoError(t, c.BufferNotify("wait", nil))
		require.Equal(t, 3*time.Second, <-noted)
	})
}

func TestLimitTimeOfStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logged(t)
		h := patientHandlers()
		h.Use(gotalk.LimitTime(10*time.Second, map[string]time.Duration{"wait": 3 * time.Second}))
		c := serveInMemory(t, h, &gotalk.Limits{ReadTimeout: time.Hour}).client(nil)

		require.Equal(t, 3*time.Second, took(func() {
			_, err := open(t, c, "wait").Recv()
			require.Equal(t, gotalk.CodeDeadlineExceeded, gotalk.CodeOf(err))
		}))

		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.Equal(t, time.Minute, took(func() {
			st, err := c.OpenStream(ctx, "forever")
			require.NoError(t, err)
			_, err = st.Recv()
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}), "a stream has no limit but by its name")
		synctest.Wait() // until both sides have said what they have to say
	})
}

func TestLimitTimeOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logged(t)
		h := patientHandlers()
		left := make(chan time.Duration, 1)
		h.HandleBufferRequestContext("left", func(ctx context.Context, _ *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
			deadline, _ := ctx.Deadline()
			left <- time.Until(deadline)
			return nil, nil
		})
		h.HandleBufferRequest("busy", func(*gotalk.Sock, string, []byte) ([]byte, error) {
			return nil, gotalk.RetryAfter(time.Second, "busy")
		})
		c := serveInMemory(t, h, nil).client(nil)
		c.Use(gotalk.LimitTime(10*time.Second, map[string]time.Duration{"wait": 3 * time.Second}))

		_, err := c.BufferRequest("left", nil)
		require.NoError(t, err)
		require.Equal(t, 10*time.Second, <-left)
		require.Equal(t, 3*time.Second, took(func() {
			_, err := c.BufferRequest("wait", nil)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}))
		require.Equal(t, 3*time.Second, took(func() {
			_, err := open(t, c, "wait").Recv()
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}))
		spent := took(func() {
			_, err := c.BufferRequest("busy", nil)
			require.Equal(t, gotalk.CodeUnavailable, gotalk.CodeOf(err))
		})
		require.Greater(t, spent, time.Second, "it was tried again")
		require.LessOrEqual(t, spent, 10*time.Second)
	})
}
