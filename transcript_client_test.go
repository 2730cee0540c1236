package gotalk_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// newClient is a client with the operations of the recorded one.
func newClient(t testing.TB) *clientRun {
	c := &clientRun{TB: t, notes: make(chan string, 100), beats: make(chan int, 100), closed: make(chan int, 10),
		sent: make(chan struct{}, 1000), failed: make(chan struct{})}
	h := gotalk.NewHandlers()
	h.HandleBufferRequest("cecho", func(_ *gotalk.Sock, _ string, in []byte) ([]byte, error) {
		return []byte("client saw " + string(in)), nil
	})
	h.HandleBufferRequest("cfail", func(*gotalk.Sock, string, []byte) ([]byte, error) {
		return nil, errors.New("client refuses")
	})
	h.HandleBufferNotification("", func(_ *gotalk.Sock, name string, in []byte) { c.notes <- name + ":" + string(in) })
	c.Sock = gotalk.NewSock(h)
	c.HeartbeatInterval, c.NoExtensions = 0, true // the recordings know no hello
	c.OnHeartbeat = func(load int, _ time.Time) { c.beats <- load }
	c.CloseHandler = func(_ *gotalk.Sock, code int) { c.closed <- code }
	return c
}

// playToClient runs the program of sc with a client that connect connects to a scripted server.
func (sc clientScenario) playToClient(t *testing.T, name string, how split, connect func(c *clientRun, serve func(net.Conn)) error, ws bool) {
	steps := loadTranscript(t, name).conversations(t)[0]
	if sc.ours != nil {
		require.NotEmpty(t, sc.why)
		steps = sc.ours(steps)
	}
	if ws {
		steps = overWebSocket(steps)
	}
	c := newClient(t)
	if sc.setup != nil {
		sc.setup(c.Sock)
	}
	wires, played, atEnd := make(chan *wire, 1), make(chan struct{}), make(chan struct{}, len(steps))
	serve := func(nc net.Conn) {
		defer close(played)
		conv := &conversation{steps: steps, me: "server", split: how, unordered: name == "tcp-bidirectional",
			wire: newWire(t, nc, nil, ws, false), matched: c.sent}
		conv.expecting = func(s step) {
			if len(s.frames) == 0 {
				atEnd <- struct{}{}
			}
		}
		wires <- conv.wire
		if err := conv.run(); err != nil {
			t.Error(err)
			close(c.failed)
			nc.Close()
		}
	}
	err := connect(c, serve)
	defer func() {
		c.Close()
		select {
		case w := <-wires:
			w.stop()
			<-played
		default: // the server was never reached
		}
	}()
	require.NoError(t, err)
	next(c, c.sent) // the version
	sc.run(c)
	for _, s := range steps {
		if s.end {
			if s.from == "client" {
				next(c, atEnd) // the scripted server may have more to say
				require.NoError(t, c.Close())
			}
			break
		}
	}
	next(c, played)
	require.Equal(t, protocolError(steps), next(c, c.closed), "what CloseHandler is called with")
	require.True(t, c.IsClosed())
}

// overWebSocket puts a close frame in front of the end of each side.
func overWebSocket(steps []step) (framed []step) {
	for _, s := range steps {
		if s.end && !s.reset {
			framed = append(framed, step{from: s.from, close: 1000})
		}
		framed = append(framed, s)
	}
	return framed
}

func TestTranscriptsToClient(t *testing.T) {
	for name, sc := range clientScenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, how := range []split{{name: "message by message"}, {name: "byte by byte", bytes: true}} {
				t.Run(how.name, func(t *testing.T) {
					l, err := net.Listen("tcp", "127.0.0.1:0")
					require.NoError(t, err)
					defer l.Close()
					sc.playToClient(t, name, how, func(c *clientRun, serve func(net.Conn)) error {
						go func() {
							if nc, err := l.Accept(); err == nil {
								serve(nc)
							}
						}()
						return c.Connect("tcp", l.Addr().String(), nil)
					}, false)
				})
			}
		})
	}
}

// The same programs over a WebSocket, where it also matters in which messages the client packs what it says.
func TestTranscriptsToWebSocketClient(t *testing.T) {
	for name, sc := range clientScenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, how := range []split{{name: "message by message"}, {name: "byte by byte", bytes: true}, {name: "fragments", fragments: true}} {
				t.Run(how.name, func(t *testing.T) {
					sc.playToClient(t, name, how, func(c *clientRun, serve func(net.Conn)) error {
						url := scriptedWebSocketServer(t, serve)
						return c.ConnectWebSocket(context.Background(), url, nil, nil)
					}, true)
				})
			}
		})
	}
}

// scriptedWebSocketServer upgrades the first connection to it and gives it to serve.
func scriptedWebSocketServer(t testing.TB, serve func(net.Conn)) (url string) {
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Error(fmt.Errorf("upgrade: %w", err))
			return
		}
		serve(conn.NetConn())
	}))
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http") + "/gotalk/"
}
