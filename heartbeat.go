package gotalk

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	firstBeat = time.Millisecond // after reading has started
	leastBeat = time.Millisecond // no interval is shorter

	defaultHeartbeat = 20 * time.Second

	// clientSilence is the least that a Client, which may ask its peers for their load very often, bears with silence.
	clientSilence = 10 * time.Second
)

// beats is what a link knows about the heartbeats of both sides.
type beats struct {
	every    atomic.Int64 // our interval in nanoseconds; 0 while we send none
	received atomic.Int32 // from the peer since our last one
	answers  atomic.Int32 // how many of our intervals in a row the peer sent one in
	heard    atomic.Bool  // the peer has ever sent one
	stopped  atomic.Bool  // set under mu

	mu    sync.Mutex
	timer *time.Timer
}

// start begins to call beat, a moment from now.
func (b *beats) start(beat func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.stopped.Load() {
		b.timer = time.AfterFunc(firstBeat, beat)
	}
}

// again calls beat after d, unless that is 0.
func (b *beats) again(d time.Duration) {
	b.every.Store(int64(d))
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.stopped.Load() && d > 0 && b.timer != nil {
		b.timer.Reset(d)
	}
}

func (b *beats) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped.Store(true)
	if b.timer != nil {
		b.timer.Stop()
	}
}

// beat sends a heartbeat and plans the next one.
func (l *link) beat() {
	every := l.sock.heartbeatInterval()
	if every <= 0 {
		l.beats.again(0)
		return
	}
	if l.beats.received.Swap(0) > 0 {
		l.beats.answers.Add(1)
	} else {
		l.beats.answers.Store(0)
	}
	if !l.w.overfull() { // a peer that takes nothing has the write timeout to run against
		l.post(l.heartbeat(l.load()))
	}
	l.beats.again(max(every, leastBeat))
}

// onHeartbeat takes the peer's heartbeat. The accepting side answers it, so that the connecting side knows that it is
// still there, and does not run into its own read timeout.
func (l *link) onHeartbeat(h *header) {
	l.beats.received.Add(1)
	l.beats.heard.Store(true)
	if l.client != nil {
		l.client.onLoad(uint16(h.wait))
	}
	if l.sock.accepted && l.w.unsent.Load() < keepBuffer {
		l.post(l.heartbeat(l.load()))
	}
	if on := l.sock.onHeartbeat(); on != nil {
		load, at := int(h.wait), time.Unix(int64(h.size), 0)
		l.queueNote(noteOf("heartbeat", func() { on(load, at) }), true)
	}
}

// idleTimeout says how long the peer may send nothing. A peer that sends heartbeats as often as we do is gone when it
// has missed two. One that has never sent any may not know of them, so as long as ours keep it content it may be idle.
func (l *link) idleTimeout() time.Duration {
	limit := l.limits.ReadTimeout
	every := time.Duration(l.beats.every.Load())
	if every == 0 && l.sock.heartbeatInterval() > 0 && !l.pipe {
		every = l.sock.heartbeatInterval()
	}
	switch {
	case every <= 0:
		return limit
	case l.beats.answers.Load() >= 2:
		twice := 2*every - every/8 // deadlines are a sixteenth late
		if l.client != nil {
			twice = max(twice, clientSilence)
		}
		if limit == 0 {
			return twice
		}
		return min(limit, twice)
	case every < limit && !l.beats.heard.Load():
		return 0
	}
	return limit
}

// heartbeat makes a heartbeat message.
func (l *link) heartbeat(load uint16) *message {
	return &message{t: MsgTypeHeartbeat, wait: uint32(load), size: uint32(time.Now().Unix())}
}

// fullWait is how long the oldest request has waited for its handler when the load is full.
const fullWait = time.Second

// load says how busy this side is with what the peer has asked for: the requests under way in relation to how many may
// be, how long the oldest of them has waited for its handler, or the streams in relation to their limit, whichever is
// worst. So it is of use to those who choose among several peers.
func (l *link) load() uint16 {
	s := l.stats()
	load := max(
		float32(s.RequestsRunning+s.RequestsWaiting)/float32(min(int64(l.limits.BufferRequests), int64(l.limits.MaxHandlers))),
		float32(s.OldestWait)/float32(fullWait),
	)
	n := l.limits.StreamRequests
	if n == 0 {
		n = defaultStreams
	}
	if n != Unlimited {
		load = max(load, float32(s.StreamsServed)/float32(n))
	}
	return loadOf(load)
}

// loadOf converts a load of 0 to 1 to what a heartbeat carries; what is outside is taken for the nearest.
func loadOf(load float32) uint16 {
	if !(load > 0) { // NaN too
		return 0
	}
	return uint16(min(load, 1) * float32(0xffff))
}

// SendHeartbeat sends a heartbeat that says how busy this side is: load is between 0, idle, and 1. It is sent at once,
// regardless of HeartbeatInterval. buf is not used and may be nil.
func (s *Sock) SendHeartbeat(load float32, buf []byte) error {
	l, err := s.open()
	if err != nil {
		return err
	}
	if err := l.w.post(l.heartbeat(loadOf(load))); err != nil {
		return l.failed(err)
	}
	return nil
}
