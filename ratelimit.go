package gotalk

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// RateLimit says how many calls may be made in the course of time: a bucket holds Burst tokens and gets PerSecond new
// ones each second, and each request, notification and stream takes one.
type RateLimit struct {
	PerSecond float64 // more than 0; 0.1 is one call every ten seconds
	Burst     int     // how many calls may come at once after a pause. 0 or less means PerSecond, and at least 1

	Ops      []string // what it applies to, counted together; nil means everything
	EachSock bool     // each connection has a bucket of its own; otherwise there is one for all connections
	Refuse   bool     // fail with resource_exhausted instead of asking the caller to come back
}

const maxRefill = 1 << 60 // in nanoseconds, 36 years

// rate is a RateLimit as times: a bucket is known by when it will be full again.
type rate struct {
	RateLimit
	each  time.Duration // what one token takes to come
	slack time.Duration // what all but one token take to come
}

// rateLimiter applies limits together.
type rateLimiter struct {
	rates []rate

	mu    sync.Mutex
	all   []time.Time           // when each rate's bucket will be full, if it has one for all connections
	socks map[*Sock][]time.Time // the same for those that have one for each connection; nil if none has
}

// LimitRate returns an interceptor that makes calls fail that exceed one of the limits. Those that fail take no tokens.
//
// With Handlers.Use a request or stream fails with RetryAfter, for the time until there is a token, so that callers that
// retry spread themselves (see Sock.AutoRetryRequests), or with the code resource_exhausted if the limit says Refuse; such an
// error is logged by HandlerErrorLogger as any other. A notification is dropped. With Sock.Use calls of this side fail with
// resource_exhausted, without a word to the peer.
//
// What it remembers of a connection is forgotten when that ends: somebody who connects again gets a new bucket. To bound all
// calls use a second limit that is not for EachSock. A limit that can do nothing, since PerSecond is not above 0, panics.
func LimitRate(limits ...RateLimit) Interceptor {
	r := &rateLimiter{all: make([]time.Time, len(limits))}
	for _, limit := range limits {
		if limit.EachSock {
			r.socks = map[*Sock][]time.Time{}
		}
		r.rates = append(r.rates, newRate(limit))
	}
	return r.intercept
}

func newRate(limit RateLimit) rate {
	if !(limit.PerSecond > 0) { // nor NaN
		panic(fmt.Sprintf("gotalk: LimitRate: PerSecond is %v; it must be more than 0", limit.PerSecond))
	}
	if limit.Burst <= 0 {
		limit.Burst = int(max(1, math.Ceil(min(limit.PerSecond, math.MaxInt32))))
	}
	limit.Ops = slices.Clone(limit.Ops)
	each := min(float64(time.Second)/limit.PerSecond, maxRefill)
	return rate{limit, time.Duration(each), time.Duration(min(each*float64(limit.Burst-1), maxRefill))}
}

func (r *rateLimiter) intercept(ctx context.Context, info *CallInfo, next func(context.Context) error) error {
	sock := info.Sock
	r.mu.Lock()
	own, known := r.socks[sock]
	known = known || r.socks == nil
	if !known {
		own = make([]time.Time, len(r.rates))
		r.socks[sock] = own
	}
	wait, refuse := r.takeLocked(info.Op, own, time.Now())
	r.mu.Unlock()
	if !known {
		context.AfterFunc(sock.Context(), func() { r.forget(sock) }) // at once, if the connection is gone
	}
	switch {
	case wait <= 0:
		return next(ctx)
	case !info.Served, refuse && info.Kind != KindNotification: // whose sender does not hear of it: it need not be logged
		return NewError(CodeResourceExhausted, textCallRate)
	}
	return RetryAfter((wait + time.Millisecond - 1).Truncate(time.Millisecond), textCallRate)
}

func (r *rateLimiter) forget(s *Sock) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.socks, s)
}

// takeLocked takes a token for a call from each bucket that counts for it. If one is empty it takes none, and returns how
// long it is until all have one.
func (r *rateLimiter) takeLocked(op string, own []time.Time, now time.Time) (wait time.Duration, refuse bool) {
	for i, x := range r.rates {
		if lack := x.bucket(r, own, i).Sub(now); x.appliesTo(op) && lack > x.slack {
			wait, refuse = max(wait, lack-x.slack), refuse || x.Refuse
		}
	}
	if wait > 0 {
		return wait, refuse
	}
	for i, x := range r.rates {
		if x.appliesTo(op) {
			full := x.bucket(r, own, i)
			if full.Before(now) {
				*full = now
			}
			*full = full.Add(x.each)
		}
	}
	return 0, false
}

func (x *rate) appliesTo(op string) bool { return x.Ops == nil || slices.Contains(x.Ops, op) }

// bucket returns the i-th rate's, which x is; own are those of the connection.
func (x *rate) bucket(r *rateLimiter, own []time.Time, i int) *time.Time {
	if x.EachSock {
		return &own[i]
	}
	return &r.all[i]
}
