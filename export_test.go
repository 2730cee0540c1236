package gotalk

import (
	"io"
	"net"
)

// SetNextID sets what the next request of s counts from.
func SetNextID(s *Sock, n uint32) { s.nextID.Store(n) }

// AppendHeader is what messages are written with.
func AppendHeader(b []byte, t MsgType, id [4]byte, name string, wait, size uint32) []byte {
	return appendHeader(b, t, id, name, wait, size)
}

// ParseHeader is what messages are read with. n is not positive while b does not hold the whole header.
func ParseHeader(b []byte) (t MsgType, id [4]byte, name []byte, wait, size uint32, n int, err error) {
	var h header
	n, err = h.parse(b)
	return h.t, h.id, h.name, h.wait, h.size, n, err
}

// Held says what the connection in use holds: calls under way, streams of the peer's, and bytes of parts.
func Held(s *Sock) (calls, streams int, feedBytes int64) {
	l := s.link.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.calls), len(l.streams), l.feedBytes.Load()
}

// Reserve is the first thing that Send does: it takes credit for n bytes.
func (st *Stream) Reserve(n int64) error { return st.reserve(n) }

// Frames reads what the messages hold of a WebSocket whose frames come from conn. written waits until all is answered.
func Frames(conn net.Conn) (r io.Reader, written func()) {
	l := newWSLink(&Sock{}, conn, serverFraming)
	return l.conn, func() {
		done := make(chan struct{})
		if !l.w.close(ErrSockClosed, nil, nil, func() { close(done) }) {
			<-done
		}
	}
}

// HeldParts says how many requests of which not all has come the connection in use holds, or their bytes.
func HeldParts(s *Sock) int64 {
	l := s.link.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(int64(len(l.split.partials)), l.split.bytes.Load())
}

// Bounds are those that no field sets, in bytes or as a number.
var Bounds = map[string]int{
	"a name": maxNameSize, "a window": streamWindow, "metadata": maxExtensionSize, "refusals": maxRefusing,
	"streams of HandleStream": defaultStreams,
}

// Resolved returns what limits mean, with defaults where nothing is set.
func Resolved(l *Limits) Limits { return l.resolved() }
