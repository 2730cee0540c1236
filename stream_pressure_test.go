package gotalk_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// A consumer that is slow holds up its own producer, and nobody else.

// slowly takes n bytes at a MiB a second, and counts them.
func slowly(recv func() ([]byte, error), taken *atomic.Int64) error {
	for {
		b, err := recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		taken.Add(int64(len(b)))
		<-time.After(time.Duration(len(b)) * time.Second >> 20)
	}
}

// quickly sends total bytes as fast as it can, and counts them.
func quickly(send func([]byte) error, total, size int, sent *atomic.Int64) error {
	b := make([]byte, size)
	for n := 0; n < total; n += size {
		if err := send(b); err != nil {
			return err
		}
		sent.Add(int64(size))
	}
	return nil
}

// fromChannel receives as programs for gotalk 1.x do.
func fromChannel(ch chan gotalk.Response) func() ([]byte, error) {
	return func() ([]byte, error) {
		switch r, ok := <-ch; {
		case !ok, r.MsgType == gotalk.MsgTypeStreamRes && len(r.Data) == 0:
			return nil, io.EOF
		case r.IsError():
			return nil, &r
		default:
			return r.Data, nil
		}
	}
}

func fromParts(rch chan []byte) func() ([]byte, error) {
	return func() ([]byte, error) {
		if b, ok := <-rch; ok {
			return b, nil
		}
		return nil, io.EOF
	}
}

func toWriter(w io.Writer) func([]byte) error {
	return func(b []byte) error { _, err := w.Write(b); return err }
}

// pressure has operations that take slowly, or give quickly, by both APIs.
type pressure struct {
	total, size int
	sent, taken atomic.Int64
}

func (x *pressure) handlers() *gotalk.Handlers {
	h := echoHandlers()
	h.HandleStream("take", func(_ context.Context, st *gotalk.Stream) error { return slowly(st.Recv, &x.taken) })
	h.HandleStream("give", func(_ context.Context, st *gotalk.Stream) error {
		return quickly(st.Send, x.total, x.size, &x.sent)
	})
	h.HandleStreamRequest("old take", func(_ *gotalk.Sock, _ string, rch chan []byte, _ io.WriteCloser) error {
		return slowly(fromParts(rch), &x.taken)
	})
	h.HandleStreamRequest("old give", func(_ *gotalk.Sock, _ string, _ chan []byte, out io.WriteCloser) error {
		return quickly(toWriter(out), x.total, x.size, &x.sent)
	})
	return h
}

// run calls the operation op, by the old API or the new one.
func (x *pressure) run(c *gotalk.Sock, old bool, op string) (err error) {
	takes := op == "take" || op == "old take"
	if old {
		r, results := c.StreamRequest(op)
		if takes {
			err = quickly(r.Write, x.total, x.size, &x.sent)
		}
		if err == nil {
			err = r.End()
		}
		if err == nil {
			err = slowly(fromChannel(results), &x.taken)
		}
		return err
	}
	st, err := c.OpenStream(context.Background(), op)
	if err != nil {
		return err
	}
	defer st.Close()
	if takes {
		err = quickly(st.Send, x.total, x.size, &x.sent)
	}
	if err == nil {
		err = st.CloseSend()
	}
	if err == nil {
		err = slowly(st.Recv, &x.taken)
	}
	return err
}

// Of 48 MiB never more than the window is under way, however the ends are programmed, and calls are answered at once.
func TestSlowConsumerHoldsUpItsProducerOnly(t *testing.T) {
	for _, op := range []string{"take", "give", "old take", "old give"} {
		for _, old := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s by old API %v", op, old), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					x := &pressure{total: 48 << 20, size: 40_000}
					s := serveInMemory(t, x.handlers(), streaming)
					c := s.client(nil)
					served := s.sock()
					_, err := c.BufferRequest("echo", nil)
					require.NoError(t, err)
					begun := time.Now()
					over := inBackground(func() error { return x.run(c, old, op) })
					for running := true; running; {
						select {
						case err := <-over:
							require.NoError(t, err)
							running = false
						case <-time.After(77 * time.Millisecond):
							synctest.Wait()
							// What the consumer is at, and what it was just given, counts as well.
							require.LessOrEqual(t, x.sent.Load()-x.taken.Load(), int64(window+2*x.size))
							for _, end := range []*gotalk.Sock{c, served} {
								require.LessOrEqual(t, end.Stats().PendingBytes, int64(window+20*64))
								require.LessOrEqual(t, end.Stats().UnsentBytes, int64(window))
							}
							asked := time.Now()
							_, err := c.BufferRequest("echo", []byte("x"))
							require.NoError(t, err)
							require.Zero(t, time.Since(asked))
						}
					}
					require.EqualValues(t, x.sent.Load(), x.taken.Load())
					require.GreaterOrEqual(t, x.taken.Load(), int64(48<<20))
					require.InDelta(t, 48, time.Since(begun).Seconds(), 1, "the window is large enough to keep the consumer busy")
				})
			})
		}
	}
}

// A producer that waits for its consumer ends with its context, at once and on either side.
func TestContextEndsProducersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		h := echoHandlers()
		h.HandleStream("stall", func(ctx context.Context, _ *gotalk.Stream) error { <-ctx.Done(); return ctx.Err() })
		h.HandleStream("give", func(_ context.Context, st *gotalk.Stream) error {
			_, err := io.Copy(st, zeroReader{})
			ended <- err
			return err
		})
		s := serveInMemory(t, h, nil)
		c := s.client(nil)
		for _, op := range []string{"stall", "give"} {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			begun := time.Now()
			st, err := c.OpenStream(ctx, op)
			require.NoError(t, err)
			if op == "stall" {
				_, err = io.Copy(st, zeroReader{})
			} else {
				err = await(t, ended)
			}
			require.Equal(t, context.Canceled, err)
			require.Equal(t, time.Second, time.Since(begun))
		}
		synctest.Wait()
		nothingHeld(t, c, s.sock())
	})
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { return min(len(p), 10_000), nil }

// nothingHeld checks that no stream has left anything behind on these connections.
func nothingHeld(t testing.TB, socks ...*gotalk.Sock) {
	for _, s := range socks {
		calls, streams, bytes := gotalk.Held(s)
		require.Equal(t, "0 0 0", fmt.Sprint(calls, streams, bytes))
	}
}

// eventuallyNothingHeld is nothingHeld for real time, when the last handlers may still be returning.
func eventuallyNothingHeld(t testing.TB, socks ...*gotalk.Sock) {
	held := func() (held string) {
		for _, s := range socks {
			if calls, streams, bytes := gotalk.Held(s); calls != 0 || streams != 0 || bytes != 0 {
				held += fmt.Sprintf("%d calls, %d streams, %d bytes; ", calls, streams, bytes)
			}
		}
		return held
	}
	for deadline := time.Now().Add(patience); held() != "" && time.Now().Before(deadline); {
		<-time.After(5 * time.Millisecond)
	}
	require.Empty(t, held())
}

// 100 streams that nobody takes hold up neither others nor calls.
func TestStalledStreamsHoldUpNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := streamOps()
		h.HandleStream("stall", func(ctx context.Context, _ *gotalk.Stream) error { <-ctx.Done(); return ctx.Err() })
		s := serveInMemory(t, h, nil)
		c := s.client(nil)
		ctx, cancel := context.WithCancel(t.Context())
		var stalled sync.WaitGroup
		for range 100 {
			stalled.Go(func() {
				st, err := c.OpenStream(ctx, "stall")
				require.NoError(t, err)
				_, err = io.Copy(st, zeroReader{})
				require.Equal(t, context.Canceled, err)
			})
		}
		synctest.Wait()
		begun := time.Now()
		st := open(t, c, "copy")
		for range 1000 {
			require.NoError(t, st.Send(make([]byte, 50_000)))
			b, err := st.Recv()
			require.NoError(t, err)
			require.Len(t, b, 50_000)
			_, err = c.BufferRequest("echo", nil)
			require.NoError(t, err)
		}
		require.NoError(t, st.CloseSend())
		_, err := st.Recv()
		require.Equal(t, io.EOF, err)
		require.Zero(t, time.Since(begun))
		cancel()
		stalled.Wait()
		synctest.Wait()
		nothingHeld(t, c, s.sock())
	})
}

// Where the windows of many stalled streams are more than Limits.MaxPendingBytes, those that hold most end, and calls go on.
func TestManyStalledStreamsStayWithinBound(t *testing.T) {
	const bound, streams, size = 8 << 20, 200, 4096
	synctest.Test(t, func(t *testing.T) {
		h := echoHandlers()
		h.HandleStream("stall", func(ctx context.Context, _ *gotalk.Stream) error { <-ctx.Done(); return ctx.Err() })
		s := serveInMemory(t, h, &gotalk.Limits{MaxPendingBytes: bound})
		c := s.client(nil)
		served := s.sock()
		ctx, cancel := context.WithCancel(t.Context())
		sent, ended := make(chan error, streams), make(chan error, streams)
		for range streams {
			go func() {
				st, err := c.OpenStream(ctx, "stall")
				for range window / size {
					if err == nil {
						err = st.Send(make([]byte, size))
					}
				}
				sent <- err
				_, err = st.Recv()
				ended <- err
			}()
		}
		for range streams {
			if err := await(t, sent); err != nil {
				require.Equal(t, gotalk.ErrStreamEnded, err)
			}
			_, _, held := gotalk.Held(served)
			require.LessOrEqual(t, held, int64(bound+size+64))
			asked := time.Now()
			_, err := c.BufferRequest("echo", nil)
			require.NoError(t, err)
			require.Zero(t, time.Since(asked))
		}
		synctest.Wait()
		_, left, held := gotalk.Held(served)
		require.LessOrEqual(t, held, int64(bound))
		require.InDelta(t, bound/window, left, 3)
		cancel()
		for range streams {
			switch err := await(t, ended); gotalk.CodeOf(err) {
			case gotalk.CodeResourceExhausted:
				left++
			default:
				require.Equal(t, context.Canceled, err)
			}
		}
		require.Equal(t, streams, left)
		synctest.Wait()
		nothingHeld(t, c, served)
	})
}
