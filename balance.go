package gotalk

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	leastSlope = 1.0 / 4096 // of a peer whose load hardly rises with our calls
	firstSlope = 1.0 / 16   // of one that has not said its load while calls were under way
)

// rank is by what members are compared: the least one is chosen.
type rank struct {
	avoided bool
	load    float64
	calls   int
}

func (r rank) compare(o rank) int {
	if r.avoided != o.avoided {
		if r.avoided {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(r.load, o.load), cmp.Compare(r.calls, o.calls))
}

// bestLocked returns the member whose peer seems to have the least to do, of several one at random; nil if there is none.
// Those that have refused the call at hand, or asked not to be tried for some time, come last.
func (c *Client) bestLocked(refused []*member) (best *member) {
	var least rank
	ties := 0
	for _, m := range c.members {
		streams, ok := m.link.callStreams()
		if !ok {
			continue
		}
		if len(c.members) == 1 {
			return m
		}
		calls := int(m.reserved.Load()) + streams
		r := rank{m.avoided(refused), m.loadWith(calls), calls}
		order := r.compare(least)
		switch {
		case best == nil || order < 0:
			best, least, ties = m, r, 1
		case order == 0:
			if ties++; rand.IntN(ties) == 0 {
				best = m
			}
		}
	}
	return best
}

// loadWith estimates the load of the peer while so many calls of ours are under way. What it said last is of some time
// ago, so that what has begun since is added: else all would go to the same one until it says more.
func (m *member) loadWith(calls int) float64 {
	slope := m.slope
	if slope == 0 {
		slope = firstSlope
	}
	return max(0, m.load+float64(calls-m.loadAt)*slope)
}

// askEvery sets how often the peer is sent a heartbeat, and thereby asked for its load.
func (m *member) askEvery(d time.Duration) {
	m.link.sock.HeartbeatInterval = d
	m.link.beats.again(d)
}

// noteLoad takes what a peer says about its load. What comes from others' calls is counted for ours, which is careful.
func (c *Client) noteLoad(m *member, load uint16) {
	streams, _ := m.link.callStreams()
	c.mu.Lock()
	defer c.mu.Unlock()
	m.load, m.loadAt = float64(load)/float64(HeartbeatMsgMaxLoad), int(m.reserved.Load())+streams
	if m.loadAt > 0 {
		m.slope = max(m.load/float64(m.loadAt), leastSlope)
	}
}

// release says that a call for which pick has chosen m is over.
func (m *member) release() { m.reserved.Add(-1) }

// avoided tells whether a call should rather go elsewhere.
func (m *member) avoided(refused []*member) bool {
	return !m.avoid.IsZero() && time.Now().Before(m.avoid) || slices.Contains(refused, m)
}

// refusedBy notes that m wants to be left alone for wait. It tells whether there is another one that may take the call,
// and otherwise when the first one will.
func (c *Client) refusedBy(m *member, wait time.Duration, refused []*member) (other bool, soonest time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.avoid = time.Now().Add(wait)
	if c.otherLocked(refused) {
		return true, 0
	}
	soonest = wait
	for _, m := range c.members {
		if m.link.isUsable() {
			soonest = min(soonest, max(0, time.Until(m.avoid)))
		}
	}
	return false, soonest
}

// otherLocked tells whether there is a member that may take a call that others have refused.
func (c *Client) otherLocked(refused []*member) bool {
	return slices.ContainsFunc(c.members, func(m *member) bool { return !m.avoided(refused) && m.link.isUsable() })
}

// pause waits before a call is made again that all have refused, not longer than ctx lasts or until another connection is
// there, or the Client closed.
func (c *Client) pause(ctx context.Context, d time.Duration, refused []*member) error {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		c.mu.Lock()
		over, changed := c.closed || c.otherLocked(refused), c.changeLocked()
		c.mu.Unlock()
		if over {
			return nil
		}
		select {
		case <-changed:
		case <-t.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// callStreams returns how many streams of ours are open; usable is false if no call can be made.
func (l *link) callStreams() (n int, usable bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.calls) - l.plainCalls, l.usableLocked()
}
