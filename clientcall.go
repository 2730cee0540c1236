package gotalk

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// resendTime is for how long an idempotent call without a deadline is made again after its connection was lost.
const resendTime = time.Minute

type idempotent struct{} // key of the mark of calls

// Idempotent returns a context with which calls can run twice without harm: when a Client loses the connection while one is
// under way, it makes it again on the next. See Client.Idempotent for marking operations.
func Idempotent(ctx context.Context) context.Context {
	return context.WithValue(ctx, idempotent{}, true)
}

// mayRepeat tells whether a call can be made again that may have run.
func (c *Client) mayRepeat(ctx context.Context, op string) bool {
	return ctx.Value(idempotent{}) != nil || c.Idempotent != nil && c.Idempotent(op)
}

// errLost is what a call ends with that may have run when its connection ended because of why.
func errLost(why error) error {
	const text = "gotalk: the connection was lost before the result came, so the request may have run; mark it idempotent if it can run twice"
	if errors.Is(why, ErrSockClosed) {
		return fmt.Errorf(text+": %w", why)
	}
	return fmt.Errorf(text+": %w: %w", ErrSockClosed, why)
}

// request makes a request on one connection after the other until it has a result.
func (c *Client) request(ctx context.Context, op string, buf, dst []byte) ([]byte, error) {
	if err := checkName(op); err != nil {
		return nil, err
	}
	patience := ctx       // for a connection
	var lost error        // the request may have run
	var refused []*member // by which, in this round of tries
	for tries := 1; ; {
		m, err := c.pick(patience, refused, true)
		if err != nil {
			if lost != nil && ctx.Err() == nil {
				err = lost
			}
			return nil, err
		}
		res, sent, err := m.link.roundTrip(ctx, op, buf, dst)
		m.release()
		if err == nil && !m.answered.Load() {
			m.answered.Store(true)
		}
		switch {
		case err == nil && res.MsgType == MsgTypeSingleRes:
			return res.Data, nil
		case err == nil:
			failure := res // so that only a failure costs an allocation
			if failure.IsRetry() && !m.link.isUsable() {
				continue // the peer shuts down: however long that takes, the next connection does not have to wait for it
			}
			if !failure.IsRetry() || !c.AutoRetryRequests {
				return nil, &failure
			}
			refused = append(refused, m)
			other, soonest := c.refusedBy(m, failure.Wait, refused)
			if other {
				continue
			}
			failure.Wait = min(failure.Wait, soonest)
			wait, again := c.nextTry(ctx, &failure, tries)
			if !again {
				return nil, &failure
			}
			if err := c.pause(ctx, wait, refused); err != nil {
				return nil, err
			}
			refused = nil
			tries++
		case ctx.Err() != nil || !connectionLost(m.link, err):
			return nil, err
		case sent && !c.mayRepeat(ctx, op):
			return nil, errLost(err)
		case sent:
			if _, limited := ctx.Deadline(); lost == nil && !limited {
				var cancel context.CancelFunc
				patience, cancel = context.WithTimeout(ctx, resendTime)
				defer cancel()
			}
			if lost = errLost(err); patience.Err() != nil {
				return nil, lost
			}
		}
	}
}

// connectionLost tells whether a call on l has failed with err because the connection is lost, or about to be.
func connectionLost(l *link, err error) bool {
	return !l.isUsable() && !errors.Is(err, ErrUnexpectedStreamingRes) && !errors.Is(err, ErrPayloadTooLarge)
}

// elsewhere tells whether a message that could not be sent on l can be sent on another connection.
func (s *Sock) elsewhere(l *link, m *message) bool {
	return s.client != nil && !m.queued && !l.isUsable()
}

// openLink returns the connection for something that is not a request.
func (c *Client) openLink(ctx context.Context) (*link, error) {
	m, err := c.pick(ctx, nil, true)
	if err != nil {
		return nil, err
	}
	m.release()
	return m.link, nil
}

// pick returns the connection for a call, and counts the call as one that is under way there, until release. While there
// is no connection it waits, as long as ctx lasts; if bounded, only when not too many wait already.
func (c *Client) pick(ctx context.Context, refused []*member, bounded bool) (*member, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return nil, ErrSockClosed
		case c.broken != nil:
			return nil, c.broken
		case !c.started:
			return nil, errors.New("gotalk: call Client.Start first")
		}
		if m := c.bestLocked(refused); m != nil {
			m.reserved.Add(1)
			return m, nil
		}
		if bounded {
			if most := orDefault(c.MaxQueued, defaultMaxQueued); c.waiting >= most {
				return nil, NewError(CodeUnavailable, fmt.Sprintf("%d calls wait for a connection already, see Client.MaxQueued%s",
					most, c.troubleLocked()))
			}
			bounded = false
			c.waiting++
			defer func() { c.waiting-- }()
		}
		changed := c.changeLocked()
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		c.mu.Lock()
		if err := ctx.Err(); err != nil && !c.closed {
			return nil, fmt.Errorf("gotalk: no connection to make the call on: %w%s", err, c.troubleLocked())
		}
	}
}

// troubleLocked says what is wrong with the connections, in brackets.
func (c *Client) troubleLocked() string {
	for _, p := range c.peers {
		if p.err != nil {
			return fmt.Sprintf(" (%s: %v)", p.addr, p.err)
		}
	}
	if len(c.peers) == 0 {
		return " (the Client has no address)"
	}
	return ""
}
