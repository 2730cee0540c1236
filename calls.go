package gotalk

import (
	"context"
	"encoding/binary"
	"io"
	"sync"
	"time"
)

// call is a request of ours that waits for its result.
type call struct {
	done      chan outcome // has room for the one outcome; nil when results go to in
	in        *inbox       // of SendRequest and streams
	stream    *Stream      // if it is one
	streaming bool         // more than one result may come
	parts     *assembly    // of a single result, if it comes in parts
	into      []byte       // memory for the result; nil if the caller has none
	filling   sync.Mutex   // held while the reading goroutine uses into, and by a caller who takes it back
}

// outcome is how a call ended.
type outcome struct {
	res Response
	err error
}

// newCall returns a call with room for one outcome. It is put back into l.spare by the goroutine that received its
// outcome, or took it out of the pending table. The pool is the link's own: in testing/synctest a channel must not leave
// its bubble.
func (l *link) newCall() *call {
	if pool := l.spare.Load(); pool != nil {
		if c, ok := pool.Get().(*call); ok {
			return c
		}
	}
	return &call{done: make(chan outcome, 1)}
}

// callOver lets c be used again, which is no longer pending, when nobody writes to c.into any more.
func (l *link) callOver(c *call) {
	if c.into != nil {
		c.filling.Lock()
		c.into = nil
		c.filling.Unlock()
	}
	if l.spare.Load() == nil {
		l.spare.CompareAndSwap(nil, new(sync.Pool))
	}
	l.spare.Load().Put(c)
}

// fail ends a call that was taken out of the pending table.
func (c *call) fail(err error) {
	if c.done != nil {
		c.done <- outcome{err: err}
		return
	}
	c.over(err)
}

// over says what comes after the results that went to c.in: io.EOF, or the failure. c is no longer pending.
func (c *call) over(why error) {
	if c.stream != nil {
		c.stream.resultOver(why)
	} else {
		c.in.close(why, false)
	}
}

// giveUp ends a call whose result cannot be taken, and tells the peer if it has more of it. What has come is dropped or still
// to be received.
func (l *link) giveUp(id msgID, c *call, why error, drop bool) {
	if c.stream != nil {
		c.stream.abandon(why, drop)
		return
	}
	if l.take(id) != c {
		return
	}
	if c.streaming {
		l.postCancel(id)
	}
	if drop {
		c.in.close(why, true)
	}
	c.fail(why)
}

// register makes c pending under an id that no other call has.
func (l *link) register(c *call) (id msgID, err error) {
	l.mu.Lock()
	switch {
	case l.closed.Load():
		err = l.cause
	case l.stopping, l.leaving:
		err = ErrSockClosed
	}
	if err != nil {
		l.mu.Unlock()
		return id, err
	}
	for {
		binary.LittleEndian.PutUint32(id[:], l.sock.nextID.Add(1)-1)
		if _, taken := l.calls[id]; !taken {
			break
		}
	}
	if l.calls == nil {
		l.calls = map[msgID]*call{}
	}
	l.calls[id] = c
	if c.in != nil {
		c.in.id = id
	}
	if !c.streaming {
		l.plainCalls++
	}
	l.mu.Unlock()
	l.w.inFlight.Add(1)
	l.wakeReader() // the result must be read, even if requests of the peer's would have to wait
	return id, nil
}

// take removes the call with that id from the pending table; nil means that it was not there.
func (l *link) take(id msgID) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.takeLocked(id)
}

func (l *link) takeLocked(id msgID) *call {
	c := l.calls[id]
	if c == nil {
		return nil
	}
	delete(l.calls, id)
	c.parts = nil
	if !c.streaming {
		l.plainCalls--
	}
	l.w.inFlight.Add(-1)
	if l.leaving && len(l.calls) == 0 {
		go l.settle() // ends at once; the lock is held here
	}
	return c
}

// roundTrip sends a request and waits for its result. sent tells whether the peer may have got it: if not, it can be sent
// again, on another connection too, without being made twice. When ctx ends the peer is told that it need not go on.
//
// The result is put into the memory of into, if that is large enough.
func (l *link) roundTrip(ctx context.Context, op string, payload, into []byte) (res Response, sent bool, err error) {
	c := l.newCall()
	c.into = into
	id, err := l.register(c)
	if err != nil {
		l.callOver(c)
		return Response{}, false, err
	}
	m := message{t: MsgTypeSingleReq, id: id, name: op, payload: payload}
	if err = l.sendRequest(ctx, c, &m); err == nil {
		if ctx.Done() == nil && l.claimTurn() {
			l.readFor(c)
		} else {
			l.nudge()
		}
		select {
		case out := <-c.done:
			l.callOver(c)
			return out.res, true, out.err
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if l.take(id) == nil {
		<-c.done // somebody else took the call out and ends it
	} else if m.queued {
		l.postCancel(id)
	}
	l.callOver(c)
	return Response{}, m.queued, err
}

// onResult takes a result of a request of ours. Results that nobody waits for are dropped: old peers send an empty part
// after an error, and a call may have ended before its result came.
func (l *link) onResult(h *header) error {
	l.mu.Lock()
	c := l.calls[h.id]
	last := c != nil && (!c.streaming || h.t != MsgTypeStreamRes || h.size == 0)
	var into []byte
	if c != nil && c.into != nil && (h.t == MsgTypeSingleRes || h.t == MsgTypeStreamRes) {
		into = c.into
		c.filling.Lock() // at once: c is pending
		defer c.filling.Unlock()
	}
	l.mu.Unlock()
	if c == nil {
		return l.r.skip(h.size)
	}
	if h.size > l.limits.MaxPayload {
		l.giveUp(h.id, c, tooLarge("result", h.size, l.limits.MaxPayload), false)
		return l.r.skip(h.size)
	}
	var payload []byte
	var err error
	if h.t == MsgTypeStreamRes && last && !c.streaming && l.hello.Load() != nil {
		var whole bool
		if payload, whole, err = l.onResultPart(h, c, into); err == nil && !whole {
			return nil
		}
		h.t = MsgTypeSingleRes
	} else {
		payload, err = l.r.payload(h.size, into)
	}
	if err != nil {
		return err
	}
	if last { // a call can end while its result is on the way, so it is pending until now
		if c = l.take(h.id); c == nil {
			return nil
		}
	}
	res := Response{MsgType: h.t, Data: payload}
	switch h.t {
	case MsgTypeRetryRes:
		res.Wait = time.Duration(h.wait) * time.Millisecond
	case MsgTypeErrorRes:
		if l.hello.Load() != nil {
			if e := parseError(payload); e != nil {
				res.setError(e, payload)
			}
		}
	}
	switch {
	case c.done != nil && h.t == MsgTypeStreamRes:
		c.fail(ErrUnexpectedStreamingRes)
	case c.done != nil:
		c.done <- outcome{res: res}
		l.batch.results++
	case h.t == MsgTypeErrorRes || h.t == MsgTypeRetryRes:
		failure := res // so that only a failure costs an allocation
		c.over(&failure)
	case h.t == MsgTypeStreamRes && last:
		c.over(io.EOF)
	case !c.in.put(res):
		l.giveUp(h.id, c, errOverrun, true)
	case last:
		c.over(io.EOF)
	}
	return nil
}
