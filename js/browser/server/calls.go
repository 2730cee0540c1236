package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/gotalk-go/gotalk"
)

// failure is an error as the page wants to see it, or wants it made.
type failure struct {
	Code     gotalk.Code     `json:"code"`
	Message  string          `json:"message"`
	Details  json.RawMessage `json:"details,omitempty"`
	Wrap     string          `json:"wrap,omitempty"`     // what is put around it
	Canceled bool            `json:"canceled,omitempty"` // it is context.Canceled to Go
	Expired  bool            `json:"expired,omitempty"`  // it is context.DeadlineExceeded to Go
}

func describe(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{
		Code: gotalk.CodeOf(err), Message: err.Error(),
		Canceled: errors.Is(err, context.Canceled), Expired: errors.Is(err, context.DeadlineExceeded),
	}
	var coded *gotalk.Error
	if errors.As(err, &coded) {
		f.Message, f.Details = coded.Message, coded.Details
	}
	return f
}

// question has the server call the page that sends it.
type question struct {
	Op       string            `json:"op"`
	Value    any               `json:"value"`
	Timeout  float64           `json:"timeout"` // in milliseconds; 0 for none
	Meta     map[string]string `json:"meta"`
	CancelOn string            `json:"cancelOn"` // the event on which the call is cancelled
	Parts    []string          `json:"parts"`    // of a stream
}

func (q *question) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if q.Meta != nil {
		ctx = gotalk.WithMeta(ctx, q.Meta)
	}
	cancel := context.CancelFunc(func() {})
	if q.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(q.Timeout*float64(time.Millisecond)))
	}
	if q.CancelOn != "" {
		var stop context.CancelFunc
		ctx, stop = context.WithCancel(ctx)
		go func() { // ends with the event, or the call
			if _, err := events.await(ctx, q.CancelOn); err == nil {
				events.mark(q.CancelOn+" cancelled", "")
				stop()
			}
		}()
		outer := cancel
		cancel = func() { stop(); outer() }
	}
	return ctx, cancel
}

type answer struct {
	Value any      `json:"value"`
	Error *failure `json:"error"`
}

func left(ctx context.Context) float64 {
	until, ok := ctx.Deadline()
	if !ok {
		return -1
	}
	return float64(time.Until(until).Microseconds()) / 1000
}

// handleCalls registers what shows contexts, metadata, errors and retries. next is the URL of another such server.
func handleCalls(h *gotalk.Handlers, next string) {
	gotalk.HandleFunc(h, "await", func(ctx context.Context, _ *gotalk.Sock, name string) (*event, error) {
		return events.await(ctx, name)
	})
	gotalk.HandleNotificationFunc(h, "mark", func(_ context.Context, _ *gotalk.Sock, name string) { events.mark(name, "") })
	gotalk.HandleFunc(h, "count", func(_ context.Context, _ *gotalk.Sock, name string) (int64, error) {
		return events.count(name).Load(), nil
	})
	gotalk.HandleFunc(h, "goroutines", func(context.Context, *gotalk.Sock, struct{}) (int, error) {
		return runtime.NumGoroutine(), nil
	})
	// What is reachable, in bytes.
	gotalk.HandleFunc(h, "heap", func(context.Context, *gotalk.Sock, struct{}) (uint64, error) {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, nil
	})

	gotalk.HandleFunc(h, "wait", func(ctx context.Context, _ *gotalk.Sock, name string) (struct{}, error) {
		events.mark(name+" started", "")
		<-ctx.Done()
		events.mark(name+" ended", string(gotalk.CodeOf(ctx.Err())))
		return struct{}{}, ctx.Err()
	})
	gotalk.HandleFunc(h, "hold", func(ctx context.Context, _ *gotalk.Sock, name string) (string, error) {
		events.mark(name+" started", "")
		_, err := events.await(ctx, name)
		return "held", err
	})

	gotalk.HandleFunc(h, "nap", func(ctx context.Context, _ *gotalk.Sock, n int) (int, error) {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
		return 2 * n, ctx.Err()
	})

	gotalk.HandleFunc(h, "left", func(ctx context.Context, _ *gotalk.Sock, _ struct{}) (float64, error) {
		return left(ctx), nil
	})
	gotalk.HandleFunc(h, "left-next", func(ctx context.Context, _ *gotalk.Sock, _ struct{}) ([]float64, error) {
		s, err := gotalk.ConnectWebSocket(ctx, next, nil)
		if err != nil {
			return nil, err
		}
		defer s.Close()
		here := left(ctx)
		there, err := gotalk.Call[float64](ctx, s, "left", nil)
		return []float64{here, there}, err
	})
	gotalk.HandleFunc(h, "wait-next", func(ctx context.Context, _ *gotalk.Sock, name string) (struct{}, error) {
		s, err := gotalk.ConnectWebSocket(ctx, next, nil)
		if err != nil {
			return struct{}{}, err
		}
		defer s.Close()
		return gotalk.Call[struct{}](ctx, s, "wait", name)
	})

	gotalk.HandleFunc(h, "meta", func(ctx context.Context, _ *gotalk.Sock, _ struct{}) (map[string]string, error) {
		return gotalk.MetaFrom(ctx), nil
	})
	gotalk.HandleFunc(h, "fail-with", func(_ context.Context, _ *gotalk.Sock, f failure) (struct{}, error) {
		return struct{}{}, f.err()
	})
	h.Handle("panic", func() error { panic("a secret") })
	gotalk.HandleFunc(h, "busy", func(_ context.Context, _ *gotalk.Sock, in struct {
		Name  string
		Times int64 // how often it is
		Wait  time.Duration
	}) (string, error) {
		if n := events.count(in.Name).Add(1); n <= in.Times {
			return "", gotalk.RetryAfter(in.Wait*time.Millisecond, fmt.Sprintf("busy for the %d. time", n))
		}
		return "done", nil
	})

	gotalk.HandleFunc(h, "ask", func(ctx context.Context, s *gotalk.Sock, q question) (answer, error) {
		ctx, cancel := q.context(ctx)
		defer cancel()
		v, err := gotalk.Call[any](ctx, s, q.Op, q.Value)
		return answer{v, describe(err)}, nil
	})
}

func (f failure) err() error {
	err := error(&gotalk.Error{Code: f.Code, Message: f.Message, Details: f.Details})
	if f.Code == "" {
		err = errors.New(f.Message)
	}
	if f.Wrap != "" {
		err = fmt.Errorf("%s: %w", f.Wrap, err)
	}
	return err
}
