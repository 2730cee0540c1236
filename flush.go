package gotalk

import (
	"context"
	"net"
	"runtime"
	"sync"
	"time"
)

// segment is a part of what is to be written: a buffer of the writer's, or a slice lent by a caller who waits, or one that
// never changes.
type segment struct {
	buf    *buffer
	lent   []byte
	given  bool // lent is nobody's when it is written
	joined bool // lent belongs to the frame of the buffer before it
}

// buffer is a part of what to write. One that is to be joined begins with room for the header of a frame around it and
// what follows it.
type buffer struct {
	b      []byte
	joined bool
}

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, 1<<10)} }}

func (w *msgWriter) flushSoonLocked() {
	if !w.flushing {
		w.flushing = true
		go w.flush() // ends when all is written or the connection broken
	}
}

// waitLocked waits for the next write to end, for close, or for ctx. It gives up the lock meanwhile.
func (w *msgWriter) waitLocked(ctx context.Context) error {
	if w.wake == nil {
		w.wake = make(chan struct{})
	}
	wake := w.wake
	w.mu.Unlock()
	defer w.mu.Lock()
	select {
	case <-wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitWritten waits until all is written up to end, or nothing can be any more, but not longer than ctx lasts.
func (w *msgWriter) awaitWritten(ctx context.Context, end int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.written < end && w.failed == nil {
		if err := w.waitLocked(ctx); err != nil {
			return err
		}
	}
	return nil // a failure is what the next message meets
}

func (w *msgWriter) wakeLocked() {
	if w.wake != nil {
		close(w.wake)
		w.wake = nil
	}
}

// flush writes until nothing is left. The caller has set flushing.
func (w *msgWriter) flush() {
	if w.inFlight.Load() > 1 {
		runtime.Gosched() // neighbours that are about to append can share this write
	}
	w.mu.Lock()
	for round := 1; w.failed == nil && w.queued > w.written; round++ {
		if round > flushRounds {
			w.mu.Unlock()
			go w.flush() // ends when all is written or the connection broken
			return
		}
		taken, n, timeout := w.takeLocked()
		w.mu.Unlock()

		err := w.write(taken, timeout)
		release(taken)

		w.mu.Lock()
		w.reuseLocked(taken)
		if err != nil {
			w.failLocked(err)
			break
		}
		w.wroteLocked(n)
	}
	w.endFlushLocked()
}

// takeLocked takes all that is to be written, n bytes as they were counted.
func (w *msgWriter) takeLocked() (taken []segment, n int64, timeout time.Duration) {
	if w.tail != nil {
		w.queue = append(w.queue, segment{buf: w.tail})
		w.tail = nil
	}
	taken, n, timeout = w.queue, w.queued-w.written, w.timeout
	w.queue, w.spare, w.posted = w.spare, nil, 0
	return taken, n, timeout
}

// release gives back the buffers of segments that were written.
func release(segments []segment) {
	for i, s := range segments {
		if s.buf != nil && cap(s.buf.b) <= keepBuffer {
			s.buf.b = s.buf.b[:0]
			buffers.Put(s.buf)
		}
		if s.given {
			freePart(s.lent)
		}
		segments[i] = segment{}
	}
}

func (w *msgWriter) reuseLocked(segments []segment) {
	if cap(segments) <= 64 {
		w.spare = segments[:0]
	}
}

// failLocked ends writing because of err.
func (w *msgWriter) failLocked(err error) {
	w.failed = err
	if w.closed == nil {
		w.closed = err
	}
	w.queue, w.tail = nil, nil
}

// wroteLocked takes into account that n bytes were written. It gives up the lock for a moment if there is room again.
func (w *msgWriter) wroteLocked(n int64) {
	w.written += n
	wasOverfull := w.overfull()
	w.unsent.Add(-n)
	w.wakeLocked()
	if wasOverfull && !w.overfull() {
		w.mu.Unlock()
		w.onRoom()
		w.mu.Lock()
	}
}

// endFlushLocked ends being the flusher, and gives up the lock.
func (w *msgWriter) endFlushLocked() {
	if w.failed != nil {
		w.unsent.Store(0)
	}
	w.flushing = false
	w.wakeLocked()
	failed, drained := w.failed, w.onDrained
	w.onDrained = nil
	w.mu.Unlock()
	if drained != nil {
		drained()
	} else if failed != nil {
		w.giveUp()
	}
}

// bytesOf returns what the segment at i puts on the wire.
func bytesOf(segments []segment, i int) []byte {
	switch s := segments[i]; {
	case s.buf != nil && s.buf.joined:
		return joinFrom(segments, i)
	case s.buf != nil:
		return s.buf.b
	default:
		return s.lent
	}
}

// write writes all of the segments, in steps that the peer must take within the timeout each.
func (w *msgWriter) write(segments []segment, timeout time.Duration) error {
	slices := w.slices[:0]
	for i := range segments {
		slices = append(slices, bytesOf(segments, i))
	}
	w.slices = slices
	defer func() {
		clear(w.slices)
		if cap(w.slices) > 64 {
			w.slices = nil
		}
	}()
	if w.deadline == nil {
		t := time.AfterFunc(timeout, w.giveUp)
		defer t.Stop()
	}
	for len(slices) > 0 {
		n, k := 0, 0
		for k < len(slices) && n < writeStep {
			n += len(slices[k])
			k++
		}
		last := slices[k-1]
		cut := max(0, n-writeStep)
		slices[k-1] = last[:len(last)-cut]
		w.arm(timeout)
		var err error
		if k == 1 {
			_, err = w.conn.Write(slices[0])
		} else {
			step := net.Buffers(slices[:k])
			_, err = step.WriteTo(w.conn)
		}
		if err != nil {
			return err
		}
		if cut > 0 {
			k--
			slices[k] = last[len(last)-cut:]
		}
		slices = slices[k:]
	}
	return nil
}

// arm gives the next write d. As for reads a deadline that was set lately stays, being a little late.
func (w *msgWriter) arm(d time.Duration) {
	if w.deadline == nil {
		return
	}
	if now := clock(); d != w.armedFor || now-w.armed > d/16 {
		w.armed, w.armedFor = now, d
		w.deadline(time.Now().Add(d + d/16))
	}
}

// disarm sees to it that the next write, which does not wait, is not stopped by a deadline that has passed since it was set.
func (w *msgWriter) disarm() {
	if w.armedFor != 0 && clock()-w.armed > w.armedFor {
		w.armedFor = 0
		w.deadline(time.Time{})
	}
}

// claim makes the caller the flusher if there is something to write and nobody writes it. Then flush must follow.
func (w *msgWriter) claim() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.flushing || w.queued == w.written || w.failed != nil {
		return false
	}
	w.flushing = true
	return true
}

// setLimits sets how many bytes may be unsent and how long a write may take.
func (w *msgWriter) setLimits(maxUnsent int, timeout time.Duration) {
	w.mu.Lock()
	w.maxUnsent.Store(int64(maxUnsent))
	w.timeout = timeout
	w.mu.Unlock()
}

// patience returns how long a write may take.
func (w *msgWriter) patience() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.timeout
}

// progress returns how many bytes were ever written.
func (w *msgWriter) progress() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.written
}
