package gotalk

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// LogCalls returns an interceptor that logs each call when it is over, for Handlers.Use and Sock.Use. A nil logger is
// slog.Default(). level says how important an outcome is, by its code, which is empty if all went well; nil is LogLevel.
//
// The message is "served" for calls of the peer's and "called" for those of this side. Its attributes are
//
//	kind       "request", "notification" or "stream"
//	op         the operation, or the notification's name, as the caller wrote it
//	peer       the address of the peer
//	queued     what the call waited for its handler (served ones only)
//	duration   what the handler took; of a call of this side's, all its tries
//	bytes_in   payload that was received
//	bytes_out  payload that was sent
//	code       "ok", or CodeOf the error
//	error      its text, unless all went well
//
// The logger gets the call's context. What a panicking handler has panicked with is in error, which is not what the peer
// is told; its stack goes to HandlerErrorLogger, as do the errors of handlers: a program that logs calls may want to set
// that to something that does nothing, or to keep it for the stacks.
func LogCalls(logger *slog.Logger, level func(Code) slog.Level) Interceptor {
	if level == nil {
		level = LogLevel
	}
	return func(ctx context.Context, info *CallInfo, next func(context.Context) error) error {
		start := time.Now()
		err := error(errInternal) // if the handler ends its goroutine
		defer func() { logCall(ctx, logger, level, info, start, err) }()
		err = next(ctx)
		return err
	}
}

func logCall(ctx context.Context, logger *slog.Logger, level func(Code) slog.Level, info *CallInfo, start time.Time, err error) {
	took := time.Since(start)
	if logger == nil {
		logger = slog.Default()
	}
	code := CodeOf(err)
	l := level(code)
	if !logger.Enabled(ctx, l) {
		return
	}
	text := "called"
	attrs := make([]slog.Attr, 0, 9)
	attrs = append(attrs, slog.String("kind", info.Kind.String()), slog.String("op", info.Op), slog.String("peer", info.Sock.Addr()))
	if info.Served {
		text = "served"
		attrs = append(attrs, slog.Duration("queued", start.Sub(info.Received)))
	}
	attrs = append(attrs, slog.Duration("duration", took), slog.Int64("bytes_in", info.BytesIn), slog.Int64("bytes_out", info.BytesOut))
	if err == nil {
		attrs = append(attrs, slog.String("code", "ok"))
	} else {
		attrs = append(attrs, slog.String("code", string(code)), slog.String("error", err.Error()))
	}
	logger.LogAttrs(ctx, l, text, attrs...)
}

// LogLevel is how important LogCalls takes an outcome to be:
//
//   - Debug: all went well. With thousands of calls a second that is not for a log that somebody reads.
//   - Error: unknown, internal and data_loss, which are mistakes, or errors that nobody has given a code.
//   - Warn: deadline_exceeded, resource_exhausted and unavailable: there are too few resources of some kind.
//   - Info: all other codes. Such a call was answered as it should be, if not as its caller hoped.
func LogLevel(code Code) slog.Level {
	switch code {
	case "":
		return slog.LevelDebug
	case CodeUnknown, CodeInternal, CodeDataLoss:
		return slog.LevelError
	case CodeDeadlineExceeded, CodeResourceExhausted, CodeUnavailable:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// ReportPanics returns an interceptor for Handlers.Use that calls report for each handler that panicked, and for each
// interceptor that did and that Use has put after it: use it first. report is called on the goroutine of the call, which is
// answered when it returns, so it should hand over what takes time. It must not keep info. It may be called concurrently.
func ReportPanics(report func(info *CallInfo, p *PanicError)) Interceptor {
	if report == nil {
		panic("gotalk: ReportPanics: report is nil")
	}
	return func(ctx context.Context, info *CallInfo, next func(context.Context) error) error {
		err := next(ctx)
		var p *PanicError
		if errors.As(err, &p) {
			report(info, p)
		}
		return err
	}
}
