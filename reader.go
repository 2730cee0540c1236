package gotalk

import (
	"io"
	"os"
	"time"
)

const (
	minReadBuffer = 2 << 10  // what an idle connection holds
	maxReadBuffer = 64 << 10 // what a busy one may grow to
	maxEmptyReads = 100      // that a connection may do without an error, one after the other
	largePayload  = 32 << 10 // from this size on a payload is best read past the buffer
	headerAhead   = 128      // what is read to find the header of another one
	payloadStep   = 64 << 10 // the memory that a payload's claim alone is worth, and what must arrive per timeout
)

// msgReader takes messages apart that come in over a connection. It is used by one goroutine, the connection's reader.
// One read of the connection may bring many messages: they are parsed where they lie.
type msgReader struct {
	src      io.Reader
	deadline func(time.Time) error // nil when src knows no deadlines
	onWait   func()                // called before each read of src for the rest of a payload
	socket   *socketReader         // instead of src where it can; not for payloads
	frames   *frameReader          // takes the frames apart that come from the socket; nil if none do

	buf      []byte // what was read is buf[from:to]
	from, to int

	idleTimeout time.Duration // how long the peer may take to begin a message; 0 means for ever
	timeout     time.Duration // how long it may take for the rest of it, or for each step of a large payload

	total int64 // bytes that were read

	large  bool // the last payload was
	proven int  // bytes of the largest payload so far

	armed    time.Duration // when the deadline was last set, by clock
	armedFor time.Duration // and for how long; 0 when none is set
}

// have is next that does not wait: it returns false if the header has not come yet.
func (r *msgReader) have(h *header) (ok bool, err error) {
	n, err := h.parse(r.buf[r.from:r.to])
	if err != nil || n <= 0 {
		return false, err
	}
	r.from += n
	return true, nil
}

// next puts the header of the next message into h. Its name is valid until the next call of any method. The message's
// payload must be taken by payload or skip before the next header.
func (r *msgReader) next(h *header) error {
	for began := false; ; {
		if ok, err := r.have(h); ok || err != nil {
			return err
		}
		if r.idle() {
			r.arm(r.idleTimeout)
		} else if !began {
			began = true
			r.arm(r.timeout)
		}
		if err := r.fill(headerSize(r.buf[r.from:r.to])); err != nil {
			return err
		}
	}
}

// idle tells whether the next message has not begun to arrive.
func (r *msgReader) idle() bool { return r.from == r.to }

// version reads the peer's protocol version.
func (r *msgReader) version() (b [len(versionText)]byte, err error) {
	for r.to-r.from < len(b) {
		if err := r.fill(len(b)); err != nil {
			copy(b[:], r.buf[r.from:r.to])
			return b, err
		}
	}
	r.from += copy(b[:], r.buf[r.from:])
	return b, nil
}

// fill reads once, after making room for want unparsed bytes.
func (r *msgReader) fill(want int) error {
	if r.from == r.to {
		r.from, r.to = 0, 0
	}
	if r.socket != nil {
		return r.fillFromSocket(want)
	}
	n, err := r.read(r.room(want))
	r.to += n
	r.large = false
	// A read that fills the buffer says that more is waiting: the next one may take more of it at once.
	if n > 0 && r.to == len(r.buf) && len(r.buf) < maxReadBuffer {
		r.move(make([]byte, min(4*len(r.buf), maxReadBuffer)))
	}
	return err
}

// room returns where to read to, so that there is room for want unparsed bytes.
func (r *msgReader) room(want int) []byte {
	switch {
	case len(r.buf) == 0:
		r.buf = make([]byte, max(minReadBuffer, want))
	case want > len(r.buf):
		r.move(make([]byte, want))
	case r.from+want > len(r.buf) || r.to == len(r.buf):
		r.move(r.buf)
	}
	room := r.buf[r.to:]
	if r.large && want < headerAhead { // most likely another large payload follows
		room = room[:min(len(room), headerAhead)]
	}
	return room
}

// read reads at least a byte, or returns an error.
func (r *msgReader) read(p []byte) (int, error) {
	for range maxEmptyReads {
		n, err := r.src.Read(p)
		if n > 0 {
			r.total += int64(n)
			return n, nil // an error, if there was one, comes again
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// move makes buf the buffer, with the unparsed bytes at its start.
func (r *msgReader) move(buf []byte) {
	r.to = copy(buf, r.buf[r.from:r.to])
	r.from, r.buf = 0, buf
}

// skip drops the payload of size bytes that follows a header.
func (r *msgReader) skip(size uint32) error {
	for left, step := int64(size), int64(size); ; {
		n := min(int64(r.to-r.from), left)
		r.from += int(n)
		left -= n
		if left == 0 {
			return nil
		}
		if left <= step {
			step = left - payloadStep
			r.arm(r.timeout)
		}
		r.onWait()
		if err := r.fill(1); err != nil {
			return inPayload(err)
		}
	}
}

// inPayload is err where the input ends in the middle of a message.
func inPayload(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// arm gives the reads that follow d in all; 0 means that they may wait for ever. Setting a deadline costs as much as
// reading a small message, so one that was set lately stays; it is set a little late to make up for that.
func (r *msgReader) arm(d time.Duration) {
	if r.deadline == nil || d == 0 && r.armedFor == 0 {
		return
	}
	if d == 0 {
		r.armedFor = 0
		r.deadline(time.Time{})
		return
	}
	if now := clock(); d != r.armedFor || now-r.armed > d/16 {
		r.armed, r.armedFor = now, d
		r.deadline(time.Now().Add(d + d/16))
	}
}

// isTimeout tells whether err is that of a read or write whose deadline passed.
func isTimeout(err error) bool {
	t, ok := err.(interface{ Timeout() bool })
	return ok && t.Timeout() || err == os.ErrDeadlineExceeded
}
