package gotalk

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

// BufferReqHandler handles a single request, with payloads as they are on the wire. It may run many times at once, also
// for the same Sock (see Limits.MaxHandlers), and take its time: others are started meanwhile.
//
// payload is never nil and the handler's to keep. The returned data is the request's result and must not be changed
// after the handler returned; nil makes an empty result. When err is not nil its text is sent to the peer instead.
type BufferReqHandler func(s *Sock, op string, payload []byte) ([]byte, error)

// BufferReqContextHandler is a BufferReqHandler that gets the request's context. It ends when the caller cancels the
// request, when the deadline that the caller gave it has passed, when the connection ends, and when the handler has
// returned. MetaFrom finds in it what the caller sent along. It has the values that Sock.Context has. A handler that
// returns because of it returns ctx.Err(); calls that it makes with ctx hand the deadline on.
type BufferReqContextHandler func(ctx context.Context, s *Sock, op string, payload []byte) ([]byte, error)

// BufferNoteHandler handles a notification, with a payload as it is on the wire. The notifications of a Sock are
// handled one after the other in the order of their arrival, those of different Socks at the same time. Requests do not
// wait for it.
//
// payload is nil when the notification carries none, and the handler's to keep.
type BufferNoteHandler func(s *Sock, name string, payload []byte)

// BufferNoteContextHandler is a BufferNoteHandler that gets a context, which ends when the connection does and when the
// handler has returned. What the peer sent just before it closed the connection is still handled: ctx has ended then.
type BufferNoteContextHandler func(ctx context.Context, s *Sock, name string, payload []byte)

// requestFunc is a handler as it was registered: one of the two.
type requestFunc struct {
	plain   BufferReqHandler
	withCtx BufferReqContextHandler
	lent    bool // it does not keep its payload
}

func (f requestFunc) call(ctx context.Context, s *Sock, op string, payload []byte) ([]byte, error) {
	if f.withCtx != nil {
		return f.withCtx(ctx, s, op, payload)
	}
	return f.plain(s, op, payload)
}

// noteFunc is requestFunc for notifications.
type noteFunc struct {
	plain   BufferNoteHandler
	withCtx BufferNoteContextHandler
}

// Handlers is a set of handlers for requests and notifications, each registered under the name of what it handles. The
// zero value is an empty set, ready for use. A set may serve any number of Socks, and all methods may be called
// concurrently, also while it does; it must not be copied after its first use.
//
// There are three tables, one each for single requests, streaming requests and notifications: a handler in one of them
// never gets what belongs to another. In each of them
//
//   - registering under a name that has a handler replaces that one;
//   - the handler registered under the empty name is the fallback, which gets everything that has no handler;
//   - registering nil removes a handler (not with Handle and HandleNotification, which take functions only).
//
// Names have at most 4095 bytes, which is what the protocol can carry. Those that begin with "gotalk:" are reserved for
// the protocol's extensions and never reach a handler, not even a fallback. Registering under a name that breaks either
// rule panics.
type Handlers struct {
	requests      table[requestFunc]
	streams       table[streamFunc]
	notifications table[noteFunc]

	outer  *Handlers    // the set behind this one, or nil; set before first use
	around interceptors // see Use
}

// NewHandlers returns an empty set.
//
// Deprecated: use &Handlers{}.
func NewHandlers() *Handlers { return &Handlers{} }

// NewSubHandlers returns an empty set that h stands behind. A name is looked up among the names registered with the new
// set, then those of h (and of the set behind h, if there is one); then come the new set's fallback and last that of h.
// What is registered with h later is found as well. Interceptors of h are called around what the new set handles too.
func (h *Handlers) NewSubHandlers() *Handlers {
	sub := &Handlers{}
	if h != nil {
		sub.outer = h
		sub.requests.outer = &h.requests
		sub.streams.outer = &h.streams
		sub.notifications.outer = &h.notifications
	}
	return sub
}

// Handle registers fn for requests named op. Parameter and result travel as JSON. fn has one of these shapes:
//
//	func() error
//	func(param) error
//	func(*Sock) error
//	func(*Sock, param) error
//	func(*Sock, op string, param) error
//
//	func() (result, error)
//	func(param) (result, error)
//	func(*Sock) (result, error)
//	func(*Sock, param) (result, error)
//	func(*Sock, op string, param) (result, error)
//
// or one of them with a context.Context before all else (see BufferReqContextHandler), where param and result are any types
// that encoding/json handles, op any string type, error any interface type that implements error, and *Sock may be a pointer
// to a type of your own that is declared as Sock is (type Conn gotalk.Sock). Anything else panics, and says why. For example:
//
//	h.Handle("add", func(p struct{ A, B int }) (int, error) {
//		return p.A + p.B, nil
//	})
//
// A request whose payload is empty or cannot be decoded into param is answered with the error "unexpected parameter
// type"; null gives the zero value. A function without param ignores the payload. An error that fn returns is what the
// requestor gets; without one it gets result, or an empty payload where the shape has no result.
//
// See BufferReqHandler about concurrency.
func (h *Handlers) Handle(op string, fn interface{}) {
	h.requests.set(op, requestHandler(fn), false)
}

// HandleBufferRequest registers fn for single requests named op.
func (h *Handlers) HandleBufferRequest(op string, fn BufferReqHandler) {
	h.requests.set(op, requestFunc{plain: fn}, fn == nil)
}

// HandleBufferRequestContext registers fn for single requests named op, in the same table as HandleBufferRequest.
func (h *Handlers) HandleBufferRequestContext(op string, fn BufferReqContextHandler) {
	h.requests.set(op, requestFunc{withCtx: fn}, fn == nil)
}

// HandleBufferRequestLent registers fn for single requests named op, in the same table as HandleBufferRequest. Its payload is
// only lent: fn may use it, and return it or a part of it as the result, but must not keep it when it has returned, since the
// memory is used for other requests then. That spares a server of large payloads most of the work of the garbage collector.
func (h *Handlers) HandleBufferRequestLent(op string, fn BufferReqHandler) {
	h.requests.set(op, requestFunc{plain: fn, lent: true}, fn == nil)
}

// HandleStreamRequest registers fn for streaming requests named op. They are refused unless Limits.StreamRequests
// allows them, which DefaultLimits does not. New programs do better with HandleStream.
func (h *Handlers) HandleStreamRequest(op string, fn StreamReqHandler) {
	h.streams.set(op, streamFunc{old: fn}, fn == nil)
}

// HandleStream registers fn for streaming requests named op. A peer may have as many of them open at once as
// Limits.StreamRequests says, 16,384 if that is 0.
func (h *Handlers) HandleStream(op string, fn StreamHandler) {
	h.streams.set(op, streamFunc{new: fn}, fn == nil)
}

// HandleNotification registers fn for notifications of that name. The parameter travels as JSON. fn has one of these
// shapes, with the same freedoms as for Handle:
//
//	func()
//	func(param)
//	func(name string, param)
//	func(*Sock, name string, param)
//
// or one of them with a context.Context before all else (see BufferNoteContextHandler). After that one
//
//	func(context.Context, *Sock)
//	func(context.Context, *Sock, param)
//
// are fine too. Anything else panics, and says why. For example:
//
//	h.HandleNotification("joined", func(s *gotalk.Sock, _ string, user User) {
//		log.Printf("%s joined from %s", user.Name, s.Addr())
//	})
//
// Nobody waits for the outcome of a notification, so fn is called even if the payload is empty or cannot be decoded:
// with the zero value of param, or one that is filled as far as decoding got. Be prepared for that.
//
// See BufferNoteHandler about concurrency.
func (h *Handlers) HandleNotification(name string, fn interface{}) {
	h.notifications.set(name, notificationHandler(fn), false)
}

// HandleBufferNotification registers fn for notifications of that name.
func (h *Handlers) HandleBufferNotification(name string, fn BufferNoteHandler) {
	h.notifications.set(name, noteFunc{plain: fn}, fn == nil)
}

// HandleBufferNotificationContext registers fn for notifications of that name, in the same table as
// HandleBufferNotification.
func (h *Handlers) HandleBufferNotificationContext(name string, fn BufferNoteContextHandler) {
	h.notifications.set(name, noteFunc{withCtx: fn}, fn == nil)
}

// FindBufferRequestHandler returns the handler that a single request named op goes to, or nil. A nil h has none. One that
// takes a context gets that of the Sock. Interceptors are not part of it.
func (h *Handlers) FindBufferRequestHandler(op string) BufferReqHandler {
	e := h.findRequest([]byte(op))
	if e == nil {
		return nil
	}
	fn := e.fn
	if fn.withCtx == nil {
		return fn.plain
	}
	return func(s *Sock, op string, payload []byte) ([]byte, error) {
		return fn.withCtx(s.Context(), s, op, payload)
	}
}

// FindStreamRequestHandler returns the handler that a streaming request named op goes to, or nil, also if that was
// registered by HandleStream. A nil h has none.
func (h *Handlers) FindStreamRequestHandler(op string) StreamReqHandler {
	e := h.findStream([]byte(op))
	if e == nil {
		return nil
	}
	return e.fn.old
}

// FindNotificationHandler returns the handler that a notification of that name goes to, or nil. A nil h has none. One
// that takes a context gets that of the Sock. Interceptors are not part of it.
func (h *Handlers) FindNotificationHandler(name string) BufferNoteHandler {
	e := h.findNotification([]byte(name))
	if e == nil {
		return nil
	}
	fn := e.fn
	if fn.withCtx == nil {
		return fn.plain
	}
	return func(s *Sock, name string, payload []byte) { fn.withCtx(s.Context(), s, name, payload) }
}

// findRequest, findStream and findNotification are what the read loop uses; see table.find.
func (h *Handlers) findRequest(name []byte) *entry[requestFunc] {
	if h == nil {
		return nil
	}
	return h.requests.find(name)
}

func (h *Handlers) findStream(name []byte) *entry[streamFunc] {
	if h == nil {
		return nil
	}
	return h.streams.find(name)
}

func (h *Handlers) findNotification(name []byte) *entry[noteFunc] {
	if h == nil {
		return nil
	}
	return h.notifications.find(name)
}

// table maps names to handlers of type F. Every message of every connection is looked up in one while changes are rare,
// so a change replaces the whole map and find takes no lock.
type table[F any] struct {
	outer *table[F] // where to look for what is not here; set before first use

	mu      sync.Mutex                           // held while entries is replaced
	entries atomic.Pointer[map[string]*entry[F]] // the map is never written to once it is here
}

// entry is a handler that is registered. It never changes.
type entry[F any] struct {
	name string
	fn   F
	past *history
}

// set puts fn in the place of what is registered under name, or removes that.
func (t *table[F]) set(name string, fn F, remove bool) {
	if strings.HasPrefix(name, reservedPrefix) {
		panic(fmt.Sprintf("gotalk: cannot register a handler for %q: names that begin with %q are reserved "+
			"for the protocol's extensions; choose another", name, reservedPrefix))
	}
	if len(name) > maxNameSize {
		panic(fmt.Sprintf("gotalk: cannot register a handler under a name of %d bytes: the limit is %d",
			len(name), maxNameSize))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	entries := maps.Clone(t.load())
	if remove {
		delete(entries, name)
	} else {
		if entries == nil {
			entries = map[string]*entry[F]{}
		}
		entries[name] = &entry[F]{name, fn, new(history)}
	}
	t.entries.Store(&entries)
}

// load returns the entries, which must not be changed.
func (t *table[F]) load() map[string]*entry[F] {
	if m := t.entries.Load(); m != nil {
		return *m
	}
	return nil
}

// find returns the entry for name, with the name of the registration, so that nothing is allocated, but for a fallback,
// where both are copies. Without a handler it is nil. It does not keep name.
func (t *table[F]) find(name []byte) *entry[F] {
	for in := t; in != nil; in = in.outer {
		if e := in.load()[string(name)]; e != nil {
			return e
		}
	}
	if len(name) >= len(reservedPrefix) && string(name[:len(reservedPrefix)]) == reservedPrefix {
		return nil
	}
	for in := t; in != nil; in = in.outer {
		if e := in.load()[""]; e != nil {
			return &entry[F]{string(name), e.fn, e.past}
		}
	}
	return nil
}
