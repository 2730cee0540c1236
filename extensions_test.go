package gotalk_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// browser is a WebSocket client that sees message boundaries.
type browser struct {
	*testing.T
	ws *websocket.Conn
}

// browse opens a WebSocket to a server with an echo operation, after setup has had its way with the server.
func browse(t *testing.T, setup func(*gotalk.WebSocketServer)) *browser {
	s := gotalk.NewWebSocketServer()
	s.Handlers = &gotalk.Handlers{}
	s.Handlers.HandleBufferRequest("echo", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) { return b, nil })
	if setup != nil {
		setup(s)
	}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	ws, _, err := websocket.DefaultDialer.Dial(strings.Replace(web.URL, "http", "ws", 1), nil)
	require.NoError(t, err)
	t.Cleanup(func() { ws.Close() })
	require.NoError(t, ws.SetReadDeadline(time.Now().Add(10*time.Second)))
	b := &browser{t, ws}
	b.say("01")
	require.Equal(t, "01", b.hear())
	return b
}

func (b *browser) say(messages ...string) {
	for _, m := range messages {
		require.NoError(b, b.ws.WriteMessage(websocket.BinaryMessage, []byte(m)))
	}
}

func (b *browser) hear() string {
	_, m, err := b.ws.ReadMessage()
	require.NoError(b, err)
	return string(m)
}

// ourHello is what this side says on a WebSocket.
const ourHello = `{"cancel":1,"credit":262144,"error":1,"goaway":1,"join":1,"meta":1,"split":131072}`

func notification(name, payload string) string {
	return fmt.Sprintf("n%03x%s%08x%s", len(name), name, len(payload), payload)
}

func TestHelloIsAnsweredAndMessagesAreJoined(t *testing.T) {
	b := browse(t, nil)
	b.say(notification("gotalk:hello", `{"join":1,"of the future":[1,2]}`))
	heard := b.hear()
	require.Contains(t, heard, notification("gotalk:hello", ourHello))

	b.say("r0000004echo00000003one")
	require.Equal(t, "R000000000003one", b.hear(), "header and payload in one message")

	big := strings.Repeat("x", 100_000) // written from the handler's slice
	b.say(fmt.Sprintf("r0001004echo%08x", len(big)), big)
	require.Equal(t, fmt.Sprintf("R0001%08x", len(big))+big, b.hear())

	var many, all strings.Builder
	for i := range 500 {
		fmt.Fprintf(&many, "r%04d004echo00000000", i)
	}
	b.say(many.String())
	messages := 0
	for all.Len() < 500*13 {
		all.WriteString(b.hear())
		messages++
	}
	require.Less(t, messages, 500)
	for i := range 500 {
		require.Contains(t, all.String(), fmt.Sprintf("R%04d00000000", i))
	}
}

func TestPingBetweenJoinedMessages(t *testing.T) {
	b := browse(t, nil)
	pong := make(chan string, 1)
	b.ws.SetPongHandler(func(text string) error { pong <- text; return nil })
	b.say(notification("gotalk:hello", `{"join":1}`))
	b.hear()
	require.NoError(t, b.ws.WriteMessage(websocket.PingMessage, []byte("ping")))
	b.say("r0000004echo00000003one")
	require.Equal(t, "R000000000003one", b.hear())
	require.Equal(t, "ping", <-pong)
}

func TestPeerWithoutHelloGetsSeparateMessages(t *testing.T) {
	b := browse(t, nil)
	b.say("r0000004echo00000003one")
	require.Equal(t, "R000000000003", b.hear())
	require.Equal(t, "one", b.hear())
}

func TestNoExtensionsIgnoresHello(t *testing.T) {
	b := browse(t, func(s *gotalk.WebSocketServer) {
		s.OnConnect = func(ws *gotalk.WebSocket) { ws.NoExtensions = true }
	})
	b.say(notification("gotalk:hello", `{"join":1}`), "r0000004echo00000003one")
	require.Equal(t, "R000000000003", b.hear())
	require.Equal(t, "one", b.hear())
}

func TestLimitIsARetryForPeersThatSaidHello(t *testing.T) {
	block := make(chan bool)
	b := browse(t, func(s *gotalk.WebSocketServer) {
		s.Limits = gotalk.NewLimits(1, 0)
		s.Handlers.HandleBufferRequest("block", func(*gotalk.Sock, string, []byte) ([]byte, error) { <-block; return nil, nil })
	})
	b.say("r0000005block00000000", "r0001004echo00000000")
	require.Equal(t, "E000100000012", b.hear(), "an old gotalk.js does not know retry results")
	require.Equal(t, "request rate limit", b.hear())
	b.say(notification("gotalk:hello", `{}`))
	require.Equal(t, "n00cgotalk:hello00000052", b.hear())
	require.Equal(t, ourHello, b.hear(), "in two messages: this peer did not ask for joined ones")
	b.say("r0002004echo00000000")
	require.Equal(t, "e0002", b.hear()[:5])
	require.Equal(t, "request rate limit", b.hear())
	close(block)
	require.Equal(t, "R000000000000", b.hear())
}

func TestHelloThatIsNoJSON(t *testing.T) {
	b := browse(t, nil)
	b.say(notification("gotalk:hello", `{"join":`))
	require.Equal(t, "f00000002", b.hear())
	_, _, err := b.ws.ReadMessage()
	require.True(t, websocket.IsCloseError(err, websocket.CloseNormalClosure), "%v", err)
}

func TestReservedNamesReachNoHandler(t *testing.T) {
	b := browse(t, func(s *gotalk.WebSocketServer) {
		s.Handlers.HandleBufferNotification("", func(s *gotalk.Sock, name string, _ []byte) { s.BufferNotify("got "+name, nil) })
		s.Handlers.HandleBufferRequest("", func(_ *gotalk.Sock, op string, _ []byte) ([]byte, error) { return []byte(op), nil })
	})
	b.say(notification("gotalk:of-the-future", "x"), notification("other", ""))
	require.Equal(t, "n009got other00000000", b.hear())
	b.say("r000000agotalk:any00000000")
	require.Equal(t, "E0000", b.hear()[:5])
	require.Equal(t, `unknown operation "gotalk:any"`, b.hear())
}

func TestReservedNamesCannotBeSent(t *testing.T) {
	a, b, err := gotalk.Pipe(&gotalk.Handlers{}, nil)
	require.NoError(t, err)
	defer b.Close()
	defer a.Close()
	require.ErrorContains(t, a.Notify("gotalk:mine", 1), "reserved")
	_, err = a.BufferRequest("gotalk:mine", nil)
	require.ErrorContains(t, err, "reserved")
	require.ErrorContains(t, a.SendRequest(gotalk.NewRequest("gotalk:mine", nil), make(chan gotalk.Response)), "reserved")
	_, results := a.StreamRequest("gotalk:mine")
	require.ErrorContains(t, fmt.Errorf("%s", (<-results).Data), "reserved")
}
