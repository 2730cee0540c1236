package gotalk

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

const (
	// reservedPrefix begins the names of the messages by which two peers of ours say more than protocol 1 does.
	reservedPrefix = "gotalk:"

	defaultTries = 3                // of a request that the peer answers with "try again", where there is no deadline
	maxWaitHere  = 30 * time.Second // that the peer may ask for between tries, where there is no deadline

	// Between tries comes also a random time, at first below minJitter, then twice that and so on to maxJitter: those who
	// were refused together shall not come back together.
	minJitter = 200 * time.Millisecond
	maxJitter = 5 * time.Second
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

// SendRequest sends r and returns when it is on its way; its result goes to reschan, or several ones if it is a stream:
// r.MsgType is MsgTypeSingleReq or MsgTypeStreamReq, whose first part r.Data is then. When the connection ends before
// the last one, an error result follows. Retry results are not acted on. reschan is never closed. Results that it does not
// take wait in memory; parts of a stream count for Limits.MaxPendingBytes.
func (s *Sock) SendRequest(r *Request, reschan chan Response) error {
	if r.MsgType != MsgTypeSingleReq && r.MsgType != MsgTypeStreamReq {
		return fmt.Errorf("gotalk: SendRequest: message type %q is not a request; use MsgTypeSingleReq or MsgTypeStreamReq", r.MsgType)
	}
	l, err := s.openFor(context.Background(), r.Op)
	if err != nil {
		return err
	}
	c := &call{in: new(inbox), streaming: r.MsgType == MsgTypeStreamReq}
	c.in.init(l, msgID{}, MsgTypeStreamRes)
	c.in.feedResponses(reschan, false)
	id, err := l.register(c)
	if err != nil {
		return err
	}
	l.nudge()
	m := &message{t: r.MsgType, id: id, name: r.Op, payload: r.Data}
	if c.streaming {
		err = l.send(context.Background(), m)
	} else {
		err = l.sendRequest(context.Background(), c, m)
	}
	if err != nil && l.take(id) == nil {
		return nil // the connection ended, and reschan has been told
	}
	return err
}

// BufferRequest calls the peer's operation op with payload buf and waits for the result, which is the caller's to keep
// and nil when empty. buf is the caller's again when BufferRequest returns. An error that the peer answered with is a
// *Response, in which errors.As finds an *Error and CodeOf its code; one of the connection is ErrSockClosed or the
// sentinel of a protocol error. When the peer answers that it has no room now, the request is sent again after the wait
// that it asked for, a few times (see AutoRetryRequests).
func (s *Sock) BufferRequest(op string, buf []byte) ([]byte, error) {
	return s.BufferRequestContext(context.Background(), op, buf)
}

// BufferRequestContext is BufferRequest that returns ctx.Err() at once when ctx ends, and tells the peer to stop; its late
// result is dropped. ctx's deadline goes along with the request, so that the peer's handler knows how much time is left,
// and so does what WithMeta has put into ctx. (Peers of gotalk 1.x are told none of it.)
func (s *Sock) BufferRequestContext(ctx context.Context, op string, buf []byte) (out []byte, err error) {
	return s.BufferRequestInto(ctx, op, buf, nil)
}

// BufferRequestInto is BufferRequestContext that puts the result into the memory of dst, from its start on, as far as its
// capacity goes: a caller who uses that memory again and again spares the garbage collector large results. A result that is
// larger gets memory of its own. dst is the caller's again when BufferRequestInto returns, with any content. When ctx ends
// while the result is just arriving, that takes until what is under way has come, a moment for peers that are not of gotalk
// 1.x, and at the longest Limits.ReadTimeout.
func (s *Sock) BufferRequestInto(ctx context.Context, op string, buf, dst []byte) (out []byte, err error) {
	around := s.around.load()
	if len(around) == 0 {
		return s.request(ctx, op, buf, dst)
	}
	return s.requestThrough(around, ctx, op, buf, dst)
}

// requestThrough makes a request with interceptors around it.
func (s *Sock) requestThrough(around []Interceptor, ctx context.Context, op string, buf, dst []byte) (out []byte, err error) {
	info := &CallInfo{Kind: KindRequest, Op: op, Sock: s, Received: time.Now(), BytesOut: int64(len(buf))}
	err = chain(around, info, func(ctx context.Context) (err error) {
		out, err = s.request(ctx, op, buf, dst)
		info.BytesIn = int64(len(out))
		return err
	})(ctx)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// request makes a request, again if the peer asks for that.
func (s *Sock) request(ctx context.Context, op string, buf, dst []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.client != nil {
		return s.client.request(ctx, op, buf, dst)
	}
	for try := 1; ; try++ {
		l, err := s.openFor(ctx, op)
		if err != nil {
			return nil, err
		}
		res, _, err := l.roundTrip(ctx, op, buf, dst)
		switch {
		case err != nil:
			return nil, err
		case res.MsgType == MsgTypeSingleRes:
			return res.Data, nil
		}
		failure := res // so that only a failure costs an allocation
		wait, again := s.nextTry(ctx, &failure, try)
		if !again {
			return nil, &failure
		}
		if err := l.pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// nextTry says how long to wait before a request is made again of which so many tries have failed, the last with res; or
// that it is not to be made again.
func (s *Sock) nextTry(ctx context.Context, res *Response, tries int) (wait time.Duration, again bool) {
	deadline, limited := ctx.Deadline()
	most := s.MaxTries
	if most <= 0 && !limited {
		most = defaultTries
	}
	if !res.IsRetry() || !s.AutoRetryRequests || most > 0 && tries >= most {
		return 0, false
	}
	wait = res.Wait
	if !limited {
		wait = min(wait, maxWaitHere)
	}
	wait += rand.N(min(maxJitter, minJitter<<min(tries-1, 8)))
	return wait, !limited || wait < time.Until(deadline)
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
	case <-l.done.ch():
		return l.causeOf()
	}
}

// Request calls the peer's operation op with in as JSON, and decodes the JSON result into what out points to; nil drops
// it. Errors are those of BufferRequest and of encoding/json.
func (s *Sock) Request(op string, in any, out any) error {
	return s.RequestContext(context.Background(), op, in, out)
}

// RequestContext is Request that returns ctx.Err() at once when ctx ends; see BufferRequestContext.
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

// open returns the link of the connection in use.
func (s *Sock) open() (*link, error) {
	l := s.link.Load()
	if l == nil {
		return nil, ErrSockClosed
	}
	return l, nil
}

// openFor is open for a message with that name. It does not wait longer than ctx lasts.
func (s *Sock) openFor(ctx context.Context, name string) (*link, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if s.client != nil {
		return s.client.openLink(ctx)
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
