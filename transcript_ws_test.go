package gotalk_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

var wsServerScenarios = map[string]serverScenario{
	"ws-bidirectional":   {},
	"ws-close-by-server": {},
	"ws-closeerror-0":    {},
	"ws-closeerror-1":    {},
	"ws-closeerror-2":    {},
	"ws-closeerror-3":    {},
	"ws-end-idle":        {},
	"ws-end-pending":     {},
	"ws-errors": {
		why: "what a handler panics with is for the log, not for the peer",
		ours: func(steps []step) []step {
			return replace(steps, "secret internals: /etc/db=hunter2", "E00030000000e", "internal error")
		},
	},
	"ws-handshake":     {timed: true},
	"ws-heartbeat":     {heartbeat: 200 * time.Millisecond, timed: true},
	"ws-interleaved":   {},
	"ws-notifications": {},
	"ws-read-timeout":  {limits: shortTimeout, timed: true},
	"ws-read-timeout-heartbeat": {
		limits: func(l *gotalk.Limits) { l.ReadTimeout = time.Second }, timed: true,
	},
	"ws-reconnect":             {},
	"ws-request-buffer":        {},
	"ws-request-ids":           {},
	"ws-request-json":          {},
	"ws-request-name-4095":     {},
	"ws-request-payload-70000": {},
	"ws-request-utf8":          {},
	"ws-result-nil-and-null":   {},
	"ws-retry-limit": {
		limits: oneRequest,
		why:    "an old gotalk.js closes the connection at a RetryResult, so it gets an ErrorResult and goes on",
		ours: func(steps []step) []step {
			steps = replace(steps, "request rate limit", "E000100000012", "request rate limit")
			i := slices.IndexFunc(steps, func(s step) bool { return s.is('f') })
			steps[i] = say("server", "R000000000001", "A")
			for i := range steps {
				if steps[i].close != 0 {
					steps[i].close = 1000
				}
			}
			return steps
		},
	},
	"ws-server-stream-request": {},
	"ws-stream-disabled":       {},
	"ws-stream-echo":           {limits: streams(gotalk.Unlimited)},
	"ws-stream-handler-error":  {limits: streams(gotalk.Unlimited)},
	"ws-text-protocol":         {},
}

// upgrade makes a WebSocket of nc, as a browser on a page of origin would.
func upgrade(t testing.TB, nc net.Conn, origin string) *bufio.Reader {
	req, err := http.NewRequest("GET", origin+"/gotalk/", nil)
	require.NoError(t, err)
	req.Header = http.Header{
		"Origin":                {origin},
		"Connection":            {"Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":     {"AAAAAAAAAAAAAAAAAAAAAA=="},
	}
	require.NoError(t, req.Write(nc))
	br := bufio.NewReaderSize(nc, 8192)
	res, err := http.ReadResponse(br, req)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
	require.Empty(t, res.Header.Get("Sec-Websocket-Extensions"))
	return br
}

// playToWebSocketServer replays the client's side of convs, one connection after the other, to a new server behind l.
func (sc serverScenario) playToWebSocketServer(t testing.TB, tr transcript, l net.Listener, dial func() net.Conn, how split) (last *conversation) {
	g := newGates()
	gotalkServer := gotalk.NewWebSocketServer()
	gotalkServer.Handlers, gotalkServer.Limits = recordedHandlers(g), sc.newLimits()
	gotalkServer.HeartbeatInterval = sc.heartbeat
	conns := make(chan accepted, 1)
	gotalkServer.OnConnect = func(s *gotalk.WebSocket) {
		a := accepted{&s.Sock, make(chan int, 10)}
		s.CloseHandler = func(_ *gotalk.WebSocket, code int) { a.closed <- code }
		conns <- a
	}
	mux := http.NewServeMux()
	mux.Handle("/gotalk/", gotalkServer)
	server := &http.Server{Handler: mux}
	stopped := make(chan error)
	go func() { stopped <- server.Serve(l) }()
	defer func() {
		server.Close()
		require.ErrorIs(t, <-stopped, http.ErrServerClosed)
	}()
	defer close(g.done)

	for _, steps := range sc.steps(t, tr) {
		nc := dial()
		br := upgrade(t, nc, tr.origin(t))
		last = &conversation{steps: steps, me: "client", split: how, unordered: sc.unordered,
			paced: how.name == "timed", expecting: g.expecting, wire: newWire(t, nc, br, true, true)}
		defer last.wire.stop()
		require.NoError(t, last.run())
		last.wire.stop()
		checkClosed(t, conns, protocolError(steps))
	}
	return last
}

func TestTranscriptsToWebSocketServer(t *testing.T) {
	for name, sc := range wsServerScenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := loadTranscript(t, name)
			for _, how := range []split{
				{name: "frame by frame"},
				{name: "byte by byte", bytes: true},
				{name: "fragments", fragments: true},
				{name: "in one message", whole: true},
			} {
				if how.whole && slices.ContainsFunc(sc.steps(t, tr), func(steps []step) bool {
					return (&conversation{steps: steps, me: "client"}).stepwise()
				}) {
					continue
				}
				t.Run(how.name, func(t *testing.T) {
					l, err := net.Listen("tcp", "127.0.0.1:0")
					require.NoError(t, err)
					sc.playToWebSocketServer(t, tr, l, func() net.Conn {
						nc, err := net.Dial("tcp", l.Addr().String())
						require.NoError(t, err)
						return nc
					}, how)
				})
			}
			if sc.timed {
				t.Run("timed", func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						l := newPipeListener()
						c := sc.playToWebSocketServer(t, tr, l, l.dial, split{name: "timed"})
						checkHeartbeats(t, c, tr.conversations(t)[0])
					})
				})
			}
		})
	}
}

// wsProbe is what a client of ours makes of the frames of a hand-made server. The recorded client is gotalk.js, which
// takes most of them wrongly; its recordings are for the tests of gotalk.js.
type wsProbe struct {
	notes []string // the notifications that come in, as name:payload
	says  string   // the protocol error that the client answers with
	code  int      // what CloseHandler is called with
	err   error    // of connecting, in place of all that
}

var wsProbes = map[string]wsProbe{
	"ws-probe-bad-size-hex":             {says: "f00000002", code: gotalk.ProtocolErrorInvalidMsg},
	"ws-probe-close-1000":               {code: -1},
	"ws-probe-close-1001":               {code: -1},
	"ws-probe-empty-name-notification":  {notes: []string{":", ":hi"}, code: -1},
	"ws-probe-f-code-9":                 {code: 9},
	"ws-probe-header-payload-coalesced": {notes: []string{"a:hello", "b:"}, code: -1},
	"ws-probe-payload-split":            {notes: []string{"a:hello", "b:"}, code: -1},
	"ws-probe-text-frames":              {notes: []string{"a:hello", "b:"}, code: -1},
	"ws-probe-two-headers-coalesced":    {notes: []string{"a:", "b:"}, code: -1},
	"ws-probe-unknown-type":             {says: "f00000002", code: gotalk.ProtocolErrorInvalidMsg},
	"ws-probe-version-02":               {says: "f00000001", err: gotalk.ErrUnsupported},
	"ws-probe-version-garbage":          {says: "f00000001", err: gotalk.ErrUnsupported},
	"ws-probe-version-header-coalesced": {notes: []string{"a:hello", "b:"}, code: -1},
}

func TestWebSocketProbesToClient(t *testing.T) {
	for name, want := range wsProbes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var said []received
			noted, played := make(chan struct{}), make(chan struct{})
			allNoted := sync.OnceFunc(func() { close(noted) })
			defer allNoted()
			url := scriptedWebSocketServer(t, func(nc net.Conn) {
				defer close(played)
				w := newWire(t, nc, nil, true, false)
				defer w.stop()
				for _, s := range loadTranscript(t, name).conversations(t)[0] {
					if s.from == "server" && len(s.frames) > 0 {
						if err := w.send(s.frames, s.opcodes, split{}); err != nil && want.says == "" {
							t.Error(err)
						}
					} else if s.from == "server" && s.close != 0 {
						<-noted
						w.sendClose(s.close)
					}
				}
				for {
					r := <-w.in
					said = append(said, r)
					if r.end != nil {
						return
					}
				}
			})
			c := newClient(t)
			err := c.ConnectWebSocket(context.Background(), url, nil, nil)
			if want.err == nil {
				require.NoError(t, err)
				for _, n := range want.notes {
					require.Equal(t, n, next(c, c.notes))
				}
			} else {
				require.ErrorIs(t, err, want.err)
			}
			allNoted()
			next(c, played)
			require.NotEmpty(t, said)
			require.Equal(t, [][]byte{[]byte("01")}, said[0].frames)
			var errors []string
			for _, r := range said[1:] {
				if len(r.frames) > 0 {
					errors = append(errors, string(r.frames[0]))
				}
			}
			if want.says == "" {
				require.Empty(t, errors)
			} else {
				require.Equal(t, []string{want.says}, errors)
			}
			require.ErrorIs(t, said[len(said)-1].end, errEnd)
			if want.err == nil {
				require.Equal(t, want.code, next(c, c.closed))
			}
			require.True(t, c.IsClosed())
			require.Empty(t, c.notes)
		})
	}
}
