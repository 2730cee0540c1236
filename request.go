package gotalk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
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
