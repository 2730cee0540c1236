package gotalk_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/gotalk-go/gotalk"
)

// servedBy returns a Sock whose peer has those handlers.
func servedBy(h *gotalk.Handlers) (s *gotalk.Sock, end func()) {
	s, peer, _ := gotalk.Pipe(h, nil)
	return s, func() { s.Close(); peer.Close() }
}

// A service logs what it could not do.
func ExampleLogCalls() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr { // what is never the same
			if a.Key == "time" || a.Key == "queued" || a.Key == "duration" || a.Key == "peer" {
				return slog.Attr{}
			}
			return a
		},
	}))
	h := &gotalk.Handlers{}
	h.Use(gotalk.LogCalls(logger, nil))
	gotalk.HandleFunc(h, "user", func(_ context.Context, _ *gotalk.Sock, id int) (string, error) {
		switch id {
		case 1:
			return "Ada", nil // which is logged at slog.LevelDebug
		case 2:
			return "", gotalk.NewError(gotalk.CodeNotFound, "no such user")
		}
		return "", errors.New("the database is gone")
	})

	s, end := servedBy(h)
	defer end()
	logErrors := gotalk.HandlerErrorLogger
	gotalk.HandlerErrorLogger = func(*gotalk.Sock, string, ...any) {} // once is enough
	defer func() { gotalk.HandlerErrorLogger = logErrors }()
	for id := range 3 {
		gotalk.Call[string](context.Background(), s, "user", id+1)
	}
	// Output:
	// level=INFO msg=served kind=request op=user bytes_in=1 bytes_out=0 code=not_found error="not_found: no such user"
	// level=ERROR msg=served kind=request op=user bytes_in=1 bytes_out=0 code=unknown error="the database is gone"
}

// What reports panics comes first, so that it sees those of other interceptors too.
func ExampleReportPanics() {
	h := &gotalk.Handlers{}
	h.Use(gotalk.ReportPanics(func(info *gotalk.CallInfo, p *gotalk.PanicError) {
		fmt.Printf("%s %q: %v, with %t stack\n", info.Kind, info.Op, p.Value, len(p.Stack) > 0)
	}))
	h.Handle("divide", func(by int) (int, error) { return 1 / by, nil })

	s, end := servedBy(h)
	defer end()
	logErrors := gotalk.HandlerErrorLogger
	gotalk.HandlerErrorLogger = func(*gotalk.Sock, string, ...any) {}
	defer func() { gotalk.HandlerErrorLogger = logErrors }()
	fmt.Println(s.Request("divide", 0, nil))
	// Output:
	// request "divide": runtime error: integer divide by zero, with true stack
	// internal error
}

// Handlers get a second, but for reports, which take longer. What a caller does has a limit in the same way.
func ExampleLimitTime() {
	h := &gotalk.Handlers{}
	h.Use(gotalk.LimitTime(time.Second, map[string]time.Duration{"report": time.Minute}))
	for _, op := range []string{"page", "report"} {
		gotalk.HandleFunc(h, op, func(ctx context.Context, _ *gotalk.Sock, _ struct{}) (string, error) {
			deadline, _ := ctx.Deadline()
			return "at most " + time.Until(deadline).Round(time.Second).String(), nil
		})
	}

	s, end := servedBy(h)
	defer end()
	for _, op := range []string{"page", "report"} {
		answer, err := gotalk.Call[string](context.Background(), s, op, nil)
		fmt.Println(op, answer, err)
	}

	s.Use(gotalk.LimitTime(5*time.Second, nil))
	answer, err := gotalk.Call[string](context.Background(), s, "report", nil)
	fmt.Println("report", answer, err)
	// Output:
	// page at most 1s <nil>
	// report at most 1m0s <nil>
	// report at most 5s <nil>
}

// Nobody may send more than two mails at once and one each minute after that, and all together not more than a hundred a
// second of anything. Callers are told when to come back.
func ExampleLimitRate() {
	h := &gotalk.Handlers{}
	h.Use(gotalk.LimitRate(
		gotalk.RateLimit{PerSecond: 1.0 / 60, Burst: 2, EachSock: true, Ops: []string{"mail"}},
		gotalk.RateLimit{PerSecond: 100},
	))
	h.Handle("mail", func() error { return nil })

	s, end := servedBy(h)
	defer end()
	s.AutoRetryRequests = false // or the third call would wait
	for range 3 {
		err := s.Request("mail", nil, nil)
		var res *gotalk.Response
		if errors.As(err, &res) && res.IsRetry() {
			fmt.Println(err, "- again in", res.Wait.Round(time.Minute))
			continue
		}
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// <nil>
	// rate limit - again in 1m0s
}
