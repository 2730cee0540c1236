package gotalk

import (
	"cmp"
	"context"
	"io"
	"iter"
)

// writePart is the most that Stream.Write puts in one part.
const writePart = 64 << 10

// Send sends b as one part, which arrives whole. It waits while as much as the peer's window is under way, but not longer
// than the stream's context lasts; only a peer that reads nothing at all can hold it up after that, for Limits.WriteTimeout
// at the most. b is the caller's again when Send returns. It must not be empty, as an empty part is the end of a stream, and
// should be small beside the window of 256 KiB: larger ones wait for their turn. After the end of the stream Send returns
// ErrStreamEnded; why it ended is what Recv returns.
func (st *Stream) Send(b []byte) error {
	if len(b) == 0 {
		return NewError(CodeInvalidArgument, "an empty part would end the stream; use CloseSend for that")
	}
	return st.sendPart(b)
}

// Write sends p in parts of at most 64 KiB, so that a Stream is an io.Writer. Writing nothing does nothing.
func (st *Stream) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		k := min(len(p), writePart)
		if w := st.peerWindow(); w > 0 {
			k = max(1, min(k, int(min(w, writePart*2)/2)))
		}
		if err := st.sendPart(p[:k]); err != nil {
			return n, err
		}
		n += k
		p = p[k:]
	}
	return n, nil
}

// Recv returns the next part, which is the caller's own. At the end of the other direction it returns io.EOF. A failure
// that the peer answered with is a *Response, see CodeOf; otherwise it is the error of the context that ended the
// stream, or ErrSockClosed or the like when the connection did. Parts that came before the end or the loss of the
// connection are returned first.
func (st *Stream) Recv() ([]byte, error) {
	st.readMu.Lock()
	if len(st.rest) > 0 {
		b := st.rest
		st.rest, st.part = nil, nil
		st.readMu.Unlock()
		return b, nil
	}
	st.readMu.Unlock()
	return st.recv()
}

func (st *Stream) recv() ([]byte, error) {
	for {
		if err := st.ctxErr(); err != nil {
			return nil, err
		}
		r, err := st.in.next(nil, true)
		if err != nil {
			if !st.served {
				st.cancel()
			}
			return nil, err
		}
		st.in.took(r)
		if len(r.Data) > 0 { // the part that begins a request may be empty
			return r.Data, nil
		}
	}
}

// ctxErr tells whether the stream was cancelled, or its time is over.
func (st *Stream) ctxErr() error {
	err := st.ctx.Err()
	if err == nil {
		return nil
	}
	if st.resultEnded() || st.link.causeOf() != nil { // that says it better; ctx has ended with the stream
		return nil
	}
	return err
}

// Read reads from the parts that come, so that a Stream is an io.Reader: a part may be read in several calls.
func (st *Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	st.readMu.Lock()
	defer st.readMu.Unlock()
	if len(st.rest) == 0 {
		b, err := st.recv()
		if err != nil {
			return 0, err
		}
		st.rest, st.part = b, b
	}
	n := copy(p, st.rest)
	st.rest = st.rest[n:]
	if len(st.rest) == 0 {
		st.rest = nil
		freePart(st.part)
		st.part = nil
	}
	return n, nil
}

// WriteTo writes the parts that come to w, up to the end, so that io.Copy from a Stream needs no buffer. w must not keep
// what it is given, as an io.Writer does not.
func (st *Stream) WriteTo(w io.Writer) (n int64, err error) {
	for {
		b, err := st.Recv()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		k, err := w.Write(b)
		n += int64(k)
		if err != nil {
			return n, err
		}
		freePart(b)
	}
}

// All ranges over the parts that come, up to the end. A failure is the last value, with a nil part. Leaving the loop does not
// end the stream.
func (st *Stream) All() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for {
			b, err := st.Recv()
			if err == io.EOF || !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// CloseSend ends this side's direction: the peer's Recv returns io.EOF when it has received what was sent. More calls do
// nothing. A handler that has returned without an error has done so.
func (st *Stream) CloseSend() error {
	st.sendMu.Lock()
	defer st.sendMu.Unlock()
	st.mu.Lock()
	over := st.ended || st.lost != nil
	st.ended = st.ended || !over
	if st.sendErr == nil {
		st.sendErr = ErrStreamEnded
	}
	st.mu.Unlock()
	if over {
		return nil
	}
	m := &message{t: MsgTypeStreamReqPart, id: st.in.id}
	if st.served {
		m.t = MsgTypeStreamRes
		st.over.Store(true)
	}
	st.link.post(m) // without waiting: there is one for each stream
	return st.link.causeOf()
}

// sendPart sends b as one part when there is room for it in the window.
func (st *Stream) sendPart(b []byte) error {
	st.sendMu.Lock()
	defer st.sendMu.Unlock()
	if err := st.reserve(int64(len(b))); err != nil {
		return err
	}
	m := &message{t: MsgTypeStreamReqPart, id: st.in.id, payload: b}
	if st.served {
		m.t = MsgTypeStreamRes
	}
	return st.link.sendPart(st.ctx, m)
}

// sendPart sends a part as long as ctx lasts. A large one is written from the caller's slice to a peer that keeps to
// windows: such a peer reads at once what it has granted, so that this needs no end but the write timeout.
func (l *link) sendPart(ctx context.Context, m *message) error {
	if len(m.payload) > lendSize && !l.w.overfull() && l.peerSaid().credit > 0 {
		ctx = context.Background()
	}
	return l.send(ctx, m)
}

// reserve waits until a part of n bytes may be sent, and counts it as sent. Large parts need half of the window: the peer
// does not have to give back all of it.
func (st *Stream) reserve(n int64) error {
	if n > maxSize {
		return oversize(int(n))
	}
	for {
		st.mu.Lock()
		if st.sendErr != nil {
			defer st.mu.Unlock()
			return st.sendErr
		}
		if st.window <= 0 || n <= st.credit || n > st.window/2 && st.credit >= st.window/2 || st.lax && st.resultEnded() {
			st.begun = true
			st.sent += n
			st.credit -= n
			st.mu.Unlock()
			return nil
		}
		st.mu.Unlock()
		select {
		case <-st.moreRoom:
		case <-st.ctx.Done():
			if err := cmp.Or(st.ctxErr(), st.link.causeOf(), st.stopped()); err != nil {
				return err
			}
			if !st.lax {
				st.stopSending(ErrStreamEnded) // unless there is a better reason
			}
		case <-st.link.done.ch():
			return st.link.causeOf()
		}
	}
}

// stopped returns why nothing can be sent any more, nil if it can.
func (st *Stream) stopped() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.sendErr
}

func (st *Stream) peerWindow() int64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.window
}

// setWindow sets what the peer grants, when that is known. What was sent before counts.
func (st *Stream) setWindow(n int64) {
	st.mu.Lock()
	if st.window == 0 && n > 0 {
		st.window, st.credit = n, n-st.sent
	}
	st.mu.Unlock()
}

func (st *Stream) addCredit(n int64) {
	st.mu.Lock()
	st.credit = min(st.credit+n, 1<<40)
	st.mu.Unlock()
	st.wakeSender()
}

func (st *Stream) wakeSender() {
	select {
	case st.moreRoom <- struct{}{}:
	default:
	}
}

// stopSending lets Send fail with err from now on.
func (st *Stream) stopSending(err error) {
	st.mu.Lock()
	if st.sendErr == nil {
		st.sendErr = err
	}
	st.mu.Unlock()
	st.wakeSender()
}
