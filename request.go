package gotalk

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// reservedPrefix begins the names of the messages by which two peers of ours say more than protocol 1 does.
	reservedPrefix = "gotalk:"

	maxTries    = 10               // of a request that the peer answers with "try again"
	maxWaitHere = 30 * time.Second // between tries, whatever the peer says
)

// call is a request of ours that waits for its result.
type call struct {
	done      chan outcome    // has room for the one outcome; nil when results go to a feed
	feed      *feed[Response] // for SendRequest and StreamRequest
	streaming bool            // more than one result may come
	failed    atomic.Bool     // streaming: the last word has come, and it was no success
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
	if c, ok := l.spare.Get().(*call); ok {
		return c
	}
	return &call{done: make(chan outcome, 1)}
}

// fail ends a call that was taken out of the pending table.
func (c *call) fail(err error) {
	if c.done != nil {
		c.done <- outcome{err: err}
		return
	}
	c.failed.Store(true)
	c.feed.put(Response{MsgType: MsgTypeErrorRes, Data: []byte(err.Error())}, 0)
	c.feed.finish(nil)
}

// register makes c pending under an id that no other call has.
func (l *link) register(c *call) (id msgID, err error) {
	l.mu.Lock()
	switch {
	case l.closed:
		err = l.cause
	case l.stopping:
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
	l.calls[id] = c
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
	if !c.streaming {
		l.plainCalls--
	}
	l.w.inFlight.Add(-1)
	return c
}

// roundTrip sends a request and waits for its result.
func (l *link) roundTrip(ctx context.Context, op string, payload []byte) (Response, error) {
	c := l.newCall()
	id, err := l.register(c)
	if err != nil {
		l.spare.Put(c)
		return Response{}, err
	}
	m := message{t: MsgTypeSingleReq, id: id, name: op, payload: payload}
	if err = l.send(ctx, &m); err == nil {
		select {
		case out := <-c.done:
			l.spare.Put(c)
			return out.res, out.err
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if l.take(id) == nil {
		<-c.done // somebody else took the call out and ends it
	}
	l.spare.Put(c)
	return Response{}, err
}

// onResult takes a result of a request of ours. Results that nobody waits for are dropped: old peers send an empty part
// after an error, and a call may have ended before its result came.
func (l *link) onResult(h header) error {
	l.mu.Lock()
	c := l.calls[h.id]
	last := c != nil && (!c.streaming || h.t != MsgTypeStreamRes || h.size == 0)
	l.mu.Unlock()
	if c == nil {
		return l.r.skip(h.size)
	}
	if h.size > l.limits.MaxPayload {
		if c = l.take(h.id); c != nil {
			c.fail(tooLarge("result", h.size, l.limits.MaxPayload))
		}
		return l.r.skip(h.size)
	}
	payload, err := l.r.payload(h.size)
	if err != nil {
		return err
	}
	if last { // a call can end while its result is on the way, so it is pending until now
		if c = l.take(h.id); c == nil {
			return nil
		}
	}
	res := Response{MsgType: h.t, Data: payload}
	if h.t == MsgTypeRetryRes {
		res.Wait = time.Duration(h.wait) * time.Millisecond
	}
	switch {
	case c.done != nil && h.t == MsgTypeStreamRes:
		c.fail(ErrUnexpectedStreamingRes)
	case c.done != nil:
		c.done <- outcome{res: res}
	default:
		c.failed.Store(h.t == MsgTypeErrorRes || h.t == MsgTypeRetryRes)
		c.feed.put(res, len(payload))
		if last {
			c.feed.finish(nil)
		}
	}
	return nil
}

// SendRequest sends r and returns when it is on its way; its result goes to reschan, or several ones if it is a stream:
// r.MsgType is MsgTypeSingleReq or MsgTypeStreamReq, whose first part r.Data is then. When the connection ends before
// the last one, an error result follows. Retry results are not acted on. reschan is never closed. Results that it does not
// take wait in memory; parts of a stream count for Limits.MaxPendingBytes.
func (s *Sock) SendRequest(r *Request, reschan chan Response) error {
	if r.MsgType != MsgTypeSingleReq && r.MsgType != MsgTypeStreamReq {
		return fmt.Errorf("gotalk: SendRequest: message type %q is not a request; use MsgTypeSingleReq or MsgTypeStreamReq", r.MsgType)
	}
	l, err := s.openFor(r.Op)
	if err != nil {
		return err
	}
	c := &call{feed: newFeed(l, reschan, false), streaming: r.MsgType == MsgTypeStreamReq}
	id, err := l.register(c)
	if err != nil {
		return err
	}
	err = l.send(context.Background(), &message{t: r.MsgType, id: id, name: r.Op, payload: r.Data})
	if err != nil && l.take(id) == nil {
		return nil // the connection ended, and reschan has been told
	}
	return err
}

// BufferRequest calls the peer's operation op with payload buf and waits for the result, which is the caller's to keep
// and nil when empty. buf is the caller's again when BufferRequest returns. An error that the peer answered with is a
// *Response; one of the connection is ErrSockClosed or the sentinel of a protocol error. When the peer answers that it
// has no room now, the request is sent again after the wait that it asked for, a few times (see AutoRetryRequests).
func (s *Sock) BufferRequest(op string, buf []byte) ([]byte, error) {
	return s.BufferRequestContext(context.Background(), op, buf)
}

// BufferRequestContext is BufferRequest that returns ctx.Err() at once when ctx ends. The peer is not told; its late
// result is dropped.
func (s *Sock) BufferRequestContext(ctx context.Context, op string, buf []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		l, err := s.openFor(op)
		if err != nil {
			return nil, err
		}
		res, err := l.roundTrip(ctx, op, buf)
		switch {
		case err != nil:
			return nil, err
		case res.MsgType == MsgTypeSingleRes:
			return res.Data, nil
		case res.IsRetry() && s.AutoRetryRequests && try < maxTries:
			if err := l.pause(ctx, min(res.Wait, maxWaitHere)); err != nil {
				return nil, err
			}
		default:
			failure := res // so that only a failure costs an allocation
			return nil, &failure
		}
	}
}

// pause waits, but not longer than ctx and the connection last.
func (l *link) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
		return l.causeOf()
	}
}

// Request calls the peer's operation op with in as JSON, and decodes the JSON result into what out points to; nil drops
// it. Errors are those of BufferRequest and of encoding/json.
func (s *Sock) Request(op string, in any, out any) error {
	return s.RequestContext(context.Background(), op, in, out)
}

// RequestContext is Request that returns ctx.Err() at once when ctx ends.
func (s *Sock) RequestContext(ctx context.Context, op string, in any, out any) error {
	buf, err := json.Marshal(in)
	if err != nil {
		return err
	}
	buf, err = s.BufferRequestContext(ctx, op, buf)
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(buf, out)
}

// BufferNotify sends a notification with payload buf. Nothing tells whether the peer handles it. buf is the caller's
// again when BufferNotify returns.
func (s *Sock) BufferNotify(name string, buf []byte) error {
	l, err := s.openFor(name)
	if err == nil && l.isStopping() {
		err = ErrSockClosed
	}
	if err != nil {
		return err
	}
	return l.send(context.Background(), &message{t: MsgTypeNotification, name: name, payload: buf})
}

// Notify sends a notification with v as JSON.
func (s *Sock) Notify(name string, v any) error {
	buf, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.BufferNotify(name, buf)
}

func (l *link) isStopping() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopping
}

// open returns the link of the connection in use.
func (s *Sock) open() (*link, error) {
	l := s.link.Load()
	if l == nil {
		return nil, ErrSockClosed
	}
	return l, nil
}

// openFor is open for a message with that name.
func (s *Sock) openFor(name string) (*link, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	return s.open()
}

// errReserved is why a program can neither send nor handle names that begin with "gotalk:".
var errReserved = errors.New(`gotalk: names that begin with "` + reservedPrefix + `" are reserved for the protocol`)

// checkName tells whether an operation or notification can have that name.
func checkName(name string) error {
	if len(name) > maxNameSize {
		return fmt.Errorf("gotalk: a name has at most %d bytes, this one has %d: %.40q…", maxNameSize, len(name), name)
	}
	if strings.HasPrefix(name, reservedPrefix) {
		return fmt.Errorf("%w: %.80q", errReserved, name)
	}
	return nil
}
