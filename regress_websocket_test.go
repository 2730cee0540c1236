package gotalk_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

func serveWebSocket(t testing.TB, h *gotalk.Handlers, limits *gotalk.Limits) *testServer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return startServer(t, l, true, h, limits)
}

// upgradeRequest is what a page of origin sends to open a WebSocket at host.
func upgradeRequest(host, origin string) *http.Request {
	r := httptest.NewRequest("GET", "http://"+host+"/gotalk/", nil)
	for k, v := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Origin": origin,
	} {
		if v != "" {
			r.Header.Set(k, v)
		}
	}
	return r
}

// Pages of other sites cannot use the visitor's connection, unless they are allowed to.
func TestOtherSitesMayNotConnect(t *testing.T) {
	const host = "chat.example.com:8080"
	own := []string{"", "http://chat.example.com:8080", "https://chat.example.com:8080", "http://CHAT.example.com:8080"}
	foreign := []string{
		"http://evil.test", "http://chat.example.com", "http://chat.example.com:80", "http://chat.example.com:8080.evil.test",
		"http://evil.test:8080", "null", "foo", "/x", "file://", "://", "http://", "http://evilexample.com", "http://a.example.com",
		"https://a.b.example.com", "https://example.com", "https://other.org", "https://other.org:444", "https://example.com.evil.test",
	}
	for name, c := range map[string]struct {
		allowed []string
		check   func(r *http.Request) bool
		may     []string // of the foreign ones
		mayNot  []string // of its own
	}{
		"by default":   {},
		"a list":       {allowed: []string{"https://other.org", "null"}, may: []string{"https://other.org", "null"}},
		"subdomains":   {allowed: []string{"https://*.example.com"}, may: []string{"https://a.b.example.com"}},
		"all":          {allowed: []string{"*"}, may: foreign},
		"all by check": {check: func(*http.Request) bool { return true }, may: foreign},
		"none":         {allowed: []string{"*"}, check: func(*http.Request) bool { return false }, mayNot: own},
		"a check": {
			check: func(r *http.Request) bool { return r.Header.Get("Origin") == "foo" }, may: []string{"foo"}, mayNot: own,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := gotalk.NewWebSocketServer()
			s.AllowedOrigins, s.CheckOrigin = c.allowed, c.check
			s.OnConnect = func(*gotalk.WebSocket) { t.Error("connected without a connection") }
			for _, origin := range append(own, foreign...) {
				w := httptest.NewRecorder()
				s.ServeHTTP(w, upgradeRequest(host, origin))
				may := contains(own, origin) && !contains(c.mayNot, origin) || contains(c.may, origin)
				if may {
					require.NotEqual(t, http.StatusForbidden, w.Code, origin)
				} else {
					require.Equal(t, http.StatusForbidden, w.Code, origin)
				}
			}
		})
	}
	s := serveWebSocket(t, echoHandlers(), nil)
	nc := s.dial()
	br := upgrade(s, nc, "http://127.0.0.1") // its Host is the same
	p := newPeer(t, nc, br, true, true)
	p.shakeHands()
	p.echoes()
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// Where the HTTP connection cannot be taken over, a request to do so is answered and not died of.
func TestUpgradeOfWhatCannotBeUpgraded(t *testing.T) {
	s := gotalk.NewWebSocketServer()
	w := httptest.NewRecorder() // no http.Hijacker
	s.ServeHTTP(w, upgradeRequest("example.com", ""))
	require.GreaterOrEqual(t, w.Code, 400)

	server := httptest.NewUnstartedServer(s)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	res, err := server.Client().Get(server.URL + "/gotalk/")
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, 2, res.ProtoMajor)
	require.Equal(t, http.StatusBadRequest, res.StatusCode)

	for name, change := range map[string]func(r *http.Request){
		"no Upgrade":    func(r *http.Request) { r.Header.Del("Upgrade") },
		"no Connection": func(r *http.Request) { r.Header.Del("Connection") },
		"no key":        func(r *http.Request) { r.Header.Del("Sec-WebSocket-Key") },
		"version 8":     func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") },
		"POST":          func(r *http.Request) { r.Method = "POST" },
	} {
		w, r := httptest.NewRecorder(), upgradeRequest("example.com", "")
		change(r)
		s.ServeHTTP(w, r)
		require.True(t, w.Code >= 400 && w.Code < 500, "%s: %d", name, w.Code)
	}
}

// WebSockets work over TLS, where nothing can be half closed.
func TestWebSocketOverTLS(t *testing.T) {
	s := gotalk.NewWebSocketServer()
	s.Handlers = echoHandlers()
	server := httptest.NewTLSServer(s)
	defer server.Close()
	config := server.Client().Transport.(*http.Transport).TLSClientConfig
	c := quietSock(nil)
	require.NoError(t, c.ConnectWebSocket(t.Context(), strings.Replace(server.URL, "https", "wss", 1), nil,
		&gotalk.WebSocketOptions{TLSConfig: &tls.Config{RootCAs: config.RootCAs}}))
	b, err := c.BufferRequest("echo", []byte("x"))
	require.NoError(t, err)
	require.Equal(t, "x", string(b))
	require.NoError(t, c.Close())
}

// closings collects what the CloseHandlers of a server's connections are called with.
func closings(s *testServer) chan int {
	closed, accept := make(chan int, 10), s.web.OnConnect
	s.web.OnConnect = func(ws *gotalk.WebSocket) {
		ws.CloseHandler = func(_ *gotalk.WebSocket, code int) { closed <- code }
		accept(ws)
	}
	return closed
}

// A close frame is answered with its own code, and ends the connection in good order.
func TestCloseFrameIsAnswered(t *testing.T) {
	s := serveWebSocket(t, echoHandlers(), nil)
	closed := closings(s)
	for _, code := range []int{1000, 1001, 1003, 3999, 4000, 4002, 4999} {
		p := s.peer()
		p.echoes()
		require.NoError(t, p.w.sendClose(code))
		r, err := p.read(false)
		require.NoError(t, err)
		require.Equal(t, code, r.close)
		p.hears("end")
		require.Equal(t, -1, await(t, closed))
	}
}

// Nothing follows the close frame, however much is being sent: browsers take that for an error.
func TestNothingIsSentBehindTheCloseFrame(t *testing.T) {
	s := serveWebSocket(t, echoHandlers(), &gotalk.Limits{MaxUnsentBytes: 16 << 10}) // which is written soon on any machine
	for range 20 {
		p := s.peer()
		sock := s.sock()
		for range 4 {
			go func() { // ends with the connection
				for sock.BufferNotify("news", []byte("x")) == nil {
				}
			}()
		}
		for opcode, closing := byte(0), false; opcode != 8; {
			var err error
			opcode, _, err = p.w.readFrame()
			require.NoError(t, err)
			if !closing {
				closing = true
				require.NoError(t, p.w.sendClose(1000))
			}
		}
		rest, err := io.ReadAll(p.w.br)
		require.NoError(t, err)
		require.Empty(t, rest)
	}
}

// What RFC 6455 forbids is not taken for data.
func TestFramesThatAreForbidden(t *testing.T) {
	s := serveWebSocket(t, echoHandlers(), &gotalk.Limits{ReadTimeout: 2 * time.Second})
	closed := closings(s)
	key := "\x00\x00\x00\x00"
	for name, c := range map[string]struct {
		frames string
		code   string
	}{
		"reserved bit":               {"\xc2\x81" + key + "x", "close 1002"},
		"reserved opcode":            {"\x83\x81" + key + "x", "close 1002"},
		"reserved control opcode":    {"\x8b\x80" + key, "close 1002"},
		"not masked":                 {"\x82\x01x", "close 1002"},
		"ping of 126 bytes":          {"\x89\xfe\x00\x7e" + key + strings.Repeat("x", 126), "close 1002"},
		"fragmented ping":            {"\x09\x81" + key + "x", "close 1002"},
		"continuation of nothing":    {"\x80\x81" + key + "x", "close 1002"},
		"message within a message":   {"\x02\x81" + key + "r\x82\x81" + key + "x", "close 1002"},
		"negative length":            {"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" + key, "close 1"},
		"close code out of range":    {"\x88\x82" + key + "\x03\xe7", "close 1002"},
		"text that is not UTF-8":     {"\x81\x90" + key + "n004none00000001" + "\x81\x81" + key + "\xff", "close 1007"},
		"text that stops in between": {"\x81\x90" + key + "n004none00000003" + "\x81\x81" + key + "\xc3" + "\x81\x82" + key + "xx", "close 1007"},
	} {
		t.Run(name, func(t *testing.T) {
			p := s.in(t).peer()
			p.echoes()
			_, err := p.w.nc.Write([]byte(c.frames))
			require.NoError(t, err)
			require.Contains(t, p.hear(), c.code)
			p.hears("end")
			await(t, closed)
		})
	}
}

// Text is UTF-8 as a whole: like all that is sent, a character may come in two messages.
func TestTextSplitWithinCharacter(t *testing.T) {
	p := serveWebSocket(t, echoHandlers(), nil).peer()
	p.say(request("aaaa", "echo", 5))
	key := "\x00\x00\x00\x00"
	_, err := p.w.nc.Write([]byte("\x81\x81" + key + "\xc3" + "\x81\x83" + key + "\xbc\xe2\x98" + "\x81\x81" + key + "\x83"))
	require.NoError(t, err)
	p.hears("Raaaa00000005ü☃")
}

// Pings are answered wherever they stand, and who sends many and takes no answers is not kept.
func TestPings(t *testing.T) {
	s := serveWebSocket(t, echoHandlers(), nil)
	p := s.peer()
	sock := s.sock()
	key := "\x00\x00\x00\x00"
	ping := "\x89\x82" + key + "hi"
	_, err := p.w.nc.Write([]byte(ping + "\x8a\x80" + key + "\x02\x81" + key + "r" + ping +
		"\x80\x8f" + key + "aaaa004echo0000" + "\x82\x84" + key + "0000" + ping))
	require.NoError(t, err)
	var got []byte
	for len(got) < 3*4+2+13 {
		b := make([]byte, 100)
		n, err := p.w.br.Read(b)
		require.NoError(t, err)
		got = append(got, b[:n]...)
	}
	require.Equal(t, 3, strings.Count(string(got), "\x8a\x02hi"))
	require.Contains(t, string(got), "\x82\x0dRaaaa00000000")

	p2 := s.peer()
	sock2 := s.sock()
	long := "\x89\xfd" + key + strings.Repeat("x", 125)
	peak := peakMemory(func() {
		go func() {
			for range 10_000 {
				if _, err := p2.w.nc.Write([]byte(strings.Repeat(long, 100))); err != nil {
					return
				}
			}
		}()
		select {
		case <-sock2.Context().Done():
		case <-time.After(2 * time.Second): // or held back
		}
	})
	require.Less(t, peak, int64(128<<20))
	p2.w.nc.Close()
	p.echoes()
	require.False(t, sock.IsClosed())
}

// A panic in OnConnect ends that connection as any end does: CloseHandler is called, and calls return.
func TestPanicInOnConnect(t *testing.T) {
	log := logged(t)
	s := serveWebSocket(t, echoHandlers(), nil)
	accept, closed, result := s.web.OnConnect, make(chan int, 1), make(chan error, 1)
	s.web.OnConnect = func(ws *gotalk.WebSocket) {
		accept(&gotalk.WebSocket{})
		ws.CloseHandler = func(_ *gotalk.WebSocket, code int) { closed <- code }
		go func() { _, err := ws.BufferRequest("a", nil); result <- err }()
		panic("not this one")
	}
	p := s.peer()
	for m := ""; m != "end"; m = p.hear() {
	}
	require.Equal(t, -1, await(t, closed))
	require.ErrorIs(t, await(t, result), gotalk.ErrSockClosed)
	require.Contains(t, log(), "not this one")
	s.web.OnConnect = accept
	s.peer().echoes()
}

// OnConnect may deny a connection, and what it sets of the Sock holds.
func TestOnConnectSetsFields(t *testing.T) {
	s := serveWebSocket(t, echoHandlers(), nil)
	accept := s.web.OnConnect
	s.web.OnConnect = func(ws *gotalk.WebSocket) {
		ws.Limits = &gotalk.Limits{MaxPayload: 10}
		ws.HeartbeatInterval = time.Millisecond
		ws.Handlers = echoHandlers()
		accept(ws)
	}
	p := s.peer()
	for range 3 {
		r, err := p.read(false)
		require.NoError(t, err)
		require.Equal(t, byte('h'), r.frames[0][0])
	}
	p.say(request("aaaa", "echo", 11), "hello world")
	require.Contains(t, p.hear(), "Limits.MaxPayload, 10 bytes")
	p.echoes()

	s.web.OnConnect = func(ws *gotalk.WebSocket) { ws.Close() }
	s.peer().ends()
}
