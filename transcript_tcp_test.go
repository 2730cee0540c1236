package gotalk_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// gates hold back the results of the operation "delay" until the script gets to them, so that a recording made with
// real delays is replayed in its order without any.
type gates struct {
	mu   sync.Mutex
	open map[string]chan struct{} // by the text that the operation is to return
	done chan struct{}
}

func newGates() *gates { return &gates{open: map[string]chan struct{}{}, done: make(chan struct{})} }

func (g *gates) gate(text string) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[text] == nil {
		g.open[text] = make(chan struct{}, 1)
	}
	return g.open[text]
}

// expecting lets the result through that the script waits for.
func (g *gates) expecting(s step) {
	if s.is('R') && len(s.frames) > 1 {
		select {
		case g.gate(string(s.frames[1])) <- struct{}{}:
		default:
		}
	}
}

// recordedHandlers has the operations and notifications of the server in the recordings.
func recordedHandlers(g *gates) *gotalk.Handlers {
	h := gotalk.NewHandlers()
	buffer := func(name string, f func(s *gotalk.Sock, in []byte) (string, error)) {
		h.HandleBufferRequest(name, func(s *gotalk.Sock, _ string, in []byte) ([]byte, error) {
			out, err := f(s, in)
			return []byte(out), err
		})
	}
	buffer("echo", func(_ *gotalk.Sock, in []byte) (string, error) { return string(in), nil })
	buffer("delay", func(_ *gotalk.Sock, in []byte) (string, error) {
		_, text, _ := strings.Cut(string(in), ":")
		select {
		case <-g.gate(text):
		case <-g.done:
		}
		return text, nil
	})
	buffer("grüße/☃", func(*gotalk.Sock, []byte) (string, error) { return "grüße/☃", nil })
	buffer(strings.Repeat("n", 4095), func(*gotalk.Sock, []byte) (string, error) { return "long name ok", nil })
	buffer("fail", func(*gotalk.Sock, []byte) (string, error) { return "", errors.New(`it failed: "quoted" ☃`) })
	buffer("failempty", func(*gotalk.Sock, []byte) (string, error) { return "", errors.New("") })
	buffer("panic", func(*gotalk.Sock, []byte) (string, error) { panic("secret internals: /etc/db=hunter2") })
	type greeting struct {
		Greeting string `json:"greeting"`
	}
	h.Handle("greet", func(name string) (greeting, error) { return greeting{"Hello " + name}, nil })
	h.Handle("sum", func(ns []int) (sum int, err error) {
		for _, n := range ns {
			sum += n
		}
		return sum, nil
	})
	h.Handle("nilresult", func() error { return nil })
	h.Handle("jsonnull", func() (*int, error) { return nil, nil })

	stream := func(name string, f func(parts chan []byte, out io.WriteCloser) error) {
		h.HandleStreamRequest(name, func(_ *gotalk.Sock, _ string, parts chan []byte, out io.WriteCloser) error {
			return f(parts, out)
		})
	}
	consume := func(parts chan []byte) (n, bytes int) {
		for part := range parts {
			if part == nil {
				break
			}
			n, bytes = n+1, bytes+len(part)
		}
		return n, bytes
	}
	stream("secho", func(parts chan []byte, out io.WriteCloser) error {
		for part := range parts {
			if part == nil {
				break
			}
			if _, err := out.Write(part); err != nil {
				return err
			}
		}
		return nil
	})
	stream("scount", func(parts chan []byte, out io.WriteCloser) error {
		n, bytes := consume(parts)
		_, err := fmt.Fprintf(out, "%d bytes in %d parts", bytes, n)
		return err
	})
	stream("sfail", func(chan []byte, io.WriteCloser) error { return errors.New("stream failed") })
	stream("snone", func(parts chan []byte, _ io.WriteCloser) error { consume(parts); return nil })

	note := func(name string, f func(s *gotalk.Sock, in []byte)) {
		h.HandleBufferNotification(name, func(s *gotalk.Sock, _ string, in []byte) { f(s, in) })
	}
	note("note", func(*gotalk.Sock, []byte) {})
	h.HandleNotification("njson", func(map[string]int) {})
	note("push", func(s *gotalk.Sock, _ []byte) {
		s.BufferNotify("raw", []byte("raw bytes \x00\xff"))
		s.BufferNotify("none", nil)
		s.Notify("json", map[string]any{"s": "☃", "a": 1})
	})
	note("askback", func(s *gotalk.Sock, op []byte) {
		go func(op string) {
			answer, err := s.BufferRequest(op, []byte("question"))
			if err != nil {
				s.BufferNotify("askresult", []byte("error: "+err.Error()))
				return
			}
			s.BufferNotify("askresult", []byte("ok: "+string(answer)))
		}(string(op))
	})
	note("closeme", func(s *gotalk.Sock, in []byte) {
		if len(in) == 0 {
			s.Close()
			return
		}
		code, _ := strconv.Atoi(string(in))
		s.CloseError(int32(code))
	})
	note("streamtoyou", func(s *gotalk.Sock, _ []byte) {
		req, _ := s.StreamRequest("jsstream")
		req.Write([]byte("part1"))
	})
	return h
}

// serverScenario is how a recorded client is replayed to a server of ours.
type serverScenario struct {
	limits    func(l *gotalk.Limits) // changes the default limits to those of the recording
	heartbeat time.Duration          // the server's HeartbeatInterval
	// act is called with the server's Sock when the script has nothing left to send and waits for the end.
	act func(t testing.TB, s *gotalk.Sock)
	// ours edits the recording where ours differs on purpose, and why says what for.
	ours func(steps []step) []step
	why  string
	// unordered: the results come in any order, even when the client waits for answers where the recorded one did.
	unordered bool
	// timed: replayed at the recorded times in virtual time too, to see that the server does no more than it should.
	timed bool
}

func streams(n uint32) func(*gotalk.Limits) {
	return func(l *gotalk.Limits) { l.StreamRequests = n }
}

// shortTimeout is shorter than the recorded ones: the client says nothing anyway.
func shortTimeout(l *gotalk.Limits) { l.ReadTimeout = 200 * time.Millisecond }

func oneRequest(l *gotalk.Limits) { l.BufferRequests = 1 }

// protocolErrorFirst is the edit for where an old peer closes without a word.
func protocolErrorFirst(code string) func([]step) []step {
	return func(steps []step) []step { return beforeEnd(steps, say("server", "f"+code, "")) }
}

var tcpServerScenarios = map[string]serverScenario{
	"tcp-bidirectional":            {unordered: true},
	"tcp-close-by-server":          {},
	"tcp-close-with-pending":       {},
	"tcp-closeerror-0-abnormal":    {},
	"tcp-closeerror-1-unsupported": {},
	"tcp-closeerror-2-invalid":     {},
	"tcp-closeerror-3-timeout":     {},
	"tcp-error-bad-params":         {},
	"tcp-error-handler":            {},
	"tcp-error-panic": {
		why: "what a handler panics with is for the log, not for the peer",
		ours: func(steps []step) []step {
			return replace(steps, "secret internals: /etc/db=hunter2", "E\x00\x00\x00\x000000000e", "internal error")
		},
	},
	"tcp-error-unknown-op":         {},
	"tcp-handshake":                {},
	"tcp-heartbeat-defaults":       {timed: true},
	"tcp-heartbeat":                {heartbeat: 100 * time.Millisecond, timed: true},
	"tcp-interleaved":              {},
	"tcp-notification":             {},
	"tcp-probe-bad-size-hex":       {ours: protocolErrorFirst("00000002"), why: "the peer is told what was wrong"},
	"tcp-probe-bad-type":           {},
	"tcp-probe-empty-name-request": {},
	"tcp-probe-part-without-stream": {
		ours: protocolErrorFirst("00000002"), why: "the peer is told what was wrong",
	},
	"tcp-probe-pipelined-at-once":      {unordered: true},
	"tcp-probe-protocol-error-and-fin": {},
	"tcp-probe-uppercase-hex":          {},
	"tcp-probe-version-02":             {ours: protocolErrorFirst("00000001"), why: "the peer is told what was wrong"},
	"tcp-probe-version-garbage":        {ours: protocolErrorFirst("00000001"), why: "the peer is told what was wrong"},
	"tcp-read-timeout":                 {limits: shortTimeout, timed: true},
	"tcp-request-binary":               {},
	"tcp-request-empty":                {},
	"tcp-request-json":                 {},
	"tcp-request-name-4095":            {},
	"tcp-request-payload-70000":        {},
	"tcp-request-raw":                  {},
	"tcp-request-utf8-name":            {},
	"tcp-result-nil-and-null":          {},
	"tcp-retry-limit":                  {limits: oneRequest},
	"tcp-shutdown-idle": {
		act: func(t testing.TB, s *gotalk.Sock) {
			var wg sync.WaitGroup
			wg.Add(1)
			require.NoError(t, s.Shutdown(&wg, 150*time.Millisecond))
			wg.Wait()
		},
		timed: true,
	},
	"tcp-stream-disabled-more-parts": {
		why: "a client that has not seen the refusal yet may send parts: they are dropped, and the connection goes on",
		ours: func(steps []step) []step {
			steps = beforeEnd(steps, say("client", "raaaa004echo0000000a", "still here"),
				say("server", "Raaaa0000000a", "still here"))
			server, client := steps[len(steps)-2], steps[len(steps)-1]
			server.reset = false
			return append(steps[:len(steps)-2], client, server)
		},
	},
	"tcp-stream-disabled":          {},
	"tcp-stream-echo":              {limits: streams(gotalk.Unlimited)},
	"tcp-stream-empty-first-chunk": {limits: streams(gotalk.Unlimited)},
	"tcp-stream-handler-error":     {limits: streams(gotalk.Unlimited)},
	"tcp-stream-limit":             {limits: streams(1)},
	"tcp-stream-no-result-data":    {limits: streams(gotalk.Unlimited)},
	"tcp-stream-single-chunk":      {limits: streams(gotalk.Unlimited)},
	"tcp-stream-unknown-op":        {limits: streams(gotalk.Unlimited)},
}

// steps gives the recording's steps as a server of ours must take them.
func (sc serverScenario) steps(t testing.TB, tr transcript) [][]step {
	convs := tr.conversations(t)
	if sc.ours != nil {
		require.NotEmpty(t, sc.why)
		require.Len(t, convs, 1)
		convs[0] = sc.ours(convs[0])
	}
	return convs
}

func (sc serverScenario) newLimits() *gotalk.Limits {
	limits := *gotalk.DefaultLimits
	if sc.limits != nil {
		sc.limits(&limits)
	}
	return &limits
}

// accepted is what a test learns about a connection that its server took.
type accepted struct {
	sock   *gotalk.Sock
	closed chan int // what CloseHandler is called with
}

// playToServer replays the client's side of steps over a connection that dial makes to a new server behind l.
func (sc serverScenario) playToServer(t testing.TB, steps []step, l net.Listener, dial func() net.Conn, how split) *conversation {
	g, limits := newGates(), sc.newLimits()
	server := gotalk.NewServer(recordedHandlers(g), limits, l)
	conns := make(chan accepted, 1)
	server.AcceptHandler = func(s *gotalk.Sock) {
		a := accepted{s, make(chan int, 10)}
		s.CloseHandler = func(_ *gotalk.Sock, code int) { a.closed <- code }
		conns <- a
	}
	server.HeartbeatInterval = sc.heartbeat
	stopped := make(chan error)
	go func() { stopped <- server.Accept() }()
	defer func() {
		server.Close()
		require.Error(t, <-stopped)
	}()
	defer close(g.done)

	nc := dial()
	c := &conversation{steps: steps, me: "client", split: how, unordered: sc.unordered, paced: how.name == "timed",
		wire: newWire(t, nc, nil, false, false)}
	defer c.wire.stop()
	sawVersion := false
	c.expecting = func(s step) {
		g.expecting(s)
		if sawVersion && s.end && sc.act != nil {
			a := <-conns
			conns <- a
			sc.act(t, a.sock)
		}
		sawVersion = true
	}
	require.NoError(t, c.run())
	c.wire.stop()
	checkClosed(t, conns, protocolError(steps))
	return c
}

// checkClosed waits for the end of a connection if its peers got as far as accepting one another.
func checkClosed(t testing.TB, conns chan accepted, code int) {
	if code == gotalk.ProtocolErrorUnsupported && len(conns) == 0 {
		return // refused before any handler could be set
	}
	select {
	case a := <-conns:
		select {
		case got := <-a.closed:
			require.Equal(t, code, got, "what CloseHandler is called with")
			require.True(t, a.sock.IsClosed())
		case <-time.After(patience):
			t.Fatal("CloseHandler was not called")
		}
	case <-time.After(patience):
		t.Fatal("the connection was not accepted")
	}
}

// checkHeartbeats compares the heartbeats of a server that was replayed to in virtual time with the recorded one's.
func checkHeartbeats(t testing.TB, c *conversation, recorded []step) {
	sent := map[string]int{}
	for _, s := range recorded {
		if s.is('h') {
			sent[s.from]++
		}
	}
	require.Len(t, c.pulses, sent["server"], "heartbeats besides those that answer the client's")
	require.Equal(t, sent["client"] > 0, c.answers > 0, "heartbeats are answered, so that the client sees that we are there")
}

func TestTranscriptsToServer(t *testing.T) {
	for name, sc := range tcpServerScenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := loadTranscript(t, name)
			steps := sc.steps(t, tr)[0]
			size := 0
			for _, s := range steps {
				if s.from == "client" {
					size += len(s.message())
				}
			}
			for _, how := range []split{{name: "message by message"}, {name: "byte by byte", bytes: true}, {name: "at once", whole: true}} {
				if how.whole && (&conversation{steps: steps, me: "client"}).stepwise() {
					continue
				}
				t.Run(how.name, func(t *testing.T) {
					l, err := net.Listen("tcp", "127.0.0.1:0")
					require.NoError(t, err)
					sc.playToServer(t, steps, l, func() net.Conn {
						nc, err := net.Dial("tcp", l.Addr().String())
						require.NoError(t, err)
						return nc
					}, how)
				})
			}
			// In memory each part is sure to be a read of its own, and time is virtual.
			inMemory := func(how split) (c *conversation) {
				t.Run(how.name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						l := newPipeListener()
						c = sc.playToServer(t, steps, l, l.dial, how)
					})
				})
				return c
			}
			if size <= 100 {
				for at := 1; at < size; at++ {
					inMemory(split{name: fmt.Sprint("in two parts at ", at), at: at})
				}
			} else if size < 10_000 {
				inMemory(split{name: "in memory byte by byte", bytes: true})
			}
			if sc.timed {
				checkHeartbeats(t, inMemory(split{name: "timed"}), steps)
			}
		})
	}
}
