package gotalk

import (
	"bytes"
	"runtime"
	"sync"
	"sync/atomic"
)

const (
	sweepBatch = 32       // writers that a sweeper takes at a time
	sweepRoom  = 64 << 10 // bytes of several messages that it writes to one at once
	maxUnswept = 4 << 20  // bytes in the buffers of writers that wait for a sweeper, past which senders help
)

// sweepers write what was sent to many peers: a few goroutines for all connections, each of which writes to one after the
// other what that takes at once. What it does not take is left to the connection's own flusher. While a writer waits for
// its turn more messages join what it has.
var sweepers struct {
	mu      sync.Mutex
	waiting []*msgWriter // from next on
	next    int
	running int

	unswept atomic.Int64 // bytes in writers that wait
}

// sendPrepared appends a notification without waiting for anything.
func (w *msgWriter) sendPrepared(p *PreparedNotification) error {
	w.mu.Lock()
	err := w.closed
	if err == nil && w.overfull() {
		err = ErrNotRead
	}
	if err != nil {
		w.mu.Unlock()
		return err
	}
	before := w.queued
	w.appendPreparedLocked(p)
	if w.raw == nil {
		w.flushSoonLocked()
		w.mu.Unlock()
		return nil
	}
	list := !w.listed && !w.flushing
	w.listed = w.listed || list
	if w.listed {
		n := w.queued - before
		w.unswept += n
		sweepers.unswept.Add(n)
	}
	w.mu.Unlock()
	if list {
		sweepSoon(w)
	}
	if sweepers.unswept.Load() > maxUnswept {
		new(sweeper).help()
	}
	return nil
}

// sweepSoon puts w in the list of those that a sweeper writes for.
func sweepSoon(w *msgWriter) {
	sweepers.mu.Lock()
	if len(sweepers.waiting) == cap(sweepers.waiting) && 2*sweepers.next > len(sweepers.waiting) {
		n := copy(sweepers.waiting, sweepers.waiting[sweepers.next:])
		clear(sweepers.waiting[n:])
		sweepers.waiting, sweepers.next = sweepers.waiting[:n], 0
	}
	sweepers.waiting = append(sweepers.waiting, w)
	start := len(sweepers.waiting)-sweepers.next > sweepers.running*sweepBatch && sweepers.running < runtime.GOMAXPROCS(0)
	if start {
		sweepers.running++
	}
	sweepers.mu.Unlock()
	if start {
		go new(sweeper).serve() // ends when no writer waits
	}
}

// sweeper is what a goroutine has that writes to many connections.
type sweeper struct {
	batch [sweepBatch]*msgWriter
	room  []byte
	try   func(fd uintptr) bool // made once

	// Of the write that is being done.
	p   []byte
	n   int
	err error
}

func (s *sweeper) serve() {
	for s.sweep(true) {
	}
}

// help sweeps until not too much waits any more.
func (s *sweeper) help() {
	for sweepers.unswept.Load() > maxUnswept/2 && s.sweep(false) {
	}
}

// sweep writes for some of those that wait. It returns false if none do, and then a sweeper that was running is not any more.
func (s *sweeper) sweep(running bool) bool {
	sweepers.mu.Lock()
	n := copy(s.batch[:], sweepers.waiting[sweepers.next:])
	clear(sweepers.waiting[sweepers.next : sweepers.next+n])
	sweepers.next += n
	if sweepers.next == len(sweepers.waiting) {
		sweepers.waiting, sweepers.next = sweepers.waiting[:0], 0
	}
	if n == 0 && running {
		sweepers.running--
	}
	sweepers.mu.Unlock()
	for i, w := range s.batch[:n] {
		s.batch[i] = nil
		w.flushNow(s)
	}
	return n > 0
}

// flushNow writes what the peer takes at once, unless somebody else writes.
func (w *msgWriter) flushNow(s *sweeper) {
	w.mu.Lock()
	sweepers.unswept.Add(-w.unswept)
	w.listed, w.unswept = false, 0
	if w.flushing || w.failed != nil || w.queued == w.written {
		w.mu.Unlock()
		return
	}
	w.flushing = true
	shared := len(w.queue) == 1 && w.tail == nil && w.queue[0].buf == nil && !w.queue[0].given
	if w.queued-w.written > sweepRoom && !shared {
		w.mu.Unlock()
		go w.flush() // ends when all is written or the connection broken
		return
	}
	taken, n, _ := w.takeLocked()
	w.mu.Unlock()

	p := taken[0].lent // which nobody changes
	if !shared {
		p = s.gather(taken)
	}
	wrote, err := s.write(w, p)
	rest := p[wrote:]
	if !shared && len(rest) > 0 {
		rest = bytes.Clone(rest)
	}
	release(taken)

	w.mu.Lock()
	w.reuseLocked(taken)
	if err != nil {
		w.failLocked(err)
	} else {
		w.wroteLocked(max(0, n-int64(len(rest))))
		if len(rest) > 0 {
			w.queue = append([]segment{{lent: rest}}, w.queue...)
		}
	}
	if w.failed != nil || w.queued > w.written {
		w.mu.Unlock()
		go w.flush() // ends when all is written or the connection broken, which may call the program
		return
	}
	w.endFlushLocked()
}

// gather puts together what is in segments.
func (s *sweeper) gather(segments []segment) []byte {
	p := s.room[:0]
	for i := range segments {
		p = append(p, bytesOf(segments, i)...)
	}
	s.room = p
	return p
}

// write writes as much of p as w's connection takes without waiting.
func (s *sweeper) write(w *msgWriter, p []byte) (int, error) {
	if s.try == nil {
		s.try = func(fd uintptr) bool {
			s.n, s.err = writeSocket(fd, s.p)
			return true
		}
	}
	w.disarm()
	s.p = p
	if err := w.raw.Write(s.try); err != nil {
		return 0, err
	}
	s.p = nil
	return s.n, s.err
}
