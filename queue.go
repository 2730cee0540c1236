package gotalk

import (
	"sync/atomic"
	"time"
)

const (
	// A Sock begins with a few handlers at a time and doubles that as long as requests wait.
	firstHandlers = 8
	growHandlers  = time.Millisecond

	// What handlers return waits in memory when the peer does not read it. So those that run at the same time are as many
	// as will return resultBudget bytes together, judging by earlier results. When requests have waited for that for
	// some time, because those at work are slow, more is granted.
	resultBudget  = 64 << 20
	unknownResult = resultBudget / firstHandlers // of an operation that has never had a result
	moreBudget    = resultBudget / 2
	growBudget    = 20 * time.Millisecond

	// stuckTime is how long handlers may make no progress, all of them while calls of ours are pending, until what waits
	// for them is refused.
	stuckTime = time.Second
)

// resultSize is how many bytes an operation's results have: the largest one of late. Zero means that there was none.
type resultSize struct{ n atomic.Int64 }

func (z *resultSize) expected() int64 {
	if n := z.n.Load(); n > 0 {
		return n
	}
	return unknownResult
}

// note takes a result into account. The size rises at once and falls by and by.
func (z *resultSize) note(bytes int) {
	n, old := int64(bytes)+itemOverhead, z.n.Load()
	if n < old {
		n = old - (old-n+7)/8
	}
	if n != old {
		z.n.Store(n) // others may have done so meanwhile: it is an estimate
	}
}

// requestQueue holds the single requests of a link. Guarded by link.mu.
type requestQueue struct {
	waiting  []servedRequest
	calls    map[msgID]*servedCall // of requests that wait or are being handled
	accepted uint32                // waiting or being handled
	running  int                   // goroutines at work, until their reply is written
	allowed  int                   // how many may be, at the moment
	granted  int64                 // the bytes that those at work are expected to return
	budget   int64                 // the most of that, at the moment
	short    bool                  // requests waited for budget when last looked
	growing  bool                  // the timer that raises allowed and budget is set
	ended    uint64                // handlers that have ended

	// When all handlers were at work while calls of ours were pending: how many had ended then, and since when no other has.
	seen  uint64
	since time.Duration // by clock; 0 when it was not so
}

func (l *link) enqueue(r servedRequest) {
	l.pendingBytes.Add(r.held())
	l.w.inFlight.Add(1)
	q := &l.queue
	l.mu.Lock()
	if l.closed.Load() {
		l.mu.Unlock()
		return
	}
	q.accepted++
	q.rememberLocked(&r)
	q.beginLocked(l.limits.MaxHandlers)
	start := len(q.waiting) == 0 && q.admitLocked(&r)
	if !start {
		r.since = time.Now()
		q.waiting = append(q.waiting, r)
		l.crowd = l.crowd || len(q.waiting) >= l.limits.MaxHandlers
		l.growLaterLocked(growHandlers)
	}
	l.mu.Unlock()
	if start {
		go l.serveRequests(r) // ends when no request waits; Shutdown waits for it
	}
}

// beginLocked begins anew with few handlers when none is at work.
func (q *requestQueue) beginLocked(most int) {
	if q.running == 0 {
		q.allowed, q.budget, q.short = min(firstHandlers, most), resultBudget, false
	}
}

// crowdedLocked tells whether as many requests wait as may. When the handlers at work may have nothing to wait for but to
// be cancelled, that must be read, so then only the bytes are bounded that wait.
func (l *link) crowdedLocked() bool {
	q := &l.queue
	return len(q.waiting) >= l.limits.MaxHandlers && (len(q.calls) == 0 || !l.peerSaid().cancel)
}

// admitLocked tells whether r can be handled now, and if so counts it as running.
func (q *requestQueue) admitLocked(r *servedRequest) bool {
	r.granted = r.past.result.expected()
	if q.running > 0 && (q.running >= q.allowed || q.granted+r.granted > q.budget) {
		return false
	}
	q.running++
	q.granted += r.granted
	return true
}

// popLocked takes the request that has waited longest if it can be handled now.
func (q *requestQueue) popLocked() (r servedRequest, ok bool) {
	if len(q.waiting) == 0 || !q.admitLocked(&q.waiting[0]) {
		return r, false
	}
	r = q.waiting[0]
	q.waiting[0] = servedRequest{}
	q.waiting = q.waiting[1:]
	if len(q.waiting) == 0 {
		q.waiting = nil
	}
	return r, true
}

// growLaterLocked sees to it that requests that still wait after d get more handlers.
func (l *link) growLaterLocked(d time.Duration) {
	if !l.queue.growing {
		l.queue.growing = true
		time.AfterFunc(d, l.grow)
	}
}

// grow gives requests that wait another chance.
func (l *link) grow() {
	l.mu.Lock()
	refused := l.growLocked()
	l.mu.Unlock()
	for _, r := range refused {
		l.answerUnhandled(&r, l.refusal(r.id, l.limits.bufferWait(), textRateLimit))
	}
	l.wakeReader()
}

// growLocked allows twice as many handlers if requests wait, or a larger budget if that is what they wait for, and
// starts as many as it can. It returns requests that cannot wait any longer.
func (l *link) growLocked() (refused []servedRequest) {
	q := &l.queue
	q.growing = false
	if len(q.waiting) == 0 {
		return nil
	}
	if l.w.overfull() { // the peer does not take the answers it has
		l.growLaterLocked(growBudget)
		return nil
	}
	q.allowed = min(2*q.allowed, l.limits.MaxHandlers)
	if q.short {
		q.budget += moreBudget
	}
	for {
		r, ok := q.popLocked()
		if !ok {
			break
		}
		go l.serveRequests(r) // ends when no request waits; Shutdown waits for it
	}
	if len(q.waiting) == 0 {
		return nil
	}
	if q.running >= l.limits.MaxHandlers && len(l.calls) > 0 {
		// All handlers may be waiting for the peer, and the peer's for those that wait here: each for the other.
		if now := clock(); q.ended != q.seen || q.since == 0 {
			q.seen, q.since = q.ended, now
		} else if now-q.since >= stuckTime {
			refused, q.waiting, q.since = q.waiting, nil, 0
			q.accepted -= uint32(len(refused))
			for i := range refused {
				q.forgetLocked(&refused[i])
			}
			return refused
		}
	} else {
		q.since = 0
	}
	q.short = q.running < q.allowed
	if q.short || q.allowed == l.limits.MaxHandlers {
		l.growLaterLocked(growBudget)
	} else {
		l.growLaterLocked(growHandlers)
	}
	return nil
}

// nextRequest gives a goroutine that has handled a request another one, if one waits and can be handled now.
func (l *link) nextRequest(done *servedRequest) (r servedRequest, ok bool) {
	q := &l.queue
	l.mu.Lock()
	q.running--
	q.ended++
	q.granted -= done.granted
	r, ok = q.popLocked()
	l.mu.Unlock()
	if !ok {
		l.finished()
	} else {
		l.wakeReader()
	}
	return r, ok
}
