package gotalk

import (
	"math/bits"
	"sync"
	"syscall"
)

// A connection that waits for its peer holds no buffer: a socket is read when something has come, into a buffer that is
// taken at that moment and given back when all that was in it is parsed and nothing more is there.

// sharedBuffer is a buffer that readers use one after the other.
type sharedBuffer struct{ b []byte }

// sharedBuffers has those that are not in use, by their size: a power of two from minReadBuffer to maxReadBuffer.
var sharedBuffers [6]sync.Pool

func sharedPool(size int) *sync.Pool {
	return &sharedBuffers[bits.Len(uint(size))-bits.Len(minReadBuffer)]
}

// socketReader is what a msgReader has if its connection is a socket.
type socketReader struct {
	raw    syscall.RawConn
	try    func(fd uintptr) bool // made once
	shared *sharedBuffer         // the reader's buffer, if that is one
	want   int                   // how many bytes the reader wants there to be room for
	size   int                   // of the next buffer

	// What the last try has brought.
	n    int
	err  error
	full bool // it filled the buffer
}

// readFrom lets r read from raw, if there is one.
func (r *msgReader) readFrom(raw syscall.RawConn) {
	if raw != nil {
		r.socket = &socketReader{raw: raw, size: minReadBuffer}
		r.socket.try = r.tryRead
	}
}

// fillFromSocket is fill for a socket.
func (r *msgReader) fillFromSocket(want int) error {
	s := r.socket
	s.want = want
	for {
		if r.frames != nil {
			if err := r.frames.ended(); err != nil {
				return err
			}
		}
		if err := s.raw.Read(s.try); err != nil {
			return err
		}
		n := s.n
		if r.frames != nil {
			n = r.frames.unframe(r.buf[r.to : r.to+n])
		}
		r.to += n
		r.total += int64(n)
		r.large = false
		if s.full && s.size < maxReadBuffer { // more is waiting: the next read may take more of it at once
			s.size = min(4*s.size, maxReadBuffer)
		}
		if n > 0 || s.err != nil {
			return s.err
		}
	}
}

// tryRead reads what has come, and tells whether something has or the connection has ended.
func (r *msgReader) tryRead(fd uintptr) (ok bool) {
	s := r.socket
	if s.size > len(r.buf) {
		r.share(s.size)
	}
	if s.n, ok, s.err = readSocket(fd, r.room(s.want)); !ok {
		r.rest()
	}
	s.full = r.to+s.n == len(r.buf)
	return ok
}

// share takes a buffer for what comes, and for what is there.
func (r *msgReader) share(size int) {
	shared, _ := sharedPool(size).Get().(*sharedBuffer)
	if shared == nil {
		shared = &sharedBuffer{make([]byte, size)}
	}
	r.use(shared.b)
	r.socket.shared = shared
}

// rest is called before waiting for the peer. Of a message that has begun to arrive a small buffer is kept.
func (r *msgReader) rest() {
	switch {
	case r.socket == nil:
	case r.from == r.to:
		r.use(nil)
	case len(r.buf) > minReadBuffer && r.to-r.from < minReadBuffer:
		r.share(minReadBuffer)
	}
}

// use makes buf the buffer, with the unparsed bytes at its start, and gives back the one before.
func (r *msgReader) use(buf []byte) {
	r.move(buf)
	if s := r.socket; s.shared != nil {
		sharedPool(len(s.shared.b)).Put(s.shared)
		s.shared = nil
	}
}

// hold takes a buffer for n bytes, if there is none.
func (r *msgReader) hold(n int) {
	switch {
	case len(r.buf) >= n:
	case r.socket != nil:
		r.share(minReadBuffer)
	default:
		r.buf = make([]byte, minReadBuffer)
	}
}

// abandon leaves the buffer to somebody who still uses what was in it, and takes another one.
func (r *msgReader) abandon() {
	r.move(make([]byte, max(minReadBuffer, r.to-r.from)))
	if r.socket != nil {
		r.socket.shared = nil
	}
}
