package gotalk

import (
	"bytes"
	"context"
	"slices"
	"time"
)

// partial is a single request of the peer's that comes in parts, as a streaming one. Owned by the read loop.
type partial struct {
	servedRequest
	expect int   // how many bytes are to come in all, if the peer has said so
	held   int64 // bytes that count
	paid   bool  // the peer has credit for all that may come
}

// onSplitRequest takes the first part of a request whose handler wants all of it at once.
func (l *link) onSplitRequest(h *header, e *entry[requestFunc], around []Interceptor, meta requestMeta) error {
	size := max(int64(h.size), meta.bytes)
	if !l.admit(h.id, h.name, e, uint32(size)) {
		return l.r.skip(h.size)
	}
	p := &partial{servedRequest: servedRequest{entry: e, id: h.id}, expect: int(size), paid: meta.sized}
	if e.fn.withCtx != nil || len(around) > 0 || meta.timeout > 0 {
		p.call = l.newServedCall(e.name, h.size, meta, around)
	}
	l.mu.Lock()
	if l.split.partials == nil {
		l.split.partials = map[msgID]*partial{}
	}
	l.split.partials[h.id] = p
	l.mu.Unlock()
	return l.onRequestPart(h, p)
}

// onRequestPart takes a part of a request that is put together; an empty one that is not the first is the end.
func (l *link) onRequestPart(h *header, p *partial) (err error) {
	total := uint64(len(p.payload)) + uint64(h.size)
	switch {
	case p.call != nil && p.call.ctx.Err() != nil: // its time is over
		l.drop(p, l.errorResult(p.id, p.call.ctx.Err()))
		return l.r.skip(h.size)
	case total > uint64(l.limits.MaxPayload):
		l.drop(p, l.errorResult(p.id, tooLarge("request", uint32(min(total, maxSize)), l.limits.MaxPayload)))
		return l.r.skip(h.size)
	case h.t == MsgTypeStreamReqPart && h.size == 0:
		l.complete(p)
		return nil
	}
	if p.payload, err = l.r.appendPayload(p.payload, h.size, p.expect); err != nil {
		return err
	}
	held := int64(cap(p.payload)+len(p.name)) + p.servedRequest.held() - int64(len(p.payload))
	sum := l.split.bytes.Add(held - p.held)
	p.held = held
	if sum > int64(l.limits.MaxPendingBytes) && len(l.split.partials) > 1 {
		l.drop(p, l.refusal(p.id, l.limits.bufferWait(), textRateLimit))
		return nil
	}
	if !p.paid && len(p.payload) >= streamWindow/2 {
		p.paid = true
		l.postCredit(MsgTypeStreamReqPart, p.id, l.limits.MaxPayload)
	}
	return nil
}

// complete has a request handled of which all has come.
func (l *link) complete(p *partial) {
	l.mu.Lock()
	full := l.crowdedLocked()
	l.mu.Unlock()
	if full || l.pendingBytes.Load() > int64(l.limits.MaxPendingBytes) {
		l.drop(p, l.refusal(p.id, l.limits.bufferWait(), textRateLimit))
		return
	}
	l.split.bytes.Add(-p.held)
	r := p.servedRequest
	if r.payload = snug(p.payload); r.payload == nil {
		r.payload = []byte{}
	}
	if r.call != nil {
		r.call.info.Received, r.call.info.BytesIn = time.Now(), int64(len(r.payload))
	}
	l.enqueue(r)
	l.forgetPartial(p.id) // after that: it is under way all the time
}

// drop answers a request of which not all has come. What still comes of it is skipped, as it is of streams that are over.
func (l *link) drop(p *partial, answer *message) {
	if p.call != nil {
		p.call.cancel()
	}
	l.split.bytes.Add(-p.held)
	l.post(answer) // first: without this request the link may be one that is to close
	l.forgetPartial(p.id)
}

func (l *link) forgetPartial(id msgID) {
	l.mu.Lock()
	delete(l.split.partials, id)
	l.mu.Unlock()
	l.finished()
}

// forgetPartials is called when nothing more is read.
func (l *link) forgetPartials() {
	l.mu.Lock()
	l.split.partials = nil
	l.mu.Unlock()
	l.split.bytes.Store(0)
}

// cancelPartial answers a request of which not all has come and that the peer wants no result of.
func (l *link) cancelPartial(id msgID) bool {
	p := l.split.partials[id]
	if p != nil {
		l.drop(p, l.errorResult(id, context.Canceled))
	}
	return p != nil
}

// assembly is a single result of ours that comes in parts. Its bytes are the read loop's, all else is guarded by link.mu.
type assembly struct {
	b    []byte
	paid bool // the peer has credit for all that may come
}

// onResultPart takes a part of the result of a call that wants all of it at once. It returns the whole when that is there.
// The memory of into is used if there is enough. There may be as many results that are not complete as there are calls of ours.
func (l *link) onResultPart(h *header, c *call, into []byte) (payload []byte, whole bool, err error) {
	l.mu.Lock()
	if l.calls[h.id] != c { // it has ended meanwhile
		l.mu.Unlock()
		return nil, false, l.r.skip(h.size)
	}
	a := c.parts
	if a == nil {
		a = &assembly{b: into[:0]}
		c.parts = a
	}
	share := l.limits.MaxPendingBytes / max(l.plainCalls, 1) // that each call may have of what is not there yet
	l.mu.Unlock()
	total := uint64(len(a.b)) + uint64(h.size)
	switch {
	case h.size == 0:
		l.split.lastResult = len(a.b)
		if cap(a.b) == cap(into) { // it is in the caller's memory
			return slices.Clip(a.b), true, nil
		}
		return snug(a.b), true, nil
	case total > uint64(l.limits.MaxPayload):
		l.postCancel(h.id)
		l.giveUp(h.id, c, tooLarge("result", uint32(min(total, maxSize)), l.limits.MaxPayload), false)
		return nil, false, l.r.skip(h.size)
	}
	expect := min(l.split.lastResult, max(4*int(total)+payloadStep, share)) // most likely this one is of the same kind
	if total > uint64(expect) {
		expect = 2 * len(a.b)
	}
	if a.b, err = l.r.appendPayload(a.b, h.size, expect); err != nil {
		return nil, false, err
	}
	if !a.paid && len(a.b) >= streamWindow/2 {
		a.paid = true
		l.postCredit(MsgTypeStreamRes, h.id, l.limits.MaxPayload)
	}
	return nil, false, nil
}

// snug returns b in memory that is not much more than it needs: memory was taken for what was expected, and only what has come
// is counted.
func snug(b []byte) []byte {
	if cap(b) > 2*len(b)+payloadStep {
		b = bytes.Clone(b)
	}
	return slices.Clip(b)
}
