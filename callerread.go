package gotalk

// A caller who is the only one waits for the result by reading it: then no other goroutine, which is to say no other
// thread, must be woken for each call. When calls have come one at a time for a while, the goroutine that reads lets the
// callers do it. It goes on when there is more to do than that, or when nobody has called for a moment.

// serialCalls is how many calls must have come one at a time.
const serialCalls = 16

// letCallersRead is called by the reading goroutine when it has nothing to do but to wait. It returns when this goroutine
// is to read on, with the error that a caller has met.
func (l *link) letCallersRead() error {
	t := &l.turn
	l.batch.serial = 0
	l.mu.Lock()
	if l.closed.Load() || len(l.calls) > 0 {
		l.mu.Unlock()
		return nil
	}
	if t.wake == nil {
		t.wake = make(chan struct{}, 1)
	}
	l.leave(atRest)
	l.mu.Unlock()
	for {
		<-t.wake
		if l.claimTurn() {
			err := t.err
			t.err = nil
			return err
		}
	}
}

// claimTurn makes this goroutine the reading one, if there is none.
func (l *link) claimTurn() bool {
	was := l.turn.state.Load()
	return was&turnPlace == atRest && l.back(was)
}

// readFor reads until c has its outcome. The caller has claimed the turn. Handlers do not run on this goroutine.
func (l *link) readFor(c *call) {
	b, t := &l.batch, &l.turn
	if t.err == nil && len(c.done) == 0 { // it may have come before the turn was free
		b.caller = c
		err := l.readMessages()
		b.caller = nil
		if err != errServed {
			t.err = err
		}
	}
	alone := t.err == nil && !b.asked && l.r.idle()
	b.serial, b.results, b.asked = 0, 0, false
	l.leave(atRest)
	l.mu.Lock()
	alone = alone && len(l.calls) == 0 && !l.closed.Load()
	l.mu.Unlock()
	if !alone {
		l.wakeResting()
	}
}

// wakeResting lets the goroutine that has left the reading to callers read on, if no caller does.
func (l *link) wakeResting() {
	l.mu.Lock()
	wake := l.turn.wake
	l.mu.Unlock()
	select {
	case wake <- struct{}{}:
	default: // there is none, or it has been told
	}
}
