package gotalk_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// outcomes is an interceptor that writes down what it sees.
type outcomes struct {
	mu   sync.Mutex
	seen []string
}

func (o *outcomes) add(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, fmt.Sprintf(format, args...))
}

// take returns what was seen since it was last called.
func (o *outcomes) take() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := o.seen
	o.seen = nil
	return seen
}

func (o *outcomes) intercept(ctx context.Context, info *gotalk.CallInfo, next func(context.Context) error) error {
	in, out := info.BytesIn, info.BytesOut
	err := next(ctx)
	side := "calls"
	if info.Served {
		side = "serves"
	}
	outcome := "ok"
	var panicked *gotalk.PanicError
	if errors.As(err, &panicked) {
		outcome = fmt.Sprintf("panic %v %v", panicked.Value, strings.Contains(string(panicked.Stack), "goroutine"))
	} else if err != nil {
		outcome = string(gotalk.CodeOf(err))
	}
	o.add("%s %v %s: in %d/%d, out %d/%d, %s", side, info.Kind, info.Op, in, info.BytesIn, out, info.BytesOut, outcome)
	return err
}

// failingHandlers has operations for each way in which a call can end.
func failingHandlers() *gotalk.Handlers {
	h := echoHandlers()
	h.Handle("not found", func() error { return gotalk.NewError(gotalk.CodeNotFound, "no such thing") })
	h.Handle("error", func() error { return errors.New("a plain one") })
	h.Handle("panic", func() error { panic("hunter2") })
	h.Handle("retry", func() error { return gotalk.RetryAfter(time.Second, "later") })
	h.Handle("wait", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	h.HandleNotification("note", func(ctx context.Context, n int) {})
	h.HandleNotification("old note", func() {})
	h.HandleNotification("panic", func() { panic("hunter3") })
	return h
}

// Interceptors of both sides see every outcome of a call.
func TestInterceptorsSeeOutcomes(t *testing.T) {
	for _, c := range []struct {
		op, payload    string
		limit          time.Duration
		served, called string
	}{
		{"echo", "hello", 0, "in 5/5, out 0/5, ok", "in 0/5, out 5/5, ok"},
		{"not found", "", 0, "in 0/0, out 0/0, not_found", "in 0/0, out 0/0, not_found"},
		{"error", "1", 0, "in 1/1, out 0/0, unknown", "in 0/0, out 1/1, unknown"},
		{"panic", "", 0, "in 0/0, out 0/0, panic hunter2 true", "in 0/0, out 0/0, internal"},
		{"retry", "", 500 * time.Millisecond, "in 0/0, out 0/0, unavailable", "in 0/0, out 0/0, unavailable"},
		{"wait", "", 0, "in 0/0, out 0/0, canceled", "in 0/0, out 0/0, canceled"},
		{"nope", "", 0, "", "in 0/0, out 0/0, unimplemented"}, // no handler, nothing around it
	} {
		t.Run(c.op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logged(t)
				h, serving, calling := failingHandlers(), &outcomes{}, &outcomes{}
				h.Use(serving.intercept)
				a, _ := pipe(t, nil, h)
				a.Use(calling.intercept)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.limit > 0 {
					ctx, cancel = context.WithTimeout(ctx, c.limit)
					defer cancel()
				}
				if c.op == "wait" {
					time.AfterFunc(time.Second, cancel)
				}
				out, err := a.BufferRequestContext(ctx, c.op, []byte(c.payload))
				if err != nil {
					require.Empty(t, out)
					require.NotContains(t, err.Error(), "hunter2")
				}
				synctest.Wait()
				var want []string
				if c.served != "" {
					want = []string{"serves request " + c.op + ": " + c.served}
				}
				require.Equal(t, want, serving.take())
				require.Equal(t, []string{"calls request " + c.op + ": " + c.called}, calling.take())
			})
		})
	}
}

func TestInterceptorsSeeNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, h, serving, calling := logged(t), failingHandlers(), &outcomes{}, &outcomes{}
		h.Use(serving.intercept)
		a, _ := pipe(t, nil, h)
		a.Use(calling.intercept)
		for _, name := range []string{"note", "old note", "panic", "nobody's"} {
			require.NoError(t, a.Notify(name, 12))
		}
		synctest.Wait()
		require.Equal(t, []string{
			"calls notification note: in 0/0, out 2/2, ok", "calls notification old note: in 0/0, out 2/2, ok",
			"calls notification panic: in 0/0, out 2/2, ok", "calls notification nobody's: in 0/0, out 2/2, ok",
		}, calling.take())
		require.Equal(t, []string{
			"serves notification note: in 2/2, out 0/0, ok", "serves notification old note: in 2/2, out 0/0, ok",
			"serves notification panic: in 2/2, out 0/0, panic hunter3 true",
		}, serving.take())
		require.Equal(t, 1, strings.Count(log(), "hunter3"))

		a.Close()
		require.ErrorIs(t, a.Notify("note", 1), gotalk.ErrSockClosed)
		require.Equal(t, []string{"calls notification note: in 0/0, out 1/1, unavailable"}, calling.take())
	})
}

// The first interceptor is the outermost, and those of an outer set are outside those of a set made from it.
func TestInterceptorOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &outcomes{}
		named := func(name string) gotalk.Interceptor {
			return func(ctx context.Context, _ *gotalk.CallInfo, next func(context.Context) error) error {
				o.add("%s", name)
				defer o.add("/%s", name)
				return next(context.WithValue(ctx, ctxKey{}, fmt.Sprint(ctx.Value(ctxKey{}), name)))
			}
		}
		outer := gotalk.NewHandlers()
		inner := outer.NewSubHandlers()
		handle := func(ctx context.Context) (string, error) { return fmt.Sprint(ctx.Value(ctxKey{})), nil }
		outer.Handle("of outer", handle)
		inner.Handle("of inner", handle)
		a, _ := pipe(t, nil, inner)
		for _, c := range []struct {
			use  func()
			want string
			seen string
		}{
			{func() {}, "<nil>", ""},
			{func() { inner.Use(named("c")) }, "<nil>c", "c /c"},
			{func() { outer.Use(named("a"), named("b")) }, "<nil>abc", "a b c /c /b /a"},
			{func() { inner.Use(named("d")) }, "<nil>abcd", "a b c d /d /c /b /a"},
			{func() { outer.Use() }, "<nil>abcd", "a b c d /d /c /b /a"},
		} {
			c.use()
			for _, op := range []string{"of inner", "of outer"} {
				var got string
				require.NoError(t, a.Request(op, nil, &got))
				require.Equal(t, c.want, got)
				require.Equal(t, c.seen, strings.Join(o.take(), " "))
			}
		}
	})
	require.PanicsWithValue(t, "gotalk: Use: an interceptor is nil", func() { gotalk.NewHandlers().Use(nil) })
	require.PanicsWithValue(t, "gotalk: Use: an interceptor is nil", func() { gotalk.NewSock(nil).Use(nil) })
}

type ctxKey struct{}

// What an interceptor may do and what it should not do, on both sides, and what comes of it.
func TestInterceptorsInterfere(t *testing.T) {
	type ic = gotalk.Interceptor
	type next = func(context.Context) error
	for _, c := range []struct {
		name   string
		ic     ic
		out    string
		code   gotalk.Code
		served bool // there is nothing to protect the caller from
		runs   int  // of the handler
	}{
		{"refuses", func(context.Context, *gotalk.CallInfo, next) error {
			return gotalk.NewError(gotalk.CodePermissionDenied, "not you")
		}, "", gotalk.CodePermissionDenied, false, 0},
		{"never calls next", func(context.Context, *gotalk.CallInfo, next) error { return nil }, "", "", false, 0},
		{"calls next again", func(ctx context.Context, _ *gotalk.CallInfo, next next) error {
			return errors.Join(next(ctx), next(ctx))
		}, "", gotalk.CodeInternal, false, 1},
		{"calls next again and does not care", func(ctx context.Context, _ *gotalk.CallInfo, next next) error {
			err := next(ctx)
			next(ctx)
			return err
		}, "hi", "", false, 1},
		{"drops the error", func(ctx context.Context, info *gotalk.CallInfo, next next) error {
			next(context.WithValue(ctx, ctxKey{}, errors.New("dropped")))
			return nil
		}, "", "", true, 1},
		{"replaces the outcome", func(ctx context.Context, _ *gotalk.CallInfo, next next) error {
			next(ctx)
			return gotalk.NewError(gotalk.CodeAborted, "no")
		}, "", gotalk.CodeAborted, false, 1},
		{"ends the context", func(ctx context.Context, _ *gotalk.CallInfo, next next) error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return next(ctx)
		}, "", gotalk.CodeCanceled, false, 0},
		{"does not wait for next", func(ctx context.Context, _ *gotalk.CallInfo, next next) error {
			began := make(chan bool)
			go next(context.WithValue(ctx, ctxKey{}, began))
			<-began
			return gotalk.NewError(gotalk.CodeDeadlineExceeded, "too slow")
		}, "", gotalk.CodeDeadlineExceeded, true, 1},
		{"calls next too late", func(ctx context.Context, _ *gotalk.CallInfo, next next) error {
			time.AfterFunc(time.Second, func() { next(ctx) })
			return nil
		}, "", "", false, 0},
		{"panics", func(context.Context, *gotalk.CallInfo, next) error { panic("hunter2") }, "", gotalk.CodeInternal, true, 0},
		{"panics after next", func(ctx context.Context, _ *gotalk.CallInfo, next next) error {
			next(ctx)
			panic("hunter2")
		}, "", gotalk.CodeInternal, true, 1},
		{"exits", func(context.Context, *gotalk.CallInfo, next) error { runtime.Goexit(); return nil }, "", gotalk.CodeInternal, true, 0},
	} {
		for _, served := range []bool{true, false} {
			if c.served && !served {
				continue
			}
			t.Run(fmt.Sprint(c.name, " ", served), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					log, h, runs, o := logged(t), gotalk.NewHandlers(), 0, &outcomes{}
					h.HandleBufferRequestContext("echo", func(ctx context.Context, _ *gotalk.Sock, _ string, b []byte) ([]byte, error) {
						runs++
						if began, ok := ctx.Value(ctxKey{}).(chan bool); ok {
							began <- true
							time.Sleep(time.Second)
						}
						err, _ := ctx.Value(ctxKey{}).(error)
						return b, err
					})
					a, b := pipe(t, nil, h)
					if served {
						h.Use(o.intercept, c.ic)
					} else {
						a.Use(o.intercept, c.ic)
					}
					out, err := a.BufferRequest("echo", []byte("hi"))
					require.Equal(t, c.code, gotalk.CodeOf(err), "%v", err)
					require.Equal(t, c.out, string(out))
					time.Sleep(2 * time.Second)
					require.Equal(t, c.runs, runs)
					require.Equal(t, gotalk.Stats{Connections: 1}, b.Stats())
					if strings.HasPrefix(c.name, "panics") {
						require.Equal(t, 1, strings.Count(log(), "hunter2"))
						require.Contains(t, strings.Join(o.take(), ""), "panic hunter2 true")
						require.Equal(t, "internal error", err.Error())
					}
				})
			})
		}
	}
}

// A request whose time was over before its turn came is seen, though its handler did not run.
func TestInterceptorsSeeWhatWaitedTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, limits, gate, ran := fewAtATime()
		o, waited := &outcomes{}, time.Duration(0)
		h.Use(o.intercept, func(ctx context.Context, info *gotalk.CallInfo, next func(context.Context) error) error {
			if info.Op == "plain" {
				waited = time.Since(info.Received)
			}
			return next(ctx)
		})
		p := serveInMemory(t, h, limits).greeted()
		defer p.w.nc.Close()
		p.say(request("aaaa", "hold", 0), request("bbbb", "hold", 0), notification("gotalk:meta", `cccc{"timeout_ms":50}`), request("cccc", "plain", 0))
		time.Sleep(time.Second)
		close(gate)
		for range 3 {
			p.hear()
		}
		require.Contains(t, strings.Join(o.take(), "\n"), "plain: in 0/0, out 0/0, deadline_exceeded")
		require.Zero(t, ran.Load())
		require.Equal(t, time.Second, waited)
	})
}

// The interceptors of a Sock are around a call with all its tries, and see no single ones.
func TestInterceptorsSeeNoTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, serving, calling := failingHandlers(), &outcomes{}, &outcomes{}
		h.Use(serving.intercept)
		a, _ := pipe(t, nil, h)
		a.Use(calling.intercept)
		require.Equal(t, gotalk.CodeUnavailable, gotalk.CodeOf(a.Request("retry", nil, nil)))
		require.Len(t, calling.take(), 1)
		require.Len(t, serving.take(), 3)
	})
}

// Interceptors may be added while calls are under way, by several at once.
func TestUseConcurrently(t *testing.T) {
	h := echoHandlers()
	a, b, err := gotalk.Pipe(h, nil)
	require.NoError(t, err)
	defer b.Close()
	defer a.Close()
	var wg sync.WaitGroup
	o := &outcomes{}
	for range 4 {
		wg.Go(func() {
			for range 10 {
				h.Use(o.intercept)
				a.Use(o.intercept)
				_, err := a.BufferRequest("echo", nil)
				if err != nil {
					panic(err)
				}
			}
		})
	}
	wg.Wait()
	o.take()
	_, err = a.BufferRequest("echo", nil)
	require.NoError(t, err)
	require.Len(t, o.take(), 80)
}

func TestKindString(t *testing.T) {
	require.Equal(t, "request notification stream Kind(9)",
		fmt.Sprint(gotalk.KindRequest, gotalk.KindNotification, gotalk.KindStream, gotalk.Kind(9)))
}
