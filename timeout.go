package gotalk

import (
	"context"
	"maps"
	"time"
)

// LimitTime returns an interceptor that gives calls a deadline: those of the operations, or notifications, in byOp the
// time that is said there, other requests and notifications usual. 0 or less means none. A stream lasts as long as it is
// needed, so that it gets a deadline only by its name in byOp. A deadline that a call has already holds if it is earlier.
//
// With Handlers.Use the time counts from when the handler starts. When it is over the handler's context ends, and a handler
// that returns ctx.Err() because of that fails with deadline_exceeded. It is answered when the handler returns, not
// before: one that takes no notice of its context takes as long as it takes, and its result is what the caller gets. If
// that caller has a deadline of its own it has stopped waiting by then. Likewise a stream's Send and Recv do not end with the
// handler's context but with the stream: a handler that waits in them has to watch its context besides.
//
// With Sock.Use it is the time of the whole call with all its tries, after which it returns context.DeadlineExceeded at
// once; the peer is told the deadline, so that its handler can keep to it.
func LimitTime(usual time.Duration, byOp map[string]time.Duration) Interceptor {
	byOp = maps.Clone(byOp)
	return func(ctx context.Context, info *CallInfo, next func(context.Context) error) error {
		limit, ok := byOp[info.Op]
		if !ok && info.Kind != KindStream {
			limit = usual
		}
		if limit <= 0 {
			return next(ctx)
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return next(ctx)
	}
}
