package gotalk

import "time"

// stallTime is how long reading may pause because of streams whose consumers take nothing, until the one that holds
// most loses its stream.
const stallTime = 30 * time.Second

// throttle waits until there is room for what the peer may send next. False means that the link is closed.
func (l *link) throttle() bool {
	if l.hasRoom() {
		return true
	}
	limit := int64(l.limits.MaxPendingBytes)
	feedLimit := 2*limit + int64(l.limits.MaxPayload)
	windows := l.peerSaid().credit > 0
	if windows {
		feedLimit = max(limit, 2*streamWindow) // one that keeps to its window is never too much
	}
	var since time.Time
	var jam jam
	for {
		requests := l.pendingBytes.Load() > limit
		full := l.w.overfull()
		refusals := full && l.w.anyPosted()
		streams := l.feedBytes.Load() > limit
		l.mu.Lock()
		closed := l.closed.Load()
		requests = requests || l.crowdedLocked()
		l.crowd = len(l.queue.waiting) >= l.limits.MaxHandlers
		// What is unsent holds up reading only where the peer has asked for it. What we send on our own account does not:
		// the peer may do the same, and each would wait for the other to read.
		held := full && (refusals || l.queue.running > 0 || l.running > 0)
		// A call of ours may be what the handlers wait for, so its result must be read. That goes for a streaming one too,
		// unless it is streams whose consumers are slow.
		// A peer that keeps to windows can fill only those, of which there may be many: then streams that go on are worth
		// more than one that nobody reads.
		wait := (requests && len(l.calls) == 0 || streams && l.plainCalls == 0 && !windows) && !l.broken.Load()
		held = held && len(l.calls) == 0
		l.mu.Unlock()
		pending := l.pendingBytes.Load()
		if !full {
			l.jammed = 0
		} else if held && l.jammed == 0 && jam.lasts(l.w.progress()) {
			l.jammed = pending + jamRoom*int64(l.limits.MaxUnsentBytes)
		}
		wait = wait || held && (l.jammed == 0 || pending > l.jammed) && !l.broken.Load()
		switch {
		case closed:
			return false
		case !wait && l.pendingBytes.Load() > 2*limit+int64(l.limits.MaxPayload):
			l.logError("too many notifications wait for their handlers while a call is under way; closing the connection")
			l.close(closing{code: ProtocolErrorAbnormal, cause: ErrAbnormal, notify: true})
			return false
		case !wait && l.feedBytes.Load() > feedLimit:
			l.shedStream()
			continue
		case !wait:
			l.paused.Store(false)
			return true
		case !l.paused.Load():
			if l.resume == nil {
				l.resume = make(chan struct{}, 1)
			}
			l.paused.Store(true)
			l.flushSoon()
			continue // what was to wake us may have happened just before
		}
		if since.IsZero() {
			since = time.Now()
		}
		if streams && time.Since(since) > stallTime {
			l.shedStream()
			since = time.Time{}
			continue
		}
		d := stallTime / 3
		if held {
			d = stuckTime
		}
		t := time.NewTimer(d)
		select {
		case <-l.resume:
		case <-l.done.ch():
		case <-t.C:
			if !held { // else there is something to be written
				l.post(l.heartbeat(l.load())) // a peer that is gone is only noticed by writing to it
			}
		}
		t.Stop()
	}
}

// byteRate knows how fast the peer has sent. Owned by the read loop.
type byteRate struct {
	seen int64         // bytes that were counted
	even time.Duration // when the peer is within its rate again, by clock; 0 at first
}

// slowDown waits as long as the peer has sent more than it may, before more is read.
func (l *link) slowDown() {
	r, now := &l.rate, clock()
	took := float64(l.r.total-r.seen) / float64(l.limits.BytesPerSecond) * float64(time.Second)
	r.seen = l.r.total
	if r.even == 0 || r.even < now {
		r.even = now
	}
	r.even += time.Duration(took)
	wait := r.even - now - time.Second // what may come at once
	if wait <= 0 {
		return
	}
	l.r.arm(0) // it is not the peer that is silent
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.done.ch():
	}
}

// jamRoom is how many times MaxUnsentBytes the requests may take that come in front of what has to be read in a jam.
const jamRoom = 4

// jam says for how long nothing has been written while reading was held up because of that. The peer may be in the same
// position, each side with results of calls that the other one has given up: then one of them has to read.
type jam struct {
	written int64
	since   time.Duration // by clock; 0 before the first look
}

// lasts takes into account how much has been written by now, and tells whether that has not changed for long.
func (j *jam) lasts(written int64) bool {
	now := clock()
	if j.since == 0 || j.written != written {
		j.written, j.since = written, now
	}
	return now-j.since >= stuckTime
}

// hasRoom tells whether it can be seen at a glance that there is room.
func (l *link) hasRoom() bool {
	limit := int64(l.limits.MaxPendingBytes)
	return !l.crowd && l.pendingBytes.Load() <= limit && l.feedBytes.Load() <= limit && !l.w.overfull() && !l.closed.Load()
}

// shedStream ends the stream whose consumer has left most of it untaken.
func (l *link) shedStream() {
	failure := NewError(CodeResourceExhausted, "stream ended: its consumer did not keep up")
	l.mu.Lock()
	var worst, n = msgID{}, 0
	var served *Stream
	var made *call
	for id, st := range l.streams {
		if h := st.in.held(); h > n {
			worst, n, served = id, h, st
		}
	}
	for id, c := range l.calls {
		if c.in == nil {
			continue
		}
		if h := c.in.held(); h > n {
			worst, n, served, made = id, h, nil, c
		}
	}
	l.mu.Unlock()
	switch {
	case made != nil:
		l.giveUp(worst, made, failure, true)
	case served != nil:
		l.dropStream(served)
		served.abort(failure)
	}
}
