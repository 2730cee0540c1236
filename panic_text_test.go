package gotalk_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// secret is what programs panic with in these tests.
const secret = "hunter2"

type panicsAsJSON struct{}

func (panicsAsJSON) MarshalJSON() ([]byte, error)    { panic(secret) }
func (*panicsAsJSON) UnmarshalJSON(b []byte) error   { panic(secret) }
func (panicsAsJSON) Error() string                   { panic(secret) }
func panicError() error                              { return &gotalk.PanicError{Value: secret} }
func wrapped(format string, args ...any) (err error) { return fmt.Errorf(format, args...) }

// What a program panics with may hold anything, so no peer must see it, wherever in the program that is.
func TestPanicsStayInTheProcess(t *testing.T) {
	log := logged(t)
	h := echoHandlers()
	h.HandleBufferRequest("buffer", func(*gotalk.Sock, string, []byte) ([]byte, error) { panic(secret) })
	h.HandleBufferRequestContext("buffer with context", func(context.Context, *gotalk.Sock, string, []byte) ([]byte, error) {
		panic(secret)
	})
	h.HandleBufferRequest("an error's value", func(*gotalk.Sock, string, []byte) ([]byte, error) {
		panic(fmt.Errorf("%s", secret))
	})
	h.HandleBufferRequest("a code", func(*gotalk.Sock, string, []byte) ([]byte, error) {
		panic(gotalk.NewError("aborted", secret))
	})
	h.HandleBufferRequestLent("lent", func(*gotalk.Sock, string, []byte) ([]byte, error) { panic(secret) })
	shapes := map[string]any{
		"json":                     func(in any) (any, error) { panic(secret) },
		"json of a Sock":           func(*gotalk.Sock) error { panic(secret) },
		"json of Sock and name":    func(*gotalk.Sock, string, any) (any, error) { panic(secret) },
		"json without a parameter": func() (any, error) { panic(secret) },
		"json without a result":    func(any) error { panic(secret) },
		"json with a context":      func(context.Context, any) (any, error) { panic(secret) },
		"json with all":            func(context.Context, *gotalk.Sock, string, any) (any, error) { panic(secret) },
	}
	for op, shape := range shapes {
		h.Handle(op, shape)
	}
	h.Handle("result", func() (panicsAsJSON, error) { return panicsAsJSON{}, nil })
	h.Handle("parameter", func(panicsAsJSON) error { return nil })
	h.Handle("error", func() error { return panicsAsJSON{} })
	h.Handle("panic error", func() error { return wrapped("%s: %w", secret, panicError()) })
	gotalk.HandleFunc(h, "typed", func(context.Context, *gotalk.Sock, any) (any, error) { panic(secret) })
	gotalk.Op[any, any]{Name: "op"}.Handle(h, func(context.Context, *gotalk.Sock, any) (any, error) { panic(secret) })
	gotalk.StreamOp[any, any]{Name: "stream op"}.Handle(h, func(context.Context, *gotalk.JSONStream[any, any]) error {
		panic(secret)
	})
	h.HandleStreamRequest("stream request", func(*gotalk.Sock, string, chan []byte, io.WriteCloser) error { panic(secret) })
	h.HandleStream("stream", func(context.Context, *gotalk.Stream) error { panic(secret) })
	h.HandleStream("stream error", func(context.Context, *gotalk.Stream) error { return panicsAsJSON{} })
	h.HandleStream("stream panic error", func(context.Context, *gotalk.Stream) error { return panicError() })
	h.HandleNotification("note", func(s *gotalk.Sock, _ string, in any) { panic(secret) })
	h.HandleNotification("note parameter", func(s *gotalk.Sock, _ string, in panicsAsJSON) {})
	h.HandleBufferNotification("buffer note", func(*gotalk.Sock, string, []byte) { panic(secret) })
	h.HandleBufferNotificationContext("note with context", func(context.Context, *gotalk.Sock, string, []byte) { panic(secret) })
	gotalk.HandleNotificationFunc(h, "typed note", func(context.Context, *gotalk.Sock, any) { panic(secret) })

	fallback := gotalk.NewHandlers()
	fallback.HandleBufferRequest("", func(*gotalk.Sock, string, []byte) ([]byte, error) { panic(secret) })
	fallback.HandleStream("", func(context.Context, *gotalk.Stream) error { panic(secret) })
	fallback.HandleBufferNotification("", func(*gotalk.Sock, string, []byte) { panic(secret) })
	intercepted := gotalk.NewHandlers()
	for _, op := range []string{"before", "after", "wrap", "handler"} {
		intercepted.HandleBufferRequest(op, func(*gotalk.Sock, string, []byte) ([]byte, error) {
			if op == "handler" || op == "wrap" {
				panic(secret)
			}
			return nil, nil
		})
		intercepted.HandleStream("stream "+op, func(context.Context, *gotalk.Stream) error {
			if op == "handler" || op == "wrap" {
				panic(secret)
			}
			return nil
		})
		intercepted.HandleBufferNotification(op, func(*gotalk.Sock, string, []byte) { panic(secret) })
	}
	intercepted.Use(func(ctx context.Context, info *gotalk.CallInfo, next func(context.Context) error) error {
		op := strings.TrimPrefix(info.Op, "stream ")
		if op == "before" {
			panic(secret)
		}
		err := next(ctx)
		switch op {
		case "after":
			panic(secret)
		case "wrap":
			return wrapped("%s: %w", secret, err)
		}
		return err
	})

	for name, handlers := range map[string]*gotalk.Handlers{"handlers": h, "fallback": fallback, "interceptors": intercepted} {
		for _, hello := range []string{"", helloErrors, `n00cgotalk:hello00000017{"credit":10,"error":1}`} {
			for _, ws := range []bool{false, true} {
				server := serveTCP
				if ws {
					server = serveWebSocket
				}
				s := server(t, handlers, gotalk.NoLimits)
				p := s.peer()
				if hello != "" {
					p.say(hello)
				}
				var requests, streams, notes []string
				switch name {
				case "handlers":
					requests = []string{
						"buffer", "buffer with context", "an error's value", "a code", "lent", "result", "parameter", "error",
						"panic error", "typed", "op",
					}
					requests = slices.AppendSeq(requests, maps.Keys(shapes))
					streams = []string{"stream request", "stream", "stream op", "stream error", "stream panic error"}
					notes = []string{"note", "note parameter", "buffer note", "note with context", "typed note"}
				case "fallback":
					requests, notes = []string{"anything"}, []string{"anything"}
					if hello == "" { // else this handler of requests gets it
						streams = []string{"any stream"}
					}
				case "interceptors":
					requests, notes = []string{"before", "after", "wrap", "handler"}, []string{"before", "after", "wrap", "handler"}
					streams = []string{"stream before", "stream after", "stream wrap", "stream handler"}
				}
				for _, op := range notes {
					p.say(fmt.Sprintf("n%03x%s%08x", len(op), op, 2), "{}")
				}
				for i, op := range append(requests, streams...) {
					m := request(fmt.Sprintf("%04d", i), op, 2)
					if i >= len(requests) {
						m = "s" + m[1:]
					}
					p.say(m, "{}")
					answer := p.hear()
					require.Equal(t, byte('E'), answer[0], "%s: %q", op, answer)
					require.Contains(t, answer, "internal error", op)
					require.NotContains(t, answer, secret, op)
					if hello == "" && i >= len(requests) {
						p.hears(fmt.Sprintf("S%04d00000000", i))
					}
				}
				p.w.nc.Close()
			}
		}
	}
	require.Contains(t, log(), secret, "people are told")
}

// Nor what callbacks of a connection panic with.
func TestPanicsOfCallbacksStayInTheProcess(t *testing.T) {
	log := logged(t)
	for _, ws := range []bool{false, true} {
		s := serveTCP
		if ws {
			s = serveWebSocket
		}
		onConnect := s(t, echoHandlers(), nil)
		onClose := s(t, echoHandlers(), nil)
		if ws {
			onConnect.web.OnConnect = func(*gotalk.WebSocket) { panic(secret) }
			onClose.web.OnHeartbeat = func(int, time.Time) { panic(secret) }
			onClose.web.OnConnect = func(ws *gotalk.WebSocket) {
				ws.CloseHandler = func(*gotalk.WebSocket, int) { panic(secret) }
				onClose.socks <- &ws.Sock
			}
		} else {
			onConnect.tcp.AcceptHandler = func(*gotalk.Sock) { panic(secret) }
			onClose.tcp.OnHeartbeat = func(int, time.Time) { panic(secret) }
			onClose.tcp.AcceptHandler = func(s *gotalk.Sock) {
				s.CloseHandler = func(*gotalk.Sock, int) { panic(secret) }
				onClose.socks <- s
			}
		}
		p := onConnect.peer()
		p.ends()
		p = onClose.peer()
		p.say("h00005fee6600")
		p.echoes()
		sock := onClose.sock()
		require.NoError(t, sock.Close())
		p.ends()
	}
	settled(t, func() bool { return strings.Count(log(), secret) == 6 }) // heartbeats have their turn after notifications
}
