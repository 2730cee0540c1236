package gotalk

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	lendSize    = 16 << 10  // a payload over this is written from the caller's slice instead of being copied
	writeStep   = 256 << 10 // what the peer must take within the write timeout
	keepBuffer  = 64 << 10  // a larger write buffer is not used again
	fullBuffer  = 32 << 10  // what is appended to one that has more goes into another one
	batchSize   = 16 << 10  // what the reading goroutine leaves unwritten at the most while more requests are at hand
	flushRounds = 4         // writes that a caller makes for others before another goroutine takes over
	maxPosted   = 4 << 20   // bytes of what did not wait for room: past it the peer floods us and takes no answers
)

// message is one that is to be written.
type message struct {
	t       MsgType // 0: the payload alone, as it is
	id      msgID
	name    string
	wait    uint32 // a heartbeat's load
	size    uint32 // a heartbeat's time or a protocol error's code; otherwise the payload's size is taken
	payload []byte
	given   bool     // payload is the writer's now, which puts it back into parts
	before  *message // goes out just before, in the same write; it is small
	after   *message // goes out just behind, in the same write; it is small
	queued  bool     // set when it was appended, so that the peer may get it
	end     int64    // where it ends in all that the writer writes, when it was appended
}

func (m *message) appendHeader(b []byte) []byte {
	size := m.size
	if m.t != MsgTypeHeartbeat && m.t != MsgTypeProtocolError {
		size = uint32(len(m.payload))
	}
	return appendHeader(b, m.t, m.id, m.name, m.wait, size)
}

// msgWriter is the only code that writes to a connection. Callers append to a buffer under the lock. The first one in
// becomes the flusher: it takes what is there and writes it outside the lock, while others go on appending, until
// nothing is left. So one call alone costs one write, and many share one. A caller that must not be held up, because
// its context may end or because it is the reader, starts a goroutine for the flushing instead, which ends when nothing
// is left. All methods may be called concurrently.
type msgWriter struct {
	conn     io.Writer
	deadline func(time.Time) error // nil when conn knows no deadlines
	raw      syscall.RawConn       // that conn is; nil where it cannot be written to without waiting
	giveUp   func()                // closes the connection: what ends a write where there are no deadlines
	onRoom   func()                // called without locks when unsent has come back to its bound
	framing  framing
	lend     bool // conn can write several slices at once

	inFlight  atomic.Int32 // calls and handlers under way, whose bytes may soon join those of others
	unsent    atomic.Int64 // bytes that wait to be written or are being written; changed under mu
	maxUnsent atomic.Int64

	mu        sync.Mutex
	timeout   time.Duration
	queue     []segment // what to write, in order, before tail
	spare     []segment // empty, to become the next queue
	tail      *buffer   // the last of it, which the next message is appended to; nil when empty
	queued    int64     // bytes ever appended
	written   int64     // bytes ever written
	posted    int       // bytes in queue and tail that did not wait for room
	flushing  bool
	listed    bool          // a sweeper is to write
	joining   bool          // framed messages may share a frame
	unswept   int64         // bytes appended since a sweeper is to write
	closed    error         // no message is taken any more; what is there is still written
	failed    error         // the connection is broken
	wake      chan struct{} // closed after each write, for those who wait; nil when nobody does
	onDrained func()        // called once when closed and all is written

	// Owned by the flusher.
	slices   [][]byte
	armed    time.Duration // by clock
	armedFor time.Duration
}

// send writes a message. It waits while too much is unsent, and while a large payload is written from m's slice. When
// ctx can end, so that send must be able to return at any time, it neither lends the slice nor writes by itself, and a
// notification, which nobody waits for, leaves the writing to another goroutine too. When send returns, the payload is the
// caller's again; an error of a write that is still to come ends the connection.
func (w *msgWriter) send(ctx context.Context, m *message) error {
	if uint64(len(m.payload)) > maxSize {
		return oversize(len(m.payload))
	}
	mayBlock := ctx.Done() == nil
	later := !mayBlock || m.t == MsgTypeNotification && len(m.payload) <= lendSize // so that many share a write
	w.mu.Lock()
	for w.closed == nil && w.overfull() {
		if err := w.waitLocked(ctx); err != nil {
			w.mu.Unlock()
			return err
		}
	}
	if w.closed != nil {
		defer w.mu.Unlock()
		return w.closed
	}
	lent := w.appendLocked(m, mayBlock)
	if m.after != nil {
		w.appendLocked(m.after, false)
	}
	end := w.queued
	m.end = end
	flush := !w.flushing
	w.flushing = w.flushing || flush
	w.mu.Unlock()

	if flush {
		if later {
			go w.flush() // ends when all is written or the connection broken
			return nil
		}
		w.flush()
	} else if !lent {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for lent && w.written < end && w.failed == nil {
		w.waitLocked(ctx)
	}
	if w.written < end {
		return w.failed
	}
	return nil
}

// post appends a message without ever waiting: for the read loop and for timers. It fails when the peer has let far
// more than the bound pile up.
func (w *msgWriter) post(m *message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed != nil {
		return w.closed
	}
	if w.posted > maxPosted {
		return &timeoutError{"the peer does not read what is sent to it"}
	}
	before := w.queued
	w.appendLocked(m, false)
	w.posted += int(w.queued - before)
	w.flushSoonLocked()
	return nil
}

// add appends a small message and leaves it to the caller to see to the flushing. It never waits.
func (w *msgWriter) add(m *message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed != nil {
		return w.closed
	}
	w.appendLocked(m, false)
	return nil
}

// postRaw appends bytes that go out as they are: WebSocket control frames. Nothing may follow the last one, a close frame.
func (w *msgWriter) postRaw(b []byte, last bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed != nil {
		return w.closed
	}
	if w.posted > maxPosted {
		return &timeoutError{"the peer does not read what is sent to it"}
	}
	w.appendRawLocked(b)
	w.posted += len(b)
	if last {
		w.closed = ErrSockClosed
		w.wakeLocked()
	}
	w.flushSoonLocked()
	return nil
}

func (w *msgWriter) appendRawLocked(b []byte) {
	t := w.tailLocked(false)
	t.b = append(t.b, b...)
	w.countLocked(len(b))
}

// overfull tells whether more is unsent than the bound allows.
func (w *msgWriter) overfull() bool { return w.unsent.Load() > w.maxUnsent.Load() }

// anyPosted tells whether something waits to be written that did not wait for room.
func (w *msgWriter) anyPosted() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.posted > 0
}

// tailLocked returns the buffer to append to: one for messages that are to be joined, or one for what goes out as it is.
func (w *msgWriter) tailLocked(joined bool) *buffer {
	if w.tail != nil && (w.tail.joined != joined || len(w.tail.b) > fullBuffer) {
		w.queue = append(w.queue, segment{buf: w.tail})
		w.tail = nil
	}
	if w.tail == nil {
		w.tail = buffers.Get().(*buffer)
		w.tail.joined = joined
		if joined {
			w.tail.b = append(w.tail.b, make([]byte, maxFrameHeader)...)
		}
	}
	return w.tail
}

func (w *msgWriter) countLocked(n int) {
	w.queued += int64(n)
	w.unsent.Add(int64(n))
}

// appendLocked appends a message, and tells whether its payload is lent instead of copied.
func (w *msgWriter) appendLocked(m *message, mayLend bool) (lent bool) {
	m.queued = true
	if m.before != nil {
		w.appendLocked(m.before, false)
	}
	framed := w.framing != unframed && !w.joining
	t := w.tailLocked(w.joining)
	before := len(t.b)
	if m.t != 0 {
		if !framed {
			t.b = m.appendHeader(t.b)
		} else {
			// A frame begins with its size, which is known when the header is there.
			var room [64]byte
			t.b = appendFrame(t.b, w.framing, opBinary, m.appendHeader(room[:0]))
		}
	}
	if len(m.payload) == 0 {
		w.countLocked(len(t.b) - before)
		return false
	}
	if !mayLend && !m.given || !w.lend || len(m.payload) <= lendSize {
		if !framed {
			t.b = append(t.b, m.payload...)
		} else {
			t.b = appendFrame(t.b, w.framing, opBinary, m.payload)
		}
		w.countLocked(len(t.b) - before)
		return false
	}
	if framed {
		t.b, _ = appendFrameHeader(t.b, w.framing, len(m.payload))
	}
	w.countLocked(len(t.b) - before + len(m.payload))
	w.queue = append(w.queue, segment{buf: t}, segment{lent: m.payload, given: m.given, joined: w.joining})
	w.tail = nil
	return !m.given
}

// close lets no more messages in after last, if there is one, and raw; err is what those who try get. It tells whether
// all is written; if not, drained is called when that is so or the connection broke.
func (w *msgWriter) close(err error, last *message, raw []byte, drained func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed == nil {
		w.closed = err
		if last != nil {
			w.appendLocked(last, false)
		}
		if len(raw) > 0 {
			w.appendRawLocked(raw)
		}
	}
	w.wakeLocked()
	if w.queued > w.written && w.failed == nil {
		w.flushSoonLocked()
	}
	if !w.flushing {
		return true
	}
	w.onDrained = drained
	return false
}
