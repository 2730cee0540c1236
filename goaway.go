package gotalk

import (
	"encoding/json"
	"time"
)

const (
	// goawayJitter is within what random time the clients of a server that shuts down connect again, so that they do not
	// all come at once.
	goawayJitter = 500 * time.Millisecond

	// goawayGrace is how long a peer that was told to go away may keep a connection on which it has nothing under way.
	// It closes it at once when it gets to know, so that no request can cross the end.
	goawayGrace = 3 * time.Second

	maxGoawayDelay = time.Hour // whatever a peer says
)

// goaway tells the peer to make no new requests here.
type goaway struct {
	AfterMS  int64  `json:"after_ms"`
	JitterMS int64  `json:"jitter_ms"`
	Reason   string `json:"reason"`
}

// delays returns after what time to connect again, and within what random time more.
func (g goaway) delays() (after, jitter time.Duration) {
	clamp := func(ms int64) time.Duration {
		return time.Duration(min(max(ms, 0), int64(maxGoawayDelay/time.Millisecond))) * time.Millisecond
	}
	return clamp(g.AfterMS), clamp(g.JitterMS)
}

// sendGoaway tells the peer that we shut down.
func (l *link) sendGoaway() {
	payload, _ := json.Marshal(goaway{JitterMS: int64(goawayJitter / time.Millisecond), Reason: textShuttingDown})
	l.post(&message{t: MsgTypeNotification, name: goawayName, payload: payload})
}

// onGoaway takes the peer's word that it wants no new requests. What is under way goes on, and then this side closes the
// connection.
func (l *link) onGoaway(g goaway) {
	l.mu.Lock()
	again := l.away
	l.away, l.leaving = true, true
	l.mu.Unlock()
	if l.client != nil && !again {
		l.client.onAway(g)
	}
	l.settle()
}

// drain ends the link gracefully when the calls of ours that are under way have their results. New ones fail.
func (l *link) drain() {
	l.mu.Lock()
	l.leaving = true
	l.mu.Unlock()
	l.settle()
}

// beginShutdown stops taking new requests, and closes the link when those under way are answered, or after timeout. A
// peer that acts on goaway closes the connection itself, when it has no calls under way any more.
func (l *link) beginShutdown(timeout time.Duration) error {
	l.mu.Lock()
	if l.closed.Load() || l.stopping {
		l.mu.Unlock()
		return ErrSockClosed
	}
	l.stopping = true
	if timeout == 0 { // no time for what is under way, but what was sent is still written, as Close does
		l.mu.Unlock()
		l.closeNow()
		return nil
	}
	l.told = l.peerSaid().goaway
	told := l.told
	if timeout >= 0 {
		l.closeOnIdle = time.AfterFunc(timeout, l.closeNow)
	}
	l.mu.Unlock()
	if told {
		l.sendGoaway()
	}
	l.settle()
	return nil
}

// settle looks whether a link that is to end can. It is called when the last of something has ended.
func (l *link) settle() {
	l.mu.Lock()
	idle, quiet := l.idleLocked(), len(l.calls) == 0
	end, shutdown := false, false
	switch {
	case l.closed.Load():
	case l.away: // the peer waits for us to close, and sends nothing new
		end = idle && (quiet || l.stopping)
	case l.stopping && l.told:
		if idle && l.grace == nil {
			l.grace = time.AfterFunc(goawayGrace, l.graceOver)
		} else if idle {
			l.grace.Reset(goawayGrace)
		}
	case l.stopping:
		end = idle
	case l.leaving:
		shutdown = quiet
	}
	l.mu.Unlock()
	switch {
	case end:
		l.close(closing{code: noProtocolError, graceful: true})
	case shutdown:
		l.beginShutdown(-1)
	}
}

// graceOver closes a link whose peer should have done so. If requests have come since, settle has set the timer again, or
// will.
func (l *link) graceOver() {
	l.mu.Lock()
	idle := l.idleLocked()
	l.mu.Unlock()
	if idle {
		l.close(closing{code: noProtocolError, graceful: true})
	}
}

func (l *link) closeNow() {
	if first, _ := l.close(closing{code: noProtocolError}); !first {
		l.endConn(false)
	}
}

// idleLocked tells whether nothing that the peer asked for is under way.
func (l *link) idleLocked() bool {
	return l.queue.running == 0 && len(l.queue.waiting) == 0 && len(l.split.partials) == 0 && l.running == 0 && !l.notes.serving
}

// finished is called after each handler has ended and its reply is written.
func (l *link) finished() {
	l.settle()
	l.wakeReader()
}

// takesNoCalls tells whether calls of ours would fail, since one side shuts down.
func (l *link) takesNoCalls() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopping || l.leaving
}

// isUsable tells whether a call of ours can be made.
func (l *link) isUsable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.usableLocked()
}

func (l *link) usableLocked() bool {
	return !l.closed.Load() && !l.stopping && !l.leaving && !l.broken.Load()
}
