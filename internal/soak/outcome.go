package main

import (
	"context"
	"errors"
	"strings"
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

// connectOutcome is outcomeOf for an attempt to connect. What comes before hands are shaken may fail with whatever the
// system says, or net/http of an answer that was cut off.
func connectOutcome(ctx context.Context, err error) outcome {
	o := outcomeOf(ctx, err)
	if o.bad != nil && strings.HasPrefix(err.Error(), "gotalk: cannot connect to ") {
		return outcome{name: "closed"}
	}
	return o
}
