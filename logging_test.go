package gotalk_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// logLines is where a logger of a test writes.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// take returns what was written since it was called last.
func (l *logLines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return strings.TrimSpace(l.buf.String())
}

func newLogger(level slog.Level) (*logLines, *slog.Logger) {
	lines := &logLines{}
	return lines, slog.New(slog.NewTextHandler(lines, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

func TestLogCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logged(t)
		h := streamOps()
		fail := func(op string, f func(ctx context.Context) error) {
			h.HandleBufferRequestContext(op, func(ctx context.Context, _ *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
				return []byte("of no use"), f(ctx)
			})
		}
		fail("slow", func(context.Context) error { <-time.After(20 * time.Millisecond); return nil })
		fail("missing", func(context.Context) error { return gotalk.NewError(gotalk.CodeNotFound, "no such user") })
		fail("plain", func(context.Context) error { return errors.New("disk on fire") })
		fail("panics", func(context.Context) error { panic("at the disco") })
		fail("exits", func(context.Context) error { runtime.Goexit(); return nil })
		fail("waits", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		fail("late", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		fail("busy", func(context.Context) error { return gotalk.RetryAfter(time.Second, "busy") })
		h.HandleBufferNotification("note", func(*gotalk.Sock, string, []byte) {})

		served, serverLog := newLogger(slog.LevelDebug)
		called, clientLog := newLogger(slog.LevelDebug)
		h.Use(gotalk.LogCalls(serverLog, nil), gotalk.LimitTime(0, map[string]time.Duration{"late": 50 * time.Millisecond}))
		c := serveInMemory(t, h, nil).client(nil)
		c.AutoRetryRequests = false
		c.Use(gotalk.LogCalls(clientLog, nil))

		check := func(level, kind, op, took, bytesIn, bytesOut, servedOutcome, calledOutcome string) {
			synctest.Wait()
			calledLevel := level
			if op == "note" { // nobody tells
				calledLevel = "DEBUG"
			}
			start := "kind=" + kind + " op=" + op
			require.Equal(t, "level="+level+" msg=served "+start+" peer=127.0.0.1:0 queued=0s duration="+took+" bytes_in="+bytesIn+
				" bytes_out="+bytesOut+" code="+servedOutcome, served.take())
			require.Equal(t, "level="+calledLevel+" msg=called "+start+" peer=pipe duration="+took+" bytes_in="+bytesOut+
				" bytes_out="+bytesIn+" code="+calledOutcome, called.take())
		}
		request := func(ctx context.Context, op string) { c.BufferRequestContext(ctx, op, []byte("abc")) }
		ctx := context.Background()
		request(ctx, "echo")
		check("DEBUG", "request", "echo", "0s", "3", "3", "ok", "ok")
		request(ctx, "slow")
		check("DEBUG", "request", "slow", "20ms", "3", "9", "ok", "ok")
		request(ctx, "missing")
		check("INFO", "request", "missing", "0s", "3", "0", `not_found error="not_found: no such user"`, `not_found error="no such user"`)
		request(ctx, "plain")
		check("ERROR", "request", "plain", "0s", "3", "0", `unknown error="disk on fire"`, `unknown error="disk on fire"`)
		request(ctx, "panics")
		check("ERROR", "request", "panics", "0s", "3", "0", `internal error="panic: at the disco"`, `internal error="internal error"`)
		request(ctx, "exits")
		check("ERROR", "request", "exits", "0s", "3", "0", `internal error="internal: internal error"`, `internal error="internal error"`)
		request(ctx, "busy")
		check("WARN", "request", "busy", "0s", "3", "0", "unavailable error=busy", "unavailable error=busy")

		request(ctx, "late")
		check("WARN", "request", "late", "50ms", "3", "0", `deadline_exceeded error="context deadline exceeded"`,
			`deadline_exceeded error="context deadline exceeded"`)
		cancelled, cancel := context.WithCancel(ctx)
		time.AfterFunc(30*time.Millisecond, cancel)
		request(cancelled, "waits")
		check("INFO", "request", "waits", "30ms", "3", "0", `canceled error="context canceled"`, `canceled error="context canceled"`)

		require.NoError(t, c.BufferNotify("note", []byte("abcd")))
		check("DEBUG", "notification", "note", "0s", "4", "0", "ok", "ok")
		st := open(t, c, "copy")
		require.NoError(t, st.Send([]byte("twelve bytes")))
		require.NoError(t, st.CloseSend())
		for _, err := range st.All() {
			require.NoError(t, err)
		}
		check("DEBUG", "stream", "copy", "0s", "12", "12", "ok", "ok")
	})
}

func TestLogCallsLevels(t *testing.T) {
	for code, want := range map[gotalk.Code]slog.Level{
		"":                           slog.LevelDebug,
		gotalk.CodeCanceled:          slog.LevelInfo,
		gotalk.CodeInvalidArgument:   slog.LevelInfo,
		gotalk.CodeUnimplemented:     slog.LevelInfo,
		"of_my_own":                  slog.LevelInfo,
		gotalk.CodeDeadlineExceeded:  slog.LevelWarn,
		gotalk.CodeResourceExhausted: slog.LevelWarn,
		gotalk.CodeUnavailable:       slog.LevelWarn,
		gotalk.CodeUnknown:           slog.LevelError,
		gotalk.CodeInternal:          slog.LevelError,
		gotalk.CodeDataLoss:          slog.LevelError,
	} {
		require.Equal(t, want, gotalk.LogLevel(code), code)
	}

	lines, logger := newLogger(slog.LevelInfo)
	h := echoHandlers()
	h.Use(gotalk.LogCalls(logger, nil))
	c := serveTCP(t, h, nil).client(nil)
	_, err := c.BufferRequest("echo", nil)
	require.NoError(t, err)
	require.Empty(t, lines.take())

	h.Use(gotalk.LogCalls(logger, func(code gotalk.Code) slog.Level {
		if code == "" {
			return slog.LevelInfo
		}
		return gotalk.LogLevel(code)
	}))
	_, err = c.BufferRequest("echo", nil)
	require.NoError(t, err)
	require.Contains(t, lines.take(), "level=INFO msg=served kind=request op=echo")
}

func TestLogCallsUsesTheDefaultLogger(t *testing.T) {
	lines, logger := newLogger(slog.LevelDebug)
	ic := gotalk.LogCalls(nil, nil)
	old := slog.Default()
	defer slog.SetDefault(old)
	slog.SetDefault(logger)
	h := echoHandlers()
	h.Use(ic)
	_, err := serveTCP(t, h, nil).client(nil).BufferRequest("echo", nil)
	require.NoError(t, err)
	require.Contains(t, lines.take(), "msg=served")
}

func TestReportPanics(t *testing.T) {
	logged(t)
	type report struct {
		op    string
		value any
		stack string
	}
	reports := make(chan report, 1)
	h := streamOps()
	h.Use(gotalk.ReportPanics(func(info *gotalk.CallInfo, p *gotalk.PanicError) {
		reports <- report{info.Kind.String() + " " + info.Op, p.Value, string(p.Stack)}
	}))
	h.Use(func(ctx context.Context, info *gotalk.CallInfo, next func(context.Context) error) error {
		if info.Op == "intercepted" {
			panic(2)
		}
		return next(ctx)
	})
	h.HandleBufferRequest("panics", func(*gotalk.Sock, string, []byte) ([]byte, error) { panic(1) })
	h.HandleBufferRequest("intercepted", func(*gotalk.Sock, string, []byte) ([]byte, error) { return nil, nil })
	h.HandleBufferNotification("panics", func(*gotalk.Sock, string, []byte) { panic("of a note") })
	c := serveTCP(t, h, nil).client(nil)

	_, err := c.BufferRequest("panics", nil)
	require.EqualError(t, err, "internal error")
	r := await(t, reports)
	require.Equal(t, report{"request panics", 1, r.stack}, r)
	require.Contains(t, r.stack, "TestReportPanics")

	_, err = c.BufferRequest("intercepted", nil)
	require.EqualError(t, err, "internal error")
	require.Equal(t, 2, await(t, reports).value)
	require.NoError(t, c.Notify("panics", nil))
	r = await(t, reports)
	require.Equal(t, "notification panics", r.op)
	require.Equal(t, "of a note", r.value)
	_, err = open(t, c, "panic").Recv()
	require.EqualError(t, err, "internal error")
	require.Equal(t, "stream panic", await(t, reports).op)

	_, err = c.BufferRequest("echo", nil)
	require.NoError(t, err)
	_, err = open(t, c, "fail").Recv()
	require.NoError(t, err)
	require.Empty(t, reports)
	require.PanicsWithValue(t, "gotalk: ReportPanics: report is nil", func() { gotalk.ReportPanics(nil) })
}
