package gotalk

import (
	"context"
	"slices"
	"sync/atomic"
)

// A large payload leaves in parts, so that small messages pass between them: to a peer that has said that it puts them
// together. A request goes as a streaming one, with its size said before; a result as a streaming result.

const (
	ourPart   = 128 << 10 // the largest part that we like to get, and that we send
	leastPart = 1 << 10   // the smallest size of parts, whatever the peer likes
	wholeSize = 64 << 10  // payloads up to this are not split

	// Of split payloads up to middleSize so many may be on their way at a time, and one that is larger beside them.
	middleSize = 1 << 20
	middles    = 4
)

// splitState is what a link has of payloads that leave or come in parts.
type splitState struct {
	bytes      atomic.Int64 // of requests of which not all has come, about
	lastResult int          // bytes of the latest result that came in parts. Owned by the read loop

	// Guarded by link.mu.
	partials map[msgID]*partial     // requests of which not all has come; changed by the read loop alone
	results  map[msgID]*atomic.Bool // results that leave in parts; true when the peer wants no more of it
	lanes    *[2]lane
}

// partSize returns the size of the parts that a payload of n bytes leaves in, or 0 if it leaves whole.
func (l *link) partSize(n int) int {
	if n <= wholeSize {
		return 0
	}
	like := l.peerSaid().split
	if like == 0 || int64(n) <= like || int64(n) > maxSize {
		return 0
	}
	return int(min(max(like, leastPart), ourPart))
}

// sendRequest sends a single request, whose call c is pending. m.queued tells afterwards whether the peer may have all of it.
func (l *link) sendRequest(ctx context.Context, c *call, m *message) (err error) {
	part := l.requestPart(ctx, len(m.payload))
	if part == 0 {
		if m.before, err = l.metaFor(ctx, m.id, 0); err != nil {
			return err
		}
		return l.send(ctx, m)
	}
	size := len(m.payload)
	if err = l.takeTurn(ctx, size); err != nil {
		return err
	}
	defer l.endTurn(size)
	if m.before, err = l.metaFor(ctx, m.id, size); err != nil {
		return err
	}
	l.nudge()                // the answer may come before all is sent
	sized := m.before != nil // then the peer does nothing before it has all of it
	m.t = MsgTypeStreamReq
	all, err := l.sendParts(ctx, m, part, MsgTypeStreamReqPart, func() bool { return l.awaits(c, m.id) })
	if all {
		return nil
	}
	if err == nil {
		err = l.causeOf() // unless an answer has come before the peer had all of it, which it does not want any more
	}
	if err != nil && m.queued && sized && (m.after == nil || !m.after.queued) {
		l.postCancel(m.id)
		m.queued = false
	}
	return err
}

// requestPart is partSize for a request. It stays whole if it could not be given up half-way, or where the program has
// metadata of its own under the name that says the size.
func (l *link) requestPart(ctx context.Context, n int) int {
	part := l.partSize(n)
	if part > 0 {
		values, _ := ctx.Value(outgoingMeta{}).(map[string]string)
		if _, taken := values[sizeKey]; taken || ctx.Done() != nil && !l.peerSaid().cancel {
			return 0
		}
	}
	return part
}

// awaits tells whether c is still pending.
func (l *link) awaits(c *call, id msgID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls[id] == c
}

// sendResult sends the result of a request, or why there is none.
func (l *link) sendResult(m *message) error {
	size, part := len(m.payload), l.partSize(len(m.payload))
	if m.t != MsgTypeSingleRes || part == 0 {
		return l.send(context.Background(), m)
	}
	unwanted := new(atomic.Bool)
	l.mu.Lock()
	if l.split.results == nil {
		l.split.results = map[msgID]*atomic.Bool{}
	}
	l.split.results[m.id] = unwanted
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		if l.split.results[m.id] == unwanted { // else the peer has used an id twice
			delete(l.split.results, m.id)
		}
		l.mu.Unlock()
	}()
	if err := l.takeTurn(context.Background(), size); err != nil {
		return err
	}
	defer l.endTurn(size)
	m.t = MsgTypeStreamRes
	all, err := l.sendParts(context.Background(), m, part, MsgTypeStreamRes, func() bool { return !unwanted.Load() })
	if !all && err == nil {
		err = l.send(context.Background(), l.errorResult(m.id, context.Canceled))
	}
	return err
}

// cancelResult stops a result that leaves in parts, if there is one with that id.
func (l *link) cancelResult(id msgID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	unwanted := l.split.results[id]
	if unwanted != nil {
		unwanted.Store(true)
	}
	return unwanted != nil
}

// sendParts sends m's payload in parts, as m and then as messages of type t, and the end; or not all of it, if it is not
// wanted any more. A part is appended when the one before the last is written, so that at most two wait in front of the
// messages of others.
func (l *link) sendParts(ctx context.Context, m *message, part int, t MsgType, wanted func() bool) (all bool, err error) {
	rest := m.payload
	lend := ctx.Done() == nil
	var before, last int64 // where parts end
	for wanted() {
		n := min(part, len(rest))
		m.payload, m.given = rest[:n], !lend && l.w.lend && n > lendSize
		if m.given {
			m.payload = append(newPart(n)[:0], m.payload...)
		}
		if rest = rest[n:]; len(rest) == 0 {
			m.after = &message{t: t, id: m.id}
		}
		if err = l.w.awaitWritten(ctx, before); err == nil {
			err = l.send(ctx, m)
		}
		if err != nil || len(rest) == 0 {
			return err == nil, err
		}
		before, last = last, m.end
		m.t, m.before = t, nil
	}
	return false, nil
}

// lane is what split payloads of about one size take turns in, so that the peer has to hold few that are not complete, and
// small messages have few to pass. Guarded by link.mu.
type lane struct {
	under   int // way
	waiting []chan struct{}
}

// laneLocked returns the lane for a payload of n bytes, and how many may be under way in it.
func (l *link) laneLocked(n int) (*lane, int) {
	if l.split.lanes == nil {
		l.split.lanes = new([2]lane)
	}
	if n > middleSize {
		return &l.split.lanes[1], 1
	}
	return &l.split.lanes[0], middles
}

// takeTurn waits until a split payload of n bytes may leave, in the order of the calls. endTurn must follow, unless it
// fails because ctx or the link has ended.
func (l *link) takeTurn(ctx context.Context, n int) (err error) {
	l.mu.Lock()
	lane, most := l.laneLocked(n)
	if lane.under < most {
		lane.under++
		l.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	lane.waiting = append(lane.waiting, turn)
	l.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-l.done.ch():
		err = l.causeOf()
	}
	l.mu.Lock()
	at := slices.Index(lane.waiting, turn)
	if at >= 0 {
		lane.waiting = slices.Delete(lane.waiting, at, at+1)
	}
	l.mu.Unlock()
	if at < 0 { // its turn came at this moment
		l.endTurn(n)
	}
	return err
}

// endTurn lets the next one go.
func (l *link) endTurn(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lane, _ := l.laneLocked(n)
	if len(lane.waiting) == 0 {
		lane.under--
		return
	}
	close(lane.waiting[0])
	lane.waiting[0] = nil
	lane.waiting = lane.waiting[1:]
}
