package gotalk_test

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gotalk-go/gotalk"
)

// registry is one of the three tables of a Handlers. What is registered is a handler that tells its label when called.
type registry struct {
	name       string
	register   func(h *gotalk.Handlers, name, label string)
	unregister func(h *gotalk.Handlers, name string)
	find       func(h *gotalk.Handlers, name string) string                    // label of what is found, "" for nothing
	lookup     func(h *gotalk.Handlers, name string) (label, canonical string) // the same as the read loop does it
}

var registries = []registry{
	{
		name: "request",
		register: func(h *gotalk.Handlers, name, label string) {
			h.HandleBufferRequest(name, func(*gotalk.Sock, string, []byte) ([]byte, error) { return []byte(label), nil })
		},
		unregister: func(h *gotalk.Handlers, name string) { h.HandleBufferRequest(name, nil) },
		find: func(h *gotalk.Handlers, name string) string {
			return requestLabel(h.FindBufferRequestHandler(name))
		},
		lookup: func(h *gotalk.Handlers, name string) (string, string) {
			fn, canonical := h.LookupRequest([]byte(name))
			return requestLabel(fn), canonical
		},
	},
	{
		name: "stream",
		register: func(h *gotalk.Handlers, name, label string) {
			h.HandleStreamRequest(name, func(*gotalk.Sock, string, chan []byte, io.WriteCloser) error {
				return errors.New(label)
			})
		},
		unregister: func(h *gotalk.Handlers, name string) { h.HandleStreamRequest(name, nil) },
		find: func(h *gotalk.Handlers, name string) string {
			return streamLabel(h.FindStreamRequestHandler(name))
		},
		lookup: func(h *gotalk.Handlers, name string) (string, string) {
			fn, canonical := h.LookupStream([]byte(name))
			return streamLabel(fn), canonical
		},
	},
	{
		name: "notification",
		register: func(h *gotalk.Handlers, name, label string) {
			h.HandleBufferNotification(name, func(_ *gotalk.Sock, _ string, into []byte) { copy(into, label) })
		},
		unregister: func(h *gotalk.Handlers, name string) { h.HandleBufferNotification(name, nil) },
		find: func(h *gotalk.Handlers, name string) string {
			return notificationLabel(h.FindNotificationHandler(name))
		},
		lookup: func(h *gotalk.Handlers, name string) (string, string) {
			fn, canonical := h.LookupNotification([]byte(name))
			return notificationLabel(fn), canonical
		},
	},
}

func requestLabel(fn gotalk.BufferReqHandler) string {
	if fn == nil {
		return ""
	}
	label, _ := fn(nil, "", nil)
	return string(label)
}

func streamLabel(fn gotalk.StreamReqHandler) string {
	if fn == nil {
		return ""
	}
	return fn(nil, "", nil, nil).Error()
}

func notificationLabel(fn gotalk.BufferNoteHandler) string {
	if fn == nil {
		return ""
	}
	label := make([]byte, 32)
	fn(nil, "", label)
	return strings.TrimRight(string(label), "\x00")
}

// eachRegistry runs test for all three tables: they obey the same rules.
func eachRegistry(t *testing.T, test func(t *testing.T, r registry)) {
	for _, r := range registries {
		t.Run(r.name, func(t *testing.T) { test(t, r) })
	}
}

func TestHandlersRegister(t *testing.T) {
	eachRegistry(t, func(t *testing.T, r registry) {
		h := &gotalk.Handlers{}
		require.Empty(t, r.find(h, "a"))
		r.unregister(h, "a") // of what is not there: nothing happens
		require.Empty(t, r.find(h, "a"))

		r.register(h, "a", "first")
		r.register(h, "ä", "other")
		require.Equal(t, "first", r.find(h, "a"))
		require.Equal(t, "other", r.find(h, "ä"))
		require.Empty(t, r.find(h, "A"))
		require.Empty(t, r.find(h, ""))

		r.register(h, "a", "second")
		require.Equal(t, "second", r.find(h, "a"))

		r.unregister(h, "a")
		require.Empty(t, r.find(h, "a"))
		require.Equal(t, "other", r.find(h, "ä"))
	})
}

func TestHandlersFallback(t *testing.T) {
	eachRegistry(t, func(t *testing.T, r registry) {
		h := gotalk.NewHandlers()
		r.register(h, "", "fallback")
		r.register(h, "a", "exact")
		for name, want := range map[string]string{"a": "exact", "b": "fallback", "": "fallback"} {
			require.Equal(t, want, r.find(h, name))
			label, canonical := r.lookup(h, name)
			require.Equal(t, want, label)
			require.Equal(t, name, canonical)
		}
		r.unregister(h, "")
		require.Empty(t, r.find(h, "b"))
		label, canonical := r.lookup(h, "b")
		require.Empty(t, label)
		require.Empty(t, canonical)
	})
}

// A request never reaches what was registered for another kind of message.
func TestHandlersKindsAreSeparate(t *testing.T) {
	for i, r := range registries {
		h := &gotalk.Handlers{}
		r.register(h, "a", "a")
		r.register(h, "", "fallback")
		for j, other := range registries {
			require.Equal(t, i == j, other.find(h, "a") != "", "%s in %s", r.name, other.name)
			require.Equal(t, i == j, other.find(h, "b") != "", "%s in %s", r.name, other.name)
		}
	}
}

func TestHandlersNil(t *testing.T) {
	eachRegistry(t, func(t *testing.T, r registry) {
		var h *gotalk.Handlers
		require.Empty(t, r.find(h, "a"))
		label, canonical := r.lookup(h, "a")
		require.Empty(t, label)
		require.Empty(t, canonical)

		sub := h.NewSubHandlers()
		require.Empty(t, r.find(sub, "a"))
		r.register(sub, "a", "a")
		require.Equal(t, "a", r.find(sub, "a"))
	})
}

func TestHandlersSubHandlers(t *testing.T) {
	eachRegistry(t, func(t *testing.T, r registry) {
		outermost := &gotalk.Handlers{}
		outer := outermost.NewSubHandlers()
		sub := outer.NewSubHandlers()
		r.register(sub, "a", "sub a")
		r.register(outer, "a", "outer a")
		r.register(outer, "b", "outer b") // later than sub was made
		r.register(outermost, "b", "outermost b")
		r.register(outermost, "c", "outermost c")
		require.Equal(t, "sub a", r.find(sub, "a"))
		require.Equal(t, "outer b", r.find(sub, "b"))
		require.Equal(t, "outermost c", r.find(sub, "c"))
		require.Empty(t, r.find(sub, "d"))

		// What is registered with an inner set is nothing to those behind it.
		require.Equal(t, "outer a", r.find(outer, "a"))
		require.Equal(t, "outermost b", r.find(outermost, "b"))
		require.Empty(t, r.find(outermost, "a"))

		r.unregister(sub, "a")
		require.Equal(t, "outer a", r.find(sub, "a"))
	})
}

// The fallback of a sub set was never used: the outer set's came first, and without one there was none.
func TestHandlersSubHandlersOwnFallback(t *testing.T) {
	eachRegistry(t, func(t *testing.T, r registry) {
		outer := &gotalk.Handlers{}
		sub := outer.NewSubHandlers()
		r.register(sub, "", "sub fallback")
		require.Equal(t, "sub fallback", r.find(sub, "x"))

		r.register(outer, "", "outer fallback")
		r.register(outer, "a", "outer a")
		require.Equal(t, "sub fallback", r.find(sub, "x"))
		require.Equal(t, "sub fallback", r.find(sub, ""))
		require.Equal(t, "outer a", r.find(sub, "a"), "a name goes before any fallback")
		require.Equal(t, "outer fallback", r.find(outer, "x"))

		r.unregister(sub, "")
		require.Equal(t, "outer fallback", r.find(sub, "x"))
	})
}

func TestHandlersNameLimits(t *testing.T) {
	eachRegistry(t, func(t *testing.T, r registry) {
		h := &gotalk.Handlers{}
		longest := strings.Repeat("x", 4095)
		r.register(h, longest, "longest")
		require.Equal(t, "longest", r.find(h, longest))
		r.register(h, "gotalk", "not reserved")
		require.Equal(t, "not reserved", r.find(h, "gotalk"))

		require.PanicsWithValue(t, "gotalk: cannot register a handler under a name of 4096 bytes: the limit is 4095",
			func() { r.register(h, longest+"x", "too long") })
		for _, name := range []string{"gotalk:", "gotalk:hello"} {
			require.PanicsWithValue(t, `gotalk: cannot register a handler for "`+name+`": names that begin with `+
				`"gotalk:" are reserved for the protocol's extensions; choose another`,
				func() { r.register(h, name, "reserved") })
		}

		r.register(h, "", "fallback") // a panic left no lock behind
		require.Equal(t, "fallback", r.find(h, "x"))
	})
	require.Panics(t, func() { (&gotalk.Handlers{}).Handle("gotalk:x", func() error { return nil }) })
	require.Panics(t, func() { (&gotalk.Handlers{}).HandleNotification("gotalk:x", func() {}) })
}

// Names of the protocol's extensions must not show up in programs that handle everything.
func TestHandlersReservedNamesMissFallback(t *testing.T) {
	eachRegistry(t, func(t *testing.T, r registry) {
		outer := &gotalk.Handlers{}
		r.register(outer, "", "outer fallback")
		sub := outer.NewSubHandlers()
		r.register(sub, "", "fallback")
		require.Empty(t, r.find(sub, "gotalk:hello"))
		require.Empty(t, r.find(sub, "gotalk:"))
		require.Equal(t, "fallback", r.find(sub, "gotalk"))
	})
}

func TestHandlersLookupAllocatesNothing(t *testing.T) {
	long := strings.Repeat("x", 1000) // no small buffer on the stack could hold a copy
	eachRegistry(t, func(t *testing.T, r registry) {
		outer := &gotalk.Handlers{}
		r.register(outer, long, "long")
		h := outer.NewSubHandlers()
		r.register(h, "a", "a")
		for _, name := range []string{"a", long, long + "unknown"} {
			wire := []byte(name)
			require.Zero(t, testing.AllocsPerRun(100, func() {
				switch r.name {
				case "request":
					h.LookupRequest(wire)
				case "stream":
					h.LookupStream(wire)
				case "notification":
					h.LookupNotification(wire)
				}
			}))
		}
	})
}

// The name that a lookup returns outlives the buffer that the message was read into.
func TestHandlersLookupKeepsNoInput(t *testing.T) {
	h := &gotalk.Handlers{}
	registries[0].register(h, "abc", "")
	registries[0].register(h, "", "")
	for _, name := range []string{"abc", "xyz"} {
		wire := []byte(name)
		_, canonical := h.LookupRequest(wire)
		copy(wire, "???")
		require.Equal(t, name, canonical)
	}
}

func TestHandlersConcurrentUse(t *testing.T) {
	eachRegistry(t, func(t *testing.T, r registry) {
		const writers, names = 4, 50
		outer := &gotalk.Handlers{}
		h := outer.NewSubHandlers()
		r.register(h, "steady", "steady")
		r.register(outer, "", "fallback")

		var writing, reading sync.WaitGroup
		done := make(chan struct{})
		var missed [2]bool // of a handler that was there all the time
		for i := range missed {
			reading.Go(func() {
				for n := 0; ; n++ {
					steady, _ := r.lookup(h, "steady")
					changing := r.find(h, "0-"+strconv.Itoa(n%names))
					missed[i] = missed[i] || steady != "steady" || changing == ""
					select {
					case <-done:
						return
					default:
					}
				}
			})
		}
		for i := range writers {
			writing.Go(func() {
				for n := range names {
					name := strconv.Itoa(i) + "-" + strconv.Itoa(n)
					r.register(h, name, name)
					r.register(outer, name, "outer")
					if n%2 == 1 {
						r.unregister(h, name)
					}
				}
			})
		}
		writing.Wait()
		close(done)
		reading.Wait()

		require.Equal(t, [2]bool{}, missed)
		for i := range writers {
			for n := range names {
				name := strconv.Itoa(i) + "-" + strconv.Itoa(n)
				want := name
				if n%2 == 1 {
					want = "outer"
				}
				require.Equal(t, want, r.find(h, name))
			}
		}
	})
}
