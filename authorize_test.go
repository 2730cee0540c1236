package gotalk_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// whoHandlers has an operation that answers with the UserData that Authorize has left.
func whoHandlers() *gotalk.Handlers {
	h := echoHandlers()
	h.Handle("who", func(s *gotalk.Sock) (string, error) { return fmt.Sprint(s.UserData), nil })
	return h
}

func TestAuthorize(t *testing.T) {
	s := serveTCP(t, whoHandlers(), nil)
	s.tcp.Authorize = func(s *gotalk.Sock) error {
		s.UserData = "user of " + s.Addr()[:10]
		return nil
	}
	var who string
	require.NoError(t, s.client(nil).Request("who", nil, &who))
	require.Equal(t, "user of 127.0.0.1:", who)
	require.Equal(t, who, s.sock().UserData)

	// With the version in pieces, and everything else at once.
	p := s.mutePeer()
	p.say("0")
	p.say("1" + helloErrors + request("aaaa", "echo", 2) + "hi")
	p.hearsRaw("01", refusalOf("", "")[0], "Raaaa00000002hi")
	wrong := s.mutePeer()
	wrong.say("02")
	wrong.hearsRaw("01", "f00000001")
	wrong.hears("end")
}

// Who is refused is told why, and nothing that it sends is served.
func TestAuthorizeRefuses(t *testing.T) {
	internal := `{"user":"db error: password=hunter2"}`
	for name, c := range map[string]struct {
		authorize func(s *gotalk.Sock) error
		code      gotalk.Code
		message   string
		logged    string
	}{
		"with a code": {
			func(*gotalk.Sock) error { return gotalk.NewError(gotalk.CodeUnauthenticated, "who are you?") },
			gotalk.CodeUnauthenticated, "who are you?", "",
		},
		"with more text than there is room for": {
			func(*gotalk.Sock) error {
				return gotalk.NewError(gotalk.CodeUnauthenticated, strings.Repeat("x", 255)+"é and more")
			},
			gotalk.CodeUnauthenticated, strings.Repeat("x", 255), "",
		},
		"wrapped": {
			func(*gotalk.Sock) error {
				return fmt.Errorf("%s: %w", internal, gotalk.NewError(gotalk.CodePermissionDenied, "not you"))
			},
			gotalk.CodePermissionDenied, "not you", "",
		},
		"any error": {
			func(*gotalk.Sock) error { return errors.New(internal) },
			gotalk.CodePermissionDenied, "this peer may not connect", internal,
		},
		"a panic": {
			func(*gotalk.Sock) error { panic(internal) }, gotalk.CodeInternal, "internal error", internal,
		},
		"a panic of elsewhere": {
			func(*gotalk.Sock) error { return fmt.Errorf("%w", &gotalk.PanicError{Value: internal}) },
			gotalk.CodePermissionDenied, "this peer may not connect", internal,
		},
	} {
		t.Run(name, func(t *testing.T) {
			log := logged(t)
			h := gotalk.NewHandlers()
			h.HandleBufferNotification("", func(*gotalk.Sock, string, []byte) { t.Error("handled") })
			h.HandleBufferRequest("", func(*gotalk.Sock, string, []byte) ([]byte, error) { t.Error("handled"); return nil, nil })
			s := serveTCP(t, h, nil)
			s.tcp.Authorize = c.authorize

			var closed []int
			sock := gotalk.NewSock(nil)
			sock.CloseHandler = func(_ *gotalk.Sock, code int) { closed = append(closed, code) }
			err := sock.Connect("tcp", s.addr, nil)
			require.ErrorIs(t, err, gotalk.ErrAbnormal)
			require.Equal(t, c.code, gotalk.CodeOf(err))
			require.ErrorContains(t, err, c.message)
			require.NotContains(t, err.Error(), "hunter2")
			require.True(t, sock.IsClosed())
			_, err = sock.BufferRequest("echo", nil)
			require.ErrorContains(t, err, c.message)
			require.Equal(t, []int{gotalk.ProtocolErrorAbnormal}, closed)

			sock.CloseHandler = nil
			sock.NoExtensions = true
			require.NoError(t, sock.Connect("tcp", s.addr, nil), "as old peers")
			<-sock.Context().Done()
			_, err = sock.BufferRequest("echo", nil)
			require.ErrorIs(t, err, gotalk.ErrAbnormal)
			require.NotContains(t, err.Error(), c.message)

			pipelined := request("aaaa", "echo", 2) + "hi" + "n001x00000000"
			old := s.mutePeer()
			old.say("01" + pipelined)
			old.hearsRaw("01", "f00000000")
			old.hears("end")
			ours := s.mutePeer()
			ours.say("01" + helloErrors + pipelined)
			ours.hearsRaw(append([]string{"01"}, refusalOf(string(c.code), c.message)...)...)
			ours.hears("end")
			require.Empty(t, s.socks)
			if c.logged == "" {
				require.Empty(t, log())
			} else {
				require.Contains(t, log(), c.logged)
			}
		})
	}
}

// The certificate of a client says who it is.
func TestAuthorizeByCertificate(t *testing.T) {
	alice, trusted := certificateFor(t, "alice")
	mallory, _ := certificateFor(t, "mallory")
	config := &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: trusted}
	server, roots := listenTLS(t, whoHandlers(), config)
	server.Authorize = func(s *gotalk.Sock) error {
		state := s.TLS()
		if state == nil || !state.HandshakeComplete || len(state.PeerCertificates) == 0 {
			return gotalk.NewError(gotalk.CodeUnauthenticated, "a certificate is wanted")
		}
		s.UserData = state.PeerCertificates[0].Subject.CommonName
		return nil
	}
	connect := func(config *tls.Config) (who string, err error) {
		config.RootCAs = roots
		c := quietSock(nil)
		defer c.Close()
		if err := c.ConnectTLS("tcp", server.Addr(), nil, config); err != nil {
			return "", err
		}
		require.NotNil(t, c.TLS())
		require.GreaterOrEqual(t, c.TLS().Version, uint16(tls.VersionTLS12))
		return who, c.Request("who", nil, &who)
	}
	who, err := connect(&tls.Config{Certificates: []tls.Certificate{alice}})
	require.NoError(t, err)
	require.Equal(t, "alice", who)
	_, err = connect(&tls.Config{})
	require.ErrorContains(t, err, "a certificate is wanted")
	_, err = connect(&tls.Config{Certificates: []tls.Certificate{mallory}})
	require.Error(t, err)
	_, err = connect(&tls.Config{Certificates: []tls.Certificate{alice}, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	require.ErrorContains(t, err, "protocol version not supported")

	require.Nil(t, gotalk.NewSock(nil).TLS())
	plain := serveTCP(t, echoHandlers(), nil)
	require.Nil(t, plain.client(nil).TLS())
	require.Nil(t, gotalk.NewClient().TLS())
}

// Over wss a Sock has the certificate as well.
func TestTLSOfWebSocket(t *testing.T) {
	s := gotalk.NewWebSocketServer()
	s.Handlers = gotalk.NewHandlers()
	s.Handlers.Handle("secure", func(s *gotalk.Sock) (bool, error) { return s.TLS() != nil && s.TLS().HandshakeComplete, nil })
	web := httptest.NewTLSServer(s)
	defer web.Close()
	c := quietSock(nil)
	require.NoError(t, c.ConnectWebSocket(t.Context(), strings.Replace(web.URL, "https", "wss", 1), nil,
		&gotalk.WebSocketOptions{TLSConfig: web.Client().Transport.(*http.Transport).TLSClientConfig}))
	defer c.Close()
	var secure bool
	require.NoError(t, c.Request("secure", nil, &secure))
	require.True(t, secure)
	require.True(t, c.TLS().HandshakeComplete)
}

type contextKey struct{}

func TestAuthorizeWebSocket(t *testing.T) {
	log := logged(t)
	h := whoHandlers()
	h.Handle("value", func(ctx context.Context) (any, error) { return ctx.Value(contextKey{}), nil })
	s := gotalk.NewWebSocketServer()
	s.Handlers = h
	s.Authorize = func(r *http.Request) (any, error) {
		switch token := r.Header.Get("Authorization"); token {
		case "alice":
			return "user " + token, nil
		case "":
			return "nobody", gotalk.NewError(gotalk.CodeUnauthenticated, "log in first")
		case "busy":
			return nil, fmt.Errorf("quota: %w", gotalk.NewError(gotalk.CodeResourceExhausted, "too fast"))
		case "later":
			return nil, gotalk.NewError(gotalk.CodeUnavailable, strings.Repeat("größer ", 100))
		}
		return nil, errors.New("db error: hunter2")
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, "of the request")))
	}))
	defer web.Close()
	url := strings.Replace(web.URL, "http", "ws", 1)
	for token, want := range map[string]struct {
		status int
		text   string
	}{
		"":      {401, "log in first"},
		"busy":  {429, "too fast"},
		"later": {503, strings.Repeat("größer ", 100)},
		"eve":   {403, "this peer may not connect"},
	} {
		header := http.Header{"Authorization": {token}}
		err := quietSock(nil).ConnectWebSocket(t.Context(), url, nil, &gotalk.WebSocketOptions{Header: header})
		require.ErrorContains(t, err, fmt.Sprint("the server answered ", want.status))
		require.ErrorContains(t, err, want.text[:8])
		require.NotContains(t, err.Error(), "hunter2")

		// A page sees no status. It may have sent something before it sees the end.
		header.Set("Origin", web.URL)
		ws, _, err := (&websocket.Dialer{Subprotocols: []string{"x"}}).DialContext(t.Context(), url, header)
		require.NoError(t, err)
		require.Equal(t, "x", ws.Subprotocol())
		require.NoError(t, ws.WriteMessage(websocket.BinaryMessage, []byte("01")))
		_, _, err = ws.ReadMessage()
		var closed *websocket.CloseError
		require.ErrorAs(t, err, &closed)
		require.Equal(t, 4000+want.status, closed.Code)
		require.True(t, strings.HasPrefix(want.text, closed.Text))
		require.Greater(t, len(closed.Text), min(len(want.text), 120)-1, "as much as a close frame can hold")
		require.NoError(t, ws.Close())
	}
	require.Contains(t, log(), "hunter2")

	s.MaxConnections = 1 // all of them give their places back
	c := quietSock(nil)
	enters(t, func() error {
		return c.ConnectWebSocket(t.Context(), url, nil, &gotalk.WebSocketOptions{Header: http.Header{"Authorization": {"alice"}}})
	})
	defer c.Close()
	var who, value string
	require.NoError(t, c.Request("who", nil, &who))
	require.Equal(t, "user alice", who)
	require.NoError(t, c.Request("value", nil, &value))
	require.Equal(t, "of the request", value)
}

// A page of another site does not get as far as Authorize, and what is no WebSocket gets no close frame.
func TestAuthorizeComesAfterTheOrigin(t *testing.T) {
	s := gotalk.NewWebSocketServer()
	called := 0
	s.Authorize = func(*http.Request) (any, error) {
		called++
		return nil, gotalk.NewError(gotalk.CodeUnauthenticated, "log in first")
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, upgradeRequest("example.com", "https://evil.test"))
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Zero(t, called)

	r := upgradeRequest("example.com", "https://example.com")
	r.Header.Del("Upgrade")
	w = httptest.NewRecorder()
	s.ServeHTTP(w, r)
	require.Equal(t, http.StatusUnauthorized, w.Code)
	require.Equal(t, "gotalk: log in first\n", w.Body.String())
	require.Equal(t, 1, called)
}

// What a server says in front of a protocol error is not believed to be anything else.
func TestErrorMessageOfPeer(t *testing.T) {
	const hello = `n00cgotalk:hello0000000b{"error":1}`
	for message, want := range map[string]string{
		`{"code":"aborted","message":"for a reason"}`: "abnormal condition: aborted: for a reason",
		`{"code":"aborted"}`:                          "abnormal condition: aborted",
		`{"message":"no code"}`:                       "invalid protocol message",
		`{`:                                           "invalid protocol message",
		``:                                            "invalid protocol message",
	} {
		s := quietSock(nil)
		p := connectTo(t, s, nil)
		p.say(hello + fmt.Sprintf("n00cgotalk:error%08x%s", len(message), message) + "f00000000")
		<-s.Context().Done()
		_, err := s.BufferRequest("echo", nil)
		require.EqualError(t, err, want)
	}
	s := quietSock(nil)
	p := connectTo(t, s, nil)
	p.say(hello, `n00cgotalk:error00000016{"code":"not so fast"}`) // and then it goes on
	require.NoError(t, s.BufferNotify("x", nil))
	p.hears("n001x00000000")
	p.say(fmt.Sprintf("n00cgotalk:error%08x", 1<<30)) // too large
	p.hears("f00000002")
	io.Copy(io.Discard, bufio.NewReader(p.w.nc))
}
