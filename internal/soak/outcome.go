package main

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/gotalk-go/gotalk"
)

// outcome is how a call has ended.
type outcome struct {
	name string
	bad  error // what is wrong with that; nil if it is in order
}

// outcomeOf says what it means that a call, whose time was ctx's, has ended with err.
func outcomeOf(ctx context.Context, err error) outcome {
	var mistake wrongAnswer
	var res *gotalk.Response
	code := gotalk.CodeOf(err)
	switch {
	case err == nil:
		return outcome{name: "right"}
	case errors.As(err, &mistake):
		return outcome{"wrong", err}
	case errors.Is(err, gotalk.ErrSockClosed) && code == gotalk.CodeUnavailable:
		return outcome{name: "closed"}
	case errors.Is(err, gotalk.ErrTimeout) && code == gotalk.CodeDeadlineExceeded:
		return outcome{name: "silent"} // the peer was, or the network
	case errors.Is(err, context.DeadlineExceeded) && code == gotalk.CodeDeadlineExceeded && timeIsUp(ctx):
		return outcome{name: "late"}
	case errors.As(err, &res) && res.IsRetry() && code == gotalk.CodeUnavailable:
		return outcome{name: "refused"}
	}
	return outcome{"unexpected", err}
}

// timeIsUp tells whether a deadline has passed. The peer is told in milliseconds how much is left of one.
func timeIsUp(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) < 5*time.Millisecond
}

// connectOutcome is outcomeOf for an attempt to connect, which may also fail with what the system says.
func connectOutcome(ctx context.Context, err error) outcome {
	var system net.Error
	o := outcomeOf(ctx, err)
	if o.bad != nil && (errors.As(err, &system) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
		return outcome{name: "closed"}
	}
	return o
}
