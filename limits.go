package gotalk

import (
	"cmp"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Unlimited as a value of Limits.BufferRequests or Limits.StreamRequests sets no limit.
const Unlimited = uint32(0xffffffff)

// Limits says what a Sock grants its peer. They are read when Sock.Read starts (which Connect and Server do), so they
// hold for each connection by itself and later changes do not apply to it. A nil *Limits means DefaultLimits.
type Limits struct {
	// ReadTimeout is how long the peer may send nothing before the connection is closed with ProtocolErrorTimeout.
	// Every message counts, heartbeats included, and a large payload may take this long for each 64 KiB. 0 means no
	// timeout. A Sock that itself sends heartbeats more often than ReadTimeout bears with a peer that is idle and has
	// never sent a heartbeat: it may be one that does not send any.
	ReadTimeout time.Duration

	// BufferRequests is how many single requests of the peer may be under way at once; one more is answered with a
	// retry result. 0 means the default, Unlimited, which holds a flood back by not reading on (see MaxHandlers).
	BufferRequests uint32

	// StreamRequests is how many streaming requests of the peer may be under way at once. 0 means 16,384 of operations
	// registered by HandleStream, and none at all of those by HandleStreamRequest.
	StreamRequests uint32

	// The wait that a retry result asks for is drawn between these two. 0 means the default, 500 ms and 5 s.
	BufferMinWait, BufferMaxWait time.Duration
	StreamMinWait, StreamMaxWait time.Duration

	// MaxPayload is the largest payload in bytes that is received, in parts or whole. A larger request is answered with an
	// error, a larger result ends its call with ErrPayloadTooLarge, a larger notification is dropped and logged. 0 means 16 MiB.
	MaxPayload uint32

	// MaxHandlers is how many single requests are handled at the same time, 4096 when 0. As many again may wait for
	// their turn, and more if some can be cancelled by their caller. Past that the connection is not read on until one
	// ends, which the peer takes without noticing, but for one case: while a call to the peer is under way on this Sock
	// its answer must be read, so then new requests are refused with a retry result, and so are those that wait while all
	// handlers make no progress for a second. A Sock begins with a few handlers and starts more within milliseconds while
	// requests wait, the sooner the smaller the operation's results have been: what a peer does not read waits in memory.
	MaxHandlers int

	// MaxPendingBytes bounds the memory of requests, notifications and stream parts that were received and not yet
	// handled, in the same way: when it is reached, reading stops, or where a call is under way goes on to twice as much
	// and one more payload. 0 means 32 MiB. Requests and notifications are counted apart from stream parts, and so are
	// requests of which not all has come: beyond this bound and one more payload the latest is refused with a retry result.
	// The metadata of streams that are under way together is bounded by it too: one whose metadata is too much is refused.
	MaxPendingBytes int

	// MaxUnsentBytes is how many bytes may wait to be written before calls and replies wait for room, and the peer's
	// requests are no longer read; if nothing at all is taken for a second a few more are (four times as many bytes), as the
	// peer may wait likewise. NotifyPrepared and Broadcast do not wait: then the peer misses what they send. 0 means 1 MiB.
	// One message always fits.
	MaxUnsentBytes int

	// BytesPerSecond is how much the peer may send in the course of time, of whatever kind, beside as much again at once after
	// a pause. Past it the connection is read on later, which the peer takes without noticing. A message that has begun is
	// read whole, so keep MaxPayload in proportion; what the peer sends meanwhile waits, results of our calls and the end of
	// the connection too. 0 or less means no limit. For how many calls it may make see LimitRate.
	BytesPerSecond int

	// HandshakeTimeout is how long the peer may take to send its protocol version, TLS's own handshake included on the
	// accepting side. 0 means 10 s.
	HandshakeTimeout time.Duration

	// WriteTimeout is how long the peer may take for each 256 KiB of what is sent to it before the connection is closed; for
	// all that is sent at once, if the connection knows no deadlines. 0 means 30 s.
	WriteTimeout time.Duration
}

// DefaultLimits is what a nil *Limits means: 30 s without a message, any number of single requests, and of
// streaming requests what Limits.StreamRequests says about 0.
var DefaultLimits = &Limits{
	ReadTimeout:    30 * time.Second,
	BufferRequests: Unlimited,
	StreamRequests: 0,
	BufferMinWait:  defaultMinWait,
	BufferMaxWait:  defaultMaxWait,
	StreamMinWait:  defaultMinWait,
	StreamMaxWait:  defaultMaxWait,
}

// NoLimits grants any number of requests of both kinds and lets the peer be silent. The bounds on memory still hold.
var NoLimits = &Limits{BufferRequests: Unlimited, StreamRequests: Unlimited}

// NewLimits returns a copy of DefaultLimits that allows as many single and streaming requests at once as given.
func NewLimits(bufferRequests, streamRequests uint32) *Limits {
	l := *DefaultLimits
	l.BufferRequests, l.StreamRequests = bufferRequests, streamRequests
	return &l
}

const (
	defaultMinWait          = 500 * time.Millisecond
	defaultMaxWait          = 5 * time.Second
	defaultMaxPayload       = 16 << 20
	defaultMaxHandlers      = 4096
	defaultMaxPendingBytes  = 32 << 20
	defaultMaxUnsentBytes   = 1 << 20
	defaultHandshakeTimeout = 10 * time.Second
	defaultWriteTimeout     = 30 * time.Second
	maxRetryWait            = time.Duration(maxSize) * time.Millisecond // what eight digits can say
)

// resolved returns l with defaults in place of the values that were left zero, and nothing out of range. A server's
// Limits may have been made and set by another goroutine while it serves; see Sock.handlers.
//
//go:norace
func (l *Limits) resolved() Limits {
	if l == nil {
		l = DefaultLimits
	}
	if l == nil { // a program may have set DefaultLimits to nil
		l = &Limits{ReadTimeout: 30 * time.Second}
	}
	r := *l
	r.ReadTimeout = max(r.ReadTimeout, 0)
	r.BufferRequests = cmp.Or(r.BufferRequests, Unlimited)
	r.MaxPayload = cmp.Or(r.MaxPayload, defaultMaxPayload)
	r.MaxHandlers = orDefault(r.MaxHandlers, defaultMaxHandlers)
	r.MaxPendingBytes = orDefault(r.MaxPendingBytes, defaultMaxPendingBytes)
	r.MaxUnsentBytes = orDefault(r.MaxUnsentBytes, defaultMaxUnsentBytes)
	r.BytesPerSecond = max(r.BytesPerSecond, 0)
	r.HandshakeTimeout = orDefault(r.HandshakeTimeout, defaultHandshakeTimeout)
	r.WriteTimeout = orDefault(r.WriteTimeout, defaultWriteTimeout)
	return r
}

// lastLimits are some that were shared last.
var lastLimits struct {
	all  [8]atomic.Pointer[Limits]
	next atomic.Uint32
}

// shared returns limits like l that many links may have, since most are granted the same. They must not be changed.
func (l Limits) shared() *Limits {
	for i := range lastLimits.all {
		if last := lastLimits.all[i].Load(); last != nil && *last == l {
			return last
		}
	}
	fresh := l
	lastLimits.all[lastLimits.next.Add(1)%uint32(len(lastLimits.all))].Store(&fresh)
	return &fresh
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// bufferWait draws the milliseconds after which a refused single request may be tried again.
func (l *Limits) bufferWait() uint32 { return drawWait(l.BufferMinWait, l.BufferMaxWait) }

// streamWait draws the milliseconds after which a refused streaming request may be tried again.
func (l *Limits) streamWait() uint32 { return drawWait(l.StreamMinWait, l.StreamMaxWait) }

// drawWait draws from [least, most) in milliseconds, with defaults for values that are not set. Bounds that are equal,
// or the wrong way round because only one of them was set, give the one that was set.
func drawWait(least, most time.Duration) uint32 {
	switch {
	case least <= 0 && most <= 0:
		least, most = defaultMinWait, defaultMaxWait
	case least <= 0:
		least = min(defaultMinWait, most)
	case most <= 0:
		most = max(defaultMaxWait, least)
	}
	least, most = min(least, most), max(least, most)
	least, most = min(least, maxRetryWait), min(most, maxRetryWait)
	from, to := least.Milliseconds(), most.Milliseconds()
	if to <= from {
		return uint32(from)
	}
	return uint32(from + rand.Int64N(to-from))
}
